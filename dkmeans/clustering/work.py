"""What a process does in each step of a fit, on the blocks that lie there, and what it is told for it.

It keeps the centers of the last step, so that in the next one only those travel that have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.errors import ClusterError
from dkmeans.kernels import Block, Stats, arithmetic
from dkmeans.storage.access import count, current_access

__all__ = ["Message", "StepWork", "Teller"]

_Centers = NDArray[Any]
_MOST_CHANGED = 0.5
"""Share of the centers that change in a step, from which all of them are sent."""


@dataclass(frozen=True)
class Message:
    """What a process is told of a step.

    Attributes
    ----------
    number : int
        Of the step, counted from the first one that is told.
    centers : ndarray of shape (n, n_features)
        All of them, or those that have changed.
    changed : ndarray of shape (n,), or None
        Which these are; None for all.
    previous : ndarray, or None
        The centers of the step before; None for those that are known, or that there are none.
    follows : bool
        Whether the process has to know the step before.
    """

    number: int
    centers: _Centers
    changed: NDArray[np.int64] | None
    previous: _Centers | None
    follows: bool


class Teller:
    """Makes the messages of one step after the other."""

    def __init__(self) -> None:
        self.number = 0
        self.last: _Centers | None = None

    def step(self, centers: _Centers, previous: _Centers | None) -> Callable[[bool], Message]:
        """Give what makes the message of a step, for processes that know of none before or that do."""
        last, number = self.last, self.number + 1
        self.last, self.number = centers, number

        def message(anew: bool) -> Message:
            if anew or last is None or previous is None or not np.array_equal(last, previous):
                return Message(number, centers, None, previous, follows=False)
            changed = np.flatnonzero((centers != last).any(axis=1))
            if len(changed) > _MOST_CHANGED * len(centers):
                return Message(number, centers, None, None, follows=True)
            return Message(number, centers[changed], changed, None, follows=True)

        return message


class StepWork:
    """The steps of a process; meets `dkmeans.compute.rounds.Work`.

    Parameters
    ----------
    dtype : numpy dtype
        Of the rows. Integers are added up in any order. Sums of floats depend on it, so that those of each
        block are given by its number.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.access = replace(current_access(), options=())  # of which the rows are counted
        self.number = 0
        self.centers: _Centers | None = None

    def begin(self, message: Message) -> tuple[_Centers, _Centers | None]:
        """Find the centers of a step and of the one before.

        Raises
        ------
        ClusterError
            If the step does not follow the one that is known.
        """
        previous = message.previous
        if message.follows:
            if self.centers is None or self.number != message.number - 1:
                raise ClusterError(f"step {message.number} came, expected {self.number + 1}. Tell all of it.")
            previous = self.centers
        centers = np.array(message.centers)  # what comes over the network cannot be written to
        if message.changed is not None and self.centers is not None:
            centers, changed = self.centers.copy(), centers
            centers[message.changed] = changed
        self.number, self.centers = message.number, centers
        return centers, None if previous is None else np.array(previous)

    def do(self, number: int, block: Block, begun: tuple[_Centers, _Centers | None]) -> Any:
        """Take a step on one block."""
        stats = block.lloyd(*begun)
        count(self.access, rows=stats.counts.sum().item())
        return {number: stats} if self.dtype.kind == "f" else stats

    def merge(self, results: list[Any]) -> Any:
        """Add up statistics, or put those of blocks together."""
        if self.dtype.kind == "f":
            return {number: stats for part in results for number, stats in part.items()}
        merged: Stats = arithmetic(self.dtype).merge(results)
        return merged
