"""Where tasks run: results in order, errors as they were raised, a dead worker survived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import distributed
import numpy as np
import psutil
import pytest
from dask.delayed import delayed

from dkmeans import ClusterConfig, cluster
from dkmeans.cluster import Cluster, connect
from dkmeans.errors import ClusterError, ImageError, UsageError
from dkmeans.events import SILENT

LOCAL = ClusterConfig(workers=1, threads_per_worker=2, memory_limit="1GiB")


def square(x):
    return x * x


def fail(x):
    raise ImageError(f"{x}.png is broken")


def both(workers):
    return [Cluster("cpu"), workers]


def test_results_come_in_order_and_progress_counts(workers):
    for place in both(workers):
        steps = []
        results = place.run([delayed(square)(x) for x in range(20)], steps.append)
        assert results == [x * x for x in range(20)]
        assert sum(steps) == 20


def test_our_errors_come_back_as_they_were(workers):
    for place in both(workers):
        with pytest.raises(ImageError, match=r"7\.png is broken"):
            place.run([delayed(square)(1), delayed(fail)(7)])


def test_shards_are_mapped(workers):
    def number(block, offset):
        return np.array([f"{block[0] + offset}"], dtype=object)

    for place in both(workers):
        found = place.map_shards(number, 5, lambda n=1, note="": None, offset=10)
        assert [part[0] for part in found] == ["10", "11", "12", "13", "14"]


def test_persisted_tasks_run_once(workers, tmp_path):
    def touch(name):
        with open(tmp_path / str(name), "a") as file:
            file.write("x")
        return name

    for number, place in enumerate(both(workers)):
        kept = place.persist([delayed(touch)(number)])
        assert place.run(kept) == place.run(kept) == [number]
        assert (tmp_path / str(number)).read_text() == "x"


def test_a_local_cluster_reports_its_memory():
    with connect(LOCAL, SILENT) as place:
        assert place.memory_bytes() == 1 << 30
        assert place.run([delayed(os.getpid)()]) != [os.getpid()]
        with connect(place, SILENT) as same:
            assert same is place
        assert place.run([delayed(square)(3)]) == [9]  # still open


def test_this_process_knows_its_memory():
    with connect(ClusterConfig(scheduler="sync"), SILENT) as place:
        assert 1 << 28 < place.memory_bytes() <= psutil.virtual_memory().total


def test_an_address_and_a_scheduler_file(workers, tmp_path):
    address = workers.client.scheduler.address
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps(workers.client.scheduler_info()))
    for scheduler in (address, address.removeprefix("tcp://"), str(file)):
        with connect(ClusterConfig(scheduler=scheduler), SILENT) as place:
            assert place.run([delayed(square)(4)]) == [16]


def test_a_scheduler_without_workers(monkeypatch):
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty:
        config = ClusterConfig(scheduler=empty.scheduler_address)
        with pytest.raises(ClusterError, match="no scheduler with workers"), connect(config, SILENT):
            pass


def test_a_task_that_kills_its_workers():
    with connect(LOCAL, SILENT) as place:
        with pytest.raises(ClusterError, match=r"was lost with \d+ workers.*memory") as caught:
            place.run([delayed(os._exit)(1)])
        assert caught.value.exit_code == 5


def test_a_scheduler_that_dies(tmp_path):
    file = tmp_path / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    python, quiet = [sys.executable, "-m"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*python, "distributed.cli.dask_scheduler", *options, "--scheduler-file", str(file)], **quiet
    )
    worker = subprocess.Popen(
        [*python, "distributed.cli.dask_worker", "--scheduler-file", str(file), "--no-nanny"], **quiet
    )
    try:
        while not file.exists():
            time.sleep(0.1)
        with connect(ClusterConfig(scheduler=str(file)), SILENT) as place:
            killer = threading.Timer(1, scheduler.kill)
            killer.start()
            with pytest.raises(ClusterError, match=r"the scheduler is gone.*--resume"):
                place.run([delayed(time.sleep)(30)])
            killer.join()
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scheduler": "no/such/file.json"}, "expected local, sync, an address"),
        ({"memory_limit": "plenty"}, "found 'plenty'"),
    ],
)
def test_options_that_cannot_be_used(options, text):
    with pytest.raises(UsageError, match=text), connect(ClusterConfig(**options), SILENT):
        pass


def test_persisted_tasks_are_shared_among_the_threads_where_they_lie(workers):
    tasks = workers.persist([delayed(square)(number) for number in range(7)])
    distributed.wait(distributed.futures_of(tasks))
    shares = workers.shares(tasks)
    assert sorted(number for share in shares for number in share) == list(range(7))
    assert len(shares) == min(workers.n_threads(), 7)
    where = workers.client.who_has(distributed.futures_of(tasks))
    for share in shares:
        assert len({where[tasks[number].key][0] for number in share}) == 1
    assert Cluster("cpu", None, 3).shares(tasks) == [[0, 3, 6], [1, 4], [2, 5]]
