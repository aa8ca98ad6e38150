"""The services of compose.yaml as processes of this machine: what Compose does with it, without containers.

A container has files of its own and a name in a network; a process has neither. So /tls, /job.toml and /tmp
are the paths where these lie, and `scheduler`, its ports and S3's address are those of this machine.
No process is held to the memory of its container, and none is kept from writing elsewhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from deploy.running import DEPLOY, await_true, environment, free_port

__all__ = ["Project", "project_of"]

# What a process keeps of this machine's variables, which an image would have set for it.
KEPT = ("PATH", "PYTHONPATH", "NUMBA_CACHE_DIR", "OMP_NUM_THREADS", "HOME")


@dataclass
class Project:
    """What `docker compose` knows of one folder: its services, and the processes that run."""

    folder: Path
    services: dict[str, Any]
    addresses: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def here(self, text: object) -> str:
        """A word of a container's as it is on this machine."""
        told = re.sub(r"\$\$", "$", str(text))
        for name, address in self.addresses.items():
            told = told.replace(name, address)
        return told

    def environment(self, service: dict[str, Any]) -> dict[str, str]:
        """Of a service: the files in order, then its own; of this machine only what is KEPT."""
        found: dict[str, str] = {}
        for name in service["env_file"]:
            lines = (self.folder / name).read_text().splitlines()
            found |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        found |= service.get("environment", {})
        own = {name: value for name, value in environment().items() if name in KEPT}
        return own | {name: self.here(value) for name, value in found.items()}

    def start(self, name: str, number: int = 1) -> None:
        """Start one process of a service, and wait until it is healthy if it has a check."""
        service = self.services[name]
        folder = self.folder / f"{name}-{number}"  # its /tmp
        folder.mkdir(exist_ok=True)
        command = [self.here(word) for word in service["command"]]
        given = self.environment(service) | {"TMPDIR": str(folder)}
        with (folder / "log").open("ab") as log:
            self.processes[f"{name}-{number}"] = subprocess.Popen(
                command, env=given, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if check := service.get("healthcheck"):
            _, *test = map(self.here, check["test"])

            def healthy() -> bool:
                return subprocess.run(test, env=given, capture_output=True).returncode == 0

            seconds = int(check["interval"].removesuffix("s")) * check["retries"]
            await_true(healthy, seconds, lambda: self.log(name))

    def up(self) -> None:
        """Start what does not run, each service after those that it depends on."""
        for name in ("scheduler", "worker", "job"):
            service = self.services[name]
            assert set(service.get("depends_on", {})) <= {"bucket", "scheduler", "worker"}
            for number in range(1, int(service.get("deploy", {}).get("replicas", 1)) + 1):
                running = self.processes.get(f"{name}-{number}")
                if running is None or running.poll() is not None:
                    self.start(name, number)

    def wait(self, name: str = "job", seconds: float = 120) -> int:
        """Wait for the end of a service, started again on failure as often as it says: its code."""
        policy, _, tries = self.services[name]["restart"].partition(":")
        assert policy == "on-failure"
        deadline = time.monotonic() + seconds
        for _ in range(int(tries) + 1):
            code = self.processes[f"{name}-1"].wait(max(deadline - time.monotonic(), 1))
            if code == 0:
                break
            self.start(name)
        return code

    def log(self, name: str, number: int = 1) -> str:
        """What a process has said."""
        return (self.folder / f"{name}-{number}" / "log").read_text()

    def down(self) -> None:
        """Stop everything, the last first."""
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def interpolated(text: str, given: dict[str, str]) -> str:
    """Text with ${NAME}, ${NAME:-default} and ${NAME:?error} replaced; $$ is left for later."""

    def replace(match: re.Match[str]) -> str:
        name, mode, rest = match[1], match[2], match[3]
        if given.get(name):
            return given[name]
        assert mode != ":?", f"{name}: {rest}"
        return rest or ""

    return re.sub(r"(?<!\$)\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", replace, text)


@contextmanager
def project_of(folder: Path, s3: dict[str, str], bucket: str, **variables: str) -> Iterator[Project]:
    """A copy of the files that compose.yaml names, in `folder`, with certificates; stopped at the end."""
    for name in ("compose.yaml", "dask.env", "job.toml"):
        shutil.copy(DEPLOY / name, folder)
    (folder / ".env").write_text(
        f"AWS_ACCESS_KEY_ID={s3['AWS_ACCESS_KEY_ID']}\nAWS_SECRET_ACCESS_KEY={s3['AWS_SECRET_ACCESS_KEY']}\n"
        f"AWS_REGION={s3['AWS_REGION']}\n"
    )
    subprocess.run([DEPLOY / "tls/make-certs.sh", folder / "tls", "scheduler", "localhost"], check=True)
    job = folder / "job.toml"
    job.write_text(job.read_text().replace("s3://dkmeans/", f"{bucket}/"))
    given = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", **variables}
    services = yaml.safe_load(interpolated((folder / "compose.yaml").read_text(), given))["services"]
    port, dashboard = free_port(), free_port()
    addresses = {
        "http://s3:9000": s3["AWS_ENDPOINT_URL"],
        "tls://scheduler:8786": f"tls://127.0.0.1:{port}",
        ":8787": f":{dashboard}",
        "8786": str(port),
        **_mounts(services["job"], folder),
    }
    project = Project(folder, services, addresses)
    try:
        yield project
    finally:
        project.down()


def _mounts(service: dict[str, Any], folder: Path) -> dict[str, str]:
    """Where the files of a service's volumes lie, by the paths that it knows."""
    found = {}
    for volume in service["volumes"]:
        source, _, rest = volume.partition(":")
        if rest:
            found[rest.partition(":")[0]] = os.path.normpath(folder / source)
    return found
