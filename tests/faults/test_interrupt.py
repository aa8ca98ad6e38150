"""Ctrl-C and SIGTERM: a run stops in order, says what is kept, leaves no process, and can be resumed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
from faults.conftest import run
from faults.place import STAGES, Outputs, first_of, stored, until
from faults.test_killed import prepare

from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.manifests import Manifest
from dkmeans.artefacts.status import kept, status
from dkmeans.command.stopping import exit_code
from dkmeans.config.stages import IngestConfig
from dkmeans.storage.store import Store

# A shell's background jobs ignore SIGINT, and so would their children.
BEGIN = "import os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
MAIN = "from dkmeans.command.main import main\nmain()\n"
SELF = """
import {module} as module
whole, calls = module.{name}, []
def call(*given, **options):
    calls.append(1)
    if len(calls) == {number}:
        os.kill(os.getpid(), signal.{sent})
    return whole(*given, **options)
module.{name} = call
"""
"""A run that sends itself a signal in a call of one of its own functions."""


class Nothing(Manifest):
    """Coded images of which nothing is told."""

    kind: Literal["coded"] = "coded"
    names: ClassVar[tuple[str, ...]] = ("codes",)


def start(code, *arguments):
    """A command in a session of its own, as a shell in a terminal starts it."""
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process, code):
    """What a process has said, once it has ended with this code."""
    try:
        out, err = process.communicate(timeout=240)  # from its start, which is slow under load
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"still at it after four minutes: {process.communicate()}") from None
    assert process.returncode == code, err
    assert out == ""
    assert "Traceback" not in err
    return err


def is_running(path):
    """Whether a process, of which this is the folder in /proc, runs; a zombie does not."""
    try:
        return (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left(session):
    """The processes of a session that still run."""
    found = [path for path in Path("/proc").glob("[0-9]*") if is_running(path)]
    return [path.name for path in found if os.getsid(int(path.name)) == session]


@pytest.fixture
def local(photos, tmp_path):
    return Outputs(str(photos), str(tmp_path))


def interrupted(local, stage, sent, module, name, number, code=130):
    """Run a stage that sends itself a signal; the last line that it prints."""
    hook = SELF.format(module=module, name=name, number=number, sent=sent)
    err = ended(start(hook + MAIN, *local.command(stage), "--scheduler", "sync"), code)
    return err.splitlines()[-1]


def resumed(local, stage, tmp_path):
    """What a stage leaves when it is resumed; checked with a run that was not disturbed."""
    run([*local.command(stage), "--resume"])
    aside = local.url(stage).replace(str(tmp_path), f"{tmp_path}/aside")
    run([part.replace(local.url(stage), aside) for part in local.command(stage)])
    assert stored(local.url(stage)) == stored(aside)


def test_ctrl_c_in_an_ingest(local, tmp_path):
    log = tmp_path / "events.jsonl"
    hook = SELF.format(module="dkmeans.storage.arrays", name="write_rows", number=9, sent="SIGINT")
    command = [*local.command("ingest"), "--scheduler", "sync", "--events", str(log)]
    err = ended(start(hook + MAIN, *command), 130)
    assert "stopping; press Ctrl-C again to stop at once" in err.splitlines()
    told = status(local.url("ingest"))["shards"]
    assert told["pixels"]["finished"] == told["pixels"]["total"]
    assert 2 <= told["patches"]["finished"] < told["patches"]["total"]
    shards = [f"{of['finished']} of {of['total']} shards of {name}" for name, of in told.items()]
    last = f"interrupted; kept {' and '.join(shards)} in {local.url('ingest')}. Continue with --resume."
    assert err.splitlines()[-1] == last
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert (events[-1]["event"], events[-1]["error"]) == ("end", "KeyboardInterrupt: SIGINT")
    resumed(local, "ingest", tmp_path)


@pytest.mark.slow
def test_ctrl_c_on_threads(local, tmp_path):
    hook = SELF.format(module="dkmeans.storage.arrays", name="write_rows", number=9, sent="SIGINT")
    err = ended(start(hook + MAIN, *local.command("ingest"), "--scheduler", "threads"), 130)
    lines = err.splitlines()
    assert lines[0].startswith("running on ")
    assert "stopping; press Ctrl-C again to stop at once" in lines
    told = status(local.url("ingest"))["shards"]["patches"]
    assert told["finished"] < told["total"]
    kept = (
        rf"interrupted; kept .* and (\d+) of {told['total']} shards of patches in .*\. Continue with "
        r"--resume\."
    )
    # A shard that a thread is just writing may be there a moment after it was said.
    found = re.fullmatch(kept, lines[-1])
    assert found, err
    assert int(found[1]) <= told["finished"]
    resumed(local, "ingest", tmp_path)


SLOW = """
import time
from pathlib import Path
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})  # as a command does before it loads libraries
import dkmeans.images.sources as module
def decode(*given, **options):
    Path({flag!r}).touch()
    time.sleep(300)
module.decode_tagged = decode
"""


def test_threads_that_are_at_work_are_not_waited_for(local, tmp_path):
    """As with a large image: what runs in machine code cannot be stopped."""
    flag = tmp_path / "flag"
    command = ["quantize", local.photos, str(tmp_path / "q"), "--k", "2", "--scheduler", "threads"]
    process = start(SLOW.format(flag=str(flag)) + MAIN, *command)
    until(lambda: flag.exists() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    assert ended(process, 130).splitlines()[-1].startswith("interrupted; ")  # before 300 seconds are over


@pytest.mark.slow
def test_sigterm_in_a_fit(local, tmp_path):
    run(local.command("ingest"))
    last = interrupted(local, "fit", "SIGTERM", "dkmeans.artefacts.checkpoint", "save", 4, code=143)
    # A signal that is sent to the process itself is handled at once: before the fourth checkpoint.
    kept = f"kept iteration 2 of at most 6 in {local.url('fit')}"
    assert last == f"interrupted; {kept}. Continue with --resume."
    resumed(local, "fit", tmp_path)


def test_nothing_is_kept(local):
    last = interrupted(local, "ingest", "SIGTERM", "dkmeans.images.sources", "read_header", 1, code=143)
    assert last == "interrupted; nothing was kept"
    assert not Store(local.url("ingest")).list()
    run(local.command("ingest"))  # needs no --resume


@pytest.mark.slow
def test_ctrl_c_on_a_local_cluster(tmp_path):
    """It goes to all processes of a terminal; the workers leave it to the command."""
    stack, url = tmp_path / "stack.npy", tmp_path / "d"
    np.save(stack, np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8))
    command = ["ingest", str(stack), str(url), "--patch", "5", "--shard-mib", "0.02"]
    process = start(MAIN, *command, "--workers", "1", "--threads-per-worker", "2")
    until(lambda: len(list(url.glob("patches/c/*"))) >= 3 or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    err = ended(process, 130)
    until(lambda: not left(process.pid))
    told = status(str(url))["shards"]["patches"]
    assert 3 <= told["finished"] < told["total"]
    assert f"and {told['finished']} of {told['total']} shards of patches in {url}. " in err.splitlines()[-1]
    assert err.splitlines()[0].startswith("running on a local cluster, dashboard: ")
    said = [line for line in err.splitlines() if not re.match(r"\w[\w ]*: \d", line)]
    assert len(said) == 5, err  # the dashboard, the stage, that it stops, what the stage took, the last line
    assert said[1] == "ingest begins on 2 threads"
    assert said[3].startswith("ingest is interrupted after ")


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", STAGES)
def test_all_processes_of_a_local_cluster_get_a_signal(stage, sent, outputs, undisturbed, proxy):
    prepare(outputs, stage)
    local = ["--workers", "2", "--threads-per-worker", "1"]
    process = start(MAIN, *outputs.command(stage), *local, "--quiet")
    proxy.plan(first_of("PUT", 4, lambda: os.killpg(process.pid, sent)))
    err = ended(process, 128 + sent)
    proxy.plan(lambda *_: None)
    assert re.fullmatch(rf"interrupted; kept .* in {outputs.url(stage)}. Continue with --resume.\n", err)
    until(lambda: not left(process.pid))
    run([*outputs.command(stage), "--resume"])
    assert stored(outputs.url(stage)) == undisturbed[stage]


def test_only_what_writes_an_artefact_speaks_of_resuming(dkmeans, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    for command, name in (
        ("info", "dkmeans.artefacts.kinds.describe"),
        ("status", "dkmeans.artefacts.status.status"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(name, interrupt)
            assert dkmeans(command, "somewhere") == (130, "", "interrupted\n")


def test_an_error_while_it_stops_is_no_error(local, dkmeans, monkeypatch):
    def interrupt(*_, **__):
        try:
            raise KeyboardInterrupt
        finally:
            raise OSError("the scheduler is gone")

    monkeypatch.setattr("dkmeans.stages.ingest.collect", interrupt)
    code, _, err = dkmeans(*local.command("ingest"), "--scheduler", "sync", "--quiet")
    assert (code, err) == (130, "interrupted; nothing was kept\n")


def test_a_sweep_tells_of_its_codebooks(local, dkmeans, monkeypatch):
    from dkmeans.artefacts import checkpoint

    run(local.command("ingest"))
    whole, url = checkpoint.save, local.url("sweep")

    def save(held, state):
        if held.url.endswith("/3") and len(state.history) == 2:
            raise KeyboardInterrupt
        whole(held, state)

    monkeypatch.setattr(checkpoint, "save", save)
    command = ["sweep", local.url("ingest"), url, "--k", "2:4", "--scheduler", "sync", "--quiet"]
    code, _, err = dkmeans(*command)
    within = f"iteration 1 of at most 100 in {url}/codebooks/3"
    assert (code, err.splitlines()[-1]) == (
        130,
        f"interrupted; kept 1 of 3 codebooks in {url}; {within}. Continue with --resume.",
    )


def test_words_for_what_is_kept(tmp_path):
    url = str(tmp_path / "d")
    assert kept([url]) == ""  # not claimed, or given back
    with claim(Store(url), Nothing, IngestConfig(source="x", dataset=url), "abc") as held:
        assert kept([url]) == f"a beginning in {url}"
        held.create_array("codes", shape=(5,), dtype=np.dtype(np.uint8), chunks=(2,), shards=(2,))
        held.write_rows("codes", 0, np.zeros(2, np.uint8))
        assert kept([url, url]) == f"1 of 3 shards of codes in {url}"
        held.commit()
    assert kept([url, f"{tmp_path}/other"]) == f"everything in {url}"


def test_many_finished_outputs_are_counted(tmp_path):
    urls = [f"{tmp_path}/{number}" for number in range(4)]
    for url in urls[:3]:
        with claim(Store(url), Nothing, IngestConfig(source="x", dataset=url), "abc") as held:
            held.commit()
    with claim(Store(urls[3]), Nothing, IngestConfig(source="x", dataset=urls[3]), "abc"):
        assert kept(urls) == f"3 finished outputs; a beginning in {urls[3]}"


# What dkmeans.command.stopping makes of signals

READY = "import time, zlib\nfrom dkmeans.command.stopping import stoppable\nprint('ready', flush=True)\n"


@contextmanager
def started(code):
    """A small process, once it says that it is ready."""
    with start(READY + code) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        yield process
        process.kill()


def test_a_second_ctrl_c_ends_at_once():
    """Though the first has not come through: no Python runs in the main thread."""
    with started("with stoppable():\n    zlib.compress(bytes(2 << 30), 9)") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "stopping; press Ctrl-C again to stop at once\n"
        process.send_signal(signal.SIGINT)  # the same once more, as from a program that passes it on
        time.sleep(0.7)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(1) == 130


def test_ctrl_c_in_the_background_of_a_script():
    """There a shell has SIGINT ignored: it is meant for another program."""
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    with started(f"{ignored}with stoppable():\n    time.sleep(1)") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_exit_codes_are_those_of_shells():
    found = [exit_code(KeyboardInterrupt(*given)) for given in ((), ("SIGINT",), ("SIGTERM",))]
    assert found == [130, 130, 143]


@pytest.mark.parametrize(("sends", "expected"), [("os.kill(os.getpid(), signal.SIGTERM)", 143), ("0", 1)])
def test_what_breaks_after_a_signal_is_no_bug(sends, expected):
    """It may come in the midst of an import, whose module is then not whole; another error is a bug."""
    breaks = f"""
from dkmeans.artefacts import status
def half(*_):
    try:
        {sends}
        time.sleep(0.1)
    except BaseException:
        pass
    raise NameError("name 'coroutines' is not defined")
status.status = half
"""
    process = start("import time\n" + breaks + MAIN, "status", "nowhere")
    _, err = process.communicate(timeout=60)
    assert process.returncode == expected, err
    assert ("this is a bug" in err) == (expected == 1)
    assert ("interrupted" in err) == (expected == 143)
