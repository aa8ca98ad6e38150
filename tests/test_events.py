"""What a job says: lines where there is no terminal, a bar where there is one, nothing when quiet."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dkmeans import events
from dkmeans.events import SILENT, Reporter


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
    assert lines[0] == "labels: 2/3 blocks  inertia 5"
    assert lines[1] == "labels: 3/3 blocks"
    assert lines[2].startswith("labels: 3 blocks in 0.")
    assert lines[3] == "hello [bold]"


def test_a_bar_on_a_terminal():
    screen = io.StringIO()
    reporter = Reporter()
    reporter.console = Console(file=screen, force_terminal=True, width=120)
    with reporter.stage("iterations", 10) as advance:
        advance(4, "inertia 8.5e9")
    assert "4/10" in screen.getvalue()
    assert "inertia 8.5e9" in screen.getvalue()


def test_quiet_says_nothing_but_warnings(capsys):
    reporter = Reporter(quiet=True)
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
