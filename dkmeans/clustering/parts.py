"""Arrays of NumPy, SciPy, Dask and Zarr as the rows of a fit, and row by row results of one.

Rows of uint8 and uint16 stay what they are if their weights are integers; everything else is worked on in
float64, of which rows of float32 are kept in half the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from dkmeans import kernels, plan
from dkmeans.clustering.blocks import SMALLEST, check_blocks, check_scale, check_values, find_largest
from dkmeans.clustering.counted import count_part, load_counted_rows
from dkmeans.clustering.labels import label_rows
from dkmeans.clustering.rows import Rows, cut_rows, load_given_rows
from dkmeans.clustering.sparse import SparseRows
from dkmeans.clustering.stored import StoredRows
from dkmeans.clustering.weighted import WeightedRows, choose_unit, load_weighted_rows, sums_fit, weigh
from dkmeans.compute.executor import Executor
from dkmeans.features.histogram import is_worth_counting
from dkmeans.kernels import Block, exact, floats
from dkmeans.plan import RowLayout

__all__ = ["as_dask", "compute_distances", "find_nearest", "load_array_rows", "map_rows"]

_FLOAT = np.dtype(np.float64)
_FLOAT_BLOCKS = 16
_FLOAT_BLOCK_ROWS = 1 << 12
"""Rows of floats come in so many equal blocks, of so many rows at least, whatever the threads: so do sums."""


def _work_dtype(array: Any, centers: NDArray[Any] | None = None) -> np.dtype[Any]:
    """Choose the dtype of `array` if its rows can be worked on in integers, with `centers` if given."""
    dtype = np.dtype(array.dtype).newbyteorder("=")
    if not kernels.is_exact(dtype) or array.shape[1] > exact.MAX_FEATURES:
        return _FLOAT
    on_grid = centers is None or np.array_equal(exact.snap(centers, dtype), centers)
    return dtype if on_grid else _FLOAT


def _cuts(array: Any, dtype: np.dtype[Any], cluster: Executor, *, fit: bool) -> list[tuple[int, int]]:
    """Cut an array of NumPy, SciPy or Zarr into blocks; those of floats do not depend on the threads.

    Those of a `fit` on GPUs, which stay there from step to step, are as few as can be.
    """
    n_rows, n_features = array.shape
    chunk = array.chunks[0] if isinstance(array, StoredRows) else 1
    layout, row_bytes = RowLayout(chunk, chunk), n_features * dtype.itemsize
    if dtype != _FLOAT:
        if fit and cluster.n_gpus():
            return cut_rows(n_rows, n_features, dtype, layout, 0, cluster).cuts
        return plan.fit_cuts(n_rows, row_bytes, layout, cluster.n_threads())
    most = plan.fit_cuts(n_rows, row_bytes, layout, 1)[0][1]
    wanted = -(-n_rows // max(1, min(_FLOAT_BLOCKS, n_rows // _FLOAT_BLOCK_ROWS)))
    return plan.cuts(n_rows, min(most, chunk * -(-wanted // chunk)))


def _read(array: Any, start: int, stop: int) -> NDArray[Any]:
    """Read rows of an array of NumPy, which are checked already, or of SciPy or Zarr."""
    if isinstance(array, np.ndarray):
        return np.asarray(array[start:stop])
    rows: NDArray[Any] = array.read(start, stop)
    check_values(rows, "X")
    return rows


def _parts(
    array: Any, dtype: np.dtype[Any], cluster: Executor, *, fit: bool = True
) -> tuple[list[tuple[int, int]], list[Any]]:
    """Cut `array` into blocks, none empty; their borders, and their values as slices or tasks."""
    if isinstance(array, da.Array):
        cuts = list(pairwise(np.cumsum((0, *array.chunks[0])).tolist()))
        parts = list(array.to_delayed().ravel())
        held = [number for number, (start, stop) in enumerate(cuts) if start < stop]
        return [cuts[number] for number in held], [parts[number] for number in held]
    cuts = _cuts(array, dtype, cluster, fit=fit)
    read = _read if isinstance(array, np.ndarray) else delayed(_read)
    return cuts, [read(array, *cut) for cut in cuts]


def _values(part: NDArray[Any], weights: NDArray[Any] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Take the rows of `part` that have a weight, as `dtype`, laid out as the kernels are compiled for.

    Of floats the kernels take float32 as it is: no copy, and half of the memory.
    """
    dtype = floats.kept_dtype(part.dtype) if dtype == _FLOAT else dtype
    return np.require(part if weights is None else part[weights > 0], dtype, ["C", "A", "W"])


def load_array_rows(
    array: Any,
    weights: Any,
    cluster: Executor,
    positions: NDArray[np.int64] | None = None,
    centers: NDArray[Any] | None = None,
) -> Rows:
    """Load the rows of an array that have a weight into memory, sparse ones only if it holds them dense.

    Parameters
    ----------
    array : array of NumPy or Dask, StoredRows or SparseRows, of shape (n_rows, n_features)
        Of Dask in one chunk along the features, all of known sizes.
    weights : array of NumPy or Dask, of shape (n_rows,), or None
        How often each row counts; None counts each once.
    cluster : Executor
    positions : ndarray of shape (n,), int64, or None
        The rows, ascending, of which some will be taken where there are no weights: many pixels are kept as
        colors alone.
    centers : ndarray of shape (n_clusters, n_features), or None
        Rows that are to be compared with them become float64 unless they lie on the grid of the rows.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are zero; from the tasks, if rows are not finite.
    """
    dtype, n_features = _work_dtype(array, centers), array.shape[1]
    if weights is not None:
        return _check_scale(_weighted_rows(array, weights, cluster, dtype), centers)
    cuts, parts = _parts(array, dtype, cluster)
    values, sizes = delayed(_values), [stop - start for start, stop in cuts]
    kept = [values(part, None, dtype) for part in parts]
    if not is_worth_counting(dtype, n_features, sum(sizes) // len(parts)):
        stay = _stay(array, dtype, cluster)
        rows = load_given_rows(kept, sizes, n_features, dtype, cluster, resident=stay)
        in_range = isinstance(array, np.ndarray) and find_largest(array[:1]) >= SMALLEST
        return rows if in_range else _check_scale(rows, centers)
    taken = np.empty(0, np.int64) if positions is None else positions
    count, local = delayed(count_part), plan.in_cuts(taken, cuts)
    tasks = [count(part, of_part, cluster.device) for part, of_part in zip(kept, local, strict=True)]
    return load_counted_rows(tasks, sum(sizes), n_features, dtype, cluster, taken)


def _top(block: Block) -> float:
    """Find the largest number of a block, or of its first row where that is large enough."""
    first = find_largest(block.rows(np.zeros(1, np.int64)))
    return first if first >= SMALLEST else find_largest(block.rows())


def _check_scale(rows: Rows, centers: NDArray[Any] | None) -> Rows:
    """Refuse floats so small that their distances to each other, or to `centers`, vanish."""
    if rows.dtype == _FLOAT and (centers is None or find_largest(centers) < SMALLEST):
        tops = rows.cluster.run([delayed(_top)(block) for block in rows.blocks])
        check_scale(max(tops), "X")
    return rows


def _weighted_rows(array: Any, weights: Any, cluster: Executor, dtype: np.dtype[Any]) -> WeightedRows:
    n_features = array.shape[1]
    cuts, parts = _parts(array, dtype, cluster)
    if isinstance(weights, da.Array):
        sizes = tuple(stop - start for start, stop in cuts)
        times: list[Any] = list(weights.rechunk((sizes,)).to_delayed())
    else:
        times = [weights[start:stop] for start, stop in cuts]
    found = weigh(times, cluster)
    if dtype != _FLOAT and not sums_fit(found, dtype, n_features):
        return _weighted_rows(array, weights, cluster, _FLOAT)
    unit = choose_unit(times, found, cluster)
    used = [number for number, part in enumerate(found) if part.n_positive]
    values, times = delayed(_values), [times[number] for number in used]
    kept = [values(parts[number], part, dtype) for number, part in zip(used, times, strict=True)]
    stay = _stay(array, dtype, cluster)
    return load_weighted_rows(kept, times, unit, n_features, dtype, cluster, resident=stay)


def _stay(array: Any, dtype: np.dtype[Any], cluster: Executor) -> bool:
    """Whether the rows stay in memory during a fit."""
    kept = floats.kept_dtype(array.dtype) if dtype == _FLOAT else dtype
    return not isinstance(array, SparseRows) or array.stay(cluster, kept.itemsize)


def find_nearest(rows: NDArray[Any], centers: NDArray[Any], device: str) -> NDArray[np.int32]:
    """Find the nearest center of each row, the lowest index on ties; shape (n_rows,).

    In integers if the rows are and the centers lie on their grid, else in float64.
    """
    if not len(rows):
        return np.empty(0, np.int32)
    dtype = _work_dtype(rows, centers)
    snapped = kernels.arithmetic(dtype).snap(centers, dtype)
    return label_rows(_comparable(rows, centers, dtype), snapped, device)


def _comparable(rows: NDArray[Any], centers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Make `rows` `dtype`; refuse them if their distances to `centers` vanish."""
    if dtype == _FLOAT and find_largest(centers) < SMALLEST:
        check_scale(max(find_largest(rows), find_largest(centers)), "X")
    return _values(rows, None, dtype)


def compute_distances(rows: NDArray[Any], centers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Compute the distance of every row and center in float64; shape (n_rows, n_clusters)."""
    found = floats.distances(_comparable(rows, centers, _FLOAT), floats.snap(centers, _FLOAT))
    if find_largest(found) > float(np.finfo(dtype).max):
        raise ValueError(
            f"X: found a distance of {find_largest(found):g}; expected one that {dtype} holds. "
            "Pass X.astype('float64')."
        )
    return found.astype(dtype, copy=False)


def as_dask(array: StoredRows, sizes: int | tuple[int, ...]) -> da.Array:
    """Make a lazy array of Dask, in chunks of so many rows, of the rows of a Zarr array."""
    meta = np.empty((0, 0), array.dtype)
    return check_blocks(da.from_array(array, (sizes, -1), name=False, inline_array=True, meta=meta), "X")


def map_rows(
    function: Callable[..., NDArray[Any]],
    array: Any,
    cluster: Executor,
    dtype: np.dtype[Any],
    width: int | None = None,
) -> Any:
    """Apply `function` to the rows: of NumPy and SciPy at once, of Dask and Zarr as a lazy array of Dask.

    A Zarr array in the memory of this process is worked on at once, as no other process can read it.

    Parameters
    ----------
    function : callable
        Its result is of shape (n_rows,), or (n_rows, width).
    array : array of NumPy or Dask, StoredRows or SparseRows, of shape (n_rows, n_features)
    cluster : Executor
    dtype : numpy dtype
        That of the result.
    width : int or None
    """
    if not isinstance(array, da.Array):
        cuts, parts = _parts(array, _work_dtype(array), cluster, fit=False)
        sizes = tuple(stop - start for start, stop in cuts)
        if isinstance(array, StoredRows) and not array.in_memory:
            array = as_dask(array, sizes)
        else:
            part = delayed(function)
            found = np.concatenate(cluster.run([part(values) for values in parts]))
            is_stored = isinstance(array, StoredRows)
            return da.from_array(found, (sizes, *found.shape[1:])) if is_stored else found
    shape = {"drop_axis": 1} if width is None else {"chunks": (array.chunks[0], (width,))}
    meta = np.empty((0,) if width is None else (0, 0), dtype)
    return array.map_blocks(function, dtype=dtype, meta=meta, **shape)
