"""What a job says: lines where there is no terminal, a bar where there is one, nothing when quiet."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from dkmeans.events import steps as events
from dkmeans.events.reporter import SILENT, Reporter


def test_plain_lines_go_to_stderr(capsys, monkeypatch):
    monkeypatch.setattr(events, "_SECONDS_BETWEEN_LINES", 0)
    reporter = Reporter()
    with reporter.stage("labels", 3, "blocks") as advance:
        advance(2, "inertia 5")
        advance()
    reporter.say("hello [bold]")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "labels: 2 of 3 blocks, 67 %  inertia 5"
    assert lines[1] == "labels: 3 of 3 blocks, 100 %"
    assert lines[2].startswith("labels: 3 blocks in 0.")
    assert lines[3] == "hello [bold]"


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(events.time, "monotonic", lambda: Clock.now)
    return Clock


def told(capsys):
    """The lines told since the last call, without the name before them."""
    return [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()]


def test_the_time_left(capsys, clock):
    """Two workers finish their first steps after 60 s, almost at once: that does not make the rest fast."""
    with Reporter().stage("labels", 40, "blocks") as advance:
        assert told(capsys) == []
        clock.now += 60
        advance()
        assert told(capsys) == ["1 of 40 blocks, 2 %, 39 min 0 s left"]
        clock.now += 0.1
        advance()
        assert told(capsys) == []  # so soon behind the line before
        clock.now += 60
        advance()
        clock.now += 5
        advance(35)
        # 37 / 3 * 120.1 s and 2 / 38 * 125.1 s, rounded up
        assert told(capsys) == ["3 of 40 blocks, 8 %, 24 min 42 s left", "38 of 40 blocks, 95 %, 7 s left"]
        clock.now += 5
        advance(2, "the end")
    assert told(capsys) == ["40 of 40 blocks, 100 %  the end", "40 blocks in 130.1 s  the end"]


def test_steps_of_an_earlier_run_take_no_time(capsys, clock):
    """50 iterations are in storage, each of the next takes 10 s: at most 48 more of them."""
    with Reporter().stage("iterations", 100, "iterations") as advance:
        advance(50)
        for _ in range(2):
            clock.now += 10
            advance()
    assert told(capsys) == [
        "51 of 100 iterations, 51 %, at most 8 min 10 s left",
        "52 of 100 iterations, 52 %, at most 8 min 0 s left",
        "52 iterations in 20.0 s",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (65, "1 min 5 s"),
        (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_words_for_a_duration(seconds, words):
    assert events.duration(seconds) == words


def shown(width, clock, note):
    """What a terminal of a width shows of a fit that converges after 7 iterations: each frame a line."""
    screen = io.StringIO()
    reporter = Reporter()
    reporter.console = Console(file=screen, force_terminal=True, width=width)
    with reporter.stage("iterations", 10, "iterations") as advance:
        for _ in range(7):
            clock.now += 2
            advance(1, note)
    frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\r", "\n")
    return [line for line in frames.splitlines() if line.strip()]


def test_a_bar_on_a_terminal(clock):
    frames = shown(120, clock, "inertia 8.5e9")
    assert re.search(r"iterations .* 0/10 0:00:00 at most -:--:-- left", frames[0])
    assert re.search(r"iterations .* 7/7 0:00:14 at most 0:00:00 left inertia 8\.5e9", frames[-1])


def test_a_bar_is_never_wider_than_the_terminal(clock):
    for frame in shown(80, clock, "inertia 1.23456e+09  shift 0.00123"):
        assert len(frame.rstrip()) <= 80
        assert "…" not in frame.partition("left")[0]  # the note is cut, not the numbers


def test_a_part_that_fails_does_not_say_that_it_is_done(capsys):
    def fail():
        with Reporter().stage("labels", 3) as advance:
            advance(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert capsys.readouterr() == ("", "")


def test_quiet_says_nothing_but_warnings(capsys):
    reporter = Reporter(level="warning")
    with reporter.stage("labels", 3) as advance:
        advance(3, "done")
    reporter.say("hello")
    reporter.warn("mind the gap")
    assert capsys.readouterr() == ("", "warning: mind the gap\n")


def test_from_python_a_warning_is_a_warning(capsys):
    SILENT.say("hello")
    with pytest.warns(UserWarning, match="mind the gap"):
        SILENT.warn("mind the gap")
    assert capsys.readouterr() == ("", "")


def test_lines_of_json(capsys, clock):
    reporter = Reporter(form="json", level="debug")
    with reporter.within("fit"), reporter.stage("labels", 2, "blocks") as advance:
        clock.now += 5
        advance(1, "half")
        advance(1)
        reporter.event("iteration", iteration=1, inertia=2.5)
        reporter.warn("mind the gap")
    reporter.say("hello")
    out, err = capsys.readouterr()
    assert out == ""
    lines = [json.loads(line) for line in err.splitlines()]
    assert [(line["level"], line["stage"], line["event"], line["message"]) for line in lines] == [
        ("info", "fit", "progress", "labels: 1 of 2 blocks, 50 %, 5 s left  half"),
        ("debug", "fit", "iteration", "iteration: iteration 1, inertia 2.5"),
        ("warning", "fit", "warning", "mind the gap"),
        ("info", "fit", "done", "labels: 2 blocks in 5.0 s"),
        ("info", "", "message", "hello"),
    ]
    assert (lines[0]["part"], lines[0]["done"], lines[0]["total"]) == ("labels", 1, 2)
    assert lines[1]["inertia"] == 2.5
    for line in lines:
        assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize(("level", "n"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_levels(capsys, level, n):
    reporter = Reporter(level=level)
    reporter.warn("mind the gap")
    reporter.say("hello")
    reporter.event("step", number=1)
    assert len(capsys.readouterr().err.splitlines()) == n


def test_a_listener_hears_each_step_of_a_stage_that_says_nothing(capsys):
    heard = []
    reporter = Reporter(level="error")
    with reporter.within("fit", heard.append), reporter.stage("labels", 3) as advance:
        advance(2)
        advance()
    assert [event["done"] for event in heard if event["event"] == "progress"] == [0, 2, 3]
    assert (heard[-1]["event"], heard[-1]["stage"]) == ("done", "fit")
    assert reporter.listener is None
    assert capsys.readouterr() == ("", "")
