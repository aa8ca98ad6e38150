"""The ways to start a cluster that need nothing but this machine, with TLS and a real job."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent


@pytest.fixture
def tls(tmp_path):
    folder = tmp_path / "tls"
    subprocess.run([DEPLOY / "tls/make-certs.sh", folder, "localhost", "127.0.0.1"], check=True)
    return folder


def options(tls):
    return ["--tls-ca", tls / "ca.pem", "--tls-cert", tls / "cert.pem", "--tls-key", tls / "key.pem"]


def write_job(folder, photos):
    folder.mkdir()
    job = folder / "job.toml"
    job.write_text(
        f'[ingest]\nsource = "{photos}"\ndataset = "{folder}/photos.zarr"\n'
        f'[fit]\ndataset = "{folder}/photos.zarr"\ncodebook = "{folder}/palette.zarr"\nk = 8\n'
    )
    return job


def environment(**more):
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **{name: str(value) for name, value in more.items()}}


def dkmeans(*arguments):
    """Run the command; the object that it prints."""
    command = [sys.executable, "-m", "jobs", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, photos):
    """The palette by a run in one process."""
    job = write_job(tmp_path_factory.mktemp("expected") / "sync", photos)
    return dkmeans("run", job, "--scheduler", "sync", "--json")["fit"][0]["centers_sha256"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def gone(pids, seconds=20):
    """Whether no such process runs any longer; one that ended and is not yet reaped is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if psutil.pid_exists(pid)]
        if all(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in alive):
            return True
        time.sleep(0.2)
    return False


def test_plain_processes_run_a_job_to_the_same_bits(tmp_path, tls, photos, expected):
    hosts = tmp_path / "hosts.txt"
    hosts.write_text("# one machine\nlocalhost\nlocalhost\n")
    run, port = tmp_path / "run", free_port()
    settings = environment(
        RUN=run, TLS=tls, PORT=port, DASK=BIN / "dask", THREADS=1, MEMORY="1GiB", DASHBOARD="127.0.0.1:0"
    )
    try:
        started = subprocess.run(
            [DEPLOY / "ssh/start.sh", hosts], env=settings, text=True, stdout=subprocess.PIPE, timeout=60
        )
        assert started.returncode == 0
        assert started.stdout == f"tls://127.0.0.1:{port}\n"
        pids = [int((run / f"{name}.pid").read_text()) for name in ("scheduler", "worker-0", "worker-1")]
        assert not gone(pids, seconds=0.5)
        again = subprocess.run([DEPLOY / "ssh/start.sh", hosts], env=settings, capture_output=True, text=True)
        assert again.returncode != 0
        assert "runs already" in again.stderr

        job = write_job(tmp_path / "cluster", photos)
        found = dkmeans("run", job, "--scheduler", f"tls://127.0.0.1:{port}", *options(tls), "--json")
        assert found["fit"][0]["centers_sha256"] == expected
    finally:
        stopped = subprocess.run([DEPLOY / "ssh/stop.sh", hosts], env=settings, timeout=60)
    assert stopped.returncode == 0
    assert gone(pids)
    assert not list(run.glob("*.pid"))
    for name in ("worker-0", "worker-1"):
        assert "End worker" in (run / f"{name}.log").read_text()  # in order, and not by SIGKILL


def test_a_pid_of_another_process_is_left_alone(tmp_path):
    hosts, run = tmp_path / "hosts.txt", tmp_path / "run"
    hosts.write_text("localhost\n")
    run.mkdir()
    with subprocess.Popen(["sleep", "60"]) as other:
        (run / "worker-0.pid").write_text(f"{other.pid}\n")
        stopped = subprocess.run([DEPLOY / "ssh/stop.sh", hosts], env=environment(RUN=run), timeout=30)
        assert stopped.returncode == 0
        assert not (run / "worker-0.pid").exists()
        assert other.poll() is None
        other.kill()


def test_other_hosts_are_reached_by_ssh_with_their_arguments_whole(tmp_path):
    """With an ssh that notes its arguments and runs the command here, as sshd does: by a shell."""
    fake = tmp_path / "bin" / "ssh"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/bash\nprintf "%s " "${{@:1:4}}" >>"{tmp_path}/log"\nexec bash -c "${{@: -1}}"\n')
    fake.chmod(0o755)
    hosts, run = tmp_path / "hosts.txt", tmp_path / "a run"
    hosts.write_text("me@127.0.0.1\n")
    run.mkdir()
    (run / "scheduler.pid").write_text("1\n")
    env = environment(RUN=run)
    env["PATH"] = f"{fake.parent}{os.pathsep}{env['PATH']}"
    assert subprocess.run([DEPLOY / "ssh/stop.sh", hosts], env=env, timeout=30).returncode == 0
    assert not (run / "scheduler.pid").exists()
    assert (tmp_path / "log").read_text() == "-n -o BatchMode=yes me@127.0.0.1 " * 2


@pytest.mark.slow
def test_the_batch_script_runs_a_job_to_the_same_bits(tmp_path, tls, photos, expected):
    """With an srun that starts one task here."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n')
    srun.chmod(0o755)
    env = environment(
        TLS=tls, SLURM_SUBMIT_DIR=tmp_path, SLURM_JOB_ID=7, SLURM_CPUS_PER_TASK=1, SLURM_MEM_PER_NODE=2048
    )
    env["PATH"] = f"{srun.parent}{os.pathsep}{env['PATH']}"
    job = write_job(tmp_path / "cluster", photos)
    result = subprocess.run(
        [DEPLOY / "slurm/job.sbatch", job], env=env, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    palette = dkmeans("info", tmp_path / "cluster/palette.zarr", "--json")
    assert palette["centers_sha256"] == expected
    leftover = [p.pid for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(p.info["cmdline"])]
    assert gone(leftover)


@pytest.mark.slow
def test_jobqueue_starts_workers_and_runs_the_job(tmp_path, tls, photos, expected):
    """With an sbatch that runs its script here, and an scancel that ends it."""
    pytest.importorskip("dask_jobqueue", reason="pip install dask-jobqueue")
    fakes = {
        "sbatch": 'setsid bash -c "$(<"$1")" >/dev/null 2>&1 &\necho "Submitted batch job $!"',
        "scancel": 'for group in "$@"; do kill -- "-$group"; done',
        "squeue": "exit 0",
    }
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in fakes.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    env = environment()
    env["PATH"] = f"{folder}{os.pathsep}{env['PATH']}"
    job = write_job(tmp_path / "cluster", photos)
    script = [sys.executable, DEPLOY / "slurm/jobqueue.py", job, "--tls", tls, "--interface", "lo"]
    script += ["--workers", "1", "--threads", "1", "--memory", "1GiB"]
    result = subprocess.run(script, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    palette = dkmeans("info", tmp_path / "cluster/palette.zarr", "--json")
    assert palette["centers_sha256"] == expected
