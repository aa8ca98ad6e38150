"""Orders of a palette in which the codes of neighbors are alike, so that filters and deflate do more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bands", "by_luma", "by_neighbors", "reindexed"]

_LUMA = (299, 587, 114)  # thousandths of red, green, blue: ITU-R 601, as in `dkmeans.images.decode`
_BAND = 1 << 20  # pixels


def by_luma(palette: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Order colors from dark to light, whatever their alpha; equal ones as they come.

    Parameters
    ----------
    palette : (k, 1 | 2 | 3 | 4) uint8 array

    Returns
    -------
    (k,) integer array
        Rows of `palette`.
    """
    weights = _LUMA if palette.shape[1] >= 3 else (1,)
    return np.argsort(palette[:, : len(weights)] @ np.array(weights), kind="stable")


def by_neighbors(codes: NDArray[np.uint8], k: int) -> NDArray[np.intp]:
    """Order colors so that those that often lie side by side get numbers that are close.

    The modified Zeng method (Pinho and Neves, "A note on Zeng's technique for color reindexing of
    palette-based images", IEEE Signal Processing Letters 11(2), 2004): the color that has most to do with
    those that are placed is put next, at the end of the row to which it is nearer.

    Parameters
    ----------
    codes : (height, width) uint8 array
        Below `k`.
    k : int

    Returns
    -------
    (k,) integer array
        The codes in their new order.
    """
    pairs = _neighbors(codes, k)
    first = int(pairs.sum(axis=1).argmax())
    row = [first]
    bonds = pairs[first].copy()  # of each color to all that are placed
    bonds[first] = -1
    for n in range(1, k):
        color = int(bonds.argmax())
        # How much nearer to the start than to the end of the row its neighbors lie.
        pull = int(pairs[color, row] @ np.arange(n - 1, -n, -2))
        row.insert(0 if pull > 0 else n, color)
        bonds += pairs[color]
        bonds[row] = -1
    return np.array(row)


def _neighbors(codes: NDArray[np.uint8], k: int) -> NDArray[np.int64]:
    """How often two colors lie side by side or one below the other: (k, k), symmetric, its diagonal 0."""
    counts = np.zeros(k * k, np.int64)
    for band in bands(codes, overlap=1):
        wide = band.astype(np.uint16)  # a pair is at most k^2 - 1, and k at most 256
        for one, other in ((wide[:-1, :-1], wide[:-1, 1:]), (wide[:-1], wide[1:])):
            counts += np.bincount((one * np.uint16(k) + other).ravel(), minlength=k * k)
    last = codes[-1].astype(np.uint16)  # which no row is below
    counts += np.bincount(last[:-1] * np.uint16(k) + last[1:], minlength=k * k)
    pairs = counts.reshape(k, k)
    pairs = pairs + pairs.T
    np.fill_diagonal(pairs, 0)
    return pairs


def bands(codes: NDArray[Any], overlap: int = 0) -> Iterator[NDArray[Any]]:
    """Yield the rows of an image in bands: counted at once, those of a large one would fill the memory.

    Each has the next `overlap` rows too, as far as there are any.
    """
    height = max(1, _BAND // codes.shape[1])
    for top in range(0, len(codes) - overlap, height):
        yield codes[top : top + height + overlap]


def reindexed(
    codes: NDArray[np.uint8], palette: NDArray[np.uint8], order: NDArray[np.intp]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes and palette for the same pixels, with row ``order[i]`` of the palette as number i."""
    places = np.empty(len(order), np.uint8)
    places[order] = np.arange(len(order))
    return places[codes], palette[order]
