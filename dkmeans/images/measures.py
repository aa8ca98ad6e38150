"""How near an image is to its original: mean squared error, PSNR and SSIM, as scikit-image computes them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

__all__ = ["Measures", "compare", "ssim"]

_TILE = 512  # pixels; SSIM takes about 100 bytes a value, which a large image has too many of
_WINDOW = 7  # pixels, scikit-image's own


class Measures(NamedTuple):
    """What an image has lost.

    Attributes
    ----------
    mse : float
        Mean squared error over all values.
    psnr : float or None
        Peak signal-to-noise ratio in dB; None where nothing is lost.
    ssim : float or None
        Mean structural similarity; None for images too small for a window of 3 x 3.
    """

    mse: float
    psnr: float | None
    ssim: float | None


def compare(original: NDArray[Any], image: NDArray[Any]) -> Measures:
    """Measure an image of shape (height, width, channels), uint8 or uint16, beside its original."""
    error = float(mean_squared_error(original, image))
    if not error:  # identical images would divide by zero, with a warning
        return Measures(0.0, None, 1.0 if min(original.shape[:2]) >= 3 else None)
    limit = int(np.iinfo(original.dtype).max)
    psnr = float(peak_signal_noise_ratio(original, image, data_range=limit))
    return Measures(error, psnr, ssim(original, image))


def ssim(original: NDArray[Any], image: NDArray[Any]) -> float | None:
    """Mean structural similarity, tile by tile; None for images too small for a window of 3 x 3.

    The tiles overlap by a window: together they have each place of it once, as the whole image has.
    """
    height, width = original.shape[:2]
    shorter = min(height, width)
    window = min(_WINDOW, shorter - 1 + shorter % 2)  # the largest odd one that fits
    if window < 3:
        return None
    total = 0.0
    rows, columns = height - window + 1, width - window + 1  # places of the window
    for top in range(0, rows, _TILE):
        for left in range(0, columns, _TILE):
            down, across = min(_TILE, rows - top), min(_TILE, columns - left)
            tile = np.s_[top : top + down + window - 1, left : left + across + window - 1]
            value = structural_similarity(
                original[tile],
                image[tile],
                win_size=window,
                data_range=int(np.iinfo(original.dtype).max),
                channel_axis=-1,
            )
            total += float(value) * down * across
    return float(total / (rows * columns))
