"""Any process may die at any moment: the outputs come out the same."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from faults.conftest import run
from faults.place import STAGES, cluster_of, dkmeans, first_of, stored

from dkmeans.artefacts.kinds import read_any
from dkmeans.errors import InputError
from dkmeans.storage.store import Store

pytestmark = pytest.mark.slow
BEFORE = {
    "ingest": [],
    "fit": ["ingest"],
    "compress": ["ingest", "palette"],
    "reconstruct": ["ingest", "fit"],
}


def prepare(outputs, stage):
    for before in BEFORE[stage]:
        run(outputs.command(before))


def finish(process, code=0):
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still at it after two minutes: {out}{err}") from None
    assert process.returncode == code, err
    return out + err


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("at", [1, 6])
def test_a_worker_is_killed(stage, at, outputs, undisturbed, proxy, tmp_path):
    prepare(outputs, stage)
    with cluster_of(tmp_path, "one", "two") as hosts:
        proxy.plan(first_of("GET" if stage == "fit" else "PUT", at, lambda: hosts.kill("one")))
        finish(dkmeans(*outputs.command(stage), "--scheduler", hosts.file))
        assert hosts.processes["one"].poll() == -signal.SIGKILL
    assert stored(outputs.url(stage)) == undisturbed[stage]


def test_a_worker_is_killed_between_iterations(outputs, undisturbed, proxy, tmp_path):
    """At the third checkpoint: the blocks that it held are read again by the other."""
    prepare(outputs, "fit")
    with cluster_of(tmp_path, "one", "two") as hosts:
        checkpoints = 0

        def plan(method, path, _):
            nonlocal checkpoints
            checkpoints += method == "PUT" and "checkpoint" in path
            if checkpoints == 3 and hosts.processes["one"].poll() is None:
                hosts.kill("one")

        proxy.plan(plan)
        finish(dkmeans(*outputs.command("fit"), "--scheduler", hosts.file))
        assert checkpoints > 3
    assert stored(outputs.url("fit")) == undisturbed["fit"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_only_worker_is_killed_and_its_nanny_starts_another(stage, outputs, undisturbed, proxy, tmp_path):
    prepare(outputs, stage)
    with cluster_of(tmp_path, "only", nanny=True) as hosts:
        pid = hosts.worker_pid("only")
        proxy.plan(first_of("PUT", 3, lambda: os.kill(pid, signal.SIGKILL)))
        finish(dkmeans(*outputs.command(stage), "--scheduler", hosts.file))
        assert hosts.worker_pid("only") != pid
    assert stored(outputs.url(stage)) == undisturbed[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_the_scheduler_is_killed(stage, outputs, undisturbed, proxy, tmp_path):
    prepare(outputs, stage)
    with cluster_of(tmp_path, "one") as hosts:
        proxy.plan(first_of("PUT", 3, lambda: hosts.kill("scheduler")))
        told = finish(dkmeans(*outputs.command(stage), "--scheduler", hosts.file), code=5)
        assert "the scheduler is gone" in told
        assert "--resume" in told
    proxy.plan(lambda *_: None)
    with pytest.raises(InputError, match="unfinished"):
        read_any(Store(outputs.url(stage)))
    with cluster_of(tmp_path, "another") as hosts:
        finish(dkmeans(*outputs.command(stage), "--scheduler", hosts.file, "--resume"))
    assert stored(outputs.url(stage)) == undisturbed[stage]
