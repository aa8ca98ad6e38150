"""From a config to an executor: start workers of our own, or connect to a scheduler that is there."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask

from dkmeans import __version__
from dkmeans.compute import waiting
from dkmeans.compute.distributed import Distributed
from dkmeans.compute.executor import IMPORTED_BYTES, Executor
from dkmeans.compute.in_process import InProcess
from dkmeans.config.cluster import ClusterConfig
from dkmeans.errors import ClusterError, DeviceError, StorageError, UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.plan import MIB
from dkmeans.storage.urls import is_loopback

__all__ = ["connect"]

_CLOSE_SECONDS = 20
_LEAST_BYTES = round(IMPORTED_BYTES / 0.8)
"""Of a worker that only loads the libraries: Dask gives none a task that has 80 % of its memory in use."""
_ENCRYPTED = ("tls", "wss", "inproc")
_COMPARED = ("numba", "numpy", "obstore", "zarr")
"""Besides what Dask compares by itself."""


@contextmanager
def connect(config: ClusterConfig | Executor, reporter: Reporter, stage: str = "") -> Iterator[Executor]:
    """Give what runs tasks as `config` asks for, closed at the end; an executor that is given stays open.

    Parameters
    ----------
    config : ClusterConfig or Executor
    reporter : Reporter
    stage : str
        What it is for. If given, an event at the end tells what that took.

    Raises
    ------
    ClusterError
        If no scheduler or no worker answers in time, the way to it is not encrypted, or a worker has
        another dkmeans.
    DeviceError
        If ``device="gpu"`` and a worker has no GPU.
    UsageError
        If the memory limit is no number of bytes, or a file is not there.
    """
    with ExitStack() as stack:
        executor = config if isinstance(config, Executor) else stack.enter_context(_opened(config, reporter))
        if stage:
            stack.enter_context(_accounted(executor, reporter, stage))
        yield executor


@contextmanager
def _accounted(executor: Executor, reporter: Reporter, stage: str) -> Iterator[None]:
    """An event for the beginning of a stage, and one for its end with what it took."""
    if not reporter.logs:
        yield
        return
    began, before = time.perf_counter(), executor.traffic()
    reporter.event("begin", stage=stage, n_threads=executor.n_threads())
    error: str | None = None
    try:
        yield
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
        raise
    finally:
        # A worker that has gone took its counts along.
        took = {name: max(0, total - before[name]) for name, total in executor.traffic().items()}
        reporter.event("end", stage=stage, seconds=time.perf_counter() - began, **took, error=error)


@contextmanager
def _opened(config: ClusterConfig, reporter: Reporter) -> Iterator[Executor]:
    _check_options(config)
    if config.scheduler == "sync":
        executor: Executor = InProcess(device=config.device)
        _check_devices(executor, reporter)
        yield executor
        return
    import distributed

    # They log tracebacks of a lost scheduler, which also comes back as an error, and of a worker that closes.
    for name in ("distributed.client", "distributed.batched"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        start = _local_client if config.scheduler == "local" else _remote_client
        client = stack.enter_context(start(config))
        reporter.say(f"dashboard: {client.dashboard_link}")
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
    given = {f"--{name.replace('_', '-')}": path for name, path in files.items() if path}
    for option, path in given.items():
        if not Path(path).is_file():
            raise UsageError(f"{option}: found no file {path}; expected one in PEM format. Check the path.")
    if given and len(given) < len(files):
        raise UsageError(f"found only {', '.join(given)}; expected --tls-ca, --tls-cert and --tls-key.")
    if given and config.scheduler in ("local", "sync"):
        raise UsageError(f"{next(iter(given))}: --scheduler {config.scheduler} does not leave this machine.")
    if config.performance_report and config.scheduler == "sync":
        raise UsageError("--performance-report: --scheduler sync has no scheduler to report on. Use local.")


@contextmanager
def _local_client(config: ClusterConfig) -> Iterator[Any]:
    import distributed

    _check_open_files(config.workers)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = config.threads_per_worker or max(1, cores // config.workers)
    limit = _memory_limit(config.memory_limit)
    own = {
        # Dask's profiler looks into all threads every 10 ms, which can hang a process of Python before 3.11.9
        # (python/cpython#106883); only the performance report shows what it finds.
        "distributed.worker.profile.enabled": config.performance_report is not None,
        # It is for clusters that other machines reach: ours listens on the loopback address alone.
        "distributed.comm.require-encryption": False,
        # silence_logs ends with a worker; what still runs in its process logs a connection that is closed.
        "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",
    }
    with dask.config.set(own):
        try:
            local = distributed.LocalCluster(
                n_workers=config.workers,
                threads_per_worker=threads,
                memory_limit=limit,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,  # an error comes back to the driver, which says it once
            )
        except OSError as error:
            raise StorageError(
                f"no local cluster could be started: {error}. Look at Dask's settings, such as "
                "DASK_TEMPORARY_DIRECTORY, and at what ulimit allows, or use --scheduler sync."
            ) from error
        except Exception as error:  # whatever Dask makes of settings that are no good
            raise ClusterError(
                f"no local cluster could be started: {_cause(error)}. Look at Dask's settings (DASK_* in the "
                "environment, its configuration files), or use --scheduler sync."
            ) from error
        try:
            with distributed.Client(local) as client:
                yield client
        finally:
            # Closing can wait for ever for a worker that a nanny is just starting again after its death.
            with suppress(TimeoutError):
                local.close(timeout=_CLOSE_SECONDS)


def _check_open_files(workers: int) -> None:
    """Refuse so few open files that a cluster would start in part, or log its failing without an end.

    This process has about 22 open for itself and 10 for each worker; the rest is for the files of the job.
    """
    if sys.platform == "win32":  # which has no such limit
        return
    import resource

    least = 64 + 16 * workers
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < least:
        raise ClusterError(
            f"found at most {limit} open files for a process; expected {least} for --workers {workers}. "
            f"Set ulimit -n {least}, take fewer workers, or use --scheduler sync."
        )


def _cause(error: BaseException) -> str:
    """The first error of those that led to this one."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return str(error) or type(error).__name__


def _memory_limit(text: str) -> int | str:
    """Bytes that a worker may take, ``auto``, or 0 for no limit.

    Raises
    ------
    UsageError
        If it is no number of bytes, or a worker could do nothing with so few.
    """
    if text == "auto":
        return text
    try:
        limit = int(dask.utils.parse_bytes(text))
    except ValueError as error:
        raise UsageError(f"--memory-limit: found {text!r}; expected such as 2GiB.") from error
    if limit < 0 or 0 < limit < _LEAST_BYTES:
        raise UsageError(
            f"--memory-limit: found {text!r}, which is {limit} bytes; expected at least "
            f"{_LEAST_BYTES // MIB}MiB, such as 2GiB: a worker needs that for its libraries alone."
        )
    return limit


@contextmanager
def _remote_client(config: ClusterConfig) -> Iterator[Any]:
    import distributed

    address = _address(config)
    _check_encryption(address, config)
    try:
        with warnings.catch_warnings():
            # We say it ourselves, below.
            warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
            client = distributed.Client(address, timeout=config.connect_seconds, security=_security(config))
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        raise ClusterError(
            f"no scheduler with workers answers at {address}: {error}. Start `dask scheduler` and `dask "
            "worker`, see that both have the same TLS files, or use --scheduler local."
        ) from error
    with client:
        yield client


def _address(config: ClusterConfig) -> str:
    """The address of the scheduler, given or in a scheduler file."""
    text = config.scheduler
    host, _, port = text.rpartition(":")
    if "://" in text:
        return text
    if host and port.isdigit():
        return f"{'tls' if _security(config).require_encryption else 'tcp'}://{text}"
    try:
        return str(json.loads(Path(text).read_text(encoding="utf-8"))["address"])
    except FileNotFoundError:
        raise UsageError(
            f"--scheduler: found {text!r}; expected local, sync, an address such as tls://host:8786, or the "
            "path of a scheduler file that exists."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--scheduler: {text} is not a scheduler file of Dask: {error!r}.") from error


def _security(config: ClusterConfig) -> Any:
    """The certificates that were given, or those of Dask's own config."""
    import distributed

    if not config.tls_ca:
        return distributed.Security()
    return distributed.Security(
        tls_ca_file=config.tls_ca,
        tls_client_cert=config.tls_cert,
        tls_client_key=config.tls_key,
        require_encryption=True,
    )


def _check_encryption(address: str, config: ClusterConfig) -> None:
    """Refuse to send tasks, which are code, over a network in the clear.

    Raises
    ------
    ClusterError
        Unless the address is encrypted, or on this machine, or ``insecure`` is set.
    """
    parts = urlsplit(address)
    if parts.scheme in _ENCRYPTED or is_loopback(parts.hostname or "") or config.insecure:
        return
    raise ClusterError(
        f"{address} is neither encrypted nor on this machine, and whoever reaches it can run code there; "
        "expected tls://. Make certificates (deploy/tls) and pass --tls-ca, --tls-cert and --tls-key, or, in "
        "a network that you trust, --insecure."
    )


def _check_versions(client: Any, reporter: Reporter) -> None:
    """Report what the workers have other than we; refuse another dkmeans, which may give other bits."""
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
