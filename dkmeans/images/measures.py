"""How near an image is to its original: mean squared error, PSNR, SSIM and CIEDE2000, as by scikit-image.

What is measured is what can be seen: of images with alpha the premultiplied values, and alpha. So colors
behind alpha 0 count nothing.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dkmeans.compute.threads import share
from dkmeans.kernels.similarity import squared_difference, structural_similarity

__all__ = ["Measures", "compare", "mean_ciede2000", "mse", "psnr", "ssim", "worst_part"]

_BAND = 256  # rows
_PART = 1024  # rows that a thread measures at a time, where there are several
_WINDOW = 7  # pixels, scikit-image's own
_SMALL = 96  # pixels; an image with a shorter side than this is enlarged whole and needs no detail


class Measures(NamedTuple):
    """The differences of an image and its original.

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
    error = mse(original, image)
    if not error:
        return Measures(0.0, None, 1.0 if min(original.shape[:2]) >= 3 else None)
    return Measures(error, psnr(error, int(np.iinfo(original.dtype).max)), ssim(original, image))


def mse(original: NDArray[Any], image: NDArray[Any]) -> float:
    """Compute the mean squared error over all values of two images of one shape and type."""
    with_alpha = original.shape[2] in (2, 4)
    height = _BAND if with_alpha else _PART  # floats of a whole large image would fill the memory
    tops = range(0, len(original), height)
    parts = [(original[top : top + height], image[top : top + height]) for top in tops]
    if not with_alpha:
        return int(sum(share(squared_difference, parts))) / original.size
    return float(sum(((_seen(one) - _seen(other)) ** 2).sum() for one, other in parts)) / original.size


def _seen(pixels: NDArray[Any]) -> NDArray[Any]:
    """Premultiply colors with alpha, in float64; others stay as they are."""
    if pixels.shape[-1] not in (2, 4):
        return pixels
    alpha = pixels[..., -1:].astype(np.float64)
    return np.concatenate([pixels[..., :-1] * alpha / int(np.iinfo(pixels.dtype).max), alpha], axis=-1)


def psnr(mse: float, limit: int) -> float | None:
    """Compute the peak signal-to-noise ratio in dB; None where nothing is lost.

    Parameters
    ----------
    mse : float
        Mean squared error.
    limit : int
        The largest value that there can be: 255 or 65535.
    """
    return float(10 * np.log10(limit**2 / mse)) if mse else None


def ssim(original: NDArray[Any], image: NDArray[Any], band: int = _BAND) -> float | None:
    """Compute the mean structural similarity; None for images too small for a window of 3 x 3.

    Values that are no 8-bit ones, or are premultiplied, become floats for `band` rows of windows at a time.
    """
    height, width, channels = original.shape
    shorter = min(height, width)
    window = min(_WINDOW, shorter - 1 + shorter % 2)  # the largest odd one that fits
    if window < 3:
        return None
    rows, columns = height - window + 1, width - window + 1  # places of the window
    limit, total = int(np.iinfo(original.dtype).max), 0.0
    if original.dtype == np.uint8 and channels in (1, 3):
        ranges = [slice(top, min(top + _PART, rows) + window - 1) for top in range(0, rows, _PART)]
        parts = [(original[part], image[part], window, limit) for part in ranges]
        total = math.fsum(np.concatenate(share(structural_similarity, parts)))  # whatever the parts are
        return float(total / (rows * columns * channels))
    for top in range(0, rows, band):
        pair = [pixels[top : top + band + window - 1] for pixels in (original, image)]
        pair = [_seen(part).astype(np.float64, copy=False) for part in pair]
        total += math.fsum(structural_similarity(pair[0], pair[1], window, limit))
    return float(total / (rows * columns * channels))


def mean_ciede2000(original: NDArray[Any], image: NDArray[Any]) -> float:
    """Compute the mean CIEDE2000 of two images of shape (height, width, channels), sRGB under D65.

    G. Sharma, W. Wu, E. N. Dalal, The CIEDE2000 color-difference formula, 2005. Of images with alpha it is
    the mean of those over black and over white. Each pair of colors is computed once; up to 0.1 s for a photo
    of 768 x 512.
    """
    from skimage.color import deltaE_ciede2000  # here, as it takes a while to load

    channels, limit = original.shape[2], int(np.iinfo(original.dtype).max)
    both = np.zeros((original[..., 0].size, 2, 4), original.dtype)
    both[:, 0, :channels] = original.reshape(-1, channels)
    both[:, 1, :channels] = image.reshape(-1, channels)
    number = np.dtype(np.uint64) if original.dtype == np.uint8 else np.dtype("V16")
    pairs, counts = np.unique(both.reshape(-1, 8).view(number), return_counts=True)
    distinct = pairs.view(original.dtype).reshape(-1, 2, 4)[..., :channels] / limit
    one, other = distinct[:, 0], distinct[:, 1]
    grounds = (0.0, 1.0) if channels in (2, 4) else (0.0,)
    found = [deltaE_ciede2000(_lab(one, ground), _lab(other, ground)) @ counts for ground in grounds]
    return float(np.mean(found) / counts.sum())


def _lab(colors: NDArray[np.float64], ground: float) -> NDArray[np.float64]:
    """CIELAB of colors of shape (n, channels), 0 to 1, those with alpha over a gray `ground`."""
    from skimage.color import rgb2lab

    if colors.shape[1] in (2, 4):
        alpha = colors[:, -1:]
        colors = colors[:, :-1] * alpha + ground * (1 - alpha)
    lab: NDArray[np.float64] = rgb2lab(np.broadcast_to(colors, (len(colors), 3)))
    return lab


def worst_part(original: NDArray[Any], image: NDArray[Any]) -> tuple[int, int, int, int] | None:
    """Find the cell with the largest error in a grid over an image of shape (height, width, channels).

    Returns
    -------
    (int, int, int, int) or None
        Top, left, height and width in pixels; None for an image so small that it is seen enlarged as a whole.
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
        error = (_seen(original[band]).astype(np.float32) - _seen(image[band])) ** 2
        sums[row] = error.reshape(part_height, columns, -1).sum(axis=(0, 2))
    row, column = divmod(int(sums.argmax()), columns)
    return row * part_height, column * part_width, part_height, part_width
