"""Lloyd's iterations across workers: exact, and a function of the rows and the first centers alone.

Of float64 rows they are rounded, and a function of their cuts too; see `dkmeans.kernels.floats`.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from dkmeans.clustering.loop import LloydResult, State, iterate
from dkmeans.clustering.rows import Rows
from dkmeans.clustering.work import StepWork, Teller
from dkmeans.compute.tree import combined, reduced
from dkmeans.kernels import Block, Stats, arithmetic
from dkmeans.storage.access import count

__all__ = ["known_labels", "lloyd", "round_centers"]

_Far = tuple[NDArray[Any], NDArray[Any]]
"""Distances, and the rows that are so far."""

_SENT_BYTES = 4 << 20
"""Bytes of centers up to which each task of a step gets a copy."""
_MOST_BLOCKS = 64
"""Blocks of floats of which the sums are held in this process until all are there, to be added in order."""
_SMALL = 1 << 26
"""Multiplications of a step on floats, about 3 ms, up to which it takes longer to hand it to threads."""
_SUMMED = 16
"""Multiplications of a feature that take as long as to load it and to add it up."""


# A block that stays in a worker's memory knows the labels of its last step. Of a block that is read anew for
# each step, they are kept here: they never pass through the graph. Without them, one more pass with the
# previous centers makes them again: the same labels, so the same count of moved rows.
_HINTS: dict[tuple[str, int], tuple[NDArray[np.int32], NDArray[Any]]] = {}
_HINTS_LOCK = threading.Lock()


def _step(
    block: Block,
    centers: NDArray[Any],
    previous: NDArray[Any] | None,
    hint: tuple[str, int] | None,
) -> Stats:
    """Take a step on one block, on a worker; `hint` names the labels of a block that is read again."""
    stats = _hinted_step(block, centers, previous, hint)
    count(rows=stats.counts.sum().item())
    return stats


def _hinted_step(
    block: Block,
    centers: NDArray[Any],
    previous: NDArray[Any] | None,
    hint: tuple[str, int] | None,
) -> Stats:
    if hint is None:
        return block.lloyd(centers, previous)
    with _HINTS_LOCK:
        known = _HINTS.pop(hint, None)
    if known is not None and previous is not None and np.array_equal(known[1], previous):
        block.adopt(*known)
    stats = block.lloyd(centers, previous)
    with _HINTS_LOCK:
        _HINTS[hint] = (block.labels(centers), centers)
    return stats


def _forget(fit: str) -> None:
    """Drop the hints of a fit, on a worker."""
    with _HINTS_LOCK:
        for key in [key for key in _HINTS if key[0] == fit]:
            del _HINTS[key]


def _farthest(block: Block, centers: NDArray[Any], n: int) -> _Far:
    return block.farthest(centers, n)


def _merge_farthest(parts: list[_Far], n: int) -> _Far:
    """Choose the `n` farthest distinct rows of several blocks; largest distance, then smallest row first."""
    distances = np.concatenate([part[0] for part in parts])
    rows, first = np.unique(np.concatenate([part[1] for part in parts]), axis=0, return_index=True)
    order = np.argsort(-distances[first], kind="stable")[:n]
    return distances[first][order], rows[order]


class _RowSteps:
    """The steps of one fit over the blocks of `rows`; meets `dkmeans.clustering.loop.Steps`.

    Blocks that stay in memory are stepped where they lie, with one call for each process. What is left, as
    where it lay is gone, and blocks that are read anew, are stepped by tasks: with the same bits.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.dtype = rows.dtype
        self.fit = uuid.uuid4().hex  # names the hints; no result depends on it
        self.teller = Teller()
        many = self.dtype.kind == "f" and len(rows.blocks) > _MOST_BLOCKS
        stay = rows.resident and not many
        self.rounds = rows.cluster.rounds(StepWork(self.dtype), rows.blocks) if stay else None

    def lloyd(self, centers: NDArray[Any], previous: NDArray[Any] | None) -> Stats:
        """Take a step on all blocks."""
        if self.rounds is None:
            return self._by_tasks(range(len(self.rows.blocks)), centers, previous)
        results, left = self.rounds.call(self.teller.step(centers, previous), small=self._is_small(centers))
        if self.dtype.kind == "u":
            more = [self._by_tasks(left, centers, previous)] if left else []
            merged: Stats = arithmetic(self.dtype).merge([*results, *more])
            return merged
        of_blocks = {number: stats for result in results for number, stats in result.items()}
        if left:
            of_blocks.update(
                zip(left, self.rows.cluster.run(self._tasks(left, centers, previous)), strict=True)
            )
        in_order: Stats = combined(
            arithmetic(self.dtype).merge, [of_blocks[each] for each in sorted(of_blocks)]
        )
        return in_order

    def _is_small(self, centers: NDArray[Any]) -> bool:
        """Tell whether one thread is as fast as several; of integers that was never seen."""
        multiplications = self.rows.n_rows * (centers.size + _SUMMED * self.rows.n_features)
        return self.dtype.kind == "f" and multiplications <= _SMALL

    def _by_tasks(
        self, numbers: Sequence[int], centers: NDArray[Any], previous: NDArray[Any] | None
    ) -> Stats:
        """Take a step on some blocks, a task for each."""
        tasks = self._tasks(numbers, centers, previous)
        stats: Stats = reduced(self.rows.cluster, arithmetic(self.dtype).merge, tasks)
        return stats

    def _tasks(
        self, numbers: Sequence[int], centers: NDArray[Any], previous: NDArray[Any] | None
    ) -> list[Delayed]:
        step, now, before = (
            self.rows.cluster.task(_step),
            self._sent(centers, numbers),
            self._sent(previous, numbers),
        )
        hints = [None if self.rows.resident else (self.fit, number) for number in numbers]
        blocks = [self.rows.blocks[number] for number in numbers]
        return [step(block, now, before, hint) for block, hint in zip(blocks, hints, strict=True)]

    def _sent(self, centers: NDArray[Any] | None, numbers: Sequence[int]) -> Any:
        """Centers as an argument of the tasks: in each of them, or where that is much as a task of their own.

        A task that others wait for takes one more way to the worker and back, 5 ms.
        """
        if centers is None or len(numbers) * centers.nbytes <= _SENT_BYTES:
            return centers
        return delayed(centers)

    def farthest(self, centers: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the `n` rows of all blocks that are farthest from their centers."""
        find, now = delayed(_farthest), delayed(centers)
        tasks = [find(block, now, n) for block in self.rows.blocks]
        found: _Far = reduced(self.rows.cluster, partial(_merge_farthest, n=n), tasks)
        return found

    def close(self) -> None:
        """Drop what the workers know of the fit."""
        if self.rounds is not None:
            self.rounds.close()
        if not self.rows.resident:
            self.rows.cluster.everywhere(_forget, self.fit)


def lloyd(
    rows: Rows,
    state: State,
    *,
    max_iter: int,
    tol: float,
    relaxation: float = 1.0,
    min_gain: float = 0.0,
    on_iteration: Callable[[State], None] | None = None,
) -> LloydResult:
    """Iterate over `rows` from `state`; see `dkmeans.clustering.loop.iterate`."""
    steps = _RowSteps(rows)
    try:
        return iterate(
            steps,
            state,
            max_iter=max_iter,
            tol=tol,
            relaxation=relaxation,
            min_gain=min_gain,
            on_iteration=on_iteration,
        )
    finally:
        steps.close()


def round_centers(rows: Rows, result: LloydResult) -> LloydResult:
    """Round the centers of rows of floats to float32, with the counts and the inertia of the rounded ones.

    They are given in float64; labels of rows are to be looked for with these.
    """
    limits = np.finfo(np.float32)  # a center without rows may lie beyond
    rounded = np.clip(result.centers, limits.min, limits.max).astype(np.float32).astype(np.float64)
    found = lloyd(rows, State(rounded), max_iter=0, tol=0)
    return replace(found, history=result.history, converged=result.converged)


def _known_labels(block: Block, centers: NDArray[Any]) -> NDArray[np.int32]:
    return block.labels(centers)


def known_labels(rows: Rows, centers: NDArray[Any]) -> NDArray[np.int32]:
    """Gather the labels that the blocks know since the last step; those of floats are there at once."""
    if rows.dtype.kind == "f":
        return np.concatenate([block.labels(centers) for block in rows.cluster.run(rows.blocks)])
    known = delayed(_known_labels)
    return np.concatenate(rows.cluster.run([known(block, centers) for block in rows.blocks]))
