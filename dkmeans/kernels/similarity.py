"""How alike two images are: squared differences, and structural similarity in square windows.

Z. Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE Transactions on
Image Processing 13(4), 2004; in uniform windows and with sample covariances, as scikit-image has it.

Rows of an image lie as one line of values, channel beside channel, so the channels of a pixel are worked on
by one loop. The sums of the columns of a window follow from those of the row above by a row that comes and
one that goes; those of the window are sums of its columns. All of them are integers: the four sums of 8-bit
values fit into int32, where vector instructions take eight at a time, and float64 holds those of 16 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.jit import without_refcounts

__all__ = ["squared_difference", "structural_similarity"]

_K1, _K2 = 0.01, 0.03
"""The constants of the paper."""


def squared_difference(one: NDArray[Any], other: NDArray[Any]) -> int:
    """Add up the squared differences of the values of two images of one shape, uint8 or uint16."""
    first, second = np.ascontiguousarray(one).reshape(-1), np.ascontiguousarray(other).reshape(-1)
    return int(_squares(first, second))


def structural_similarity(
    one: NDArray[Any], other: NDArray[Any], window: int, limit: int
) -> NDArray[np.float64]:
    """Add up the structural similarity of all windows of each row of windows, and of all channels.

    Parameters
    ----------
    one, other : ndarray of shape (height, width, channels), uint8 or float64
    window : int
        Height and width of a window in pixels, at most 7.
    limit : int
        The largest value that there can be.

    Returns
    -------
    ndarray of shape (height - window + 1,), float64
    """
    height, width, channels = one.shape
    number = np.int32 if one.dtype == np.uint8 else np.float64
    columns, sums = np.zeros((4, width * channels), number), np.zeros((4, width * channels), number)
    values, found = np.empty(width * channels, np.float64), np.empty(height - window + 1, np.float64)
    first, second = (np.ascontiguousarray(image).reshape(height, -1) for image in (one, other))
    _windows(
        first, second, window, channels, (_K1 * limit) ** 2, (_K2 * limit) ** 2, columns, sums, values, found
    )
    return found


@without_refcounts
def _squares(one: Any, other: Any) -> Any:
    total = np.int64(0)
    for value in range(one.size):
        gap = np.int64(one[value]) - np.int64(other[value])
        total += gap * gap
    return total


@without_refcounts
def _windows(
    one: Any,
    other: Any,
    window: Any,
    channels: Any,
    c1: Any,
    c2: Any,
    columns: Any,
    sums: Any,
    values: Any,
    found: Any,
) -> None:
    n = one.shape[1] - (window - 1) * channels
    for row in range(one.shape[0]):
        if row >= window:
            _add(one[row - window], other[row - window], -1, columns[0], columns[1], columns[2], columns[3])
        _add(one[row], other[row], 1, columns[0], columns[1], columns[2], columns[3])
        if row >= window - 1:
            for kind in range(4):
                _sum_up(columns[kind], window, channels, sums[kind, :n])
            found[row - window + 1] = _similar(sums[0], sums[1], sums[2], sums[3], window, c1, c2, values[:n])


@without_refcounts
def _add(one: Any, other: Any, sign: Any, x: Any, y: Any, squares: Any, products: Any) -> None:
    """Add a row of values to the sums of the columns, or take it from them.

    A loop for each: with more arrays in a loop LLVM would not see that none of them overlap.
    """
    number = x.dtype.type
    factor = number(sign)
    for at in range(one.size):
        x[at] += factor * number(one[at])
    for at in range(one.size):
        y[at] += factor * number(other[at])
    for at in range(one.size):
        a, b = number(one[at]), number(other[at])
        squares[at] += factor * (a * a + b * b)
    for at in range(one.size):
        products[at] += factor * (number(one[at]) * number(other[at]))


@without_refcounts
def _sum_up(columns: Any, window: Any, channels: Any, sums: Any) -> None:
    """Add up the columns of each window; a column at a time, as such loops become vector instructions."""
    for at in range(sums.size):
        sums[at] = columns[at]
    for column in range(1, window):
        shifted = columns[column * channels :]
        for at in range(sums.size):
            sums[at] += shifted[at]


@without_refcounts
def _similar(x: Any, y: Any, squares: Any, products: Any, window: Any, c1: Any, c2: Any, values: Any) -> Any:
    """Add up the similarities of a row of windows."""
    size = window * window
    each, sample = 1.0 / size, size / (size - 1.0)
    for at in range(values.size):
        mean_x, mean_y = x[at] * each, y[at] * each
        both, means = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
        variances, covariance = sample * (squares[at] * each - means), sample * (products[at] * each - both)
        above = (2.0 * both + c1) * (2.0 * covariance + c2)
        values[at] = above / ((means + c1) * (variances + c2))
    total = 0.0
    for at in range(values.size):
        total += values[at]
    return total
