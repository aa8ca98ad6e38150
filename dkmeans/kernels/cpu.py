"""A block of rows on the CPU: its Lloyd steps in Numba, single-threaded, without the GIL, exact.

The rows stay in the order of their labels of some step before, and of their distances within a label. So the
rows of a tile have one pivot, the center that they had then, and need about the same candidates (see
`dkmeans.kernels.nearest`). Sums change by what moves. Order and labels are a hint: any gives the same result.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.arrange import (
    arrange_centers,
    near_order,
    pack,
    padded,
    reorder,
    sort_order,
    unpack,
)
from dkmeans.kernels.bytewise import has_byte_products
from dkmeans.kernels.exact import ChunkStats, fraction_bits, grid_integers
from dkmeans.kernels.nearest import search
from dkmeans.kernels.records import Rows, Traits
from dkmeans.kernels.totals import Sums, own_distances, sum_of_squares, sum_up
from dkmeans.kernels.workspace import workspace
from dkmeans.kernels.writer import LANES

__all__ = ["Block", "pick_farthest"]

_WRITTEN_OUT = (1, 3, 4, 25, 48, 64, 75, 192)
"""Widths that the search is compiled for by themselves: pixels, patches of 4x4, 5x5 and 8x8 pixels."""
_CAPACITY = 384
"""Candidates that are listed for a pivot; a row that needs more of them is resolved by itself."""
_CAPACITY_BYTES = 1 << 26
"""For wide rows that many bytes of them: there resolving costs more than listing."""
_WIDE = 80
_FEWEST_AS_BYTES, _MOST_AS_BYTES = 32, 1 << 14
"""Features of rows that are searched as bytes: fewer leave too many near ties, more leave int32."""
_FEWEST_ROUNDED = 16
"""Features of rows of bytes that are compared with whole numbers first, where lists end too early."""
_SQUARED = 1 << 30
"""Values whose squares are summed in int64: below 2^62."""
_REASSIGNED = 0.3
"""Share of reassigned rows from which the rows are sorted again."""
_REASSIGNED_AT_FIRST = 0.1
"""The same where they lie by a first guess, which many steps would suffer from."""


class Block:
    """Rows, and what is known of them between the steps; see `dkmeans.kernels.Block`.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), uint8 or uint16
    weights : ndarray of shape (n_rows,), int64, or None
        How often each row counts; None counts each once.
    """

    def __init__(self, rows: NDArray[Any], weights: NDArray[np.int64] | None = None) -> None:
        self.n_rows: int = rows.shape[0]
        self.n_features: int = rows.shape[1]
        self.dtype = rows.dtype
        self._traits = _traits(self.dtype, self.n_features)
        self._coarse = _may_use_bytes(self.dtype, self.n_features, _FEWEST_ROUNDED)
        self._lock = threading.Lock()
        self._tiles = pack(rows)
        self._weights = np.empty(0, np.int64) if weights is None else weights.astype(np.int64)
        self._squares = _sum_of_squares(self._tiles, self.n_features, self._weights)
        self._order = np.arange(self.n_rows, dtype=np.int32)
        self._labels = self._new_labels()
        self._centers: NDArray[np.float32] | None = None  # those that the labels belong to

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave behind what is known: another process starts again."""
        with self._lock:
            return Block, (self._rows(), self._as_given(self._weights) if self._weights.size else None)

    def __sizeof__(self) -> int:
        held = (self._tiles, self._weights, self._order, self._labels)
        return object.__sizeof__(self) + sum(array.nbytes for array in held)

    def rows(self, positions: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Copy the rows at `positions`, all if None; shape (n, n_features)."""
        with self._lock:
            return self._rows(positions)

    def lloyd(self, centers: NDArray[np.float32], previous: NDArray[np.float32] | None = None) -> ChunkStats:
        """Assign the rows to `centers` and sum them up."""
        with self._lock:
            if previous is None:
                self._start(centers)
                moved = int(self._sums.counts.sum())
            else:
                self._ensure_labels(previous)
                moved = self._search(np.rint(centers), centers, exact=True)
                self._centers = centers.copy()
            return ChunkStats(self._sums.sums.copy(), self._sums.counts.copy(), self._squares, moved)

    def labels(self, centers: NDArray[np.float32]) -> NDArray[np.int32]:
        """Find the nearest center of each row, the lowest index on ties; shape (n_rows,)."""
        with self._lock:
            self._ensure_labels(centers)
            return self._as_given(self._labels)

    def adopt(self, labels: NDArray[np.int32], centers: NDArray[np.float32]) -> None:
        """Know what another block of these rows knew, whose `labels(centers)` these are."""
        with self._lock:
            self._centers = None
            self._labels[: self.n_rows] = labels[self._order]
            self._sums = self._new_sums(len(centers))
            sum_up(self._tiles, self._labels, self.n_rows, self._sums)
            self._near = near_order(centers, LANES)
            self._squared_radii = np.zeros(len(centers), np.float32)
            self._sort(len(centers), np.zeros(self._labels.size, np.float32))
            self._centers = centers.copy()

    def farthest(self, centers: NDArray[np.float32], n: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Find the `n` distinct rows farthest from their centers."""
        with self._lock:
            self._ensure_labels(centers)
            integers = grid_integers(centers, self.dtype)
            far = own_distances(self._tiles, self._labels[: self.n_rows], integers, fraction_bits(self.dtype))
            rows = unpack(self._tiles, np.arange(self.n_rows), self.n_features)
            return pick_farthest(rows, far, n)

    # The methods from here on run under the lock.

    def _rows(self, positions: NDArray[np.int64] | None = None) -> NDArray[Any]:
        tile_positions = self._as_given(np.arange(self.n_rows, dtype=np.int32))
        chosen = tile_positions if positions is None else tile_positions[positions]
        return unpack(self._tiles, chosen, self.n_features)

    def _as_given(self, values: NDArray[Any]) -> NDArray[Any]:
        """Bring `values` of the rows as they lie into the order in which the rows were given."""
        ordered = np.empty(self.n_rows, values.dtype)
        ordered[self._order] = values[: self.n_rows]
        return ordered

    def _new_labels(self) -> NDArray[np.int32]:
        return np.full(padded(self.n_rows), -1, np.int32)

    def _new_sums(self, n_clusters: int) -> Sums:
        sums = np.zeros((n_clusters, self.n_features), np.int64)
        return Sums(sums, np.zeros(n_clusters, np.int64), self._weights)

    def _ensure_labels(self, centers: NDArray[np.float32]) -> None:
        """Make the labels and sums those of `centers`, if they are not."""
        if self._centers is None or not np.array_equal(self._centers, centers):
            self._start(centers)

    def _start(self, centers: NDArray[np.float32]) -> None:
        """Assign the rows from nothing; many centers by way of groups of them, which give a first guess."""
        n_clusters = len(centers)
        self._near = near = near_order(centers, LANES)
        self._starts, self._squared_radii = np.array([0, self.n_rows]), np.zeros(1, np.float32)
        self._sums = self._new_sums(0)
        pivots = np.rint(centers.mean(axis=0, keepdims=True))
        if n_clusters > self._capacity(n_clusters):
            first = np.arange(0, n_clusters, round(n_clusters**0.5))
            sizes = np.diff(np.append(first, n_clusters))[:, None]
            groups = np.rint(np.add.reduceat(centers[near], first) / sizes).astype(np.float32)
            self._near = near_order(groups, LANES)
            self._search(pivots, groups, exact=False)
            self._near, self._squared_radii = near, np.zeros(len(groups), np.float32)
            self._search(groups, centers, exact=False)
            pivots = np.rint(centers)
        self._labels, self._sums = self._new_labels(), self._new_sums(n_clusters)
        self._squared_radii = np.zeros(len(pivots), np.float32)
        self._search(pivots, centers, exact=True, reassigned=_REASSIGNED_AT_FIRST)
        if len(pivots) != n_clusters:
            self._squared_radii = np.zeros(n_clusters, np.float32)
        self._centers = centers.copy()

    def _capacity(self, n_clusters: int) -> int:
        """Bound the number of candidates of a pivot."""
        affordable = 0 if self.n_features < _WIDE else _CAPACITY_BYTES // (4 * self.n_features)
        return min(n_clusters, max(_CAPACITY, affordable))

    def _search(
        self,
        pivots: NDArray[Any],
        centers: NDArray[np.float32],
        *,
        exact: bool,
        reassigned: float = _REASSIGNED,
    ) -> int:
        """Label the rows by `centers`, sort them if many have left their pivots; how many labels changed."""
        self._centers = None  # should this be interrupted, labels and sums belong to no centers
        byte_bits = None if self._traits.margin else self._traits.bits
        arranged = arrange_centers(
            centers, grid_integers(centers, self.dtype), self._near, byte_bits, coarse=self._coarse
        )
        spread = np.zeros(self._labels.size, np.float32)
        origins = np.ascontiguousarray(pivots, np.float32).reshape(-1)
        moved, n_reassigned = search(
            Rows(self._tiles, self._starts, origins, self._squared_radii, self._labels, spread),
            arranged,
            self._sums,
            self._traits,
            workspace(arranged, self._capacity(len(centers)), self.n_features),
            exact,
        )
        if n_reassigned > reassigned * self.n_rows or len(self._starts) != len(centers) + 1:
            self._sort(len(centers), spread)
        return int(moved)

    def _sort(self, n_pivots: int, spread: NDArray[np.float32]) -> None:
        """Bring the rows into the order of their labels: each label is a pivot of the next step."""
        self._starts = np.zeros(n_pivots + 1, np.int64)
        order = sort_order(self._labels, spread, self.n_rows, self._starts)
        self._tiles = reorder(self._tiles, order, self.n_features)
        self._order = self._order[order]
        self._labels[: self.n_rows] = self._labels[order]
        if self._weights.size:
            self._weights = self._weights[order]
            self._sums = self._sums._replace(weights=self._weights)


def _sum_of_squares(tiles: NDArray[Any], n_features: int, weights: NDArray[np.int64]) -> int:
    """Sum the squares of all values; where rows have weights, these are such that it fits into int64."""
    step = max(1, tiles.size) if weights.size else _SQUARED
    parts = [tiles[at : at + step] for at in range(0, tiles.size, step)]
    return sum(int(sum_of_squares(part, n_features, weights)) for part in parts)


def _may_use_bytes(dtype: np.dtype[Any], n_features: int, fewest: int) -> bool:
    return dtype == np.uint8 and fewest <= n_features <= _MOST_AS_BYTES and has_byte_products()


def _traits(dtype: np.dtype[Any], n_features: int) -> Traits:
    """Tell how rows are searched: those of uint8 as bytes where that is faster."""
    gamma = np.float32((n_features + 2) * 2.0**-24)
    in_bytes = _may_use_bytes(dtype, n_features, _FEWEST_AS_BYTES)
    width = (None,) * n_features if n_features in _WRITTEN_OUT else n_features
    return Traits(gamma, np.float32(0) if in_bytes else gamma, fraction_bits(dtype), width)


def pick_farthest(
    rows: NDArray[Any], distances: NDArray[np.int64], n: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Find the `n` distinct rows of largest distance; the lexicographically smallest first on ties."""
    wanted = n
    while True:
        # The wanted-th largest distance bounds the candidates; duplicates among them may ask for more.
        floor = np.partition(distances, -wanted)[-wanted] if wanted < len(distances) else -1
        near_top = distances >= floor
        distinct, first = np.unique(rows[near_top], axis=0, return_index=True)
        if len(distinct) >= n or wanted >= len(distances):
            break
        wanted *= 2
    kept = distances[near_top][first]
    order = np.argsort(-kept, kind="stable")[:n]
    return kept[order], distinct[order]
