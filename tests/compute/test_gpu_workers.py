"""Blocks on the GPUs of several workers: stepped by one call for each worker, with the bits of the CPU.

Workers of this process share its GPU. Others are processes of their own, started as deploy/README.md has it,
with a GPU each that CUDA_VISIBLE_DEVICES names; these GPUs are emulated.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import distributed
import pytest
from emulation import gpu_worker

from dkmeans import ClusterConfig, FitConfig, IngestConfig, fit, ingest, open_codebook
from dkmeans.clustering import lloyd
from dkmeans.compute.connecting import connect
from dkmeans.compute.distributed import Distributed
from dkmeans.errors import DeviceError
from dkmeans.events.reporter import SILENT, Reporter

ROOT = Path(__file__).parents[2]
K = 15


class Watching(Reporter):
    """Calls `look` after each iteration."""

    def __init__(self, look):
        super().__init__(level="warning")
        self.look = look

    def event(self, kind, *arguments, **facts):
        if kind == "iteration":
            self.look(facts["iteration"])


@pytest.fixture(scope="module")
def patches(photos, tmp_path_factory):
    """Patches of 5x5 pixels of gray photos, in several shards."""
    url = str(tmp_path_factory.mktemp("patches") / "d.zarr")
    config = IngestConfig(source=str(photos), dataset=url, patch=5, stride=4, color="gray", shard_mib=0.002)
    ingest(config, ClusterConfig(scheduler="sync", device="cpu"))
    return url


def told(patches, codebook, cluster, reporter=SILENT):
    """What a fit gives: centers, counts, inertia, and what each iteration told."""
    options = {"on": "patches", "k": K, "max_iter": 6, "tol": 0, "min_gain": 0}
    with pytest.warns(UserWarning, match="not converged") if reporter is SILENT else ExitStack():
        report = fit(FitConfig(dataset=patches, codebook=str(codebook), **options), cluster, reporter)
    book = open_codebook(str(codebook))
    counts, steps = book.counts.tolist(), book.history[:, :3].tolist()
    return report.centers_sha256, report.inertia, report.n_iter, counts, steps


@pytest.fixture(scope="module")
def right(patches, tmp_path_factory):
    url = tmp_path_factory.mktemp("right") / "c.zarr"
    return told(patches, url, ClusterConfig(scheduler="sync", device="cpu"))


@pytest.fixture
def no_tasks(monkeypatch):
    """All is done by calls to workers; nothing is left to tasks."""

    def fail(*_):
        raise AssertionError("a step was taken by tasks")

    monkeypatch.setattr(lloyd._RowSteps, "_tasks", fail)


def blocks_of(dask_worker):
    """The modules of the blocks that lie on a worker, and their rows."""
    values = [dask_worker.data[key] for key in list(dask_worker.data)]
    return [(type(each).__module__, each.n_rows) for each in values if hasattr(each, "lloyd")]


def kinds(client):
    """Of each worker, how many blocks lie on its GPU and on its CPU."""
    found = client.run(blocks_of).values()
    return sorted(Counter("gpu" if "cuda" in module else "cpu" for module, _ in each) for each in found)


def until(done):
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


# In this process


@pytest.fixture
def here():
    """Three workers of two threads."""
    with (
        distributed.LocalCluster(
            n_workers=3,
            threads_per_worker=2,
            processes=False,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.usefixtures("no_tasks")
def test_each_worker_has_one_block_on_its_gpu(gpu, here, patches, right, tmp_path):
    seen = []
    cluster = Distributed(here, device="gpu")
    assert cluster.n_gpus() == 3
    assert told(patches, tmp_path / "c", cluster, Watching(lambda _: seen.append(kinds(here)))) == right
    assert seen == [[{"gpu": 1}] * 3] * 6
    assert gpu["lloyd"] == 3 * 7


def test_a_worker_that_leaves_takes_its_block_along(gpu, here, patches, right, tmp_path):
    """The block is made again on another worker, where it knows nothing of the step before."""

    def look(iteration):
        if iteration == 3:
            here.retire_workers([next(iter(here.scheduler_info()["workers"]))], close_workers=True)

    assert told(patches, tmp_path / "c", Distributed(here, device="gpu"), Watching(look)) == right
    assert len(kinds(here)) == 2


# In processes of their own


@pytest.fixture
def scheduler():
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp", host="127.0.0.1"
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def workers_on(client, built_kernels, *visible):
    """Worker processes that see these devices; without nannies, which would start lost ones again."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    options = "--nworkers 1 --nthreads 1 --no-dashboard --no-nanny --memory-limit 0 --host 127.0.0.1"
    preload = ["--preload", gpu_worker.__file__]
    started = []
    try:
        for devices in visible:
            command = [sys.executable, "-m", "dask", "worker", client.scheduler.address, *options.split()]
            environment = {
                **os.environ,
                "PYTHONPATH": path,
                gpu_worker.FOLDER: str(built_kernels),
                "CUDA_VISIBLE_DEVICES": devices,
            }
            started.append(subprocess.Popen([*command, *preload], env=environment))
        client.wait_for_workers(len(visible), timeout=60)
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def visible_devices(dask_worker):
    cupy = sys.modules["cupy"]
    return os.environ["CUDA_VISIBLE_DEVICES"], cupy.cuda.runtime.getDeviceCount()


@pytest.mark.usefixtures("no_tasks")
def test_a_worker_process_for_each_gpu(scheduler, built_kernels, patches, right, tmp_path):
    seen = []
    with workers_on(scheduler, built_kernels, "0", "1"):
        assert sorted(scheduler.run(visible_devices).values()) == [("0", 1), ("1", 1)]
        cluster = Distributed(scheduler, device="gpu")
        assert cluster.n_gpus() == 2
        assert (
            told(patches, tmp_path / "c", cluster, Watching(lambda _: seen.append(kinds(scheduler)))) == right
        )
    assert seen == [[{"gpu": 1}] * 2] * 6


@pytest.mark.slow
def test_workers_some_of_which_have_a_gpu(scheduler, built_kernels, patches, right, tmp_path, monkeypatch):
    """With "auto" each does its blocks on what it has; with "gpu" the one without is named."""
    monkeypatch.setattr("dkmeans.plan._FIT_BLOCK_ROWS", 150)
    seen = []
    with workers_on(scheduler, built_kernels, "0", ""):
        cluster = Distributed(scheduler, device="auto")
        assert cluster.n_gpus() == 0
        reporter = Watching(lambda _: seen.append(kinds(scheduler)))
        with monkeypatch.context() as patched:
            patched.setattr(lloyd._RowSteps, "_tasks", None)
            assert told(patches, tmp_path / "c", cluster, reporter) == right
        config = ClusterConfig(scheduler=scheduler.scheduler.address, device="gpu", insecure=True)
        with (
            pytest.raises(
                DeviceError, match=r"--device gpu: tcp://.* has no usable GPU: CUDA finds no device"
            ),
            connect(config, SILENT),
        ):
            pass
    assert {tuple(sorted(each)) for blocks in seen for each in blocks} == {("cpu",), ("gpu",)}


@pytest.mark.slow
def test_a_worker_process_that_dies_loses_no_bit(scheduler, built_kernels, patches, right, tmp_path):
    with workers_on(scheduler, built_kernels, "0", "1") as processes:

        def look(iteration):
            if iteration == 2:
                processes[0].kill()
                processes[0].wait()
                until(lambda: len(scheduler.scheduler_info()["workers"]) == 1)

        assert told(patches, tmp_path / "c", Distributed(scheduler, device="gpu"), Watching(look)) == right
