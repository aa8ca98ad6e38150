"""The driver may die at any moment: a run that resumes ends in the same bytes."""

from __future__ import annotations

import signal

import pytest
from faults.conftest import run
from faults.place import STAGES, dkmeans, first_of, stored
from faults.test_killed import prepare

from dkmeans.storage.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("stage", "step"), [("ingest", 24), ("fit", 1), ("compress", 4), ("reconstruct", 24)], ids=STAGES
)
def test_the_driver_is_killed_before_its_writes(stage, step, outputs, undisturbed, proxy):
    """A fit before each: its claim, each checkpoint, each write of the commit; others before some shards."""
    prepare(outputs, stage)
    n_writes = 0

    def count(method, path, _):
        nonlocal n_writes
        n_writes += method == "PUT"

    proxy.plan(count)
    run(outputs.command(stage))
    assert n_writes > 8
    for number in sorted({*range(1, 6), *range(1, n_writes, step), *range(n_writes - 4, n_writes + 1)}):
        url = f"{outputs.root}/{number}"
        command = [part.replace(outputs.url(stage), url) for part in outputs.command(stage)]
        process = dkmeans(*command, "--scheduler", "sync")
        proxy.plan(first_of("PUT", number, process.kill))
        process.communicate(timeout=120)
        proxy.plan(lambda *_: None)
        assert process.returncode == -signal.SIGKILL, number
        # The last request may have been on its way when the process died.
        assert Store(url).exists("zarr.json") <= (number == n_writes)
        run([*command, "--resume"])
        assert stored(url) == undisturbed[stage], number
