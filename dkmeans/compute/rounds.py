"""Work that is done again and again on values that stay where they are: one call for each process and round.

A task for each value and round costs several milliseconds, whatever it does. Here a process does all that is
to be done on its values at once, in its threads, and sums up what it found; see `hands` for those of workers.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from dkmeans.compute.threads import call_all

__all__ = ["Here", "Left", "Rounds", "Work", "dealt"]

Left = list[int]
"""Numbers of values on which a round was not done."""


class Work(Protocol):
    """What is done in each round; a process keeps a copy of it, with what it notes there."""

    def begin(self, message: Any) -> Any:
        """Understand the message of a round, once a process; an error says that it does not follow."""

    def do(self, number: int, value: Any, begun: Any) -> Any:
        """Do the work on one value, in any thread."""

    def merge(self, results: list[Any]) -> Any:
        """Put results of several values, or of several processes, together; in any order."""


class Rounds(ABC):
    """Rounds of some work on values that lie where tasks have left them."""

    @abstractmethod
    def call(self, message: Callable[[bool], Any], *, small: bool = False) -> tuple[list[Any], Left]:
        """Do one round.

        Parameters
        ----------
        message : callable
            ``message(anew)`` makes what the processes are told; `anew` if they know of no round before.
        small : bool
            Whether it takes longer to hand it to other threads of this process than to do it.

        Returns
        -------
        results : list
            To be merged; none if no process has done its part.
        left : list of int
            Numbers of the values on which nothing was done, as where they lay is gone: tasks have to do it.
        """

    @abstractmethod
    def close(self) -> None:
        """Have the processes forget it."""


def dealt(work: Work, values: Mapping[int, Any], begun: Any, n_threads: int) -> list[Callable[[], list[Any]]]:
    """Calls for as many threads, each of which takes one value after the other as long as there are some.

    Each call gives a list of one merged result, or an empty one. After an error no more values are taken.
    """
    left, lock = iter(values.items()), threading.Lock()

    def take() -> tuple[int, Any] | None:
        with lock:
            return next(left, None)

    def work_on() -> list[Any]:
        nonlocal left
        results: list[Any] = []
        try:
            while (found := take()) is not None:
                results.append(work.do(*found, begun))
                if len(results) > 1:
                    results = [work.merge(results)]
        except BaseException:
            with lock:
                left = iter(())
            raise
        return results

    return [work_on] * min(n_threads, len(values))


class Here(Rounds):
    """Rounds in this process.

    Parameters
    ----------
    work : Work
    values : list
    n_threads : int
    """

    def __init__(self, work: Work, values: list[Any], n_threads: int) -> None:
        self.work = work
        self.values = dict(enumerate(values))
        self.n_threads = n_threads

    def call(self, message: Callable[[bool], Any], *, small: bool = False) -> tuple[list[Any], Left]:
        """Do one round; see `Rounds.call`."""
        begun = self.work.begin(message(True))
        calls = dealt(self.work, self.values, begun, 1 if small else self.n_threads)
        results = call_all([partial(call) for call in calls], len(calls) or 1)
        return [result for found in results for result in found], []

    def close(self) -> None:
        """Forget the values."""
        self.values = {}
