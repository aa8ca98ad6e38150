"""The store pauses, dies, refuses or drops requests: outputs come out the same, or a message says why not."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from faults.conftest import run
from faults.place import STAGES, dkmeans, first_of, stored
from faults.test_killed import BEFORE, finish, prepare

from dkmeans.artefacts.codebook import open_codebook

TRANSIENT = ("503", "reset", "lost", "cut", "503 after", "slow")


@pytest.mark.parametrize("stage", [pytest.param(name, marks=pytest.mark.slow) for name in STAGES])
@pytest.mark.parametrize("every", [3, 5])
def test_many_requests_fail(stage, every, outputs, undisturbed, proxy):
    """Each fault in turn, at every third or fifth request, in a process that retries quickly enough."""
    prepare(outputs, stage)
    faults = itertools.cycle(TRANSIENT)
    proxy.plan(lambda method, path, number: next(faults) if number % every == every - 1 else None)
    run(outputs.command(stage))
    assert proxy.n_faults > len(TRANSIENT)
    proxy.plan(lambda *_: None)
    assert stored(outputs.url(stage)) == undisturbed[stage]


@pytest.mark.slow
def test_a_pipeline_through_a_bad_connection(outputs, undisturbed, proxy):
    """All stages on workers, one fault after another."""
    faults = itertools.cycle(TRANSIENT)
    proxy.plan(lambda method, path, number: next(faults) if number % 11 == 10 else None)
    for stage in ("ingest", "palette", "compress"):
        run(outputs.command(stage))
    assert proxy.n_faults > len(TRANSIENT)
    proxy.plan(lambda *_: None)
    assert stored(outputs.url("compress")) == undisturbed["compress"]


def run_while(proxy, command, harm, mend, seconds):
    """The command on workers; at its fourth write `harm` the store, and `mend` it so many seconds later."""
    timer = threading.Timer(seconds, mend)

    def act():
        harm()
        timer.start()

    proxy.plan(first_of("PUT", 4, act))
    began = time.monotonic()
    try:
        finish(dkmeans(*command, "--workers", "2"))
    finally:
        timer.join()
    assert time.monotonic() - began > seconds


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["ingest", "fit"])
def test_the_store_pauses(stage, s3, outputs, undisturbed, proxy):
    prepare(outputs, stage)
    run_while(proxy, outputs.command(stage), s3.pause, s3.go_on, 5)
    assert stored(outputs.url(stage)) == undisturbed[stage]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["ingest", "fit", "compress"])
def test_the_store_is_killed_and_comes_back(stage, s3, outputs, undisturbed, proxy):
    if not s3.keeps_data:
        pytest.skip("moto forgets all objects when it is killed; Ceph is not installed")
    prepare(outputs, stage)
    run_while(proxy, outputs.command(stage), s3.kill, s3.restart, 3)
    assert stored(outputs.url(stage)) == undisturbed[stage]


@pytest.mark.slow
def test_of_two_drivers_on_one_output_exactly_one_wins(outputs, undisturbed, proxy):
    """Begun together, and then together with --resume on what a third has left."""
    prepare(outputs, "fit")
    command = [*outputs.command("fit"), "--scheduler", "sync"]
    both = [dkmeans(*command) for _ in range(2)]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], told
    assert "another run" in "".join(told) or "already there" in "".join(told)
    assert stored(outputs.url("fit")) == undisturbed["fit"]


@pytest.mark.slow
def test_of_two_drivers_that_resume_exactly_one_wins(outputs, undisturbed, proxy):
    prepare(outputs, "fit")
    command = [*outputs.command("fit"), "--scheduler", "sync"]
    dead = dkmeans(*command)
    proxy.plan(first_of("PUT", 4, dead.kill))
    dead.communicate(timeout=60)
    # Slow answers: both are at work when the second takes over.
    proxy.plan(lambda method, path, number: "slow" if method == "PUT" else None)
    both = [dkmeans(*command, "--resume") for _ in range(2)]
    told = [process.communicate(timeout=120)[1] for process in both]
    proxy.plan(lambda *_: None)
    assert sorted(process.returncode for process in both) == [0, 2], told
    assert "taken over" in "".join(told)
    assert open_codebook(outputs.url("fit")).manifest.converged is False
    assert stored(outputs.url("fit")) == undisturbed["fit"]


def test_stages_of_the_undisturbed_run_are_all_compared(undisturbed):
    assert set(undisturbed) == set(STAGES) == set(BEFORE)
    assert all(undisturbed.values())
