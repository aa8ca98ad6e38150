"""Patches: cut and put together again, against loops over single patches."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.image import reconstruct_from_patches_2d

from dkmeans.features.patches import extract, find_kept, overlap_add, windows
from dkmeans.kernels.exact import fraction_bits, grid_integers, snap

DTYPES = [np.dtype(np.uint8), np.dtype(np.uint16)]


def random_stack(rng, shape, dtype):
    return rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True, dtype=dtype)


def positions(shape, patch, stride):
    """Top left corners of all patches of one image, row-major."""
    downs = range(0, shape[0] - patch[0] + 1, stride[0])
    acrosses = range(0, shape[1] - patch[1] + 1, stride[1])
    return len(downs), len(acrosses), list(product(downs, acrosses))


@st.composite
def cases(draw, covered=False):
    """A stack of images, a patch size and a stride; `covered`: no pixel is left out."""
    patch = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = tuple(draw(st.integers(1, side if covered else 5)) for side in patch)
    if covered:
        size = [side + step * draw(st.integers(0, 4)) for side, step in zip(patch, stride, strict=True)]
    else:
        size = [side + draw(st.integers(0, 7)) for side in patch]
    shape = (draw(st.integers(1, 3)), *size, draw(st.sampled_from([1, 3, 4])))
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    stack = random_stack(rng, shape, dtype)
    if draw(st.booleans()):
        stack[rng.random(shape) < 0.7] = 0  # so that some patches are blank
    return stack, patch, stride


@settings(max_examples=80, deadline=None, derandomize=True)
@given(cases())
def test_windows_are_those_of_a_loop(case):
    stack, patch, stride = case
    n_down, n_across, corners = positions(stack.shape[1:], patch, stride)
    expected = [image[y : y + patch[0], x : x + patch[1]] for image in stack for y, x in corners]
    found = windows(stack, patch, stride)
    assert found.shape == (len(stack), n_down, n_across, *patch, stack.shape[3])
    np.testing.assert_array_equal(found.reshape(len(expected), *patch, -1), np.array(expected))
    assert np.shares_memory(found, stack)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(cases(), st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]))
def test_extract_takes_the_kept_patches_image_by_image_row_major(case, threshold):
    stack, patch, stride = case
    top = int(np.iinfo(stack.dtype).max)
    mask, expected = [], []
    for image in stack:
        for y, x in positions(image.shape, patch, stride)[2]:
            window = image[y : y + patch[0], x : x + patch[1]]
            mask.append(Fraction(int(window.sum(dtype=int)), window.size * top) > Fraction(threshold))
            if mask[-1]:
                expected.append(window.ravel())
    found = find_kept(stack, patch, stride, threshold)
    assert found.dtype == bool
    assert found.ravel().tolist() == mask
    rows = extract(stack, found, patch, stride)
    assert rows.dtype == stack.dtype
    assert rows.shape == (len(expected), patch[0] * patch[1] * stack.shape[3])
    if expected:
        np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("values", "threshold", "expected"),
    [
        ([0, 0, 0, 0], 0, False),
        ([0, 0, 0, 1], 0, True),
        ([0, 0, 0, 0], -1, True),
        ([0, 0, "top", "top"], 0.5, False),  # just half: not above it
        ([1, 0, "top", "top"], 0.5, True),
        ([0, 0, 0, "top"], 0.25, False),
        ([0, 0, 1, "top"], 0.25, True),
        (["top", "top", "top", "top"], 1, False),
        (["top", "top", "top", "top"], 0.999, True),
    ],
)
def test_a_patch_is_kept_when_its_sum_exceeds_the_share(dtype, values, threshold, expected):
    top = np.iinfo(dtype).max
    stack = np.array([top if value == "top" else value for value in values], dtype).reshape(1, 2, 2, 1)
    assert find_kept(stack, (2, 2), (1, 1), threshold).tolist() == [[[expected]]]
    # The same in each of three channels, and in one patch among others.
    wide = np.zeros((1, 2, 5, 3), dtype)
    wide[:, :, 2:4] = stack
    assert find_kept(wide, (2, 2), (1, 2), threshold)[0, 0, 1] == expected


def test_kept_does_not_overflow():
    white = np.full((1, 40, 40, 4), 65535, np.uint16)
    assert find_kept(white, (40, 40), (1, 1), 0.999).all()
    assert not find_kept(white, (40, 40), (1, 1), 1).any()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(cases(covered=True))
def test_patches_that_are_their_own_centers_give_the_image_back(case):
    stack, patch, stride = case
    mask = find_kept(stack, patch, stride, -1)
    rows = extract(stack, mask, patch, stride)
    integers = (rows.astype(np.int64) << fraction_bits(stack.dtype)).reshape(-1, *patch, stack.shape[3])
    codes = np.arange(len(rows))
    images = overlap_add(codes, mask, integers, stack.shape[1:], stride, stack.dtype)
    assert images.dtype == stack.dtype
    np.testing.assert_array_equal(images, stack)


def overlap_add_by_hand(codes, mask, integers, shape, stride, dtype):
    """The oracle: a list of fractions for each value, their mean, and Python's own rounding."""
    patch = integers.shape[1:3]
    images = np.zeros((len(mask), *shape), dtype)
    codes = iter(codes.tolist())
    for number in range(len(mask)):
        values = {place: [] for place in np.ndindex(*shape)}
        for place, (y, x) in zip(np.ndindex(mask.shape[1:]), positions(shape, patch, stride)[2], strict=True):
            if mask[(number, *place)]:
                center = integers[next(codes)]
                for row, column, channel in np.ndindex(center.shape):
                    values[y + row, x + column, channel].append(int(center[row, column, channel]))
        for place, found in values.items():
            if found:  # round() of a fraction rounds half to even
                images[(number, *place)] = round(Fraction(sum(found), len(found) << fraction_bits(dtype)))
    return images


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cases(), st.integers(1, 5), st.sampled_from(["any", "quarters", "extreme"]), st.data())
def test_overlap_add_is_the_rounded_mean_of_fractions(case, n_clusters, kind, data):
    stack, patch, stride = case
    dtype = stack.dtype
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    bits, top = fraction_bits(dtype), int(np.iinfo(dtype).max)
    size = (n_clusters, *patch, stack.shape[3])
    integers = {
        "any": rng.integers(0, top << bits, size, endpoint=True),
        "quarters": rng.integers(0, 40, size) << (bits - 2),  # means just between two values
        "extreme": rng.choice([0, top << bits], size),
    }[kind]
    mask = find_kept(stack, patch, stride, 0.3)
    codes = rng.integers(0, n_clusters, int(mask.sum())).astype(np.uint8)
    arguments = (codes, mask, integers, stack.shape[1:], stride, dtype)
    np.testing.assert_array_equal(overlap_add(*arguments), overlap_add_by_hand(*arguments))


@pytest.mark.parametrize(
    ("halves", "expected"), [(0, 0), (1, 0), (2, 1), (3, 2), (5, 2), (7, 4), (509, 254), (510, 255)]
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_halves_are_rounded_to_even(dtype, halves, expected):
    integers = np.full((1, 1, 1, 1), halves << (fraction_bits(dtype) - 1), np.int64)
    images = overlap_add(np.zeros(1, np.uint8), np.ones((1, 1, 1), bool), integers, (1, 1, 1), (1, 1), dtype)
    assert images.item() == expected


def test_blank_patches_contribute_nothing():
    # Three patches of two pixels over four; the one in the middle was blank.
    mask = np.array([[[True, False, True]]])
    integers = np.array([[10, 20], [30, 40]], np.int64).reshape(2, 1, 2, 1) << 15
    images = overlap_add(np.array([0, 1]), mask, integers, (1, 4, 1), (1, 1), np.dtype(np.uint8))
    assert images.ravel().tolist() == [10, 20, 30, 40]  # no mean with zeros
    # Where no kept patch lies, there is zero; between the patches of a wide stride too.
    mask = np.array([[[True, False]]])
    images = overlap_add(np.array([1]), mask, integers, (1, 7, 1), (1, 3), np.dtype(np.uint8))
    assert images.ravel().tolist() == [30, 40, 0, 0, 0, 0, 0]


def test_a_stack_without_a_kept_patch_is_black():
    mask = np.zeros((2, 3, 3), bool)
    integers = np.full((1, 2, 2, 3), 1 << 20, np.int64)
    images = overlap_add(np.empty(0, np.uint8), mask, integers, (4, 4, 3), (1, 1), np.dtype(np.uint8))
    assert images.shape == (2, 4, 4, 3)
    assert not images.any()


@pytest.mark.parametrize("channels", [1, 3])
def test_it_agrees_with_scikit_learn(channels):
    rng = np.random.default_rng(5)
    stack = random_stack(rng, (1, 12, 9, channels), np.uint8)
    mask = find_kept(stack, (4, 3), (1, 1), -1)
    centers = snap(rng.uniform(0, 255, (7, 4 * 3 * channels)), np.dtype(np.uint8))
    codes = rng.integers(0, 7, int(mask.sum()))
    integers = grid_integers(centers, np.dtype(np.uint8)).reshape(7, 4, 3, channels)
    ours = overlap_add(codes, mask, integers, (12, 9, channels), (1, 1), np.dtype(np.uint8))
    patches = centers.astype(np.float64)[codes].reshape(-1, 4, 3, channels)
    theirs = reconstruct_from_patches_2d(patches, (12, 9, channels))
    np.testing.assert_allclose(ours[0], theirs.reshape(12, 9, channels), atol=0.5 + 1e-9, rtol=0)
