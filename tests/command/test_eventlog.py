"""The log of events: one JSON object a line, in a file that grows or an object that is written anew."""

from __future__ import annotations

import contextlib
import json
import math
import re
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from distributed.comm.core import CommClosedError
from PIL import Image

from dkmeans import open_codebook
from dkmeans.command import eventlog
from dkmeans.command.eventlog import event_log
from dkmeans.errors import DkmeansError, StorageError, UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.storage import backends
from dkmeans.storage.store import Store

SYNC = ["--scheduler", "sync"]


@pytest.fixture
def dataset(photos, tmp_path, dkmeans):
    assert dkmeans("ingest", photos, tmp_path / "d", "--quiet", *SYNC)[0] == 0
    return tmp_path / "d"


def _no_json(constant):
    raise AssertionError(f"{constant} is not JSON")


def parsed(text):
    """The events of a log; each line is one, with its time and its name."""
    assert text == "" or text.endswith("\n")
    events = [json.loads(line, parse_constant=_no_json) for line in text.splitlines()]
    times = [datetime.fromisoformat(event["time"]) for event in events]
    assert times == sorted(times)
    assert all(time.tzinfo is not None for time in times)
    assert all(abs(datetime.now(UTC) - time) < timedelta(minutes=5) for time in times)
    assert all(isinstance(event["event"], str) for event in events)
    return events


def read(url):
    folder, name = url.rsplit("/", 1)
    return Store(folder).get(name).decode()


@pytest.fixture
def writes(monkeypatch):
    """How often an object was written."""
    made, put = [], Store.put
    monkeypatch.setattr(Store, "put", lambda *arguments: made.append(arguments) or put(*arguments))
    return made


# Where it is written


def test_no_log():
    with event_log(None) as log:
        assert log is None


def test_a_file_grows_while_the_job_runs(tmp_path):
    path = tmp_path / "deep" / "events.jsonl"
    with event_log(str(path)) as log:
        assert path.read_text() == ""
        reporter = Reporter(level="warning", log=log)
        for number in range(3):
            reporter.event("step", number=number)
            assert [event["number"] for event in parsed(path.read_text())] == list(range(number + 1))
    assert len(parsed(path.read_text())) == 3


def test_a_file_of_an_earlier_run_is_gone_on_with(tmp_path):
    path = tmp_path / "events.jsonl"
    for number in range(2):
        with event_log(f"file://{path}") as log:
            Reporter(log=log).event("run", number=number)
    assert [event["number"] for event in parsed(path.read_text())] == [0, 1]


def test_a_path_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with event_log("events.jsonl") as log:
        Reporter(log=log).event("step")
    assert len(parsed((tmp_path / "events.jsonl").read_text())) == 1


@pytest.fixture(params=["memory", "s3"])
def place(request):
    """A place in an object store."""
    if request.param == "s3":
        return request.getfixturevalue("s3_url")
    return f"memory://{uuid.uuid4().hex}"


def test_an_object_is_written_anew_with_all_lines(place, monkeypatch, writes):
    monkeypatch.setattr(eventlog, "_SECONDS_BETWEEN_WRITES", 0)
    url = f"{place}/deep/events.jsonl"
    with event_log(url) as log:
        assert read(url) == ""
        reporter = Reporter(log=log)
        for number in range(3):
            reporter.event("step", number=number)
            assert [event["number"] for event in parsed(read(url))] == list(range(number + 1))
    assert len(parsed(read(url))) == 3


def test_an_object_is_written_now_and_then_and_at_the_end(place, writes):
    url = f"{place}/events.jsonl"
    with event_log(url) as log:
        reporter = Reporter(log=log)
        for number in range(100):
            reporter.event("step", number=number)
        assert len(writes) <= 2
    assert [event["number"] for event in parsed(read(url))] == list(range(100))
    assert len(writes) <= 3


def test_the_last_lines_are_written_though_the_job_fails(place):
    url = f"{place}/events.jsonl"
    with contextlib.suppress(ZeroDivisionError), event_log(url) as log:
        Reporter(log=log).event("step")
        raise ZeroDivisionError
    assert len(parsed(read(url))) == 1


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "memory://x"])
def test_a_log_needs_a_name(url):
    with pytest.raises(UsageError, match=r"--events: .*expected the URL of a file"), event_log(url):
        pass


def test_a_folder_is_no_log(tmp_path):
    with pytest.raises(DkmeansError, match=re.escape(str(tmp_path))), event_log(str(tmp_path)):
        pass


def test_a_file_is_no_folder_for_a_log(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a part of this path is a file"), event_log(f"{tmp_path}/file/e"):
        pass


# What a job writes there


def named(events, name):
    return [event for event in events if event["event"] == name]


def test_a_fit_tells_what_it_does(dataset, tmp_path, dkmeans):
    path = tmp_path / "events.jsonl"
    arguments = ["--k", 6, "--events", path, "--json", "--quiet"]
    code, out, _ = dkmeans("fit", dataset, tmp_path / "c", *arguments, *SYNC)
    assert code == 0
    events = parsed(path.read_text())
    assert events[0]["event"] == "begin"
    assert (events[0]["stage"], events[0]["n_threads"]) == ("fit", 1)

    steps = named(events, "iteration")
    report = json.loads(out)
    assert [step["iteration"] for step in steps] == list(range(1, report["n_iter"] + 1))
    history = open_codebook(str(tmp_path / "c")).history
    assert [step["inertia"] for step in steps] == list(np.asarray(history)[:, 0])
    for step in steps:
        assert {"inertia", "center_shift", "seconds"} <= set(step)
        assert math.isfinite(step["inertia"])

    parts = named(events, "done")
    assert [part["part"] for part in parts] == ["rows", "seeds", "iterations"]
    assert all(part["seconds"] >= 0 and part["total"] >= 1 for part in parts)

    end = events[-1]
    assert (end["event"], end["stage"], end["error"], end["retries"]) == ("end", "fit", None, 0)
    assert end["seconds"] >= sum(part["seconds"] for part in parts)
    stored = sum(found.size for found in Store(str(tmp_path / "c")).list())
    assert end["bytes_written"] >= stored / 2
    assert end["bytes_read"] > 0


def test_each_stage_of_a_job_file_has_its_own_account(photos, tmp_path, dkmeans, workers):
    (tmp_path / "job.toml").write_text(
        f'[ingest]\nsource = "{photos}"\ndataset = "{tmp_path}/d"\n'
        f'[fit]\ndataset = "{tmp_path}/d"\ncodebook = "{tmp_path}/c"\nk = 4\n'
        f'[compress]\ndataset = "{tmp_path}/d"\ncodebook = "{tmp_path}/c"\nresult = "{tmp_path}/r"\n'
    )
    path = tmp_path / "events.jsonl"
    there = ["--scheduler", workers.client.scheduler.address]
    code, _, err = dkmeans("run", tmp_path / "job.toml", "--events", path, "--quiet", *there)
    assert code == 0, err
    events = parsed(path.read_text())
    frame = [(event["event"], event["stage"]) for event in events if event["event"] in ("begin", "end")]
    stages = ("ingest", "fit", "compress")
    assert frame == [(event, stage) for stage in stages for event in ("begin", "end")]
    assert {event["n_threads"] for event in named(events, "begin")} == {2}
    ends = named(events, "end")
    images = sum(path.stat().st_size for path in photos.rglob("*.*") if path.is_file())
    assert ends[0]["bytes_read"] >= images  # by the workers
    assert ends[0]["bytes_read"] < 2 * images + 100_000
    assert all(end["bytes_written"] > 0 and end["retries"] == 0 and end["error"] is None for end in ends)


def test_a_log_in_s3_beside_its_job_in_s3(s3_url, photos, dkmeans):
    url = f"{s3_url}/logs/events.jsonl"
    code, _, err = dkmeans("ingest", photos, f"{s3_url}/d", "--events", url, "--quiet", *SYNC)
    assert code == 0, err
    events = parsed(read(url))
    assert [events[0]["event"], events[-1]["event"]] == ["begin", "end"]
    assert events[-1]["bytes_written"] > 0
    assert dkmeans("info", f"{s3_url}/d")[0] == 0


def test_a_job_that_fails_tells_its_error(dataset, tmp_path, dkmeans, monkeypatch):
    def fail(*_):
        raise StorageError("the cable is cut")

    monkeypatch.setattr("dkmeans.stages.fit.seed_centers", fail)
    path = tmp_path / "events.jsonl"
    code, _, _ = dkmeans("fit", dataset, tmp_path / "c", "--k", 3, "--events", path, "--quiet", *SYNC)
    assert code == 4
    events = parsed(path.read_text())
    assert [event["event"] for event in events][:: len(events) - 1] == ["begin", "end"]
    assert events[-1]["error"] == "StorageError: the cable is cut"
    assert [part["part"] for part in named(events, "done")] == ["rows"]  # the seeds are not


@pytest.mark.parametrize("error", [ZeroDivisionError("division"), KeyboardInterrupt()])
def test_a_bug_and_ctrl_c_are_told_too(dataset, tmp_path, dkmeans, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("dkmeans.stages.fit.seed_centers", fail)
    path = tmp_path / "events.jsonl"
    dkmeans("fit", dataset, tmp_path / "c", "--k", 3, "--events", path, *SYNC)
    assert parsed(path.read_text())[-1]["error"].startswith(type(error).__name__)


def test_an_error_is_told_though_no_worker_can_be_asked(dataset, tmp_path, dkmeans, monkeypatch, workers):
    def lost(*_, **__):
        raise CommClosedError("the scheduler is gone")

    def fail(*_):
        monkeypatch.setattr(workers.client.__class__, "run", lost)
        raise StorageError("the cable is cut")

    monkeypatch.setattr("dkmeans.stages.fit.seed_centers", fail)
    path = tmp_path / "events.jsonl"
    address = workers.client.scheduler.address
    code, _, err = dkmeans("fit", dataset, tmp_path / "c", "--k", 3, "--events", path, "--scheduler", address)
    assert code == 4, err
    end = parsed(path.read_text())[-1]
    assert (end["event"], end["error"]) == ("end", "StorageError: the cable is cut")
    assert min(end["bytes_read"], end["bytes_written"], end["retries"]) >= 0


def test_skipped_images_are_events(photos, tmp_path, dkmeans):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes((photos / "astronaut.png").read_bytes())
    (folder / "b.png").write_bytes(b"no image")
    Image.effect_noise((64, 64), 50).save(folder / "c.png")
    whole = (folder / "c.png").read_bytes()
    (folder / "c.png").write_bytes(whole[: len(whole) // 2])
    path = tmp_path / "events.jsonl"
    arguments = ["--max-skipped", 2, "--events", path, *SYNC]
    assert dkmeans("ingest", folder, tmp_path / "d", *arguments)[0] == 0
    events = parsed(path.read_text())
    assert [event["image"] for event in named(events, "skipped")] == ["b.png", "c.png"]
    assert all(event["reason"] for event in named(events, "skipped"))
    assert [warning["message"] for warning in named(events, "warning")] == [
        f"skipped {event['image']}: {event['reason']}" for event in named(events, "skipped")
    ]
    assert events[-1]["error"] is None


def test_too_many_skipped_images_are_events_of_a_job_that_fails(photos, tmp_path, dkmeans):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes((photos / "astronaut.png").read_bytes())
    for number in range(30):  # more than are named on the terminal
        (folder / f"{number:02d}.png").write_bytes(b"no image")
    path = tmp_path / "events.jsonl"
    assert dkmeans("ingest", folder, tmp_path / "d", "--events", path, *SYNC)[0] == 6
    events = parsed(path.read_text())
    assert len(named(events, "skipped")) == 30
    assert events[-1]["error"].startswith("SkippedError: ")


def test_a_place_that_cannot_be_written_is_told_before_any_work(photos, tmp_path, dkmeans, monkeypatch):
    monkeypatch.setattr("dkmeans.stages.ingest.open_source", None)  # no work
    (tmp_path / "file").touch()
    code, out, err = dkmeans("ingest", photos, tmp_path / "d", "--events", tmp_path / "file/e.jsonl", *SYNC)
    assert (code, out) == (4, "")
    (line,) = err.splitlines()
    assert f"{tmp_path}/file" in line
    assert "a part of this path is a file" in line
    assert not (tmp_path / "d").exists()


def test_a_missing_bucket_for_the_log_is_told_before_any_work(s3_url, photos, tmp_path, dkmeans, monkeypatch):
    monkeypatch.setattr("dkmeans.stages.ingest.open_source", None)
    backends._REACHED.clear()
    url = "s3://no-such-bucket-for-logs/events.jsonl"
    code, out, err = dkmeans("ingest", photos, tmp_path / "d", "--events", url, *SYNC)
    assert (code, out) == (4, "")
    assert err.startswith(f"error: {url}: there is no such bucket.")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "d").exists()
