"""A small cluster of processes, the command line as a process, and what a stage leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import distributed

from dkmeans.storage.store import Store

__all__ = ["STAGES", "Hosts", "Outputs", "cluster_of", "dkmeans", "first_of", "stored", "until"]

STAGES = ("ingest", "fit", "compress", "reconstruct")
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
SMALL = ["--shard-mib", "0.006"]  # several tasks of each kind from a few small photos


@dataclass(frozen=True)
class Outputs:
    """The URLs of one pipeline over `photos`, and the command that makes each."""

    photos: str
    root: str

    def url(self, stage: str) -> str:
        return f"{self.root}/{stage}"

    def command(self, stage: str) -> list[str]:
        dataset, patches = self.url("ingest"), self.url("fit")
        return {
            "ingest": ["ingest", self.photos, dataset, "--patch", "8", "--stride", "2", *SMALL],
            "fit": ["fit", dataset, patches, "--on", "patches", "--k", "8", "--tol", "0", "--max-iter", "6"],
            "palette": ["fit", dataset, self.url("palette"), "--k", "4", "--max-iter", "2"],
            "compress": ["compress", dataset, self.url("palette"), self.url("compress")],
            "reconstruct": ["reconstruct", dataset, patches, self.url("reconstruct")],
        }[stage]


def dkmeans(*arguments: str, within: Sequence[str] = ()) -> subprocess.Popen[str]:
    """The command as a process; `within` is put before it."""
    return subprocess.Popen(
        [*within, sys.executable, "-m", "dkmeans", *arguments, "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stored(url: str) -> dict[str, bytes]:
    """All objects but those that hold times or names: claims, manifest, history, versions of files."""
    skip = ("claim/", "history/", "files/version/", "zarr.json")
    return {
        found.key: Store(url).get(found.key) for found in Store(url).list() if not found.key.startswith(skip)
    }


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def first_of(method: str, number: int, act: Callable[[], object]) -> Callable[[str, str, int], None]:
    """A plan of the proxy that does something as the `number`th request of `method` comes in, from 1."""
    seen = 0

    def plan(called: str, path: str, _: int) -> None:
        nonlocal seen
        seen += called == method
        if called == method and seen == number:
            act()

    return plan


@dataclass
class Hosts:
    """A scheduler and workers as processes of their own; `within` is put before each command."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return str(self.folder / "scheduler.json")

    def start_scheduler(self, *within: str) -> None:
        Path(self.file).unlink(missing_ok=True)
        options = ["--host", self.host, "--port", "0", "--no-dashboard", "--scheduler-file", self.file]
        self._start("scheduler", [*within, sys.executable, "-m", "distributed.cli.dask_scheduler", *options])
        until(lambda: Path(self.file).is_file() and Path(self.file).stat().st_size)

    def start_worker(
        self,
        name: str,
        *within: str,
        nanny: bool = False,
        host: str | None = None,
        more: Sequence[str] = (),
    ) -> None:
        options = ["--scheduler-file", self.file, "--name", name, "--nthreads", "1", "--no-dashboard"]
        options += ["--host", host or self.host, "--local-directory", str(self.folder)]
        options += ["--nanny" if nanny else "--no-nanny", "--memory-limit", "1GiB", *more]
        self._start(name, [*within, sys.executable, "-m", "distributed.cli.dask_worker", *options])

    def _start(self, name: str, command: list[str]) -> None:
        self.processes[name] = subprocess.Popen(command, env=os.environ | self.environment, **QUIET)

    def client(self) -> distributed.Client:
        # Not by the file itself: for one that is gone with its scheduler, Dask would wait for ever.
        address = json.loads(Path(self.file).read_text())["address"]
        return distributed.Client(address, timeout=20, set_as_default=False)

    def wait_for(self, n_workers: int) -> None:
        with self.client() as client:
            client.wait_for_workers(n_workers, timeout=60)

    def worker_pid(self, name: str) -> int:
        """Of the worker itself, which may be a nanny's child."""
        with self.client() as client:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            (address,) = (address for address, worker in workers.items() if worker["name"] == name)
            return client.run(os.getpid, workers=[address])[address]

    def kill(self, name: str) -> None:
        """End a process at once, as a crash does."""
        self.processes[name].kill()

    def stop(self) -> None:
        for process in self.processes.values():  # those that run, and those that were killed
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def cluster_of(folder: Path, *workers: str, nanny: bool = False, more: Sequence[str] = ()) -> Iterator[Hosts]:
    """A scheduler and workers of these names, ready to work; `more` are options of theirs."""
    hosts = Hosts(folder, {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false"})  # python/cpython#106883
    try:
        hosts.start_scheduler()
        for name in workers:
            hosts.start_worker(name, nanny=nanny, more=more)
        hosts.wait_for(len(workers))
        yield hosts
    finally:
        hosts.stop()
