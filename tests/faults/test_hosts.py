"""Workers on two hosts, one of which is cut off; and any number of workers, one of which comes late."""

from __future__ import annotations

import subprocess
import threading

import pytest
from faults.conftest import run
from faults.place import Hosts, Outputs, cluster_of, dkmeans, stored, until
from faults.test_killed import finish, prepare

SCHEDULER, OTHER = "10.213.77.1", "10.213.77.2"


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def two_hosts(tmp_path):
    """Network namespaces with a cable between them: the names of both, and of the near end of the cable."""
    near, far = "dkmeans-near", "dkmeans-far"
    try:
        made = ip("netns", "add", near)
    except FileNotFoundError:
        pytest.skip("iproute2 is not installed")
    if made.returncode:
        pytest.skip(f"no right to make network namespaces: {made.stderr.strip()}")
    try:
        for words in (
            f"netns add {far}",
            f"-n {near} link add dkm0 type veth peer name dkm1 netns {far}",
            f"-n {near} addr add {SCHEDULER}/24 dev dkm0",
            f"-n {far} addr add {OTHER}/24 dev dkm1",
            f"-n {near} link set dkm0 up",
            f"-n {far} link set dkm1 up",
            f"-n {near} link set lo up",
            f"-n {far} link set lo up",
        ):
            done = ip(*words.split())
            if done.returncode:
                pytest.skip(f"ip {words}: {done.stderr.strip()}")
        yield near, far
    finally:
        ip("netns", "del", near)
        ip("netns", "del", far)


@pytest.mark.slow
def test_a_host_that_is_cut_off_in_the_middle_of_a_fit(two_hosts, photos, undisturbed, tmp_path):
    near, far = two_hosts
    outputs = Outputs(str(photos), str(tmp_path / "out"))  # on a file system that both hosts share
    run(outputs.command("ingest"))
    within = {"near": ("ip", "netns", "exec", near), "far": ("ip", "netns", "exec", far)}
    # A host without a word for 3 s is given up; the default is 5 minutes.
    hosts = Hosts(
        tmp_path,
        {
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "3s",
            "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false",
        },
        host=SCHEDULER,
    )
    try:
        hosts.start_scheduler(*within["near"])
        hosts.start_worker("one", *within["near"])
        hosts.start_worker("two", *within["far"], host=OTHER)
        events = tmp_path / "events.jsonl"
        command = [*outputs.command("fit"), "--scheduler", hosts.file, "--insecure", "--events", str(events)]
        command[command.index("--max-iter") + 1] = "400"
        process = dkmeans(*command, within=within["near"])
        until(lambda: events.exists() and events.read_text().count('"iteration"') >= 3)
        assert '"n_threads": 2' in events.read_text()
        assert ip("-n", near, "link", "set", "dkm0", "down").returncode == 0
        cut_at = events.read_text().count('"iteration"')
        finish(process)
        assert events.read_text().count('"iteration"') > cut_at
    finally:
        hosts.stop()
    again = Outputs(str(photos), str(tmp_path / "again"))
    run(
        [
            part.replace(str(tmp_path / "out"), str(tmp_path / "again")) if "fit" in part else part
            for part in [*outputs.command("fit")[:-1], "400"]
        ]
    )
    assert stored(outputs.url("fit")) == stored(again.url("fit"))


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2, 4])
def test_any_number_of_workers(n_workers, photos, undisturbed, tmp_path):
    outputs = Outputs(str(photos), str(tmp_path / "out"))
    with cluster_of(tmp_path, *[f"worker{number}" for number in range(n_workers)]) as hosts:
        for stage in ("ingest", "fit", "palette", "compress", "reconstruct"):
            finish(dkmeans(*outputs.command(stage), "--scheduler", hosts.file))
    for stage, expected in undisturbed.items():
        assert stored(outputs.url(stage)) == expected


@pytest.mark.slow
def test_a_worker_that_joins_in_the_middle_of_a_fit(outputs, undisturbed, proxy, tmp_path):
    prepare(outputs, "fit")
    with cluster_of(tmp_path, "one") as hosts:
        joined = threading.Event()

        def join():
            hosts.start_worker("two")
            hosts.wait_for(2)

        def plan(method, path, _):
            if method == "PUT" and "checkpoint" in path and not joined.is_set():
                joined.set()
                return join
            return None

        proxy.plan(plan)
        finish(dkmeans(*outputs.command("fit"), "--scheduler", hosts.file))
        assert joined.is_set()
    assert stored(outputs.url("fit")) == undisturbed["fit"]
