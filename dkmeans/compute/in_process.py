"""Runs tasks in this process, in threads of it.

Tasks that stand for themselves are called without Dask, which takes as long to load as a small image takes.
Others go to Dask's schedulers. These are given as functions: for a name it would load all of distributed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dkmeans.compute.calls import Call, Held, as_delayed, prepared
from dkmeans.compute.executor import Executor, Task
from dkmeans.compute.memory import memory_limit
from dkmeans.compute.rounds import Here, Rounds, Work
from dkmeans.compute.threads import Threads, call_all
from dkmeans.events.reporter import Advance

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["InProcess"]


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

    def task(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give what makes tasks of `function`, for functions that go to storage."""
        call = Task(function)
        return lambda *arguments, **options: Call(call, arguments, options)

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

        calls = prepared(tasks)
        return self._run_graph(tasks, told) if calls is None else call_all(calls, self.threads, told)

    def _run_graph(self, tasks: Sequence[Delayed], told: Callable[..., None]) -> list[Any]:
        """Results of tasks that stand for others, by Dask."""
        import dask.local
        import dask.threaded
        from dask.base import compute
        from dask.callbacks import Callback

        tasks = [as_delayed(task) for task in tasks]
        if self.threads > 1:
            left = Counter(task.key for task in tasks)

            def done(key: Any, result: Any, *_: Any) -> None:
                if times := left.pop(key, 0):
                    told(result, times)

            # The callback is called in the thread that waits, so that an error of it ends all.
            with Callback(posttask=done), Threads(self.threads) as pool:
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

    def persist(self, tasks: Sequence[Delayed]) -> list[Any]:
        """Run `tasks` and keep their results; tasks that stand for them."""
        calls = prepared(tasks)
        if calls is not None:
            return [Held(value) for value in call_all(calls, self.threads)]
        import dask.threaded
        from dask.base import persist

        with Threads(self.threads) as pool:
            return list(persist(*map(as_delayed, tasks), scheduler=dask.threaded.get, pool=pool))

    def rounds(self, work: Work, tasks: Sequence[Delayed]) -> Rounds:
        """Begin work that is done again and again on the values of persisted tasks."""
        return Here(work, self.run(tasks), self.threads)

    def limits(self) -> list[tuple[int, int]]:
        """Memory limit in bytes, 0 for none, and threads."""
        return [(self.memory, self.threads)]

    def ask(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Give what `function` returns here."""
        return {"this process": function(*arguments)}

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function` here."""
        function(*arguments)
