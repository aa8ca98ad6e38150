"""Rows of a fit that count more or less than once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.rows import Rows, load_given_rows
from dkmeans.compute.executor import Executor
from dkmeans.kernels import Block

__all__ = ["WeightedRows", "choose_unit", "load_weighted_rows", "sums_fit", "weigh"]

_PARTS_OF_A_WEIGHT = 1 << 10
"""How often a row of mean weight counts for the seeds where weights are no integers."""
_LARGEST, _SMALLEST = 1e60, 1e-60
"""Between these the largest weight has to be: sums of weighted squares stay within float64."""
_LARGEST_INTEGER = 1 << 53
"""Up to here float64 holds all integers."""


@dataclass(frozen=True)
class WeightedRows(Rows):
    """Rows that count several times: positions are those of the rows, each repeated as often as it counts.

    So the seeds are those that the repeated rows would have.

    Attributes
    ----------
    ends : tuple of Delayed
        Of each block, the number of repetitions up to the end of each of its rows; shape (size,), int64.
    """

    ends: tuple[Delayed, ...]

    def take_of_block(self, number: int, positions: NDArray[np.int64]) -> Delayed:
        """Make the task that takes the rows at `positions` of one block."""
        task: Delayed = delayed(_take)(self.blocks[number], self.ends[number], positions)
        return task


def _take(block: Block, ends: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[Any]:
    return block.rows(np.searchsorted(ends, positions, side="right"))


class Weighing(NamedTuple):
    """Facts of the weights of a part."""

    least: float
    most: float
    total: float
    n_positive: int
    integers: bool


def _weigh(weights: NDArray[Any]) -> Weighing:
    total = float(weights.sum(dtype=np.float64))
    integers = np.isfinite(total) and bool((weights == np.rint(weights)).all())
    return Weighing(float(weights.min()), float(weights.max()), total, int((weights > 0).sum()), integers)


def weigh(parts: list[Any], cluster: Executor) -> list[Weighing]:
    """Gather the facts of the weights of each part.

    Raises
    ------
    ValueError
        If one is negative or not finite, or all are zero.
    """
    task = delayed(_weigh)
    found = cluster.run([task(part) for part in parts])
    total = sum(part.total for part in found)
    if not (np.isfinite(total) and min(part.least for part in found) >= 0):
        raise ValueError("sample_weight: found negative, infinite or NaN values; expected weights >= 0.")
    if not total:
        raise ValueError("sample_weight: all weights are zero; expected one that is not zero.")
    most = max(part.most for part in found)
    if not _SMALLEST <= most <= _LARGEST:
        raise ValueError(
            f"sample_weight: found {most:g} as the largest weight; expected {_SMALLEST:g} to {_LARGEST:g}. "
            "Scale your weights."
        )
    return found


def sums_fit(found: list[Weighing], dtype: np.dtype[Any], n_features: int) -> bool:
    """Whether weights are integers, and int64 holds all sums of weighted rows and of a block's squares."""
    top = int(np.iinfo(dtype).max)
    total, heaviest = sum(part.total for part in found), max(part.total for part in found)
    in_range = total * top < 2.0**63 and heaviest * n_features * top * top < 2.0**63
    return in_range and all(part.integers for part in found)


def choose_unit(found: list[Weighing]) -> float:
    """Choose the weight of a row that counts once for the seeds: 1 if all weights are integers."""
    total = sum(part.total for part in found)
    if all(part.integers for part in found) and total < _LARGEST_INTEGER:
        return 1.0
    return total / sum(part.n_positive for part in found) / _PARTS_OF_A_WEIGHT


def _positive(weights: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return weights[weights > 0].astype(dtype)


def _ends(weights: NDArray[Any], unit: float) -> NDArray[np.int64]:
    """Add up how often the rows that have a weight count, in multiples of `unit`, at least once each."""
    times = np.maximum(np.rint(weights[weights > 0] / unit), 1)
    return np.cumsum(times.astype(np.int64))


def _last(ends: NDArray[np.int64]) -> int:
    return int(ends[-1])


def load_weighted_rows(
    parts: list[Any],
    weights: list[Any],
    unit: float,
    n_features: int,
    dtype: np.dtype[Any],
    cluster: Executor,
) -> WeightedRows:
    """Load rows into memory, a block for each part.

    Parameters
    ----------
    parts : list of ndarray or Delayed
        The rows that have a weight, at least one a part.
    weights : list of ndarray or Delayed
        Those of all rows.
    unit : float
        The weight of a row that counts once for the seeds.
    n_features : int
    dtype : numpy dtype
    cluster : Executor
    """
    end, last, positive = delayed(_ends), delayed(_last), delayed(_positive)
    ends = cluster.persist([end(part, unit) for part in weights])
    sizes = cluster.run([last(part) for part in ends])
    weight_dtype = np.dtype(np.int64) if kernels.is_exact(dtype) else np.dtype(np.float64)
    times = [positive(part, weight_dtype) for part in weights]
    rows = load_given_rows(parts, sizes, n_features, dtype, cluster, times)
    return WeightedRows(rows.blocks, rows.cuts, n_features, dtype, cluster, True, tuple(ends))
