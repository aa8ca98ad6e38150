"""Threads of this process: calls at once, in any number of them with the same results."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, Self

__all__ = ["Threads", "call_all", "share", "sharing"]


class Threads:
    """A pool, also for Dask's scheduler, of threads that end with the process.

    Those of the standard library do not: a command that is interrupted would wait until their tasks are done.
    """

    def __init__(self, n: int) -> None:
        self.n = self._max_workers = n  # where Dask looks
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        for _ in range(self.n):
            threading.Thread(target=self._work, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        for _ in range(self.n):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function in one of the threads."""
        future, context = Future[Any](), contextvars.copy_context()

        def call() -> None:
            try:
                future.set_result(context.run(function, *arguments))
            except BaseException as error:
                future.set_exception(error)

        self._calls.put(call)
        return future


def call_all(
    calls: Sequence[Callable[[], Any]], n_threads: int, told: Callable[[Any], None] = lambda result: None
) -> list[Any]:
    """Call functions, so many at a time; their results in order.

    Parameters
    ----------
    calls : sequence of callable
    n_threads : int
        With 1 they are called one after the other, in the thread that asks for them.
    told : callable
        ``told(result)`` is called with each result as it comes, in the thread that waits. An error of it, or
        of a call, ends all: no more calls are begun.
    """
    if n_threads == 1:
        results = []
        for call in calls:
            results.append(call())
            told(results[-1])
        return results
    done = SimpleQueue[tuple[int, Any, BaseException | None]]()

    def work(number: int) -> None:
        try:
            done.put((number, calls[number](), None))
        except BaseException as error:
            done.put((number, None, error))

    found: dict[int, Any] = {}
    with Threads(min(n_threads, len(calls))) as pool:
        for begun in range(pool.n):
            pool.submit(work, begun)
        while len(found) < len(calls):
            number, result, error = done.get()
            if error is not None:
                raise error
            found[number] = result
            told(result)
            if len(found) + pool.n <= len(calls):  # not before, as what was told may end all
                pool.submit(work, len(found) + pool.n - 1)
    return [found[number] for number in range(len(calls))]


_spare: contextvars.ContextVar[int] = contextvars.ContextVar("spare", default=1)


@contextmanager
def sharing(n_threads: int) -> Iterator[None]:
    """Allow what is done now to take so many threads, as a task may that has no others beside it."""
    before = _spare.set(n_threads)
    try:
        yield
    finally:
        _spare.reset(before)


def share(function: Callable[..., Any], parts: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Call a function with the arguments of each part, in the threads that `sharing` allows; in order.

    What the parts are must not depend on the threads, nor then do the results.
    """
    return call_all([partial(function, *part) for part in parts], _spare.get())
