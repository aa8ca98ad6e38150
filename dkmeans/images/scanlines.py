"""Rows of samples as PNG stores them: packed into bits, and filtered.

A filter replaces each byte by its difference from a guess: 0, the byte to the left, the one above, their
mean, or Paeth's choice of those and the one above left. Each row has a filter of its own, and how it is
chosen is not part of the standard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["FILTERS", "filtered", "pack_bits"]

_BLOCK = 1 << 18
"""Bytes that are filtered in all ways at a time, so that they stay in the cache, and memory is bounded."""
_ROUNDS = 2
"""Times that code lengths and filters are fitted to each other; more change little."""

Choose = Callable[[NDArray[np.uint8]], NDArray[np.intp]]
"""(5, rows, n) bytes after each filter -> the filter of each row."""


def pack_bits(samples: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack samples of 1, 2, 4 or 8 bits into bytes, the first in the highest bits, each row filled with 0.

    Parameters
    ----------
    samples : (height, width) uint8 array
        Below ``2**bits``.
    bits : int

    Returns
    -------
    (height, ceil(width * bits / 8)) uint8 array
    """
    if bits == 8:
        return samples
    each = 8 // bits
    height, width = samples.shape
    padded = np.pad(samples, ((0, 0), (0, -width % each))).reshape(height, -1, each)
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(padded << shifts, axis=2)
    return packed


def filtered(
    rows: NDArray[np.uint8], step: int, choose: Choose, start: int = 0, stop: int | None = None
) -> NDArray[np.uint8]:
    """Filter rows, those from `start` to `stop`.

    Parameters
    ----------
    rows : (height, n) uint8 array
        Bytes of samples.
    step : int
        Bytes from a pixel to the next, at least 1.
    choose : Choose
        Of a rule of `FILTERS`, fitted to these rows or to some of them.

    Returns
    -------
    (height, 1 + n) uint8 array
        Each row after the number of its filter.
    """
    stop = len(rows) if stop is None else stop
    out = np.empty((stop - start, rows.shape[1] + 1), np.uint8)
    if choose is _unfiltered:
        out[:, 0], out[:, 1:] = 0, rows[start:stop]
        return out
    for first, ways in _in_blocks(rows, step, start, stop):
        part = slice(first - start, first - start + ways.shape[1])
        out[part, 0] = chosen = choose(ways)
        out[part, 1:] = ways[chosen, np.arange(len(chosen))]
    return out


def _in_blocks(
    rows: NDArray[np.uint8], step: int, start: int, stop: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the first row of each block, and the block after each filter."""
    height = max(1, _BLOCK // rows.shape[1])
    for first in range(start, stop, height):
        above = rows[first - 1] if first else np.zeros_like(rows[0])
        yield first, _all_ways(rows[first : min(first + height, stop)], above, step)


def _all_ways(rows: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Rows after each of the five filters, (5, rows, n); `above` is the row before the first."""
    height, size = rows.shape
    framed = np.zeros((height + 1, size + step), np.uint8)
    framed[0, step:], framed[1:, step:] = above, rows
    left, up, corner = framed[1:, :-step], framed[:-1, step:], framed[:-1, :-step]
    ways = np.empty((5, height, size), np.uint8)
    ways[0] = rows
    np.subtract(rows, left, out=ways[1])
    np.subtract(rows, up, out=ways[2])
    # The mean of two bytes without a wider type: what they share, and half of what they do not.
    np.subtract(rows, (left & up) + ((left ^ up) >> 1), out=ways[3])
    np.subtract(rows, _paeth(left, up, corner), out=ways[4])
    return ways


def _paeth(left: NDArray[np.uint8], up: NDArray[np.uint8], corner: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The one of the three that is nearest to left + up - corner; of equals the first."""
    across = up.astype(np.int16) - corner  # from left to the estimate
    down = left.astype(np.int16) - corner
    to_corner = np.abs(across + down)
    to_left, to_up = np.abs(across), np.abs(down)
    guess = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, guess)


def _first_least(costs: NDArray[np.int64]) -> NDArray[np.intp]:
    found: NDArray[np.intp] = costs.argmin(axis=0)
    return found


def _unfiltered(ways: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Leave each row as it is, for which no other way need be tried."""
    return np.zeros(ways.shape[1], np.intp)


def _always(number: int) -> Callable[..., Choose]:
    return lambda rows, step: lambda ways: np.full(ways.shape[1], number)


def _least_sums(rows: NDArray[np.uint8], step: int) -> Choose:
    """The least sum of absolute differences, the rule that the standard advises.

    Without the mean: on codes of a palette it wins by it, and the file becomes larger by 1 %.
    """

    def choose(ways: NDArray[np.uint8]) -> NDArray[np.intp]:
        sums: NDArray[np.int64] = np.abs(ways.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
        sums[3] = np.iinfo(np.int64).max
        return _first_least(sums)

    return choose


def _fewest_bits(rows: NDArray[np.uint8], step: int) -> Choose:
    """The fewest bits in an entropy code of the bytes of the whole image.

    That code depends on the choice in turn, so both are fitted to each other, beginning with `_least_sums`.
    """
    choose = _least_sums(rows, step)
    for _ in range(_ROUNDS):
        counts = np.full(256, 0.5)  # a byte that does not occur still has a length
        for _, ways in _in_blocks(rows, step, 0, len(rows)):
            chosen = choose(ways)
            counts += np.bincount(ways[chosen, np.arange(len(chosen))].ravel(), minlength=256)
        choose = _by_lengths(np.rint(-16 * np.log2(counts / counts.sum())).astype(np.uint16))
    return choose


def _by_lengths(lengths: NDArray[np.uint16]) -> Choose:
    return lambda ways: _first_least(lengths[ways].sum(axis=2, dtype=np.int64))


def _fewest_pairs(rows: NDArray[np.uint8], step: int) -> Choose:
    """The fewest distinct pairs of neighbors: what repeats is found again by deflate."""

    def choose(ways: NDArray[np.uint8]) -> NDArray[np.intp]:
        pairs = (ways[:, :, :-1].astype(np.uint16) << 8) | ways[:, :, 1:]
        pairs.sort(axis=2)
        distinct: NDArray[np.int64] = (pairs[:, :, 1:] != pairs[:, :, :-1]).sum(axis=2)
        return _first_least(distinct)

    return choose


FILTERS: dict[str, Callable[[NDArray[np.uint8], int], Choose]] = {
    "none": lambda rows, step: _unfiltered,
    "sub": _always(1),
    "up": _always(2),
    "paeth": _always(4),
    "sums": _least_sums,
    "bits": _fewest_bits,
    "pairs": _fewest_pairs,
}
"""Ways to choose the filter of each row: one for all, or by a rule."""
