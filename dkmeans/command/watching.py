"""Look again and again how far an output is, and say what has changed."""

from __future__ import annotations

import sys
import time
from typing import Any

from dkmeans.artefacts.status import progress, status
from dkmeans.errors import UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.events.words import seconds

__all__ = ["watch_status"]

_EVERY = 5.0


def watch_status(url: str, reporter: Reporter, every: float | str | None) -> dict[str, Any]:
    """Say how far the output at `url` is as it changes, until it is complete.

    Returns
    -------
    dict
        Its last status; see `dkmeans.artefacts.status.status`.

    Raises
    ------
    InputError
        If no run of dkmeans has claimed the URL.
    UsageError
        If `every` is no number of seconds.
    """
    pause = _EVERY if every is None else every
    if isinstance(pause, str) or not 0 < pause < float("inf"):
        raise UsageError(f"--every: found {every!r}; expected seconds above 0, such as 5.")
    before, changed = "", time.monotonic()
    while True:
        told = status(url)
        line = progress(told)
        if line != before:
            before, changed = line, time.monotonic()
            if reporter.in_lines and reporter.says("info"):
                reporter.milestone("status", line, status=told)
        if not reporter.in_lines and reporter.says("info"):
            still = seconds(time.monotonic() - changed)
            print(f"\r\x1b[2K{line}, unchanged for {still}", end="", file=sys.stderr, flush=True)
        if told["state"] == "complete":
            if not reporter.in_lines and reporter.says("info"):
                print(file=sys.stderr)
            return told
        time.sleep(pause)
