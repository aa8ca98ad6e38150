"""Runs tasks on the workers of a scheduler of Dask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from dask.delayed import Delayed

from dkmeans.compute import metrics, waiting
from dkmeans.compute.executor import Executor, done
from dkmeans.compute.hands import OnWorkers
from dkmeans.compute.rounds import Rounds, Work
from dkmeans.errors import ClusterError
from dkmeans.events.reporter import Advance, Listener, Reporter
from dkmeans.storage import access

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Distributed"]

_RETRIES = 2
"""How often a task that failed is run again, behind the retries of obstore."""


class Distributed(Executor):
    """Runs tasks on the workers of a scheduler.

    Parameters
    ----------
    client : distributed.Client
        Stays open.
    device : {"auto", "cpu", "gpu"}
    patience : float or None
        Seconds to wait while there is no worker; a minute by default.
    call_seconds : float
        How long all workers together may take for a call beside their tasks.
    """

    def __init__(
        self,
        client: Client,
        *,
        device: str = "auto",
        patience: float | None = None,
        call_seconds: float = 20.0,
    ) -> None:
        self.client: Any = client
        self.device = device
        self.patience = patience
        self.call_seconds = call_seconds

    def run(
        self,
        tasks: Sequence[Delayed],
        advance: Advance | None = None,
        check: Callable[[Any], None] | None = None,
    ) -> list[Any]:
        """Results of `tasks`, in their order; see `Executor.run`.

        Raises
        ------
        ClusterError
            If a worker died more often than Dask allows, none has been there for long, or the scheduler is
            gone.
        """
        with waiting.translated(self.client), waiting.aside():
            futures = self.client.compute(list(tasks), retries=_RETRIES)
            results: dict[str, Any] = {}
            try:
                for future, result in waiting.completed(self.client, futures, self.patience):
                    results[future.key] = result
                    if advance:
                        advance(1)
                    if check:
                        check(result)
            except BaseException:
                with suppress(Exception):  # which the scheduler, if it is gone, has done
                    self.client.cancel(futures)
                raise
            return [results[future.key] for future in futures]

    def persist(self, tasks: Sequence[Delayed]) -> list[Delayed]:
        """Run `tasks` and keep their results where they were made; tasks that stand for them."""
        with waiting.translated(self.client):
            return list(self.client.persist(list(tasks), retries=_RETRIES))

    def rounds(self, work: Work, tasks: Sequence[Delayed]) -> Rounds:
        """Begin work that is done again and again on the values of persisted tasks, where they lie."""
        return OnWorkers(self.client, work, tasks, self.patience)

    def limits(self) -> list[tuple[int, int]]:
        """Memory limit in bytes, 0 for none, and threads of each worker; waits for the first."""
        with waiting.aside():
            workers = waiting.present_workers(self.client, self.patience)
        return [(int(found["memory_limit"] or 0), int(found["nthreads"])) for found in workers.values()]

    def ask(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Call `function` in each worker process; results by its address.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or they do not answer in time.
        """
        answers: dict[str, Any] = waiting.ask(self.client, lambda: self.client.run(function, *arguments))
        return answers

    def watched(self, stage: str, reporter: Reporter) -> AbstractContextManager[Listener]:
        """Show in the /metrics of the scheduler how far a stage is."""
        return metrics.watched(self.client, stage, reporter)

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function` once in each worker process; a cluster that is gone needs no call."""
        with suppress(ClusterError):
            self._call(lambda: self.client.run(function, *arguments))

    def _call(self, call: Callable[[], Any]) -> Any:
        """The answers of the workers to a call beside their tasks, which may not take long."""
        return waiting.ask(self.client, call, self.call_seconds)

    def _tallies(self) -> list[dict[str, float]]:
        here, job = super()._tallies(), access.current_access().job
        with suppress(ClusterError):
            return [*here, *self._call(lambda: self.client.run(done, job, on_error="ignore")).values()]
        return here
