"""Say how far a job is: one bar per stage on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["SILENT", "Advance", "Reporter"]

Advance = Callable[..., None]
"""``advance(n, note="")``: `n` more steps are done; the note says what the last one found."""

_SECONDS_BETWEEN_LINES = 5.0
_AT_ONCE_SECONDS = 0.1
"""Steps that are done so soon were done by an earlier run: they tell nothing of how fast this one is."""
_MEMORY_SECONDS = 3600.0
"""Time left is estimated from so long a past: it holds several steps, though each may take minutes."""
_WITHOUT_NOTE = 70
"""Columns of a bar on a terminal before its note."""
_BOUNDS = {"iterations"}
"""Units of which a stage may need fewer than its total."""


class Reporter:
    """Progress and messages of a job.

    Parameters
    ----------
    quiet : bool
        Say nothing but warnings.
    log : callable or None
        Takes each event, a dict of JSON values; see `dkmeans.command.eventlog`.
    """

    def __init__(self, *, quiet: bool = False, log: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.quiet = quiet
        self.log = log

    @cached_property
    def console(self) -> Console:
        """Where it is said; made when there is something to say, as Rich takes a while to load."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line of information."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """One line that the user must see, also when quiet."""
        self.event("warning", text=text)
        self.console.print(f"warning: {text}", markup=False, style="yellow")

    @property
    def logs(self) -> bool:
        """Whether anyone wants events."""
        return self.log is not None

    def event(self, event: str, **facts: Any) -> None:
        """One line of the event log, if there is one."""
        if self.log is not None:
            self.log({"time": datetime.now(UTC).isoformat(), "event": event, **facts})

    @contextmanager
    def stage(self, name: str, total: int, unit: str = "tasks") -> Iterator[Advance]:
        """Progress of one part of a stage, of `total` steps."""
        began = time.perf_counter()
        with self._progress(name, total, unit) as advance:
            yield advance
        self.event("done", part=name, total=total, seconds=time.perf_counter() - began)

    @contextmanager
    def _progress(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        if self.quiet:
            yield lambda n=1, note="": None
            return
        steps = _Steps(name, total, unit, self.console)
        with steps.bar:
            yield steps.advance
            steps.end()


class _Steps:
    """The steps of one part of a stage, as a bar or as lines; rich's estimate of the time left is in both."""

    def __init__(self, name: str, total: int, unit: str, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        room = max(1, console.width - _WITHOUT_NOTE)  # else Rich would shorten all columns, numbers first
        columns = (
            TextColumn("{task.description:<16}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[bound]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, max_width=room)),
        )
        self.lines = not console.is_terminal
        self.bar = Progress(
            *columns,
            console=console,
            disable=self.lines,
            speed_estimate_period=_MEMORY_SECONDS,
            get_time=time.monotonic,
        )
        self.unit = unit
        self.bound = "at most" if unit in _BOUNDS else ""
        self.number = self.bar.add_task(name, total=total, bound=self.bound, note="")
        self.task = self.bar.tasks[0]
        self.bar.advance(self.number, 0)  # or rich would measure from the end of the first step
        self.told = time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        """`n` more steps are done."""
        if not self.task.completed and (self.task.elapsed or 0) < _AT_ONCE_SECONDS:
            self.bar.reset(self.number, completed=n, bound=self.bound, note=note)
            self.bar.advance(self.number, 0)
        else:
            self.bar.update(self.number, note=note)
            self.bar.advance(self.number, n)
        if self.lines and time.monotonic() - self.told >= _SECONDS_BETWEEN_LINES:
            self.told = time.monotonic()
            done, total = int(self.task.completed), int(self.task.total or 0)
            self._print(f"{done}/{total} {self.unit}, {self.task.percentage:.0f} %{self._left()}")

    def _left(self) -> str:
        seconds = self.task.time_remaining
        if seconds is None or self.task.finished:
            return ""
        return f", {self.bound} {duration(seconds)} left".replace("  ", " ")

    def end(self) -> None:
        """All steps that are needed are done."""
        if self.bound:
            self.bar.update(self.number, total=self.task.completed)
        if self.lines:
            self._print(f"{int(self.task.completed)} {self.unit} in {self.task.elapsed or 0:.1f} s")

    def _print(self, text: str) -> None:
        note = self.task.fields["note"]
        print(f"{self.task.description}: {text}  {note}".rstrip(), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds in the two units that matter, such as ``1 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class _Silent(Reporter):
    """Says nothing at all: the default when dkmeans is called from Python."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def warn(self, text: str) -> None:
        import warnings

        warnings.warn(text, stacklevel=3)


SILENT: Reporter = _Silent()
