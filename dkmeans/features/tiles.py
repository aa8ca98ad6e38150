"""Patches side by side: images cut into them, and put together from them again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.features.patches import Size, extract

__all__ = ["assemble", "count_tiles", "cut"]


def count_tiles(height: Any, width: Any, patch: Size) -> tuple[Any, Any]:
    """Count the patches side by side that cover an image, or each of an array of images: down and across."""
    return -(-height // patch[0]), -(-width // patch[1])


def cut(image: NDArray[Any], patch: Size) -> NDArray[Any]:
    """Cut an image into patches, row-major; what lies beyond its edge repeats its last row and column.

    Parameters
    ----------
    image : ndarray of shape (height, width, channels)
    patch : (int, int)

    Returns
    -------
    ndarray of shape (n_tiles, patch height * patch width * channels), type of `image`
    """
    down, across = count_tiles(image.shape[0], image.shape[1], patch)
    missing = (down * patch[0] - image.shape[0], across * patch[1] - image.shape[1])
    padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return extract(padded[None], np.ones((1, down, across), np.bool_), patch, patch)


def assemble(tiles: NDArray[Any], size: Size, patch: Size) -> NDArray[Any]:
    """Put the image of `size` together whose patches, as `cut` gives them, these are.

    Returns
    -------
    ndarray of shape (height, width, channels), type of `tiles`
    """
    down, across = count_tiles(*size, patch)
    grid = tiles.reshape(down, across, *patch, -1).swapaxes(1, 2)
    whole = grid.reshape(down * patch[0], across * patch[1], -1)
    return np.ascontiguousarray(whole[: size[0], : size[1]])
