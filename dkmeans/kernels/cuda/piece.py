"""A piece of the rows of a block: on the device, or offloaded to pinned memory of the host between steps.

The rows lie in tiles of 64, in runs of a pivot, whole tiles to a run; see `lloyd.cu`. Slots of a tile that no
row takes have the label ``NO_ROW``.
"""

from __future__ import annotations

from typing import Any

import cupy
import cupyx
import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.cpu import pick_farthest
from dkmeans.kernels.cuda.candidates import CandidateLists
from dkmeans.kernels.cuda.compiled import NO_ROW, SPREADS, TILE, Kernels
from dkmeans.kernels.cuda.streams import Streams, free_pinned

__all__ = ["Piece"]


class Piece:
    """Rows on the device, and what is known of them.

    All work goes to the current stream, and nothing waits for it unless it says so.

    Parameters
    ----------
    kernels : Kernels
    streams : Streams
        Whose pinned memory is used for copies.
    rows : ndarray of shape (n_rows, n_features), uint8 or uint16
    weights : ndarray of shape (n_rows,), int64, or None
    """

    def __init__(
        self, kernels: Kernels, streams: Streams, rows: NDArray[Any], weights: NDArray[np.int64] | None
    ) -> None:
        self.n_rows = len(rows)
        self.reassigned = 0  # rows, since they were sorted, as of the last step
        self._kernels, self._streams = kernels, streams
        n_tiles = -(-self.n_rows // TILE)
        n_slots = n_tiles * TILE
        given = streams.upload(rows)
        words = cupy.zeros((n_tiles, kernels.n_words, TILE), np.uint32)
        kernels.launch_threads("pack", self.n_rows, given, self.n_rows, words)
        labels = cupy.full(n_slots, NO_ROW, np.int32)
        labels[: self.n_rows] = -1
        order = cupy.arange(n_slots, dtype=np.int32)
        order[self.n_rows :] = -1
        self._on_device: dict[str, Any] = {
            "words": words,
            "labels": labels,
            "spread": cupy.zeros(n_slots, np.uint8),
            "order": order,  # the number of each row as it was given
            "pivots": cupy.zeros(n_tiles, np.int32),
        }
        if weights is not None:
            times = self._on_device["weights"] = cupy.zeros(n_slots, np.int64)
            times[: self.n_rows] = streams.upload(weights.astype(np.int64))
        self._offloaded: dict[str, Any] = {}
        self._changed = set(self._on_device)

    # Where the arrays are

    @property
    def nbytes(self) -> int:
        """Count the bytes of the arrays."""
        return sum(int(array.nbytes) for array in (self._on_device or self._offloaded).values())

    def offload(self) -> None:
        """Move the arrays to pinned memory of the host; what has not changed is there."""
        for name in self._changed:
            array = self._on_device[name]
            held = self._offloaded.get(name)
            if held is None or held.shape != array.shape:
                # The memory of the old one may go to anyone at once: nothing may read it any more.
                cupy.cuda.get_current_stream().synchronize()
                held = self._offloaded[name] = None
                free_pinned()
                held = self._offloaded[name] = cupyx.empty_pinned(array.shape, array.dtype)
            array.get(out=held, blocking=False)
        self._on_device, self._changed = {}, set()

    def fetch(self) -> None:
        """Move the arrays back to the device, if they are offloaded."""
        if self._on_device:
            return
        fetched = {name: cupy.empty(held.shape, held.dtype) for name, held in self._offloaded.items()}
        for name, array in fetched.items():
            array.set(self._offloaded[name])
        self._on_device = fetched

    def _write(self, **arrays: Any) -> None:
        self._on_device.update(arrays)
        self._changed.update(arrays)

    def _array(self, name: str) -> Any:
        return self._on_device.get(name)

    @property
    def _n_slots(self) -> int:
        return int(self._array("labels").size)

    # Steps

    def use_one_pivot(self) -> None:
        """Give all rows one pivot, number 0."""
        self._write(pivots=cupy.zeros_like(self._array("pivots")))

    def search(self, lists: CandidateLists, sums: Any, moved: Any, reassigned: Any) -> None:
        """Label the rows by the nearest centers of `lists`, whose pivots the tiles have.

        Parameters
        ----------
        lists : CandidateLists
        sums : array of shape (n_clusters, n_features + 1), int64, or None
            Sums of the rows of each cluster, and their number; those rows that move are moved there.
        moved, reassigned : array of shape (STRIPES,), int64
            Counters: how many rows changed their labels, and how many have not the label of their pivot.
        """
        names = ("weights", "labels", "spread")
        state = [self._array(name) for name in names]
        n_tiles = self._n_slots // TILE
        words, pivots = self._array("words"), self._array("pivots")
        self._kernels.launch_warps(
            "search", n_tiles, words, pivots, n_tiles, *lists, *state, sums, moved, reassigned
        )
        self._changed.update(("labels", "spread"))

    def sort(self, n_labels: int) -> None:
        """Bring the rows into the order of their labels, which become their pivots."""
        labels, spread = self._array("labels"), self._array("spread")
        bins = cupy.zeros((n_labels, SPREADS), np.int32)
        self._kernels.launch_threads("count_labels", self._n_slots, labels, spread, self._n_slots, bins)
        within = cupy.cumsum(bins, axis=1, dtype=np.int32)
        first = cupy.zeros(n_labels + 1, np.int32)  # tile of each label
        first[1:] = cupy.cumsum((within[:, -1] + (TILE - 1)) // TILE, dtype=np.int32)
        following = first[:-1, None] * np.int32(TILE) + within - bins
        n_tiles = self.n_rows // TILE + min(n_labels, self.n_rows)  # no fewer than are needed
        pivots = cupy.full(n_tiles, -1, np.int32)
        self._kernels.launch("set_tile_pivots", (n_labels,), 32, first, pivots)
        self._take(pivots, following)

    def _take(self, pivots: Any, following: Any) -> None:
        """Move each row to the next slot of its label and spread."""
        n_slots = pivots.size * TILE
        old = [self._array(name) for name in ("words", "labels", "spread", "order", "weights")]
        new = {
            "words": cupy.zeros((pivots.size, self._kernels.n_words, TILE), np.uint32),
            "labels": cupy.full(n_slots, NO_ROW, np.int32),
            "order": cupy.full(n_slots, -1, np.int32),
            "weights": None if old[-1] is None else cupy.zeros(n_slots, np.int64),
        }
        args = (*old, self._n_slots, following, *new.values())
        self._kernels.launch_threads("sort_rows", self._n_slots, *args)
        spread = cupy.zeros(n_slots, np.uint8)
        self._write(pivots=pivots, spread=spread, **{k: v for k, v in new.items() if v is not None})
        self.reassigned = 0

    def adopt(self, labels: NDArray[np.int32]) -> None:
        """Take `labels`, of the rows as they were given, as known."""
        order = self._array("order")
        given = self._streams.upload(labels)
        self._write(labels=cupy.where(order >= 0, given[order], np.int32(NO_ROW)))

    # Results

    def add_to(self, sums: Any) -> None:
        """Add all rows to the sums of their labels; for the shape of `sums` see `search`."""
        n_tiles = self._n_slots // TILE
        arrays = (self._array(name) for name in ("words", "labels", "weights"))
        self._kernels.launch_warps("sum_up", n_tiles, *arrays, n_tiles, sums)

    def add_squares_to(self, stripes: Any) -> None:
        """Add the squares of all values of all rows; `stripes`, of shape (STRIPES,), are parts of the sum."""
        arrays = (self._array(name) for name in ("words", "labels", "weights"))
        self._kernels.launch_threads("sum_of_squares", self._n_slots, *arrays, self._n_slots, stripes)

    def labels(self) -> NDArray[np.int32]:
        """Copy the labels of the rows as they were given to the host; waits for them."""
        return self._as_given(self._array("labels"))

    def rows(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows at `positions`, as they were given, to the host; waits for them."""
        slots = self._as_given(cupy.arange(self._n_slots, dtype=np.int32))
        return self._unpack(cupy.asarray(slots[positions]))

    def weights(self) -> NDArray[np.int64]:
        """Copy the weights of the rows as they were given to the host; waits for them."""
        order = self._streams.download(self._array("order"))
        times = np.empty(self.n_rows, np.int64)
        times[order[order >= 0]] = self._streams.download(self._array("weights"))[order >= 0]
        return times

    def farthest(self, integers: Any, n: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Find the `n` distinct rows farthest from the centers of their labels; waits for them."""
        far = cupy.empty(self._n_slots, np.int64)
        arrays = (self._array("words"), self._array("labels"), integers)
        self._kernels.launch_threads("own_distances", self._n_slots, *arrays, self._n_slots, far)
        wanted = n
        while True:  # duplicates among them may ask for more
            every = wanted >= self.n_rows
            floor = 0 if every else cupy.partition(far, far.size - wanted)[far.size - wanted]
            slots = cupy.flatnonzero(far >= floor)
            rows = self._unpack(slots.astype(np.int32))
            found = pick_farthest(rows, self._streams.download(far[slots]), n)
            if len(found[0]) >= n or every:
                return found
            wanted *= 2

    def _as_given(self, values: Any) -> NDArray[np.int32]:
        out = cupy.empty(self.n_rows, np.int32)
        self._kernels.launch_threads(
            "unsort", self._n_slots, values, self._array("order"), self._n_slots, out
        )
        return self._streams.download(out)

    def _unpack(self, slots: Any) -> NDArray[Any]:
        out = cupy.empty((slots.size, self._kernels.n_features), self._kernels.dtype)
        self._kernels.launch_threads(
            "unpack", int(slots.size), self._array("words"), slots, int(slots.size), out
        )
        return self._streams.download(out)
