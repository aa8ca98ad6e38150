"""The Lloyd step on one chunk on an NVIDIA GPU, by CuPy. The one module that imports cupy.

Tiled matrix products in float64 and an argmin (see `gemm`); sums by bincount in float64, exact because they
stay below 2^53, and squares in int64. What is returned, but the hint, lies in the memory of the host.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels import gemm
from dkmeans.kernels.cpu import pick_farthest
from dkmeans.kernels.exact import ChunkStats, grid_integers

__all__ = ["assign", "device_count", "farthest", "lloyd_chunk", "to_device"]


def device_count() -> int:
    """Number of GPUs that CuPy can use; raises CuPy's own error if there is no driver."""
    return int(cupy.cuda.runtime.getDeviceCount())


def to_device(rows: NDArray[Any]) -> Any:
    """`rows` as a CuPy array."""
    return cupy.asarray(rows)


def _integers(centers: NDArray[np.float32], dtype: np.dtype[Any]) -> Any:
    return cupy.asarray(grid_integers(centers, dtype))


def assign(rows: Any, centers: NDArray[np.float32]) -> NDArray[np.int32]:
    """Index of the nearest center of each row, the lowest on ties; shape (n_rows,), on the host."""
    labels, _ = gemm.nearest(cupy, rows, _integers(centers, rows.dtype))
    return np.asarray(cupy.asnumpy(labels))


def _totals(labels: Any, values: Any, n_clusters: int) -> Any:
    """The int64 sum of `values` for each label."""
    return cupy.bincount(labels, values.astype(cupy.float64), n_clusters).astype(cupy.int64)


def lloyd_chunk(
    rows: Any,
    centers: NDArray[np.float32],
    hint: Any = None,
    weights: NDArray[np.int64] | None = None,
) -> tuple[ChunkStats, Any]:
    """Assign a chunk of rows and sum it up; see `dkmeans.kernels.reference.lloyd_chunk`.

    `rows`, `hint` and the hint that is returned are CuPy arrays.
    """
    n_clusters = len(centers)
    labels, _ = gemm.nearest(cupy, rows, _integers(centers, rows.dtype))
    times = cupy.ones(len(rows), cupy.int64) if weights is None else cupy.asarray(weights)
    columns = [rows[:, feature].astype(cupy.int64) for feature in range(rows.shape[1])]
    sums = cupy.stack([_totals(labels, column * times, n_clusters) for column in columns], axis=1)
    counts = _totals(labels, times, n_clusters)
    squares = sum(int((column * column * times).sum()) for column in columns)
    moved = len(rows) if hint is None else int(cupy.count_nonzero(labels != hint))
    return ChunkStats(cupy.asnumpy(sums), cupy.asnumpy(counts), squares, moved), labels


def farthest(rows: Any, centers: NDArray[np.float32], n: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The `n` distinct rows farthest from their centers; see `dkmeans.kernels.reference.farthest`."""
    distances = gemm.nearest(cupy, rows, _integers(centers, rows.dtype))[1]
    return pick_farthest(cupy.asnumpy(rows), cupy.asnumpy(distances), n)
