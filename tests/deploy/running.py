"""A small job, and processes that are started for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

__all__ = ["BIN", "DEPLOY", "await_true", "dkmeans", "environment"]
__all__ += ["fakes", "free_port", "gone", "options", "write_job"]

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent


def options(tls):
    """The certificates, for the command."""
    return ["--tls-ca", tls / "ca.pem", "--tls-cert", tls / "cert.pem", "--tls-key", tls / "key.pem"]


def write_job(folder, photos):
    """A job file in a new folder, with its outputs beside it."""
    folder.mkdir()
    job = folder / "job.toml"
    job.write_text(
        f'[ingest]\nsource = "{photos}"\ndataset = "{folder}/photos.zarr"\n'
        f'[fit]\ndataset = "{folder}/photos.zarr"\ncodebook = "{folder}/palette.zarr"\nk = 8\n'
    )
    return job


def environment(*folders, **more):
    """What a process is given: `folders` before the others in PATH, and `more`."""
    path = os.pathsep.join(map(str, [*folders, BIN, os.environ["PATH"]]))
    return {**os.environ, "PATH": path, **{name: str(value) for name, value in more.items()}}


def fakes(folder, **scripts):
    """Programs that stand in for others, by what bash does in them: the folder for PATH."""
    folder.mkdir()
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def dkmeans(*arguments):
    """Run the command; the object that it prints."""
    command = [sys.executable, "-m", "dkmeans", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def free_port():
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_true(condition, seconds=60, told=lambda: ""):
    """Wait for something to become true; what is `told` if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in {seconds} s: {told()}"
        time.sleep(0.1)


def gone(pids, seconds=20):
    """Whether no such process runs any longer; one that ended and is not yet reaped is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if psutil.pid_exists(pid)]
        if all(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in alive):
            return True
        time.sleep(0.2)
    return False
