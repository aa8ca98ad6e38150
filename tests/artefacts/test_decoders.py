"""What codes stand for, by cases small enough to be done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dkmeans.artefacts.decoders import Overlap, Palette, Tiles, mask_offset, pack_masks, unpack_masks
from dkmeans.features.space import FeatureSpace

BYTES, WORDS = np.dtype(np.uint8), np.dtype(np.uint16)


@pytest.mark.parametrize("dtype", [BYTES, WORDS])
def test_a_palette(dtype):
    colors = np.array([[1, 2, 3], [200, 100, 0]], dtype)
    images = Palette(colors).decode(np.array([0, 1, 1, 0, 1, 1], np.uint8), None, (1, 3))
    assert images.shape == (2, 1, 3, 3)
    assert images.dtype == dtype
    a, b = colors.tolist()
    assert images.tolist() == [[[a, b, b]], [[a, b, b]]]


def test_tiles_of_which_the_last_stand_over():
    """Two patches of 2x2 make a gray image of 2x3: of the second only its left column."""
    centers = np.array([[1, 2, 3, 4], [5.4, 6, 7.5, 8]], np.float32)
    tiles = Tiles(centers, FeatureSpace(BYTES, 1, (2, 2)))
    images = tiles.decode(np.array([0, 1, 1, 1]), None, (2, 3))
    assert images[..., 0].tolist() == [[[1, 2, 5], [3, 4, 8]], [[5, 6, 5], [8, 8, 8]]]  # 7.5 to even
    assert (images.dtype, images.shape) == (BYTES, (2, 2, 3, 1))


def test_tiles_are_laid_row_by_row():
    centers = np.arange(4, dtype=np.float32)[:, None]  # patches of a pixel
    tiles = Tiles(centers, FeatureSpace(WORDS, 1, (1, 1)))
    images = tiles.decode(np.array([0, 1, 2, 3]), None, (2, 2))
    assert images[..., 0].tolist() == [[[0, 1], [2, 3]]]
    assert images.dtype == WORDS


def test_tiles_of_two_channels_of_color():
    centers = np.array([[1, 2, 3, 4, 5, 6]], np.float32)  # 1x2 pixels of three values
    images = Tiles(centers, FeatureSpace(BYTES, 3, (1, 2))).decode(np.zeros(2, np.uint8), None, (1, 3))
    assert images.tolist() == [[[[1, 2, 3], [4, 5, 6], [1, 2, 3]]]]


def test_patches_that_overlap_are_averaged():
    """Patches of 1x2, one pixel apart, in a row of four: the pixels between have two each."""
    centers = np.array([[10, 20], [30, 41]], np.float32)
    overlap = Overlap(centers, FeatureSpace(BYTES, 1, (1, 2)), (1, 1))
    masks = np.array([[[True, True, True]], [[True, False, True]], [[False, False, True]]])
    images = overlap.decode(np.array([0, 1, 0, 1, 1, 0], np.uint8), masks, (1, 4))
    # 10; (20 + 30) / 2; (41 + 10) / 2 = 25.5, to even 26; 20
    # 30; 41; 30; 41
    # nothing; nothing; 10; 20
    assert images[..., 0].tolist() == [[[10, 25, 26, 20]], [[30, 41, 30, 41]], [[0, 0, 10, 20]]]
    assert (images.dtype, images.shape) == (BYTES, (3, 1, 4, 1))


def test_means_are_rounded_once():
    """Of 0.5 and 0.5 the mean is 0.5, to even 0; rounded before, it would be that as well, but 1.5 is not."""
    space = FeatureSpace(BYTES, 1, (1, 2))
    overlap = Overlap(np.array([[0.5, 1.5], [1.0, 2.0]], np.float32), space, (1, 1))
    images = overlap.decode(np.array([0, 1], np.uint8), np.ones((1, 1, 2), bool), (1, 3))
    assert images.ravel().tolist() == [0, 1, 2]  # 0.5; (1.5 + 1.0) / 2 = 1.25; 2


def test_strides_leave_gaps():
    overlap = Overlap(np.array([[7.0]], np.float32), FeatureSpace(WORDS, 1, (1, 1)), (2, 3))
    images = overlap.decode(np.zeros(4, np.uint8), np.ones((1, 2, 2), bool), (4, 5))
    assert images[0, ..., 0].tolist() == [[7, 0, 0, 7, 0], [0] * 5, [7, 0, 0, 7, 0], [0] * 5]
    assert images.dtype == WORDS


masks_of_images = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7))


@given(masks=masks_of_images)
def test_masks_come_back(masks):
    packed = pack_masks(masks)
    assert packed.dtype == np.uint8
    assert len(packed) == len(masks) * -(-masks[0].size // 8)
    np.testing.assert_array_equal(unpack_masks(packed, masks.shape), masks)


def test_masks_are_whole_bytes_from_the_highest_bit():
    masks = np.zeros((2, 1, 9), bool)
    masks[0, 0, 0] = masks[0, 0, 8] = masks[1, 0, 7] = True
    assert pack_masks(masks).tolist() == [0b10000000, 0b10000000, 0b00000001, 0]


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=5),
    patch=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_mask_offsets_are_those_of_the_packed_masks(sizes, patch, stride):
    sizes = [(max(height, patch[0]), max(width, patch[1])) for height, width in sizes]
    found = mask_offset(
        np.array([height for height, _ in sizes], np.int32),
        np.array([width for _, width in sizes], np.int32),
        patch,
        stride,
    )
    lengths = []
    for height, width in sizes:  # counted by walking, not by a formula
        down = len(range(0, height - patch[0] + 1, stride[0]))
        across = len(range(0, width - patch[1] + 1, stride[1]))
        lengths.append(len(pack_masks(np.zeros((1, down, across), bool))))
    assert found.tolist() == np.cumsum([0, *lengths]).tolist()
    assert found.dtype == np.int64
