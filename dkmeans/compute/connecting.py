"""From a config to an executor: threads of this process, workers of our own, or a scheduler that is there.

The one place that decides where the tasks of a job run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dkmeans import __version__
from dkmeans.compute.executor import Executor
from dkmeans.compute.in_process import InProcess
from dkmeans.compute.memory import n_cores
from dkmeans.config.cluster import ClusterConfig
from dkmeans.errors import ClusterError, DeviceError, UsageError
from dkmeans.events import words
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.storage import access

__all__ = ["connect", "decided"]

_SMALL_PIXELS = 50_000_000
"""Below so many a cluster takes longer to start than it could save."""
_HERE = ("auto", "threads", "sync", "local")
"""Schedulers that do not leave this machine."""
_OF_CLUSTER = ("workers", "threads_per_worker", "memory_limit", "performance_report", "connect_seconds")
"""Options that mean nothing without workers."""
_COMPARED = ("numba", "numpy", "obstore", "zarr")
"""Besides what Dask compares by itself."""
_TOLD = ("rows", "images_read", "images_written", "images_skipped", "retries")
"""What the line at the end of a stage has, where there is some."""


@contextmanager
def connect(
    config: ClusterConfig | Executor,
    reporter: Reporter,
    stage: str = "",
    pixels: Callable[[], int] | None = None,
) -> Iterator[Executor]:
    """Give what runs tasks as `config` asks for, closed at the end; an executor that is given stays open.

    Parameters
    ----------
    config : ClusterConfig or Executor
    reporter : Reporter
    stage : str
        What it is for. If given, an event at the end tells what that took.
    pixels : callable or None
        Tells about how many pixels there are to work on, if that is to decide; None for too many to count.

    Raises
    ------
    ClusterError
        If no scheduler or no worker answers in time, the way to it is not encrypted, or a worker has
        another dkmeans.
    DeviceError
        If ``device="gpu"`` and a worker has no GPU.
    UsageError
        If the memory limit is no number of bytes, a file is not there, or an option would be ignored.
    """
    with ExitStack() as stack:
        if isinstance(config, Executor):
            executor = config
        else:
            executor = stack.enter_context(_opened(decided(config, pixels), reporter))
        if stage:
            stack.enter_context(_accounted(executor, reporter, stage))
        yield executor


def decided(config: ClusterConfig, pixels: Callable[[], int] | None) -> ClusterConfig:
    """The config with what ``auto`` stands for: threads for small work, unless workers are asked for."""
    _check_options(config)
    if config.scheduler != "auto":
        return config
    cluster = config.model_fields_set.intersection(_OF_CLUSTER) or pixels is None
    chosen = "local" if cluster or pixels() >= _SMALL_PIXELS else "threads"  # type: ignore[misc]
    return config.model_copy(update={"scheduler": chosen})


@contextmanager
def _accounted(executor: Executor, reporter: Reporter, stage: str) -> Iterator[None]:
    """An event for the beginning of a stage, and one for its end with what it took."""
    here = access.using(replace(access.current_access(), stage=stage))
    if reporter is SILENT:
        with here:
            yield
        return
    with here, executor.watched(stage, reporter) as listener, reporter.within(stage, listener):
        if not reporter.logs:
            yield
            return
        with _told(executor, reporter, stage):
            yield


@contextmanager
def _told(executor: Executor, reporter: Reporter, stage: str) -> Iterator[None]:
    began, before, n_threads = time.perf_counter(), executor.tally(), executor.n_threads()
    reporter.milestone(
        "begin", f"{stage} begins on {words.counted(n_threads, 'threads')}", n_threads=n_threads
    )
    error: str | None = None
    try:
        yield
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
        raise
    finally:
        # A worker that has gone took its counts along.
        took = {name: max(0, total - before[name]) for name, total in executor.tally().items()}
        seconds = time.perf_counter() - began
        reporter.milestone("end", _ending(stage, seconds, took, error), seconds=seconds, **took, error=error)


def _ending(stage: str, seconds: float, took: dict[str, float], error: str | None) -> str:
    """Say in a line how a stage has ended."""
    what = None if error is None else error.partition(":")[0]
    how = {None: "is done", "KeyboardInterrupt": "is interrupted"}.get(what, f"has failed ({what})")
    counts = [f"{took[name]:,.0f} {name.replace('_', ' ')}" for name in _TOLD if took[name]]
    moved = [f"{words.size(int(took[f'bytes_{way}']))} {way}" for way in ("read", "written")]
    return f"{stage} {how} after {words.seconds(seconds)}: {', '.join([*moved, *counts])}"


@contextmanager
def _opened(config: ClusterConfig, reporter: Reporter) -> Iterator[Executor]:
    if config.scheduler in ("threads", "sync"):
        n_threads = n_cores() if config.scheduler == "threads" else 1
        executor: Executor = InProcess(n_threads, device=config.device)
        reporter.say(f"running on {words.counted(n_threads, 'threads')} in this process")
        _check_devices(executor, reporter)
        yield executor
        return
    import distributed

    from dkmeans.compute import clients, waiting
    from dkmeans.compute.distributed import Distributed

    # They log tracebacks of a lost scheduler, which also comes back as an error, and of a worker that closes.
    for name in ("distributed.client", "distributed.batched"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        start = clients.local_client if config.scheduler == "local" else clients.remote_client
        client = stack.enter_context(start(config))
        where = "a local cluster" if config.scheduler == "local" else "a cluster"
        reporter.say(f"running on {where}, dashboard: {client.dashboard_link}")
        patience = max(config.connect_seconds, waiting.NO_WORKERS_SECONDS)
        executor = Distributed(client, device=config.device, patience=patience)
        executor.n_threads()  # waits for a worker
        if config.scheduler != "local":
            _check_versions(client, reporter)
        _check_devices(executor, reporter)
        if config.performance_report:
            stack.enter_context(distributed.performance_report(filename=config.performance_report))
        yield executor


def _check_options(config: ClusterConfig) -> None:
    """Refuse options that would be ignored, and files that are not there."""
    files = {name: getattr(config, name) for name in ("tls_ca", "tls_cert", "tls_key")}
    given = {_flag(name): path for name, path in files.items() if path}
    for option, path in given.items():
        if not Path(path).is_file():
            raise UsageError(f"{option}: found no file {path}; expected one in PEM format. Check the path.")
    if given and len(given) < len(files):
        raise UsageError(f"found only {', '.join(given)}; expected --tls-ca, --tls-cert and --tls-key.")
    remote = [*given, *(["--insecure"] if config.insecure else [])]
    if remote and config.scheduler in _HERE:
        raise UsageError(
            f"{remote[0]}: --scheduler {config.scheduler} does not leave this machine. Pass the address of a "
            f"scheduler, or leave out {remote[0]}."
        )
    if config.scheduler in ("threads", "sync"):
        for name in _OF_CLUSTER:
            if name in config.model_fields_set and getattr(config, name) is not None:
                raise UsageError(
                    f"{_flag(name)}: --scheduler {config.scheduler} has no workers, it runs in this process. "
                    f"Use local, or leave out {_flag(name)}."
                )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_versions(client: Any, reporter: Reporter) -> None:
    """Report what the workers have other than we; refuse another dkmeans, which may give other bits."""
    from dkmeans.compute import waiting

    names = ["dkmeans", *_COMPARED]
    found = waiting.ask(client, lambda: client.get_versions(packages=names))
    ours = {**found["client"]["packages"], "dkmeans": __version__}
    for worker, there in found["workers"].items():
        packages = there["packages"]
        if packages["dkmeans"] != __version__:
            raise ClusterError(
                f"the worker {worker} has dkmeans {packages['dkmeans']}, expected {__version__} as here. "
                "Install the same version on all workers."
            )
        other = [
            f"{name} {packages.get(name)} there, {version} here"
            for name, version in ours.items()
            if packages.get(name) != version
        ]
        if other:
            reporter.warn(f"the worker {worker} has other versions: {'; '.join(other)}")


def _check_devices(executor: Executor, reporter: Reporter) -> None:
    """Refuse ``device="gpu"`` unless every worker has one; say how many have one."""
    if executor.device == "cpu":
        return
    from dkmeans.kernels import gpu_problem

    problems = executor.ask(gpu_problem)
    for worker, problem in problems.items():
        if problem and executor.device == "gpu":
            raise DeviceError(
                f"--device gpu: {worker} has no usable GPU: {problem}. Use --device auto or cpu."
            )
    n_gpus = sum(not problem for problem in problems.values())
    if n_gpus:
        reporter.say(f"GPU: on {n_gpus} of {len(problems)} workers")
