"""Lloyd's iterations across workers: exact, and a function of the rows and the first centers alone.

Of float64 rows they are rounded, and a function of their cuts too; see `dkmeans.kernels.floats`.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from dkmeans.clustering.loop import LloydResult, State, iterate
from dkmeans.clustering.rows import Rows
from dkmeans.compute.in_process import InProcess
from dkmeans.compute.tree import combined, reduced
from dkmeans.kernels import Block, Stats, arithmetic

__all__ = ["known_labels", "lloyd"]

_Far = tuple[NDArray[Any], NDArray[Any]]
"""Distances, and the rows that are so far."""

_SENT_BYTES = 4 << 20
"""Bytes of centers up to which each task of a step gets a copy."""
_MOST_HELD = 64
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
    """Take a step on one block, on a worker; `hint` names the labels of a block that is read anew."""
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


def _steps(
    blocks: list[Block],
    centers: NDArray[Any],
    previous: NDArray[Any] | None,
    hints: list[tuple[str, int] | None],
) -> list[Stats]:
    """Take a step on each block of one share, one after the other."""
    return [_step(block, centers, previous, hint) for block, hint in zip(blocks, hints, strict=True)]


def _step_share(
    blocks: list[Block],
    centers: NDArray[Any],
    previous: NDArray[Any] | None,
    hints: list[tuple[str, int] | None],
) -> Stats:
    """Take a step on the blocks of one share, and add up what they give."""
    merged: Stats = arithmetic(blocks[0].dtype).merge(_steps(blocks, centers, previous, hints))
    return merged


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
    """The steps of one fit over the blocks of `rows`; meets `dkmeans.clustering.loop.Steps`."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.dtype = rows.dtype
        self.fit = uuid.uuid4().hex  # names the hints; no result depends on it
        self._deal()

    def _deal(self) -> None:
        """Choose the blocks that each task of a step takes.

        In this process there is a task for each thread, which takes one value, the list of its blocks: with a
        task for each block, or a value for each, Dask has more to do than the kernels where rows are narrow.
        """
        rows, cluster, blocks = self.rows, self.rows.cluster, self.rows.blocks
        self.workers = cluster.workers()
        here = rows.resident and isinstance(cluster, InProcess)
        of_floats = self.dtype.kind == "f"
        few = here and (not of_floats or len(blocks) <= _MOST_HELD)
        self.shares = cluster.shares(blocks) if few else rows.shares()
        lists = [[blocks[number] for number in share] for share in self.shares]
        held = cluster.persist([delayed(part) for part in lists]) if few else []
        self.parts: list[Any] = held or lists
        self.held: list[list[Block]] = cluster.run(held) if of_floats else []

    def lloyd(self, centers: NDArray[Any], previous: NDArray[Any] | None) -> Stats:
        """Take a step on all blocks."""
        if self.rows.cluster.workers() != self.workers:  # blocks that were lost lie elsewhere
            self._deal()
        merge = arithmetic(self.dtype).merge
        if self.held:
            stats: Stats = combined(merge, self._of_blocks(centers, previous))
        else:
            stats = reduced(self.rows.cluster, merge, self._tasks(_step_share, centers, previous))
        return stats

    def _of_blocks(self, centers: NDArray[Any], previous: NDArray[Any] | None) -> list[Stats]:
        """Take a step on each block of floats in this process, in threads where it is large."""
        if self.rows.cuts[-1][1] * (centers.size + _SUMMED * self.rows.n_features) <= _SMALL:
            found = [_steps(blocks, centers, previous, [None] * len(blocks)) for blocks in self.held]
        else:
            found = self.rows.cluster.run(self._tasks(_steps, centers, previous))
        of_blocks = dict(zip(chain(*self.shares), chain(*found), strict=True))
        return [of_blocks[number] for number in sorted(of_blocks)]

    def _tasks(
        self, function: Callable[..., Any], centers: NDArray[Any], previous: NDArray[Any] | None
    ) -> list[Delayed]:
        """Make the tasks of a step, one for each share."""
        step, now, before = delayed(function), self._sent(centers), self._sent(previous)
        fit = None if self.rows.resident else self.fit
        hints = [[fit and (fit, number) for number in share] for share in self.shares]
        return [step(part, now, before, hint) for part, hint in zip(self.parts, hints, strict=True)]

    def _sent(self, centers: NDArray[Any] | None) -> Any:
        """Centers as an argument of the tasks: in each of them, or where that is much as a task of their own.

        A task that others wait for takes one more way to the worker and back, 5 ms.
        """
        if centers is None or len(self.shares) * centers.nbytes <= _SENT_BYTES:
            return centers
        return delayed(centers)

    def farthest(self, centers: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the `n` rows of all blocks that are farthest from their centers."""
        find, now = delayed(_farthest), delayed(centers)
        tasks = [find(block, now, n) for block in self.rows.blocks]
        found: _Far = reduced(self.rows.cluster, partial(_merge_farthest, n=n), tasks)
        return found

    def close(self) -> None:
        """Drop the hints on all workers."""
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


def _known_labels(block: Block, centers: NDArray[Any]) -> NDArray[np.int32]:
    return block.labels(centers)


def known_labels(rows: Rows, centers: NDArray[Any]) -> NDArray[np.int32]:
    """Gather the labels that the blocks know since the last step; those of floats are there at once."""
    if rows.dtype.kind == "f":
        return np.concatenate([block.labels(centers) for block in rows.cluster.run(rows.blocks)])
    known = delayed(_known_labels)
    return np.concatenate(rows.cluster.run([known(block, centers) for block in rows.blocks]))
