"""Clients of a scheduler of Dask: one that is started here with its workers, or one that is there."""

from __future__ import annotations

import inspect
import json
import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask

from dkmeans.compute.executor import IMPORTED_BYTES
from dkmeans.compute.memory import n_cores
from dkmeans.config.cluster import ClusterConfig
from dkmeans.errors import ClusterError, StorageError, UsageError
from dkmeans.plan import MIB
from dkmeans.storage.urls import is_loopback

__all__ = ["local_client", "remote_client"]

_CLOSE_SECONDS = 20
_LEAST_BYTES = round(IMPORTED_BYTES / 0.8)
"""Of a worker that only loads the libraries: Dask gives none a task that has 80 % of its memory in use."""
_ENCRYPTED = ("tls", "wss", "inproc")


@contextmanager
def local_client(config: ClusterConfig) -> Iterator[Any]:
    """Start a scheduler and workers on this machine; a client of them."""
    import distributed

    _check_main()
    _check_open_files(config.workers)
    threads = config.threads_per_worker or max(1, n_cores() // config.workers)
    limit = _memory_limit(config.memory_limit)
    own = {
        # Dask's profiler looks into all threads every 10 ms, which can hang a process of Python before 3.11.9
        # (python/cpython#106883); only the performance report shows what it finds.
        "distributed.worker.profile.enabled": config.performance_report is not None,
        # It is for clusters that other machines reach: ours listens on the loopback address alone.
        "distributed.comm.require-encryption": False,
        "distributed.nanny.pre-spawn-environ": _environment_of_workers(),
    }
    _start_resource_tracker()
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
                "DASK_TEMPORARY_DIRECTORY, and at what ulimit allows, or use --scheduler threads."
            ) from error
        except Exception as error:  # whatever Dask makes of settings that are no good
            raise ClusterError(
                f"no local cluster could be started: {_cause(error)}. Look at Dask's settings (DASK_* in the "
                "environment, its configuration files), or use --scheduler threads."
            ) from error
        try:
            with distributed.Client(local) as client:
                client.register_plugin(_quiet())
                yield client
        finally:
            # Closing can wait for ever for a worker that a nanny is just starting again after its death.
            with suppress(TimeoutError):
                local.close(timeout=_CLOSE_SECONDS)


def _environment_of_workers() -> dict[str, Any]:
    """Choose what Dask sets in the environment of workers, but for how memory is given back.

    With MALLOC_TRIM_THRESHOLD_, Dask's way to keep a worker below its limit after tasks of any kind, every
    array of a step comes from the system anew and is cleared by it: steps took 1.1, sorting 1.25 times as
    long.
    """
    set_by_dask = dask.config.get("distributed.nanny.pre-spawn-environ")
    return {name: value for name, value in set_by_dask.items() if name != "MALLOC_TRIM_THRESHOLD_"}


def _quiet() -> Any:
    """Make a plugin that keeps the processes of workers from logging what is in order.

    silence_logs ends with a worker; what still runs in its process then logs a connection that is closed.
    """
    from distributed import WorkerPlugin

    class Quiet(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)

    return Quiet()


def _start_resource_tracker() -> None:
    """Start a process of multiprocessing, before the workers do: it unblocks SIGINT in the thread that does.

    A command blocks it in all threads but one (`dkmeans.command.stopping`). The process cleans up after a job
    that ends at once: without a word, as nobody has to do anything about it.
    """
    if sys.platform == "win32":
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    sys.warnoptions.append("ignore")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _check_main() -> None:
    """Refuse a script that starts workers wherever it is run or imported: each worker would run it again.

    Python imports the script anew in a process that it spawns; only what is under a test of ``__name__`` is
    left out.

    Raises
    ------
    ClusterError
        If the script is under way at its top level, and tests its name nowhere.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or dask.config.get("distributed.worker.multiprocessing-method") == "fork":
        return
    frame = inspect.currentframe()
    while frame is not None and not (frame.f_globals is vars(main) and frame.f_code.co_name == "<module>"):
        frame = frame.f_back
    with suppress(OSError, UnicodeDecodeError):  # a script that cannot be read is not judged
        if frame is not None and "__main__" not in Path(path).read_text(encoding="utf-8"):
            raise ClusterError(
                f"{path}: found no guard around what starts workers; expected one, as each worker imports "
                'the script again. Put it below `if __name__ == "__main__":`, or use scheduler="threads".'
            )


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
            f"Set ulimit -n {least}, take fewer workers, or use --scheduler threads."
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
def remote_client(config: ClusterConfig) -> Iterator[Any]:
    """Connect to a scheduler that is there; a client of it."""
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
            f"--scheduler: found {text!r}; expected auto, threads, local, sync, an address such as "
            "tls://host:8786, or the path of a scheduler file that exists."
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
