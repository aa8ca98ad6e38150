"""The rows that seeds are drawn from: a sample, each distinct row once, and how often it counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.kernels import Block, Stats, arithmetic

__all__ = ["Sample", "count_distinct"]

_ROWS_PER_THREAD = 20_000
_PACKED_BYTES = 64
"""Rows up to so many bytes are sorted as a few numbers: six times as fast as by NumPy, byte by byte."""


@dataclass(frozen=True)
class Sample:
    """Distinct rows and how often each counts.

    Attributes
    ----------
    rows : ndarray of shape (n_distinct, n_features)
        In lexicographic order.
    times : ndarray of shape (n_distinct,), int64
    threads : int
        Floats take one, as their sums would depend on the number.
    """

    rows: NDArray[Any]
    times: NDArray[np.int64]
    threads: int = 1

    @cached_property
    def _blocks(self) -> list[Block]:
        most = self.threads if kernels.is_exact(self.rows.dtype) else 1
        n_parts = min(most, 1 + len(self.rows) // _ROWS_PER_THREAD)
        borders = np.linspace(0, len(self.rows), n_parts + 1).astype(int)
        return [
            kernels.load(self.rows[start:stop], weights=self.times[start:stop])
            for start, stop in pairwise(borders)
        ]

    def _step(self, centers: NDArray[Any], previous: NDArray[Any] | None = None) -> Stats:
        def step(block: Block) -> Stats:
            return block.lloyd(centers, previous)

        with ThreadPoolExecutor(len(self._blocks)) as pool:
            found: Stats = arithmetic(self.rows.dtype).merge(list(pool.map(step, self._blocks)))
        return found

    def weigh(self, centers: NDArray[Any]) -> NDArray[Any]:
        """Count the rows nearest to each of some rows; shape (n_centers,)."""
        return self._step(arithmetic(self.rows.dtype).snap(centers, self.rows.dtype)).counts

    def move(self, centers: NDArray[Any], n_steps: int) -> NDArray[Any]:
        """Move centers by steps of Lloyd on the sample; one without rows stays.

        Not by `dkmeans.clustering.loop.iterate`, which takes a last step to count the rows of the centers.
        """
        numbers, dtype = arithmetic(self.rows.dtype), self.rows.dtype
        previous, centers = None, numbers.snap(centers, dtype)
        for _ in range(n_steps):
            stats = self._step(centers, previous)
            previous, centers = centers, numbers.update_centers(stats, centers, dtype)
        return centers


def count_distinct(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Find the distinct rows in lexicographic order, and how often each occurs; as ``np.unique``."""
    n_bytes = rows.shape[1] * rows.dtype.itemsize
    if rows.dtype.kind != "u" or n_bytes > _PACKED_BYTES or not len(rows):
        return np.unique(rows, axis=0, return_counts=True)
    # The bytes of the values, highest first, have the order of the rows; so have numbers of eight of them.
    padded = np.zeros((len(rows), -(-n_bytes // 8) * 8), np.uint8)
    padded[:, :n_bytes] = np.ascontiguousarray(rows, rows.dtype.newbyteorder(">")).view(np.uint8)
    keys = padded.view(">u8").astype(np.uint64)
    order = np.lexsort(keys.T[::-1])
    keys = keys[order]
    first = np.flatnonzero(np.append(True, (keys[1:] != keys[:-1]).any(axis=1)))
    return rows[order[first]], np.diff(np.append(first, len(rows)))
