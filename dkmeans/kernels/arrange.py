"""Where rows and centers lie in memory, so that what is near lies together.

A tile holds sixteen rows feature by feature, shape (n_features, 16), so that vector code reads one feature
of all of them at once. All tiles of a block lie in one flat array.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.bytewise import words_of_centers
from dkmeans.kernels.jit import jit
from dkmeans.kernels.records import Centers, Coarse
from dkmeans.kernels.rounded import tiles_of_words
from dkmeans.kernels.vector import prefetch, row_offset
from dkmeans.kernels.writer import LANES

__all__ = ["aligned", "arrange_centers", "near_order", "pack", "reorder", "sort_order", "unpack"]

_CACHE_LINE = 64
_AHEAD = 8
"""Rows that are asked for before one is moved."""
_KEYS = 1 << 11
_WIDER = 1 + 1e-6
_VERY_FAR = 1e15
"""Coordinates of the empty lanes of the last tile; their squares are still float32."""


def aligned(size: int, dtype: Any) -> NDArray[Any]:
    """Make an empty array that begins where a line of the cache does: no vector lies across two."""
    n_bytes = size * np.dtype(dtype).itemsize
    buffer = np.empty(n_bytes + 2 * _CACHE_LINE, np.uint8)  # `bytewise` reads up to a line behind the end
    first = -buffer.ctypes.data % _CACHE_LINE
    return buffer[first : first + n_bytes].view(dtype)


def padded(n: int) -> int:
    """Round `n` up to whole tiles."""
    return -(-n // LANES) * LANES


@jit
def _pack(rows: Any, tiles: Any) -> None:
    n_features = np.uint64(rows.shape[1])
    for row in range(rows.shape[0]):
        at = row_offset(row, n_features)
        for feature in range(n_features):
            tiles[at + feature * np.uint64(LANES)] = rows[row, feature]


@jit
def _reorder(tiles: Any, order: Any, n_features: int, moved: Any) -> None:
    n_bytes = n_features * LANES * tiles.itemsize
    for row in range(order.size):
        if row + _AHEAD < order.size:  # rows come from anywhere, so that the processor would wait for each
            following = np.int64(row_offset(order[row + _AHEAD], n_features))
            for line in range(0, n_bytes, _CACHE_LINE):
                prefetch(tiles, following + line // tiles.itemsize)
        old, new = row_offset(order[row], n_features), row_offset(row, n_features)
        for feature in range(np.uint64(n_features)):
            step = feature * np.uint64(LANES)
            moved[new + step] = tiles[old + step]


@jit
def _unpack(tiles: Any, positions: Any, rows: Any) -> None:
    n_features = np.uint64(rows.shape[1])
    for row in range(positions.size):
        at = row_offset(positions[row], n_features)
        for feature in range(n_features):
            rows[row, feature] = tiles[at + feature * np.uint64(LANES)]


def pack(rows: NDArray[Any]) -> NDArray[Any]:
    """Put `rows`, shape (n_rows, n_features), into tiles; the last is filled up with zeros."""
    n_rows, n_features = rows.shape
    tiles = aligned(padded(n_rows) * n_features, rows.dtype)
    tiles[-LANES * n_features :] = 0
    _pack(rows, tiles)
    return tiles


def reorder(tiles: NDArray[Any], order: NDArray[np.int32], n_features: int) -> NDArray[Any]:
    """Copy tiles with their rows in another order."""
    moved = aligned(tiles.size, tiles.dtype)
    moved[-LANES * n_features :] = 0
    _reorder(tiles, order, n_features, moved)
    return moved


def unpack(tiles: NDArray[Any], positions: NDArray[Any], n_features: int) -> NDArray[Any]:
    """Copy the rows at `positions` of the tiles, shape (n_positions, n_features)."""
    rows = np.empty((len(positions), n_features), tiles.dtype)
    _unpack(tiles, positions, rows)
    return rows


@jit
def _prefix_sum(counts: Any) -> None:
    """Add up the numbers of the keys, shifted by one position, to where the first of each goes."""
    for key in range(1, counts.size):
        counts[key] += counts[key - 1]


def sort_order(
    labels: NDArray[np.int32], spread: NDArray[np.float32], n_rows: int, starts: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Order the rows by label, and by `spread` where that is equal; `starts` gets the first of each label.

    Two counting sorts, the last one stable. Of `spread`, float32 and not negative, the exponent and three
    more bits count: it is enough that rows of one tile need about the same candidates.
    """
    by_spread, order = np.empty(n_rows, np.int32), np.empty(n_rows, np.int32)
    counts, following = np.zeros(_KEYS + 1, np.int32), np.empty(starts.size - 1, np.int64)
    _sort(labels, spread.view(np.int32), counts, by_spread, starts, following, order)
    return order


# Arrays are made before a kernel is called: those that it makes itself would take parts of Numba along, which
# take long to load.


@jit
def _sort(
    labels: Any, keys: Any, counts: Any, by_spread: Any, starts: Any, following: Any, order: Any
) -> None:
    for row in range(order.size):
        counts[(keys[row] >> 20) + 1] += 1
    _prefix_sum(counts)
    for row in range(order.size):
        key = keys[row] >> 20
        by_spread[counts[key]] = row
        counts[key] += 1
    for label in range(starts.size):
        starts[label] = 0
    for row in range(order.size):
        starts[labels[row] + 1] += 1
    _prefix_sum(starts)
    for label in range(following.size):
        following[label] = starts[label]
    for i in range(order.size):
        row = by_spread[i]
        order[following[labels[row]]] = row
        following[labels[row]] += 1


def near_order(values: NDArray[np.float32], size: int) -> NDArray[np.int32]:
    """Order the rows of `values` so that each `size` that follow each other lie near.

    Split at the median of the direction in which they vary most, again and again.
    """
    order, projections = np.arange(len(values), dtype=np.int32), np.empty(len(values), np.float32)
    todo = np.empty((len(values) // size + 2, 2), np.int64)
    _split(values, size, order, projections, np.empty((3, values.shape[1]), np.float32), todo)
    return order


@jit
def _split(values: Any, size: Any, order: Any, projections: Any, vectors: Any, todo: Any) -> None:
    todo[0, 0], todo[0, 1] = 0, order.size
    n_todo = 1
    while n_todo:
        n_todo -= 1
        low, high = todo[n_todo, 0], todo[n_todo, 1]
        n_parts = -(-(high - low) // size)
        if n_parts < 2:
            continue
        middle = low + n_parts // 2 * size
        _project(values, order, low, high, vectors, projections)
        _part(projections, order, low, middle, high)
        todo[n_todo, 0], todo[n_todo, 1] = low, middle
        todo[n_todo + 1, 0], todo[n_todo + 1, 1] = middle, high
        n_todo += 2


@jit
def _project(values: Any, order: Any, low: Any, high: Any, vectors: Any, out: Any) -> None:
    """Project some rows of `values` on about the direction in which they vary most."""
    mean, direction, following = vectors[0], vectors[1], vectors[2]
    for feature in range(mean.size):
        mean[feature] = 0
        for i in range(low, high):
            mean[feature] += values[order[i], feature]
        mean[feature] /= np.float32(high - low)
        direction[feature] = values[order[low], feature] - mean[feature]
    for _ in range(3):  # steps of the power method
        for feature in range(mean.size):
            following[feature] = 0
        for i in range(low, high):
            out[i] = 0
            for feature in range(mean.size):
                out[i] += (values[order[i], feature] - mean[feature]) * direction[feature]
            for feature in range(mean.size):
                following[feature] += out[i] * (values[order[i], feature] - mean[feature])
        squares = 0.0
        for feature in range(mean.size):
            squares += np.float64(following[feature]) * following[feature]
        if squares == 0:
            break
        for feature in range(mean.size):
            direction[feature] = np.float32(following[feature] / math.sqrt(squares))


@jit
def _part(keys: Any, order: Any, low: Any, middle: Any, high: Any) -> None:
    """Exchange rows between `low` and `high` until none before `middle` has a greater key than one behind it.

    C. A. R. Hoare, Algorithm 65: Find, Communications of the ACM 4(7), 1961.
    """
    first, last = low, high - 1
    while first < last:
        pivot = keys[first + (last - first) // 2]
        up, down = first, last
        while up <= down:
            while keys[up] < pivot:
                up += 1
            while keys[down] > pivot:
                down -= 1
            if up <= down:
                keys[up], keys[down] = keys[down], keys[up]
                order[up], order[down] = order[down], order[up]
                up += 1
                down -= 1
        if down < middle:
            first = up
        if middle < up:
            last = down


def _tiles_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay `values`, whole tiles of them, out as flat tiles."""
    n_rows, n_features = values.shape
    tiles = aligned(values.size, np.float32)
    shape = (n_rows // LANES, n_features, LANES)
    tiles.reshape(shape)[...] = values.reshape(-1, LANES, n_features).transpose(0, 2, 1)
    return tiles


def _fill_up(values: NDArray[Any], n_rows: int) -> NDArray[np.float32]:
    """Append as many rows very far away as make `n_rows`."""
    filled = np.full((n_rows, values.shape[1]), _VERY_FAR, np.float32)
    filled[: len(values)] = values
    return filled


def arrange_centers(
    centers: NDArray[np.float32],
    integers: NDArray[np.int64],
    order: NDArray[np.int32],
    byte_bits: int | None = None,
    *,
    coarse: bool = False,
) -> Centers:
    """Lay out the centers as the search reads them; sixteen that follow each other in `order` make a tile.

    With `byte_bits`, F of their grid, also as `bytewise` reads them; with `coarse`, as `rounded` does.
    """
    n_clusters = len(centers)
    members = np.append(order, np.repeat(order[-1:], padded(n_clusters) - n_clusters))
    near = centers[members]
    means = near.reshape(-1, LANES, centers.shape[1]).mean(axis=1)
    radii = _radii(near, means)
    mean_tiles = _tiles_of(_fill_up(means, radii.size))
    tiles = _tiles_of(_fill_up(near[:n_clusters], members.size))
    planes, halves = np.empty(0, np.int32), np.empty(0, np.float32)
    if byte_bits is not None:
        planes = words_of_centers(integers, byte_bits)
        halves = (np.einsum("kj,kj->k", centers, centers, dtype=np.float64) / 2).astype(np.float32)
    return Centers(
        np.ascontiguousarray(centers).reshape(-1),
        integers,
        tiles,
        members,
        mean_tiles,
        radii,
        planes,
        halves,
        _rounded(near, means) if coarse else Coarse(tiles, mean_tiles, radii, np.float32(0)),
    )


def _radii(values: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.float32]:
    """Find the radius around each mean that holds the tile of `values`; of means that fill up, none."""
    gaps = (values.reshape(len(means), LANES, -1) - means[:, None]).astype(np.float64)
    radii = np.zeros(padded(len(means)), np.float32)
    radii[: len(means)] = np.sqrt(np.einsum("tlf,tlf->tl", gaps, gaps).max(axis=1)) * _WIDER
    return radii


def _rounded(near: NDArray[np.float32], means: NDArray[np.float32]) -> Coarse:
    """Round the centers and the means of their tiles to whole numbers, as words."""
    whole = np.rint(near)
    gaps = near - whole  # exact, of which d squares are summed with a relative error below d 2^-23
    blur = np.sqrt(np.einsum("kj,kj->k", gaps, gaps).max() * (1 + near.shape[1] * 2.0**-22))
    means = np.rint(means)
    radii = _radii(near, means)
    radii[len(means) :] = -_VERY_FAR  # what fills up is never near
    filled = np.concatenate([means, np.repeat(means[-1:], radii.size - len(means), axis=0)])
    return Coarse(tiles_of_words(whole), tiles_of_words(filled), radii, np.float32(blur))
