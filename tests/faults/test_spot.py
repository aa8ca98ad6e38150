"""Workers that come and go: spot machines that are taken away, lifetimes, a cluster that scales itself."""

from __future__ import annotations

import random
import subprocess
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import distributed
import psutil
import pytest
from distributed.diagnostics.plugin import SchedulerPlugin
from faults.place import cluster_of, dkmeans, stored, until
from faults.test_killed import finish, prepare

pytestmark = pytest.mark.slow
MAKE_CERTS = Path(__file__).parents[2] / "deploy/tls/make-certs.sh"


class Spot:
    """Takes the oldest worker away as Kubernetes does, and has another a moment later; one at a time."""

    def __init__(self, hosts, names, *, nanny, grace):
        self.hosts, self.names, self.nanny, self.grace = hosts, list(names), nanny, grace
        self.ended = Counter()
        self._one = threading.Lock()
        self._threads = []

    def take(self):
        self._threads.append(threading.Thread(target=self._take, args=(f"spot{len(self._threads)}",)))
        self._threads[-1].start()

    def _take(self, new):
        with self._one:
            process = self.hosts.processes[self.names.pop(0)]
            container = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            process.terminate()
            try:
                process.wait(self.grace)
                self.ended["in order"] += 1
            except subprocess.TimeoutExpired:
                for each in container:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
                self.ended["killed"] += 1
            self.hosts.start_worker(new, nanny=self.nanny)
            self.names.append(new)

    def wait(self):
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("nanny", [False, True], ids=["no-nanny", "nanny"])
@pytest.mark.parametrize("stage", ["ingest", "fit", "compress"])
@pytest.mark.parametrize(("seed", "grace"), [(1, 20), (2, 0.1)], ids=["in-order", "killed"])
def test_spot_workers_are_taken_away(
    stage, nanny, seed, grace, outputs, undisturbed, proxy, tmp_path, monkeypatch
):
    """At three random requests of those that each of these stages makes; with time to close, or without."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "10")  # as deploy/dask.env has it
    prepare(outputs, stage)
    moments = set(random.Random(f"{seed} {stage} {nanny}").sample(range(1, 150), 3))
    names = ["one", "two"]
    with cluster_of(tmp_path, *names, nanny=nanny) as hosts:
        spot, seen = Spot(hosts, names, nanny=nanny, grace=grace), Counter()

        def plan(method, path, _):
            seen["all"] += 1
            if seen["all"] in moments:
                spot.take()

        proxy.plan(plan)
        told = finish(dkmeans(*outputs.command(stage), "--scheduler", hosts.file))
        spot.wait()
    assert spot.ended.total() == 3
    assert spot.ended["in order" if grace > 1 else "killed"]  # one that has just started may end sooner
    assert "Traceback" not in told
    assert "rror" not in told
    assert stored(outputs.url(stage)) == undisturbed[stage]


class Coming(SchedulerPlugin):
    """Keeps how many workers there are, and the most there have been."""

    def __init__(self):
        self.now = self.most = 1

    def add_worker(self, scheduler, worker):
        self.now = len(scheduler.workers)
        self.most = max(self.most, self.now)

    def remove_worker(self, scheduler, worker, **_):
        self.now = len(scheduler.workers)


@contextmanager
def adaptive(tmp_path):
    """A cluster of one worker with TLS, who comes to it and goes, and the options that reach it."""
    subprocess.run([MAKE_CERTS, tmp_path / "tls", "localhost"], check=True)
    ca, cert, key = (str(tmp_path / f"tls/{name}.pem") for name in ("ca", "cert", "key"))
    roles = {f"tls_{role}_{name}": file for role in ("scheduler", "worker", "client")
             for name, file in (("cert", cert), ("key", key))}  # fmt: skip
    security = distributed.Security(tls_ca_file=ca, require_encryption=True, **roles)
    coming = Coming()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, memory_limit="1GiB", dashboard_address="127.0.0.1:0",
        protocol="tls://", security=security,
    ) as cluster:  # fmt: skip
        cluster.scheduler.add_plugin(coming)
        tls = ["--tls-ca", ca, "--tls-cert", cert, "--tls-key", key]
        yield cluster, coming, ["--scheduler", cluster.scheduler_address, *tls]


@pytest.mark.parametrize("stage", ["ingest", "compress", "reconstruct"])
def test_a_cluster_that_scales_itself(stage, outputs, undisturbed, proxy, tmp_path):
    """From one worker to three while a stage runs, as Dask sees fit."""
    prepare(outputs, stage)
    with adaptive(tmp_path) as (cluster, coming, where):
        cluster.adapt(minimum=1, maximum=3, interval="100ms", wait_count=5, target_duration="100ms")
        proxy.plan(lambda method, path, _: "slow" if method == "GET" else None)
        finish(dkmeans(*outputs.command(stage), *where))
        assert coming.most > 1
    assert stored(outputs.url(stage)) == undisturbed[stage]


def test_a_cluster_that_is_scaled_in_the_middle_of_a_fit(outputs, undisturbed, proxy, tmp_path):
    """To three workers at its second checkpoint, and back to one at its fourth.

    By itself Dask would add none there, as the rounds of a fit are no tasks that it counts.
    """
    prepare(outputs, "fit")
    with adaptive(tmp_path) as (cluster, coming, where):
        checkpoints = 0

        def plan(method, path, _):
            nonlocal checkpoints
            if method == "PUT" and "checkpoint" in path:
                checkpoints += 1
                if number := {2: 3, 4: 1}.get(checkpoints):
                    cluster.adapt(minimum=number, maximum=number, interval="100ms", wait_count=1)
                    return lambda: until(lambda: coming.now == number)
            return None

        proxy.plan(plan)
        finish(dkmeans(*outputs.command("fit"), *where))
    assert checkpoints > 4
    assert coming.most == 3
    assert stored(outputs.url("fit")) == undisturbed["fit"]


def test_workers_of_a_short_life(outputs, undisturbed, proxy, tmp_path):
    """`dask worker --lifetime` closes each in order in the middle of a fit, and its nanny starts it again."""
    prepare(outputs, "fit")
    lifetime = ["--lifetime", "6s", "--lifetime-stagger", "2s", "--lifetime-restart"]
    names = ["one", "two"]
    with cluster_of(tmp_path, *names, nanny=True, more=lifetime) as hosts:
        before, renewed = [hosts.worker_pid(name) for name in names], []

        def renew():
            if not renewed:
                until(lambda: not any(map(psutil.pid_exists, before)))
                hosts.wait_for(2)
                renewed.append(True)

        proxy.plan(lambda method, path, _: renew if method == "PUT" and "checkpoint" in path else None)
        finish(dkmeans(*outputs.command("fit"), "--scheduler", hosts.file))
        assert renewed
    assert stored(outputs.url("fit")) == undisturbed["fit"]
