"""Ask a scheduler, and wait for the tasks of a client: each wait ends, and says why if it ends badly.

A client of Dask waits without one in several places: for an answer of a scheduler that is silent, for results
whose connection broke (`as_completed` loses them, as what gathers them there dies), for a worker to come.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from dkmeans.errors import ClusterError, DkmeansError

__all__ = ["Watch", "aside", "ask", "completed", "present_workers", "settled", "translated", "workers_of"]

NO_WORKERS_SECONDS = 60.0
"""After so long without any worker a job gives up."""
SILENT_SECONDS = 60.0
"""After so long without an answer a scheduler is gone."""
_FETCH_SECONDS = 600.0
"""After so long without the results of tasks that are done a job gives up."""
_FETCH_TIMES = 5
"""How often results are fetched when the connection breaks."""


def _gone(what: object) -> ClusterError:
    return ClusterError(f"the scheduler is gone: {what}. Start it, then continue with --resume.")


def ask(client: Any, question: Callable[[], Any], seconds: float | None = None) -> Any:
    """The answer of the scheduler to a method of its client.

    Parameters
    ----------
    client : distributed.Client
    question : callable
        Calls the method; it runs in the client's event loop, where a method gives a coroutine.
    seconds : float or None
        How long to wait; a minute by default.

    Raises
    ------
    ClusterError
        If the scheduler is gone, or does not answer in time.
    """
    limit = SILENT_SECONDS if seconds is None else seconds

    async def asked() -> Any:
        answer = question()
        return await answer if inspect.isawaitable(answer) else answer

    with translated(client):
        try:
            return client.sync(asked, callback_timeout=limit)
        except TimeoutError as error:
            raise _gone(f"it has not answered for {limit:g} s") from error
        except OSError as error:
            raise _gone(error) from error


def workers_of(client: Any) -> dict[str, Any]:
    """Ask the scheduler for each worker that is there now; facts by address."""
    # Not scheduler_info(): that is empty when the scheduler is gone, and another thread may replace it.
    identity = ask(client, lambda: client.scheduler.identity(n_workers=-1))
    return dict(identity["workers"])


def present_workers(client: Any, seconds: float | None = None) -> dict[str, Any]:
    """`workers_of`, at least one: without any a small task makes a cluster that adapts start one."""
    found = workers_of(client)
    while not found:
        with translated(client):
            here = client.submit(int, pure=False)
            list(completed(client, [here], seconds))
        found = workers_of(client)
    return found


class Watch:
    """Looks whether a wait can still end well."""

    def __init__(self, client: Any, seconds: float | None) -> None:
        self.client = client
        self.seconds = NO_WORKERS_SECONDS if seconds is None else seconds
        self.seen = time.monotonic()

    @property
    def pause(self) -> float:
        """Seconds from one look to the next."""
        return min(self.seconds, NO_WORKERS_SECONDS) / 2

    def look(self) -> None:
        """See that the scheduler answers, and that there was a worker not long ago."""
        if workers_of(self.client):
            self.seen = time.monotonic()
        elif time.monotonic() - self.seen > self.seconds:
            raise _no_workers(self.client, self.seconds)


def _no_workers(client: Any, seconds: float) -> ClusterError:
    from distributed import LocalCluster

    if isinstance(client.cluster, LocalCluster):
        return ClusterError(
            f"no worker of the local cluster has stayed alive for {seconds:g} s, mostly because memory ran "
            "out. Give each more by --memory-limit, or take fewer --workers; then continue with --resume."
        )
    return ClusterError(
        f"no worker has been connected for {seconds:g} s, although tasks wait for one. Start some, or find "
        "out why the cluster starts none, then continue with --resume; --connect-seconds waits longer."
    )


def completed(client: Any, futures: Sequence[Any], seconds: float | None = None) -> Iterator[tuple[Any, Any]]:
    """Each future with its result, as they are done; errors of tasks are raised.

    Parameters
    ----------
    client : distributed.Client
    futures : sequence of distributed.Future
    seconds : float or None
        How long to wait without any worker; a minute by default.

    Raises
    ------
    ClusterError
        If there is no worker for so long, the scheduler is gone, or results cannot be fetched.
    """
    watch = Watch(client, seconds)
    for batch in settled(futures, watch):
        yield from zip(batch, _fetched(client, batch, watch), strict=True)


def settled(futures: Sequence[Any], watch: Watch) -> Iterator[list[Any]]:
    """Futures as they are done, some at a time; whether they failed is not looked at."""
    done: SimpleQueue[Any] = SimpleQueue()
    left = {future.key: future for future in futures}
    for future in left.values():
        future.add_done_callback(done.put)
    while left:
        try:
            batch = [done.get(timeout=watch.pause)]
        except Empty:
            watch.look()
            continue
        while not done.empty():
            batch.append(done.get())
        yield batch
        for future in batch:
            del left[future.key]


def _fetched(client: Any, futures: Sequence[Any], watch: Watch) -> list[Any]:
    """The results of futures that are done."""

    async def fetch() -> Any:
        return await client.gather(list(futures))

    broken: BaseException | None = None
    for _ in range(_FETCH_TIMES):
        _raise_failed(futures)
        running = asyncio.run_coroutine_threadsafe(fetch(), client.loop.asyncio_loop)
        try:
            _wait_for(running, watch)
        except BaseException:
            running.cancel()
            raise
        broken = running.exception()
        if broken is None:
            return list(running.result())
        # Most often the scheduler is gone. Whatever else it is, it is no error of a task: an OSError, or an
        # AssertionError of tornado's in a connection that it writes to (seen with 6.6.1, under load).
        watch.look()
    _raise_failed(futures)
    raise ClusterError(
        f"the results of {len(futures)} tasks could not be fetched: {broken}. See that the scheduler reaches "
        "the workers, then continue with --resume."
    ) from broken


def _raise_failed(futures: Sequence[Any]) -> None:
    for future in futures:
        if future.cancelled():
            raise _gone("it has dropped its tasks")
        if future.status == "error":
            try:
                future.result()
            except TimeoutError as error:  # the task's own, not that of a wait
                raise ClusterError(f"a task timed out: {error}. Continue with --resume.") from error


def _wait_for(running: concurrent.futures.Future[Any], watch: Watch) -> None:
    end = time.monotonic() + _FETCH_SECONDS
    while not concurrent.futures.wait([running], timeout=watch.pause).done:
        watch.look()
        if time.monotonic() > end:  # Dask itself tries for ever
            raise ClusterError(
                f"results of tasks that are done have not come for {_FETCH_SECONDS:g} s. See that the "
                "scheduler reaches the workers, then continue with --resume."
            )


@contextmanager
def translated(client: Any) -> Iterator[None]:
    """Turn the errors of a client into ours: what one says that has lost its scheduler means that."""
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    if client.status != "running":
        raise _gone("the connection to it is closed")
    try:
        yield
    except DkmeansError:
        raise
    except KilledWorker as error:
        raise ClusterError(
            f"the task {error.task} was lost with {error.allowed_failures + 1} workers, most often for "
            "want of memory. Give the workers more memory, or ingest with a smaller --shard-mib."
        ) from error
    except (CommClosedError, asyncio.CancelledError, concurrent.futures.CancelledError) as error:
        raise _gone(error) from error
    except Exception as error:
        if client.status == "running":
            raise
        raise _gone(repr(error)) from error


@contextmanager
def aside() -> Iterator[None]:
    """Meanwhile a task that waits for other tasks gives its thread to them, lest all wait for ever.

    As Dask's own compute() does. Elsewhere than in a task of a worker nothing happens.
    """
    from distributed import rejoin, secede

    try:
        secede()
    except (ValueError, KeyError, AttributeError):  # no worker, aside already, no thread of a task
        yield
        return
    try:
        yield
    finally:
        rejoin()
