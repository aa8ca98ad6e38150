"""Colors counted and looked up by a table, against np.unique."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from dkmeans.kernels.colors import color_labels, count_colors, merge_colors


def draw_pixels(rng, n_pixels, channels, n_colors):
    """Pixels of few colors or many, the ends of the range among them."""
    palette = rng.integers(0, 255, (n_colors, channels), endpoint=True, dtype=np.uint8)
    palette[:1], palette[1:2] = 0, 255
    return palette[rng.integers(0, n_colors, n_pixels)]


def by_numpy(pixels):
    return np.unique(pixels, axis=0, return_counts=True)


def assert_same_counts(found, expected):
    for one, other, dtype in zip(found, expected, (np.uint8, np.int64), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == dtype
        assert one.shape == other.shape


cases = given(
    st.integers(0, 1 << 32),
    st.sampled_from([0, 1, 2, 17, 1000]),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 2, 5, 500]),
    st.integers(1, 4),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@cases
def test_parts_together_are_the_whole(seed, n_pixels, channels, n_colors, n_parts):
    rng = np.random.default_rng(seed)
    pixels = draw_pixels(rng, n_pixels, channels, n_colors)
    expected = by_numpy(pixels)
    assert_same_counts(count_colors(pixels), expected)
    cuts = np.sort(rng.integers(0, n_pixels, n_parts - 1, endpoint=True))
    counts = [count_colors(part) for part in np.split(pixels, cuts)]  # some may have no pixels
    assert_same_counts(merge_colors(counts), expected)
    assert_same_counts(merge_colors(counts[::-1]), expected)
    nested = merge_colors([merge_colors(counts[:2]), *counts[2:]])
    assert_same_counts(nested, expected)


@settings(max_examples=40, deadline=None, derandomize=True)
@cases
def test_each_pixel_gets_the_label_of_its_color(seed, n_pixels, channels, n_colors, n_more):
    rng = np.random.default_rng(seed)
    pixels = draw_pixels(rng, n_pixels, channels, n_colors)
    more = draw_pixels(rng, n_more, channels, n_more)  # colors that no pixel has
    colors, inverse = np.unique(np.concatenate([pixels, more]), axis=0, return_inverse=True)
    labels = rng.integers(0, 1 << 20, len(colors))
    for dtype in (np.uint8, np.int32):
        found = color_labels(pixels, colors, labels.astype(dtype))
        np.testing.assert_array_equal(found, labels.astype(dtype)[inverse.reshape(-1)[:n_pixels]])
        assert found.dtype == dtype
        assert found.shape == (n_pixels,)


@pytest.mark.parametrize(("name", "channels"), [("camera", 1), ("astronaut", 3)])
def test_the_colors_of_a_photo(name, channels):
    pixels = getattr(data, name)().reshape(-1, channels)
    colors, times = count_colors(pixels)
    assert_same_counts((colors, times), by_numpy(pixels))
    assert times.sum() == len(pixels)
    numbers = color_labels(pixels, colors, np.arange(len(colors), dtype=np.int32))
    np.testing.assert_array_equal(colors[numbers], pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_need_not_be_contiguous_nor_writable(channels):
    pixels = draw_pixels(np.random.default_rng(0), 1000, channels, 9)
    expected = by_numpy(pixels)
    pixels.flags.writeable = False
    for view in (pixels, np.repeat(pixels, 2, axis=0)[::2], np.asfortranarray(pixels), pixels[::-1]):
        colors, times = count_colors(view)
        assert_same_counts((colors, times), expected)
        numbers = color_labels(view, colors, np.arange(len(colors), dtype=np.int32))
        np.testing.assert_array_equal(colors[numbers], view)


def test_counts_beyond_2_to_32_are_added():
    """One block has fewer pixels than that; many together have more."""
    part = (np.array([[3], [255]], np.uint8), np.array([1 << 40, (1 << 32) - 1]))
    colors, times = merge_colors([part, part, (part[0][:1], part[1][:1])])
    assert colors.tolist() == [[3], [255]]
    assert times.tolist() == [3 << 40, (1 << 33) - 2]
