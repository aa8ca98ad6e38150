"""The ways to start a cluster that need nothing but this machine, with TLS and a real job."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager

import pytest
from deploy.running import BIN, DEPLOY, dkmeans, environment, fakes, free_port, gone, options, write_job
from distributed import Client, Security


@pytest.mark.slow
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


@contextmanager
def gpu_workers(tmp_path, tls, dask):
    """A scheduler and the GPU workers of one line, by the `dask` at a path: the address, and the PIDs."""
    hosts, run, port = tmp_path / "hosts.txt", tmp_path / "run", free_port()
    hosts.write_text("localhost\n")
    settings = environment(
        RUN=run, TLS=tls, PORT=port, DASK=dask, GPU=1, THREADS=1, MEMORY="1GiB", DASHBOARD="127.0.0.1:0",
        # dask-cuda's own switches for tests: its workers touch no GPU.
        CUDA_VISIBLE_DEVICES="0,1", DASK_CUDA_TEST_DISABLE_DEVICE_SPECIFIC=1, DASK_CUDA_TEST_SINGLE_GPU=1,
    )  # fmt: skip
    try:
        subprocess.run([DEPLOY / "ssh/start.sh", hosts], env=settings, check=True, timeout=60)
        pids = [int((run / f"{name}.pid").read_text()) for name in ("scheduler", "worker-0")]
        assert not gone(pids, seconds=0.5)
        yield f"tls://127.0.0.1:{port}"
    finally:
        subprocess.run([DEPLOY / "ssh/stop.sh", hosts], env=settings, check=True, timeout=60)
    assert gone(pids)


def test_gpu_hosts_get_their_workers_by_dask_cuda(tmp_path, tls):
    """With a dask that notes its arguments, and whose `cuda worker` is a plain one."""
    fake, log = tmp_path / "dask", tmp_path / "log"
    fake.write_text(f'#!/bin/bash\necho "$*" >>"{log}"\n[[ $1 != cuda ]] || shift\nexec "{BIN}/dask" "$@"\n')
    fake.chmod(0o755)
    with gpu_workers(tmp_path, tls, fake) as address:
        scheduler, worker = sorted(log.read_text().splitlines(), reverse=True)
    assert scheduler.startswith("scheduler --protocol tls ")
    assert worker.startswith(f"cuda worker {address} --name worker-0 --memory-limit 1GiB --nthreads 1 ")


@pytest.mark.slow
def test_dask_cuda_has_a_worker_for_each_gpu_and_the_same_bits(tmp_path, tls, photos, expected):
    """Here without GPUs, so that the workers compute on the CPU."""
    pytest.importorskip("dask_cuda.cli", reason="pip install 'dkmeans[dask-cuda12]'", exc_type=ImportError)
    certificates = Security(
        tls_ca_file=str(tls / "ca.pem"),
        tls_client_cert=str(tls / "cert.pem"),
        tls_client_key=str(tls / "key.pem"),
        require_encryption=True,
    )
    with gpu_workers(tmp_path, tls, BIN / "dask") as address:
        with Client(address, security=certificates, timeout=30) as client:
            client.wait_for_workers(2, timeout=60)
            devices = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
            limits = {w["memory_limit"] for w in client.scheduler_info(n_workers=-1)["workers"].values()}
        assert all(url.startswith("tls://") for url in devices)
        assert sorted(devices.values()) == ["0,1", "1,0"]
        assert limits == {2**30}
        job = write_job(tmp_path / "cluster", photos)
        found = dkmeans("run", job, "--scheduler", address, *options(tls), "--device", "auto", "--json")
    assert found["fit"][0]["centers_sha256"] == expected


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


@pytest.mark.parametrize(("tasks", "memory"), [(1, "29491MiB"), (4, "7372MiB")])
def test_the_tasks_of_a_node_share_its_memory(tmp_path, tasks, memory):
    """With an srun that notes its arguments, a scheduler that is a file, and a job that waits for both."""
    folder = fakes(
        tmp_path / "bin",
        dask='touch scheduler && echo 1 >"$SLURM_SUBMIT_DIR/dkmeans-7/scheduler.json"',
        srun='echo "$*" >srun.part && mv srun.part srun',
        dkmeans="until [[ -e srun ]]; do sleep 0.1; done",
    )
    env = environment(folder, TLS="tls", SLURM_SUBMIT_DIR=tmp_path, SLURM_JOB_ID=7, SLURM_CPUS_PER_TASK=3)
    env |= {"SLURM_MEM_PER_NODE": "32768", "SLURM_NTASKS_PER_NODE": str(tasks)}
    script = [DEPLOY / "slurm/job.sbatch", "job.toml"]
    assert subprocess.run(script, env=env, cwd=tmp_path, timeout=60).returncode == 0
    before, after = (tmp_path / "srun").read_text().split(" dask worker ")
    assert "--cpus-per-task=3" in before.split()
    assert f"--nworkers 1 --nthreads 3 --memory-limit {memory} " in after
