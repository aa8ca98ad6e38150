"""How alike two images are, and where they differ most. Pure: arrays of shape (height, width, channels)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

__all__ = ["ssim", "worst_part"]

_SSIM_SIDE = 4096  # pixels; of a larger image the middle is compared, for SSIM takes 100 bytes a value
_SMALL = 96  # pixels; an image with a shorter side than this is enlarged whole and needs no detail


def ssim(original: NDArray[Any], image: NDArray[Any]) -> float | None:
    """Structural similarity; None for images too small for a window of 3 x 3."""
    height, width = original.shape[:2]
    top, left = max(0, height - _SSIM_SIDE) // 2, max(0, width - _SSIM_SIDE) // 2
    middle = np.s_[top : top + _SSIM_SIDE, left : left + _SSIM_SIDE]
    shorter = min(height, width)
    window = min(7, shorter - 1 + shorter % 2)  # the usual one, or the largest odd one that fits
    if window < 3:
        return None
    limit = int(np.iinfo(original.dtype).max)
    value = structural_similarity(
        original[middle], image[middle], win_size=window, data_range=limit, channel_axis=-1
    )
    return float(value)


def worst_part(original: NDArray[Any], image: NDArray[Any]) -> tuple[int, int, int, int] | None:
    """Top, left, height and width of the cell with the largest error, in a grid over the image.

    None for an image so small that it is shown enlarged as a whole.
    """
    height, width = original.shape[:2]
    if min(height, width) < _SMALL:
        return None
    # At most 120 pixels wide, or single pixels of a large image would not be seen; no mere strips.
    part_width = min(max(width // 8, 40), 120)
    part_height = round(part_width * min(max(height / width, 0.5), 2.0))
    rows, columns = height // part_height, width // part_width
    sums = np.empty((rows, columns))
    for row in range(rows):  # one at a time: the error of a whole large image would fill the memory
        band = np.s_[row * part_height : (row + 1) * part_height, : columns * part_width]
        error = (original[band].astype(np.float32) - image[band]) ** 2
        sums[row] = error.reshape(part_height, columns, -1).sum(axis=(0, 2))
    row, column = divmod(int(sums.argmax()), columns)
    return row * part_height, column * part_width, part_height, part_width
