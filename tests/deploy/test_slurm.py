"""slurm/ on a Slurm of this machine: four nodes, whose GPUs are files."""

from __future__ import annotations

import subprocess
import sys

import pytest
from deploy.running import BIN, DEPLOY, await_true, dkmeans, fakes, write_job

pytestmark = pytest.mark.slow


def submit(slurm, tmp_path, tls, *options, job, folders=()):
    """Submit job.sbatch from a folder, as it is: the number of the job."""
    command = ["sbatch", "--parsable", *options, DEPLOY / "slurm/job.sbatch", job]
    result = subprocess.run(
        command, env=slurm.environment(*folders, TLS=tls), cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def said(tmp_path, number):
    """What a job has printed."""
    out = tmp_path / f"slurm-{number}.out"
    return out.read_text() if out.exists() else ""


def finish(slurm, tmp_path, number, seconds=180):
    """Wait for the end of a job, which has to be a good one."""
    unfinished = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")
    await_true(
        lambda: slurm.job(number)["JobState"] not in unfinished, seconds, lambda: said(tmp_path, number)
    )
    job = slurm.job(number)
    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0"), said(tmp_path, number)


def test_the_batch_script_runs_on_four_nodes_as_it_is(slurm, tmp_path, tls, photos, expected):
    job = write_job(tmp_path / "cluster", photos)
    number = submit(slurm, tmp_path, tls, job=job)
    finish(slurm, tmp_path, number)
    asked = slurm.job(number)
    assert (asked["NumNodes"], asked["NumCPUs"], asked["Requeue"]) == ("4", "64", "1")
    assert dkmeans("info", tmp_path / "cluster/palette.zarr", "--json")["centers_sha256"] == expected
    again = submit(slurm, tmp_path, tls, job=job)  # leaves what is done as it is
    finish(slurm, tmp_path, again)


def test_a_job_that_loses_its_first_node_starts_again_and_goes_on(slurm, tmp_path, tls, photos, expected):
    job = write_job(tmp_path / "cluster", photos)
    number = submit(slurm, tmp_path, tls, "--nodes=2", job=job)
    await_true((tmp_path / "cluster/photos.zarr").exists, 120, lambda: said(tmp_path, number))
    first = slurm.job(number)["BatchHost"]
    slurm.lose(first)
    try:
        finish(slurm, tmp_path, number, seconds=240)
    finally:
        slurm.start_node(first)
        await_true(lambda: slurm.idle() == 4, 60)
    assert slurm.job(number)["Restarts"] == "1"
    assert dkmeans("info", tmp_path / "cluster/palette.zarr", "--json")["centers_sha256"] == expected


def test_jobqueue_asks_slurm_for_its_workers(slurm, tmp_path, tls, photos, expected):
    pytest.importorskip("dask_jobqueue", reason="pip install dask-jobqueue")
    job = write_job(tmp_path / "cluster", photos)
    script = [sys.executable, DEPLOY / "slurm/jobqueue.py", job, "--tls", tls, "--interface", "lo"]
    script += ["--workers", "2", "--threads", "1", "--memory", "1GiB", "--queue", "normal", "--gpu"]
    result = subprocess.run(
        script, env=slurm.environment(), cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert result.returncode == 0, result.stderr
    assert dkmeans("info", tmp_path / "cluster/palette.zarr", "--json")["centers_sha256"] == expected
    await_true(lambda: not slurm.tell("squeue", "--noheader").strip(), 30)  # its allocations are given back
    assert list(tmp_path.glob("slurm-*.out"))


@pytest.mark.parametrize(
    ("options", "devices"),
    [
        (["--nodes=2", "--gres=gpu:1", "--cpus-per-task=1", "--mem=2G"], [["0"], ["0"]]),
        (
            ["--nodes=1", "--ntasks-per-node=4", "--cpus-per-task=4", "--gpus-per-task=1"],
            [["0"], ["1"], ["2"], ["3"]],
        ),
    ],
    ids=["gres", "gpus-per-task"],
)
def test_each_worker_sees_a_gpu_of_its_own(slurm, tmp_path, tls, photos, expected, options, devices):
    """With a dask that notes the GPUs of each worker before it starts it."""
    note = f'[[ $1 != worker ]] || echo "$CUDA_VISIBLE_DEVICES" >"{tmp_path}/$SLURM_PROCID.gpus"\n'
    folder = fakes(tmp_path / "bin", dask=f'{note}exec "{BIN}/dask" "$@"')
    job = write_job(tmp_path / "cluster", photos)
    number = submit(slurm, tmp_path, tls, *options, job=job, folders=[folder])
    finish(slurm, tmp_path, number)
    found = [file.read_text().strip().split(",") for file in sorted(tmp_path.glob("*.gpus"))]
    assert sorted(found) == devices
    assert dkmeans("info", tmp_path / "cluster/palette.zarr", "--json")["centers_sha256"] == expected
