"""The steps of one part of a stage: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from dkmeans.events.words import counted

__all__ = ["Steps", "duration"]

_SECONDS_BETWEEN_LINES = 5.0
_AT_ONCE_SECONDS = 0.1
"""Steps that are done so soon were done by an earlier run: they tell nothing of how fast this one is."""
_MEMORY_SECONDS = 3600.0
"""Time left is estimated from so long a past: it holds several steps, though each may take minutes."""
_WITHOUT_NOTE = 70
"""Columns of a bar on a terminal before its note."""
_BOUNDS = {"iterations"}
"""Units of which a stage may need fewer than its total."""


class Steps:
    """The steps of one part of a stage; rich's estimate of the time left is in the bar and in the lines.

    Parameters
    ----------
    name : str
    total : int
    unit : str
    console : rich.console.Console
    lines : bool
        Whether there are lines in place of a bar.
    say : callable
        ``say(message, **facts)`` says one of them.
    """

    def __init__(
        self, name: str, total: int, unit: str, console: Console, lines: bool, say: Callable[..., None]
    ) -> None:
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
        self.lines, self.say = lines, say
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
            self._say()

    def _say(self) -> None:
        done, total = int(self.task.completed), int(self.task.total or 0)
        seconds = None if self.task.finished else self.task.time_remaining
        left = "" if seconds is None else f", {self.bound} {duration(seconds)} left".replace("  ", " ")
        facts: dict[str, Any] = {"part": self.task.description, "done": done, "total": total}
        text = f"{done} of {counted(total, self.unit)}, {self.task.percentage:.0f} %{left}"
        self.say(self._message(text), **facts, unit=self.unit, seconds_left=seconds)

    def end(self) -> str:
        """All steps that are needed are done: say so in a line."""
        if self.bound:
            self.bar.update(self.number, total=self.task.completed)
        return self._message(
            f"{counted(int(self.task.completed), self.unit)} in {self.task.elapsed or 0:.1f} s"
        )

    def _message(self, text: str) -> str:
        return f"{self.task.description}: {text}  {self.task.fields['note']}".rstrip()


def duration(seconds: float) -> str:
    """Seconds in the two units that matter, such as ``1 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
