"""A block of rows on an NVIDIA GPU: its Lloyd steps, exact.

The rows lie on the device between the steps, sorted by label, in pieces. Where they do not fit they are
offloaded to pinned memory of the host. The pieces take turns on two streams, see `streams`: while one
computes, the other copies. Only the sums come back to the host.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.cpu import pick_farthest
from dkmeans.kernels.cuda.candidates import (
    LISTS_BYTES,
    CandidateLists,
    make_lists,
    near_centers,
    on_grid,
    padded,
)
from dkmeans.kernels.cuda.compiled import STRIPES, kernels
from dkmeans.kernels.cuda.piece import Piece
from dkmeans.kernels.cuda.streams import streams
from dkmeans.kernels.exact import ChunkStats

__all__ = ["Block"]

_PIECE_BYTES = 1 << 28
_RESERVE = 3 * LISTS_BYTES + 2 * _PIECE_BYTES
"""Device memory that rows leave free: lists and what they are made from, and a piece that is sorted."""
_FEW = 64
"""Clusters up to which the first step looks at all of them."""
_REASSIGNED = 0.5
"""Share of reassigned rows from which they are sorted again: it costs more than a search."""

_taking_memory = threading.Lock()


def _free_bytes() -> int:
    """Count the bytes that can still be taken on the device."""
    free, _ = cupy.cuda.runtime.memGetInfo()
    return int(free) + int(cupy.get_default_memory_pool().free_bytes()) - _RESERVE


class Block:
    """Rows, and what is known of them between the steps; made as `dkmeans.kernels.cpu.Block` is.

    Attributes
    ----------
    resident : bool
        Whether the rows stay on the device; if not, each step streams them there.
    """

    def __init__(self, rows: NDArray[Any], weights: NDArray[np.int64] | None = None) -> None:
        self.n_rows: int = rows.shape[0]
        self.n_features: int = rows.shape[1]
        self.dtype = rows.dtype
        self._lock = threading.Lock()
        self._device = cupy.cuda.Device()
        self._streams = streams()
        self._kernels = kernels(rows.dtype, self.n_features)
        self._weighted = weights is not None
        # Words, label, order, a part of a pivot and spread, weight; sorted, a run has half a tile more.
        row_bytes = 4 * self._kernels.n_words + 10 + 8 * self._weighted
        step = max(1, _PIECE_BYTES // row_bytes)
        self._cuts = [(first, min(first + step, self.n_rows)) for first in range(0, self.n_rows, step)]
        self._pieces: list[Piece] = []
        with _taking_memory, self._working():
            self.resident = self.n_rows * row_bytes * 5 // 4 < _free_bytes()
            squares = cupy.zeros((len(self._cuts), STRIPES), np.int64)
            self._streams.take_turns(len(self._cuts), lambda n: self._load(n, rows, weights, squares[n]))
            stripes = self._streams.download(squares)
        self._squares = sum(map(int, stripes.sum(axis=1)))  # those of a piece fit into int64
        self._centers: NDArray[np.float32] | None = None  # those that the labels belong to
        self._rough = False  # whether the rows were sorted by label alone: the next step tells their spread

    def _load(self, number: int, rows: NDArray[Any], weights: NDArray[np.int64] | None, squares: Any) -> None:
        """Make a piece, and add the squares of its values up."""
        cut = slice(*self._cuts[number])
        piece = Piece(self._kernels, self._streams, rows[cut], None if weights is None else weights[cut])
        piece.add_squares_to(squares)
        self._release(piece)
        self._pieces.append(piece)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave behind what is known: another process starts again."""
        with self._lock, self._working():
            return Block, (self._rows(np.arange(self.n_rows)), self._weights())

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + sum(piece.nbytes for piece in self._pieces)

    def rows(self, positions: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Copy the rows at `positions`, all if None; shape (n, n_features), on the host."""
        with self._lock, self._working():
            return self._rows(np.arange(self.n_rows) if positions is None else positions)

    def lloyd(self, centers: NDArray[np.float32], previous: NDArray[np.float32] | None = None) -> ChunkStats:
        """Assign the rows to `centers` and sum them up."""
        with self._lock, self._working():
            if previous is None:
                self._start(centers)
            else:
                self._ensure_labels(previous)
                self._step(centers)
            totals = self._streams.download(self._totals)
            sums, moved, reassigned = self._parts(totals, len(centers))
            for piece, stripes in zip(self._pieces, reassigned, strict=True):
                piece.reassigned = int(stripes.sum())
            counts = sums[:, -1].copy()
            n_moved = int(counts.sum() if previous is None else moved.sum())
            return ChunkStats(sums[:, :-1].copy(), counts, self._squares, n_moved)

    def labels(self, centers: NDArray[np.float32]) -> NDArray[np.int32]:
        """Find the nearest center of each row, the lowest index on ties; shape (n_rows,), on the host."""
        with self._lock, self._working():
            self._ensure_labels(centers)
            found = np.empty(self.n_rows, np.int32)

            def copy(number: int, piece: Piece) -> None:
                found[slice(*self._cuts[number])] = piece.labels()

            self._each(copy)
            return found

    def adopt(self, labels: NDArray[np.int32], centers: NDArray[np.float32]) -> None:
        """Know what another block of these rows knew, whose `labels(centers)` these are."""
        with self._lock, self._working():
            self._centers = None
            sums = self._new_totals(len(centers))[0]

            def adopt(number: int, piece: Piece) -> None:
                piece.adopt(labels[slice(*self._cuts[number])])
                piece.sort(len(centers))
                piece.add_to(sums)

            self._each(adopt)
            self._centers, self._rough = centers.copy(), True

    def farthest(self, centers: NDArray[np.float32], n: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Find the `n` distinct rows farthest from their centers."""
        with self._lock, self._working():
            self._ensure_labels(centers)
            integers = on_grid(padded(centers, self._kernels.width), self.dtype)
            distances = [np.empty(0, np.int64)]
            rows = [np.empty((0, self.n_features), self.dtype)]

            def find(_: int, piece: Piece) -> None:
                far, row = piece.farthest(integers, n)
                distances.append(far)
                rows.append(row)

            self._each(find)
            return pick_farthest(np.concatenate(rows), np.concatenate(distances), n)

    # The methods from here on run under the lock.

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Make the device of the rows and the main stream the current ones."""
        with self._device, self._streams.main:
            yield

    def _each(self, work: Callable[[int, Piece], None]) -> None:
        """Call ``work(number, piece)`` for all pieces, each on the device; see `Streams.take_turns`."""

        def on_device(number: int) -> None:
            piece = self._pieces[number]
            piece.fetch()
            work(number, piece)
            self._release(piece)

        self._streams.take_turns(len(self._pieces), on_device)

    def _release(self, piece: Piece) -> None:
        if not self.resident:
            piece.offload()

    def _rows(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        out = np.empty((len(positions), self.n_features), self.dtype)

        def copy(number: int, piece: Piece) -> None:
            start, stop = self._cuts[number]
            inside = (positions >= start) & (positions < stop)
            if inside.any():
                out[inside] = piece.rows(positions[inside] - start)

        self._each(copy)
        return out

    def _weights(self) -> NDArray[np.int64] | None:
        if not self._weighted:
            return None
        times = np.empty(self.n_rows, np.int64)

        def copy(number: int, piece: Piece) -> None:
            times[slice(*self._cuts[number])] = piece.weights()

        self._each(copy)
        return times

    def _new_totals(self, n_clusters: int) -> tuple[Any, Any, Any]:
        """Make zeros that the kernels add to: in one array, so that it comes to the host at once."""
        n_stripes = STRIPES * (1 + len(self._pieces))
        self._totals = cupy.zeros(n_clusters * (self.n_features + 1) + n_stripes, np.int64)
        return self._parts(self._totals, n_clusters)

    def _parts(self, totals: Any, n_clusters: int) -> tuple[Any, Any, Any]:
        """Split totals into sums, the counts as last column, and stripes: moved, and reassigned by piece."""
        size = n_clusters * (self.n_features + 1)
        stripes = totals[size:].reshape(-1, STRIPES)
        return totals[:size].reshape(n_clusters, -1), stripes[0], stripes[1:]

    def _ensure_labels(self, centers: NDArray[np.float32]) -> None:
        """Make the labels and sums those of `centers`, if they are not."""
        if self._centers is None or not np.array_equal(self._centers, centers):
            self._start(centers)

    def _start(self, centers: NDArray[np.float32]) -> None:
        """Assign the rows from nothing; many centers by way of a few of them, their first pivots."""
        self._centers = None
        sums, moved, reassigned = self._new_totals(len(centers))
        few = centers[:: round(len(centers) ** 0.5)] if len(centers) > _FEW else centers
        middle = np.rint(few.mean(axis=0, keepdims=True)).astype(np.float32)
        to_few = make_lists(self._kernels, middle, few)
        from_few = make_lists(self._kernels, np.rint(few), centers) if len(centers) > _FEW else None

        def start(number: int, piece: Piece) -> None:
            piece.use_one_pivot()
            piece.search(to_few, None, moved, reassigned[number])
            if from_few is not None:
                piece.sort(len(few))
                piece.search(from_few, None, moved, reassigned[number])
            piece.sort(len(centers))
            piece.add_to(sums)

        self._each(start)
        self._totals[sums.size :] = 0
        self._centers, self._rough = centers.copy(), True

    def _step(self, centers: NDArray[np.float32]) -> None:
        """Assign the rows, sorted by labels for as many other centers, and move the sums along."""
        n_clusters = len(centers)
        self._centers = None  # should this be interrupted, labels and sums belong to no centers
        sums, moved, reassigned = self._parts(self._totals, n_clusters)
        moved[...] = 0
        reassigned[...] = self.n_rows if self._rough else 0  # so that they are sorted before the next step
        self._rough = False
        lists: CandidateLists = near_centers(self._kernels, centers)

        def step(number: int, piece: Piece) -> None:
            if piece.reassigned > _REASSIGNED * piece.n_rows:
                piece.sort(n_clusters)
            piece.search(lists, sums, moved, reassigned[number])

        self._each(step)
        self._centers = centers.copy()
