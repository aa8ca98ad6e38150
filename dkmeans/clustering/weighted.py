"""Rows of a fit that count more or less than once."""

from __future__ import annotations

import math
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
_MOST_UNITS, _MOST_DISTINCT = 1 << 10, 1 << 12
"""Units that the smallest weight may be, and distinct weights, up to which a common unit is looked for."""
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
    """Facts of the weights of a part; `smallest` is the smallest above zero, `divisor` that of integers."""

    least: float
    smallest: float
    most: float
    total: float
    n_positive: int
    integers: bool
    divisor: int


def _weigh(weights: NDArray[Any]) -> Weighing:
    total, positive = float(weights.sum(dtype=np.float64)), weights[weights > 0]
    integers = np.isfinite(total) and bool((weights == np.rint(weights)).all())
    exact = integers and abs(weights).max() < _LARGEST_INTEGER
    return Weighing(
        least=float(weights.min()),
        smallest=float(positive.min()) if positive.size else np.inf,
        most=float(weights.max()),
        total=total,
        n_positive=positive.size,
        integers=integers,
        divisor=int(np.gcd.reduce(weights.astype(np.int64))) if exact else 0,
    )


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


def choose_unit(parts: list[Any], found: list[Weighing], cluster: Executor) -> float:
    """Choose the weight of a row that counts once for the seeds, of which all others are multiples.

    The largest that is: the greatest common divisor of integers. So weights times a constant draw the same
    seeds. Where there is none, or it is too small, a part of the mean weight.
    """
    total = sum(part.total for part in found)
    if all(part.integers for part in found) and total < _LARGEST_INTEGER:
        return float(math.gcd(*(part.divisor for part in found)))
    smallest = min(part.smallest for part in found)
    count = delayed(_whole_units)
    whole = np.all(cluster.run([count(part, smallest) for part in parts]), axis=0)
    unit = smallest / (1 + int(np.argmax(whole)))
    if whole.any() and total / unit < _LARGEST_INTEGER:
        return unit
    return total / sum(part.n_positive for part in found) / _PARTS_OF_A_WEIGHT


def _whole_units(weights: NDArray[Any], smallest: float) -> NDArray[np.bool_]:
    """Tell whether all weights are multiples of `smallest` over 1, 2, 3, ...; shape (_MOST_UNITS,)."""
    few = _MOST_DISTINCT
    if np.unique(weights[: 2 * few]).size > few or (distinct := np.unique(weights)).size > few:
        return np.zeros(_MOST_UNITS, bool)
    rounding = 8 * np.finfo(np.result_type(weights, np.float16)).eps
    with np.errstate(over="ignore", invalid="ignore"):  # a ratio that float64 does not hold is none
        ratios = distinct.astype(np.float64) / smallest

        def is_whole(n_units: int) -> bool:
            units = n_units * ratios
            return bool((np.abs(units - np.rint(units)) <= rounding * units).all())

        return np.array([is_whole(n_units) for n_units in range(1, _MOST_UNITS + 1)])


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
    *,
    resident: bool = True,
) -> WeightedRows:
    """Load rows, a block for each part.

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
    resident : bool
        See `load_given_rows`.
    """
    end, last, positive = delayed(_ends), delayed(_last), delayed(_positive)
    ends = cluster.persist([end(part, unit) for part in weights])
    sizes = cluster.run([last(part) for part in ends])
    weight_dtype = np.dtype(np.int64) if kernels.is_exact(dtype) else np.dtype(np.float64)
    times = [positive(part, weight_dtype) for part in weights]
    rows = load_given_rows(parts, sizes, n_features, dtype, cluster, times, resident=resident)
    return WeightedRows(rows.blocks, rows.cuts, n_features, dtype, cluster, resident, tuple(ends))
