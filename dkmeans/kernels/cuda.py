"""A block of rows on an NVIDIA GPU, by CuPy. The one module that imports cupy.

Tiled matrix products in float64 and an argmin (see `gemm`); sums by bincount in float64, exact because they
stay below 2^53, and squares in int64. What is returned lies in the memory of the host.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels import gemm
from dkmeans.kernels.cpu import pick_farthest
from dkmeans.kernels.exact import ChunkStats, grid_integers

__all__ = ["Block", "device_count"]


def device_count() -> int:
    """Number of GPUs that CuPy can use; raises CuPy's own error if there is no driver."""
    return int(cupy.cuda.runtime.getDeviceCount())


class Block:
    """Rows on the device, and their last labels; see `dkmeans.kernels.Block`.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), uint8 or uint16
    weights : ndarray of shape (n_rows,), int64, or None
        How often each row counts; None counts each once.
    """

    def __init__(self, rows: NDArray[Any], weights: NDArray[np.int64] | None = None) -> None:
        self.n_rows, self.n_features = rows.shape
        self.dtype = rows.dtype
        self._rows = cupy.asarray(rows)
        self._weighted = weights is not None
        times = np.ones(self.n_rows, np.int64) if weights is None else weights
        self._weights = cupy.asarray(times.astype(np.int64))
        self._known: tuple[NDArray[np.float32], Any] | None = None  # centers, and the labels for them

    def __reduce__(self) -> tuple[Any, ...]:
        """What is known stays where it is: another process begins anew."""
        return Block, (self.rows(), cupy.asnumpy(self._weights) if self._weighted else None)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + int(self._rows.nbytes + self._weights.nbytes)

    def rows(self, positions: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """The rows at `positions`, all if None; shape (n, n_features)."""
        chosen = self._rows if positions is None else self._rows[cupy.asarray(positions)]
        return np.asarray(cupy.asnumpy(chosen))

    def lloyd(self, centers: NDArray[np.float32], previous: NDArray[np.float32] | None = None) -> ChunkStats:
        """Assign the rows to `centers` and sum them up."""
        before = None if previous is None else self._labelled(previous)
        labels = self._labelled(centers)
        moved = int((self._weights if before is None else self._weights[labels != before]).sum())
        columns = [self._rows[:, feature].astype(cupy.int64) for feature in range(self.n_features)]
        sums = [_totals(labels, column * self._weights, len(centers)) for column in columns]
        counts = _totals(labels, self._weights, len(centers))
        squares = sum(int((column * column * self._weights).sum()) for column in columns)
        return ChunkStats(cupy.asnumpy(cupy.stack(sums, axis=1)), cupy.asnumpy(counts), squares, moved)

    def labels(self, centers: NDArray[np.float32]) -> NDArray[np.int32]:
        """Index of the nearest center of each row, the lowest on ties; shape (n_rows,)."""
        return np.asarray(cupy.asnumpy(self._labelled(centers)))

    def adopt(self, labels: NDArray[np.int32], centers: NDArray[np.float32]) -> None:
        """Know what another block of these rows knew, whose `labels(centers)` these are."""
        self._known = centers.copy(), cupy.asarray(labels)

    def farthest(self, centers: NDArray[np.float32], n: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The `n` distinct rows farthest from their centers."""
        distances = gemm.nearest(cupy, self._rows, _integers(centers, self.dtype))[1]
        return pick_farthest(self.rows(), cupy.asnumpy(distances), n)

    def _labelled(self, centers: NDArray[np.float32]) -> Any:
        """Labels on the device."""
        known = self._known
        if known is None or not np.array_equal(known[0], centers):
            labels, _ = gemm.nearest(cupy, self._rows, _integers(centers, self.dtype))
            known = self._known = centers.copy(), labels  # at once, as threads may share it
        return known[1]


def _integers(centers: NDArray[np.float32], dtype: np.dtype[Any]) -> Any:
    return cupy.asarray(grid_integers(centers, dtype))


def _totals(labels: Any, values: Any, n_clusters: int) -> Any:
    """The int64 sum of `values` for each label; CuPy's bincount takes no empty array."""
    if not len(labels):
        return cupy.asarray(np.zeros(n_clusters, np.int64))
    return cupy.bincount(labels, values.astype(cupy.float64), n_clusters).astype(cupy.int64)
