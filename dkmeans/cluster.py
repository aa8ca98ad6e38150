"""Where tasks run: workers of our own, a scheduler that is already there, or this process."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import compute, persist
from dask.delayed import Delayed
from numpy.typing import NDArray

from dkmeans.config import ClusterConfig
from dkmeans.errors import ClusterError, DeviceError, StorageError, UsageError
from dkmeans.events import Advance, Reporter

__all__ = ["Cluster", "connect"]

_CONNECT_SECONDS = 10
_CLOSE_SECONDS = 20


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
    """

    def __init__(self, device: str, client: Any = None, threads: int = 1) -> None:
        self.device = device
        self.client = client
        self.threads = threads

    def run(self, tasks: Sequence[Delayed], advance: Advance | None = None) -> list[Any]:
        """Results of `tasks`, in their order; `advance` is called as each one is done.

        Raises
        ------
        ClusterError
            If a worker died more often than Dask allows, or the scheduler is gone.
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
        with self._translated():
            return self._gather(tasks, advance)

    def _gather(self, tasks: Sequence[Delayed], advance: Advance | None) -> list[Any]:
        from distributed import as_completed

        futures = self.client.compute(list(tasks))
        results: dict[str, Any] = {}
        try:
            for future, result in as_completed(futures, with_results=True):
                if future.cancelled():  # then the result is an error that is not raised
                    raise _scheduler_gone("it has dropped its tasks")
                results[future.key] = result
                if advance:
                    advance(1)
        except BaseException:
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
            partial(function, **options),
            name=f"{function.__name__.strip('_')}-{uuid.uuid4().hex}",
            dtype=object,
            meta=np.empty(0, object),
        )
        return self.run(list(blocks.to_delayed()), advance)

    def persist(self, tasks: Sequence[Delayed]) -> list[Delayed]:
        """Run `tasks` and keep their results where they were made; tasks that stand for them."""
        if self.client is None:
            return list(persist(*tasks, scheduler="threads", num_workers=self.threads))
        with self._translated():
            return list(self.client.persist(list(tasks)))

    def shares(self, tasks: Sequence[Delayed]) -> list[list[int]]:
        """Persisted tasks, by number, of which each list is the share of one thread where they lie."""
        if self.client is None:
            places = [("", self.threads, list(range(len(tasks))))]
        else:
            from distributed import futures_of

            futures = [futures_of(task)[0] for task in tasks]
            keys = [future.key for future in futures]
            where = {key: min(workers, default="") for key, workers in self.client.who_has(futures).items()}
            workers = self.client.scheduler_info(n_workers=-1)["workers"]
            numbers: dict[str, list[int]] = {}
            for number, key in enumerate(keys):
                numbers.setdefault(where.get(key, ""), []).append(number)
            unknown = {"nthreads": self.n_threads()}  # tasks that are not done may come to lie anywhere
            places = [
                (worker, int(workers.get(worker, unknown)["nthreads"]), of) for worker, of in numbers.items()
            ]
        return [list(of[first::n]) for _, n, of in places for first in range(min(n, len(of)))]

    def memory_bytes(self) -> int | None:
        """Memory of all workers together, or of this process; None where a worker has no limit."""
        if self.client is None:
            from distributed.system import MEMORY_LIMIT

            return int(MEMORY_LIMIT)
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        limits = [int(worker["memory_limit"] or 0) for worker in workers]
        return sum(limits) if all(limits) else None

    def n_threads(self) -> int:
        """Tasks that run at a time."""
        if self.client is None:
            return self.threads
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return max(1, sum(int(worker["nthreads"]) for worker in workers))

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function` once in every worker process; a cluster that is gone needs no call."""
        if self.client is None:
            function(*arguments)
        elif self.client.status == "running":
            with suppress(OSError, TimeoutError):
                self.client.run(function, *arguments)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            yield
        except KilledWorker as error:
            raise ClusterError(
                f"the task {error.task} was lost with {error.allowed_failures + 1} workers, most often for "
                "want of memory. Give the workers more memory, or ingest with a smaller --shard-mib."
            ) from error
        except (CommClosedError, TimeoutError) as error:
            raise _scheduler_gone(str(error)) from error


def _scheduler_gone(what: str) -> ClusterError:
    return ClusterError(f"the scheduler is gone: {what}. Start it, then go on with --resume.")


@contextmanager
def connect(config: ClusterConfig | Cluster, reporter: Reporter) -> Iterator[Cluster]:
    """A cluster as `config` asks for, closed at the end; one that is open already stays open.

    Raises
    ------
    ClusterError
        If no scheduler or no worker answers within 10 s.
    DeviceError
        If ``device="gpu"`` and a worker has no GPU.
    UsageError
        If the memory limit is no number of bytes, or a scheduler file is not there.
    """
    if isinstance(config, Cluster):
        yield config
    elif config.scheduler == "sync":
        cluster = Cluster(config.device)
        _check_devices(cluster)
        yield cluster
    else:
        with _client(config) as client:
            reporter.say(f"dashboard: {client.dashboard_link}")
            cluster = Cluster(config.device, client)
            _check_devices(cluster)
            yield cluster


@contextmanager
def _client(config: ClusterConfig) -> Iterator[Any]:
    import distributed

    # It logs the tracebacks of a lost scheduler, which also comes back as an error.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    if config.scheduler == "local":
        with _local_cluster(config) as local, distributed.Client(local) as client:
            yield client
        return
    is_file = "://" not in config.scheduler and not _is_address(config.scheduler)
    if is_file and not Path(config.scheduler).is_file():
        raise UsageError(
            f"--scheduler: found {config.scheduler!r}; expected local, sync, an address such as "
            "tcp://host:8786, or the path of a scheduler file that exists."
        )
    where = {"scheduler_file": config.scheduler} if is_file else {"address": config.scheduler}
    try:
        client = distributed.Client(timeout=_CONNECT_SECONDS, **where)
        client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"no scheduler with workers answers at {config.scheduler}: {error}. "
            "Start `dask scheduler` and `dask worker`, or use --scheduler local."
        ) from error
    with client:
        yield client


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdigit()


@contextmanager
def _local_cluster(config: ClusterConfig) -> Iterator[Any]:
    import distributed

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = config.threads_per_worker or max(1, cores // config.workers)
    try:
        limit = (
            config.memory_limit
            if config.memory_limit == "auto"
            else dask.utils.parse_bytes(config.memory_limit)
        )
    except ValueError as error:
        raise UsageError(f"--memory-limit: found {config.memory_limit!r}; expected such as 2GiB.") from error
    try:
        local = distributed.LocalCluster(
            n_workers=config.workers,
            threads_per_worker=threads,
            memory_limit=limit,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,  # an error comes back to the driver, which says it once
        )
    except OSError as error:
        raise StorageError(f"no local cluster could be started: {error}.") from error
    try:
        yield local
    finally:
        # Closing can wait for ever for a worker that a nanny is just starting again after its death.
        with suppress(TimeoutError):
            local.close(timeout=_CLOSE_SECONDS)


def _check_devices(cluster: Cluster) -> None:
    """Refuse ``device="gpu"`` unless every worker has one."""
    if cluster.device != "gpu":
        return
    from dkmeans.kernels import gpu_problem

    client = cluster.client
    problems = {"this process": gpu_problem()} if client is None else client.run(gpu_problem)
    for worker, problem in problems.items():
        if problem:
            raise DeviceError(
                f"--device gpu: {worker} has no usable GPU: {problem}. Use --device auto or cpu."
            )
