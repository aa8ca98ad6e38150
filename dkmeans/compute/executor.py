"""Run the tasks of a job: here (`in_process`), or on the workers of a scheduler (`distributed`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dkmeans import __version__
from dkmeans.compute import metrics
from dkmeans.compute.rounds import Rounds, Work
from dkmeans.errors import ClusterError
from dkmeans.events.reporter import Advance, Listener, Reporter
from dkmeans.kernels import gpu_problem
from dkmeans.plan import MIB
from dkmeans.storage import access

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["IMPORTED_BYTES", "Executor", "Task", "done"]

IMPORTED_BYTES = 300 * MIB
"""Bytes that a worker takes with all libraries loaded and nothing to do; measured 277 MiB."""


class Task:
    """A function as the tasks of a job run it: with the job's access to storage, by the same dkmeans."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.access = replace(access.current_access(), in_task=True)
        self.version = __version__
        self.__name__ = function.__name__.strip("_")  # which Dask's dashboard shows

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function; a task that fails is counted."""
        if self.version != __version__:
            raise ClusterError(
                f"a worker has dkmeans {__version__}, the job {self.version}; expected the same. "
                "Install the same version on all workers."
            )
        metrics.serve()
        with access.using(self.access):
            try:
                return self.function(*arguments, **options)
            except Exception:
                access.count(retries=1)
                raise


def done(job: str) -> dict[str, float]:
    """Tell what this process has done for a job."""
    return access.tally_of(job).numbers()


class Executor(ABC):
    """Runs Dask tasks; the same tasks give the same results on any of them.

    Attributes
    ----------
    device : {"auto", "cpu", "gpu"}
        What the Lloyd steps are to run on.
    """

    device: str

    def task(self, function: Callable[..., Any]) -> Callable[..., Delayed]:
        """Give what makes tasks of `function`, for functions that go to storage."""
        from dask.delayed import delayed  # here, as tasks of this process alone do without it

        make: Callable[..., Delayed] = delayed(Task(function))
        return make

    @abstractmethod
    def run(
        self,
        tasks: Sequence[Delayed],
        advance: Advance | None = None,
        check: Callable[[Any], None] | None = None,
    ) -> list[Any]:
        """Results of `tasks`, in their order.

        Parameters
        ----------
        tasks : sequence of Delayed
        advance : callable or None
            ``advance(1)`` is called as each one is done.
        check : callable or None
            ``check(result)`` is called with each result as it comes, in any order. What it raises ends the
            run: no more tasks are begun.
        """

    @abstractmethod
    def persist(self, tasks: Sequence[Delayed]) -> list[Delayed]:
        """Run `tasks` and keep their results where they were made; tasks that stand for them."""

    @abstractmethod
    def rounds(self, work: Work, tasks: Sequence[Delayed]) -> Rounds:
        """Begin work that is done again and again on the values of persisted tasks, where they lie."""

    @abstractmethod
    def limits(self) -> list[tuple[int, int]]:
        """Memory limit in bytes, 0 for none, and threads of each worker, or of this process."""

    def memory_bytes(self) -> int | None:
        """Memory of all workers together, or of this process; None where a worker has no limit."""
        limits = [limit for limit, _ in self.limits()]
        return sum(limits) if all(limits) else None

    def check_memory(self, task: int, what: str, remedy: str, n_tasks: int | None = None) -> None:
        """Refuse tasks of which a worker cannot hold as many as it has threads.

        Parameters
        ----------
        task : int
            Bytes that one task needs.
        what : str
            What a task does, for the message.
        remedy : str
        n_tasks : int or None
            How many there are, if they may be fewer than the threads.

        Raises
        ------
        ClusterError
            Naming what is needed and what is there.
        """
        for limit, threads, need in self._too_small(task, n_tasks):
            raise ClusterError(
                f"{what} takes about {task / MIB:.0f} MiB a task; a worker with {threads} threads needs "
                f"{need / MIB:.0f} MiB and has {limit / MIB:.0f}. Give it more memory or fewer threads, "
                f"or {remedy}."
            )

    def has_memory(self, task: int, n_tasks: int | None = None) -> bool:
        """Whether each worker can hold a task of so many bytes for each thread, of at most `n_tasks`."""
        return not any(True for _ in self._too_small(task, n_tasks))

    def _too_small(self, task: int, n_tasks: int | None) -> Iterator[tuple[int, int, int]]:
        """Give limit, threads and need of each worker that cannot hold its tasks."""
        for limit, threads in self.limits():
            at_once = min(threads, n_tasks or threads)
            need = at_once * task + IMPORTED_BYTES
            if limit and need > limit:
                yield limit, at_once, need

    def n_threads(self) -> int:
        """Tasks that run at a time."""
        return max(1, sum(threads for _, threads in self.limits()))

    def threads_for(self, n_tasks: int) -> int:
        """Threads that each of so many tasks may take, where there are more threads than tasks."""
        most = min(threads for _, threads in self.limits())
        return max(1, min(most, self.n_threads() // max(1, n_tasks)))

    def n_gpus(self) -> int:
        """Count the processes that run tasks if each of them has a GPU; 0 if one of them works on its CPU."""
        if self.device == "cpu":
            return 0
        problems = self.ask(gpu_problem)
        return 0 if any(problems.values()) else len(problems)

    @abstractmethod
    def ask(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Call `function` in each process that runs tasks; results by its name."""

    def watched(self, stage: str, reporter: Reporter) -> AbstractContextManager[Listener | None]:
        """Show to others how far a stage is: what takes its events, if anyone can see it."""
        return nullcontext()

    @abstractmethod
    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function` once in each process that runs tasks; a cluster that is gone needs no call."""

    def tally(self) -> dict[str, float]:
        """Tell what this job has done so far, see `Tally`; without workers that are gone."""
        tallies = self._tallies()
        return {name: sum(each[name] for each in tallies) for name in tallies[0]}

    def _tallies(self) -> list[dict[str, float]]:
        """Tell what each process has done."""
        return [done(access.current_access().job)]
