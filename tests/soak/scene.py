"""The processes of one round: scheduler and workers, the driver, the store, and what can be done to each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
from faults.place import Hosts
from object_store.server import Server
from soak.plans import Fault, Setting

__all__ = ["MARK", "LoggedHosts", "Scene"]

HERE = Path(__file__).parent
MARK = "DKMEANS_SOAK"
"""In the environment of everything that a round starts, so that what is left of it can be found."""

Mend = Callable[[], None]


@dataclass
class LoggedHosts(Hosts):
    """Hosts of which each process has a log, and tells its stacks on SIGUSR1."""

    def _start(self, name: str, command: list[str]) -> None:
        preload = f"[{str(HERE / 'stacks.py')!r}]"
        stacks = {f"DASK_DISTRIBUTED__{kind}__PRELOAD": preload for kind in ("SCHEDULER", "WORKER", "NANNY")}
        environment = os.environ | self.environment | stacks
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )


@dataclass
class Scene:
    """What runs in one round. Faults come from threads of the proxy, mends from timers: hence a lock."""

    folder: Path
    setting: Setting
    environment: dict[str, str]
    server: Server | None
    say: Callable[[str], None]
    driver: subprocess.Popen[bytes] | None = None
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    lock: threading.RLock = field(default_factory=threading.RLock)
    hosts: LoggedHosts = field(init=False)
    _n_started: int = 0
    _stopped: bool = False
    _leaving: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        quiet = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false"}  # python/cpython#106883
        self.environment = self.environment | {MARK: self.mark, **quiet}
        self.hosts = LoggedHosts(self.folder, self.environment)

    # Start and repair

    def options(self) -> list[str]:
        """Those of the command that say where its tasks run."""
        if self.setting.where == "hosts":
            return ["--scheduler", self.hosts.file, "--connect-seconds", "60"]
        if self.setting.where == "local":
            return ["--workers", str(self.setting.n_workers), "--threads-per-worker", "1"]
        return ["--scheduler", "sync"]

    def start_driver(self, arguments: list[str], log: Path) -> None:
        """In a session of its own, as a shell in a terminal starts it."""
        command = [sys.executable, str(HERE / "command.py"), *arguments, *self.options(), "--quiet"]
        with log.open("wb") as stderr, log.with_suffix(".out").open("wb") as stdout:
            self.driver = subprocess.Popen(
                command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def repair(self, late: float = 0.0) -> None:
        """Start what is not there, as a supervisor does; without their scheduler workers are started anew."""
        if self.setting.where != "hosts":
            return
        with self.lock:
            if self._stopped:
                return
            if not self._runs("scheduler"):
                for name in self.workers():
                    self.hosts.kill(name)
                self.hosts.start_scheduler()
            missing = self.setting.n_workers - len(self.workers())
        if late and missing:
            timer = threading.Timer(late, self.repair)
            timer.daemon = True
            timer.start()
        else:
            for _ in range(missing):
                self.start_worker()

    def start_worker(self) -> str:
        """One more, by a name that none has had."""
        with self.lock:
            if self._stopped:
                return "nobody"
            self._n_started += 1
            name = f"worker{self._n_started}"
            self.hosts.start_worker(name, nanny=self.setting.nanny)
            return name

    def _runs(self, name: str) -> bool:
        process = self.hosts.processes.get(name)
        return process is not None and process.poll() is None

    def workers(self) -> list[str]:
        """Names of the workers, or their nannies, that run and do not leave."""
        others = {"scheduler"} | self._leaving
        return [name for name in self.hosts.processes if name not in others and self._runs(name)]

    # Who is who

    def worker_pid(self, pick: int) -> int | None:
        """Of a worker itself, not of its nanny."""
        if self.setting.where == "hosts" and not self.setting.nanny:
            names = self.workers()
            return self.hosts.processes[names[pick % len(names)]].pid if names else None
        parents = [self.hosts.processes[name].pid for name in self.workers()]
        parents = [self.driver.pid] if self.setting.where == "local" and self.driver else parents
        pids = [pid for parent in parents for pid in _spawned_by(parent)]
        return pids[pick % len(pids)] if pids else None

    # Faults; each gives what mends it, or None if there was nobody to do it to

    def harm(self, fault: Fault) -> Mend | None:
        """Do what a fault says."""
        target, action = fault.kind.split(".")
        with self.lock:
            if target == "store":
                return self._harm_store(action)
            if target == "driver":
                return self._harm_driver(action, whole_session=bool(fault.pick % 2))
            if action == "join":
                self.say(f"  {self.start_worker()} joins")
                return lambda: None
            if action == "leave" or target == "nanny":
                return self._end_worker(fault)
            pid = self._pid("scheduler") if target == "scheduler" else self.worker_pid(fault.pick)
            if pid is None or not _send(pid, signal.SIGSTOP if action == "pause" else signal.SIGKILL):
                return None
            self.say(f"  pid {pid}")
            return partial(_go_on, pid) if action == "pause" else self.repair

    def _pid(self, name: str) -> int | None:
        return self.hosts.processes[name].pid if self._runs(name) else None

    def _end_worker(self, fault: Fault) -> Mend | None:
        names = self.workers()
        if not names:
            return None
        name = names[fault.pick % len(names)]
        process = self.hosts.processes[name]
        self._leaving.add(name)
        _send(process.pid, signal.SIGTERM if fault.kind == "worker.leave" else signal.SIGKILL)
        self.say(f"  {name}, pid {process.pid}")
        return self.repair

    def _harm_store(self, action: str) -> Mend | None:
        if self.server is None:
            return None
        if action == "pause":
            try:
                self.server.pause()
            except psutil.NoSuchProcess:  # it was killed before
                return None
            return self.server.go_on
        self.server.kill()
        return self.server.restart

    def _harm_driver(self, action: str, *, whole_session: bool) -> Mend | None:
        if self.driver is None or self.driver.poll() is not None:
            return None
        numbers = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP, "term": signal.SIGTERM}
        number = numbers.get(action, signal.SIGINT)
        if number == signal.SIGINT and whole_session:  # as the terminal does
            os.killpg(self.driver.pid, number)
        else:
            self.driver.send_signal(number)
        pid = self.driver.pid
        return partial(_go_on, pid) if action == "pause" else lambda: None

    # The end

    def tell_stacks(self) -> None:
        """Ask all Python processes for their stacks, which they write into their logs."""
        for process in self.left():
            with suppress(psutil.Error):
                if "resource_tracker" not in " ".join(process.cmdline()):
                    _send(process.pid, signal.SIGCONT)
                    _send(process.pid, signal.SIGUSR1)
        time.sleep(2)

    def left(self, seconds: float = 0) -> list[psutil.Process]:
        """Processes of this round that run, after at most so many seconds in which they may end."""
        end = time.monotonic() + seconds
        while (found := [process for process in psutil.process_iter() if self._is_ours(process)]) and (
            time.monotonic() < end
        ):
            time.sleep(0.1)
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    def stop(self) -> list[str]:
        """End everything; the commands of what was left 15 seconds after all that was started had ended."""
        with self.lock:
            self._stopped = True
        if self.driver is not None:
            self.driver.kill()
            self.driver.wait()
        for process in self.hosts.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        self.hosts.stop()
        left = self.left(15)
        told = []
        for process in left:
            with suppress(psutil.Error):
                told.append(f"{process.pid} {' '.join(process.cmdline())}")
                process.kill()
        return told


def _spawned_by(pid: int) -> list[int]:
    """Children that multiprocessing has made to work: not its resource tracker."""
    with suppress(psutil.Error):
        children = psutil.Process(pid).children()
        return sorted(child.pid for child in children if "spawn_main" in " ".join(child.cmdline()))
    return []


def _go_on(pid: int) -> None:
    _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False
