"""Runs tasks in this process, in threads of it.

Dask's schedulers are given as functions: for a name it would load all of distributed.
"""

from __future__ import annotations

import contextvars
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Self

import dask.local
import dask.threaded
from dask.base import compute, persist
from dask.callbacks import Callback
from dask.delayed import Delayed

from dkmeans.compute.executor import Executor, dealt
from dkmeans.compute.memory import memory_limit
from dkmeans.events.reporter import Advance

__all__ = ["InProcess"]


class _Threads:
    """A pool for Dask's scheduler, of threads that end with the process.

    Those of the standard library do not: a command that is interrupted would wait until their tasks are done.
    """

    def __init__(self, n: int) -> None:
        self._max_workers = n  # where Dask looks
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        for _ in range(self._max_workers):
            threading.Thread(target=self._work, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        for _ in range(self._max_workers):
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


class InProcess(Executor):
    """Runs tasks in this process, in threads of it.

    Parameters
    ----------
    threads : int
        Tasks at a time; with 1 they run one after the other in the thread that asks for them.
    device : {"auto", "cpu", "gpu"}
    memory : int or None
        Bytes to plan for, 0 for no limit; what this process may take by default.
    """

    def __init__(self, threads: int = 1, *, device: str = "auto", memory: int | None = None) -> None:
        self.threads = threads
        self.device = device
        self.memory = memory_limit() if memory is None else memory

    def run(
        self,
        tasks: Sequence[Delayed],
        advance: Advance | None = None,
        check: Callable[[Any], None] | None = None,
    ) -> list[Any]:
        """Results of `tasks`, in their order; see `Executor.run`."""

        def told(result: Any, times: int = 1) -> None:
            if advance:
                advance(times)
            if check:
                check(result)

        if self.threads > 1:
            left = Counter(task.key for task in tasks)

            def done(key: Any, result: Any, *_: Any) -> None:
                if times := left.pop(key, 0):
                    told(result, times)

            # The callback is called in the thread that waits, so that an error of it ends all.
            with Callback(posttask=done), _Threads(self.threads) as pool:
                results = list(compute(*tasks, scheduler=dask.threaded.get, pool=pool))
            for task, result in zip(tasks, results, strict=True):  # what was there already
                if times := left.pop(task.key, 0):
                    told(result, times)
            return results
        results = []
        for task in tasks:
            results.append(task.compute(scheduler=dask.local.get_sync))
            told(results[-1])
        return results

    def persist(self, tasks: Sequence[Delayed]) -> list[Delayed]:
        """Run `tasks` and keep their results; tasks that stand for them."""
        with _Threads(self.threads) as pool:
            return list(persist(*tasks, scheduler=dask.threaded.get, pool=pool))

    def shares(self, tasks: Sequence[Delayed]) -> list[list[int]]:
        """Persisted tasks, by number, of which each list is the share of one thread."""
        return dealt(range(len(tasks)), self.threads)

    def workers(self) -> frozenset[str]:
        """None: all runs here."""
        return frozenset()

    def limits(self) -> list[tuple[int, int]]:
        """Memory limit in bytes, 0 for none, and threads."""
        return [(self.memory, self.threads)]

    def ask(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Give what `function` returns here."""
        return {"this process": function(*arguments)}

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function` here."""
        function(*arguments)
