"""Where tasks run: on the workers of a scheduler, or in this process; see `dkmeans.compute.connecting`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.base import compute, persist
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from dkmeans import __version__
from dkmeans.compute import waiting
from dkmeans.errors import ClusterError
from dkmeans.events.reporter import Advance
from dkmeans.plan import MIB
from dkmeans.storage import access

__all__ = ["IMPORTED_BYTES", "Cluster"]

_RETRIES = 2
"""How often a task that failed is run again, behind the retries of obstore."""
_CALL_SECONDS = 20
"""How long all workers together may take for a call beside their tasks."""
IMPORTED_BYTES = 300 * MIB
"""What a worker takes with all libraries loaded and nothing to do; measured 277 MiB."""


class _Task:
    """A function as the tasks of a job run it: with the job's access to storage, by the same dkmeans."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.access = replace(access.current_access(), in_task=True)
        self.version = __version__
        self.__name__ = function.__name__.strip("_")  # which Dask's dashboard shows

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.version != __version__:
            raise ClusterError(
                f"a worker has dkmeans {__version__}, the job {self.version}; expected the same. "
                "Install the same version on all workers."
            )
        with access.using(self.access):
            try:
                return self.function(*arguments, **options)
            except Exception:
                access.traffic_of(self.access.job).add(failed=1)
                raise


def _traffic(job: str) -> tuple[int, int, int]:
    """What this process has moved for a job: bytes read, bytes written, tasks that failed."""
    found = access.traffic_of(job)
    return found.read, found.written, found.failed


class Cluster:
    """Runs Dask tasks; the same tasks give the same results on any of them.

    Parameters
    ----------
    device : {"auto", "cpu", "gpu"}
        What the Lloyd steps are to run on.
    client : distributed.Client or None
        None runs every task in this process.
    threads : int
        Tasks at a time in this process.
    patience : float or None
        Seconds to wait while there is no worker; a minute by default.
    """

    def __init__(
        self, device: str, client: Any = None, threads: int = 1, patience: float | None = None
    ) -> None:
        self.device = device
        self.client = client
        self.threads = threads
        self.patience = patience

    def task(self, function: Callable[..., Any]) -> Callable[..., Delayed]:
        """What makes tasks of `function`, for functions that go to storage."""
        make: Callable[..., Delayed] = delayed(_Task(function))
        return make

    def run(self, tasks: Sequence[Delayed], advance: Advance | None = None) -> list[Any]:
        """Results of `tasks`, in their order; `advance` is called as each one is done.

        Raises
        ------
        ClusterError
            If a worker died more often than Dask allows, none has been there for long, or the scheduler is
            gone.
        """
        if self.client is None and self.threads > 1:
            return list(compute(*tasks, scheduler="threads", num_workers=self.threads))
        if self.client is None:
            results = []
            for task in tasks:
                results.append(task.compute(scheduler="synchronous"))
                if advance:
                    advance(1)
            return results
        with waiting.translated(self.client), waiting.aside():
            return self._gather(tasks, advance)

    def _gather(self, tasks: Sequence[Delayed], advance: Advance | None) -> list[Any]:
        futures = self.client.compute(list(tasks), retries=_RETRIES)
        results: dict[str, Any] = {}
        try:
            for future, result in waiting.completed(self.client, futures, self.patience):
                results[future.key] = result
                if advance:
                    advance(1)
        except BaseException:
            with suppress(Exception):  # which the scheduler, if it is gone, has done
                self.client.cancel(futures)
            raise
        return [results[future.key] for future in futures]

    def map_shards(
        self, function: Callable[..., NDArray[Any]], n_shards: int, advance: Advance, **options: Any
    ) -> list[NDArray[Any]]:
        """``da.map_blocks`` of `function` over the shards of an output, one block a shard.

        A block is the number of its shard, shape (1,): the function itself reads what the shard needs
        and writes it, so no block of rows travels through the graph.
        """
        numbers = da.arange(n_shards, chunks=1, dtype=np.int64)
        # By partial(), as map_blocks has keywords of its own; the name is unique, as tasks write.
        blocks = numbers.map_blocks(
            partial(_Task(function), **options),
            name=f"{function.__name__.strip('_')}-{uuid.uuid4().hex}",
            dtype=object,
            meta=np.empty(0, object),
        )
        return self.run(list(blocks.to_delayed()), advance)

    def persist(self, tasks: Sequence[Delayed]) -> list[Delayed]:
        """Run `tasks` and keep their results where they were made; tasks that stand for them."""
        if self.client is None:
            return list(persist(*tasks, scheduler="threads", num_workers=self.threads))
        with waiting.translated(self.client):
            return list(self.client.persist(list(tasks), retries=_RETRIES))

    def shares(self, tasks: Sequence[Delayed]) -> list[list[int]]:
        """Persisted tasks, by number, of which each list is the share of one thread where they lie."""
        if self.client is None:
            places = [("", self.threads, list(range(len(tasks))))]
        else:
            from distributed import futures_of

            futures = [futures_of(task)[0] for task in tasks]
            keys = [future.key for future in futures]
            found = waiting.ask(self.client, lambda: self.client.who_has(futures))
            where = {key: min(workers, default="") for key, workers in found.items()}
            workers = waiting.workers_of(self.client)
            numbers: dict[str, list[int]] = {}
            for number, key in enumerate(keys):
                numbers.setdefault(where.get(key, ""), []).append(number)
            unknown = {"nthreads": self.n_threads()}  # tasks that are not done may come to lie anywhere
            places = [
                (worker, int(workers.get(worker, unknown)["nthreads"]), of) for worker, of in numbers.items()
            ]
        return [list(of[first::n]) for _, n, of in places for first in range(min(n, len(of)))]

    def workers(self) -> frozenset[str]:
        """Addresses of the workers; they come and go."""
        return frozenset() if self.client is None else frozenset(waiting.workers_of(self.client))

    def _workers(self) -> dict[str, Any]:
        """The workers to plan for, at least one."""
        with waiting.aside():
            return waiting.present_workers(self.client, self.patience)

    def memory_bytes(self) -> int | None:
        """Memory of all workers together, or of this process; None where a worker has no limit."""
        limits = [limit for limit, _ in self._limits()]
        return sum(limits) if all(limits) else None

    def _limits(self) -> list[tuple[int, int]]:
        """Memory limit in bytes, 0 for none, and threads of each worker, or of this process."""
        if self.client is None:
            from distributed.system import MEMORY_LIMIT

            return [(int(MEMORY_LIMIT), self.threads)]
        return [
            (int(found["memory_limit"] or 0), int(found["nthreads"])) for found in self._workers().values()
        ]

    def check_memory(self, task: int, what: str, remedy: str) -> None:
        """Refuse tasks of which a worker cannot hold as many as it has threads.

        Parameters
        ----------
        task : int
            Bytes that one task needs.
        what : str
            What a task does, for the message.
        remedy : str

        Raises
        ------
        ClusterError
            Naming what is needed and what is there.
        """
        for limit, threads in self._limits():
            need = threads * task + IMPORTED_BYTES
            if limit and need > limit:
                raise ClusterError(
                    f"{what} takes about {task / MIB:.0f} MiB a task; a worker with {threads} threads needs "
                    f"{need / MIB:.0f} MiB and has {limit / MIB:.0f}. Give it more memory or fewer threads, "
                    f"or {remedy}."
                )

    def n_threads(self) -> int:
        """Tasks that run at a time."""
        if self.client is None:
            return self.threads
        return max(1, sum(int(worker["nthreads"]) for worker in self._workers().values()))

    def traffic(self) -> dict[str, int]:
        """Bytes read and written by this job so far, and tasks run again; without workers that are gone."""
        job = access.current_access().job
        found = [_traffic(job)]
        if self.client is not None:
            with suppress(ClusterError):
                found += self._of_all(_traffic, job, on_error="ignore").values()
        read, written, failed = (sum(column) for column in zip(*found, strict=True))
        return {"bytes_read": read, "bytes_written": written, "retries": failed}

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function` once in every worker process; a cluster that is gone needs no call."""
        if self.client is None:
            function(*arguments)
        else:
            with suppress(ClusterError):
                self._of_all(function, *arguments)

    def _of_all(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> dict[str, Any]:
        """What `function` returns in each worker process; it may not take long."""
        answers: dict[str, Any] = waiting.ask(
            self.client, lambda: self.client.run(function, *arguments, **options), _CALL_SECONDS
        )
        return answers
