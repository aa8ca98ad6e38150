"""Patches side by side: cut and put together again."""

import numpy as np
import pytest

from dkmeans.features import tiles


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 1), (9, 4)])
@pytest.mark.parametrize("patch", [(1, 1), (2, 3), (4, 4), (20, 20)])
@pytest.mark.parametrize("channels", [1, 3])
def test_together_they_are_the_image(size, patch, channels):
    image = np.random.default_rng(0).integers(0, 256, (*size, channels)).astype(np.uint8)
    rows = tiles.cut(image, patch)
    down, across = tiles.count_tiles(*size, patch)
    assert rows.shape == (down * across, patch[0] * patch[1] * channels)
    np.testing.assert_array_equal(tiles.assemble(rows, size, patch), image)


def test_edges_are_repeated():
    image = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)[..., None]
    expected = [[1, 2, 4, 5], [3, 3, 6, 6], [7, 8, 7, 8], [9, 9, 9, 9]]
    np.testing.assert_array_equal(tiles.cut(image, (2, 2)), expected)
