"""Say what a job does, always on stderr: bars on a terminal, lines of text or of JSON elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FORMS", "LEVELS", "SILENT", "Advance", "Form", "Level", "Listener", "Reporter", "record"]

Level = Literal["debug", "info", "warning", "error"]
Form = Literal["text", "json"]
Advance = Callable[..., None]
"""``advance(n, note="")``: `n` more steps are done; the note says what the last one found."""
Listener = Callable[[dict[str, Any]], None]
"""Takes events, dicts of JSON values."""

LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
"""From all that is said to the least."""
FORMS: tuple[Form, ...] = ("text", "json")


def record(level: Level, stage: str, event: str, message: str, **facts: Any) -> dict[str, Any]:
    """An event: a line of a log of JSON."""
    time = datetime.now(UTC).isoformat()
    return {"time": time, "level": level, "stage": stage, "event": event, "message": message, **facts}


class Reporter:
    """Progress and messages of a job.

    Parameters
    ----------
    level : {"debug", "info", "warning", "error"}
        What is less than that is not said.
    form : {"text", "json"}
        Of what is said; of JSON an object a line.
    log : callable or None
        Takes each event, whatever its level, but for what is said to people alone; see
        `dkmeans.command.eventlog`.

    Attributes
    ----------
    working : str
        The stage that is under way.
    listener : callable or None
        Takes what `log` does, and each step of a part as an event ``progress``.
    """

    def __init__(self, *, level: Level = "info", form: Form = "text", log: Listener | None = None) -> None:
        self.level = level
        self.form = form
        self.log = log
        self.working = ""
        self.listener: Listener | None = None

    @cached_property
    def console(self) -> Console:
        """Where it is said; made when there is something to say, as Rich takes a while to load."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True)

    def says(self, level: Level) -> bool:
        """Whether an event of a level is said."""
        return LEVELS.index(level) >= LEVELS.index(self.level)

    @property
    def in_lines(self) -> bool:
        """Whether each event is a line, as no terminal shows bars."""
        return self.form == "json" or not self.console.is_terminal

    def say(self, text: str) -> None:
        """One line of information, for people."""
        self._say(record("info", self.working, "message", text))

    def warn(self, text: str) -> None:
        """One line that the user must see."""
        self._tell(record("warning", self.working, "warning", text))

    @property
    def logs(self) -> bool:
        """Whether anyone wants to know how a stage begins and ends."""
        return self.log is not None or self.listener is not None or (self.says("info") and self.in_lines)

    def event(self, event: str, **facts: Any) -> None:
        """Tell what happened, in detail."""
        if self.log is not None or self.listener is not None or self.says("debug"):
            told = ", ".join(f"{name} {value}" for name, value in facts.items())
            self._tell(record("debug", self.working, event, f"{event}: {told}", **facts))

    def milestone(self, event: str, message: str, **facts: Any) -> None:
        """Tell that a stage, or a part of it, begins or is done: in a line, where there are no bars."""
        self._tell(record("info", self.working, event, message, **facts), bars=True)

    def _tell(self, event: dict[str, Any], *, bars: bool = False) -> None:
        """Give an event to all who want it; `bars` says that they show it where there are any."""
        for takes in (self.log, self.listener):
            if takes is not None:
                takes(event)
        self._say(event, bars=bars)

    def _say(self, event: dict[str, Any], *, bars: bool = False) -> None:
        if not self.says(event["level"]) or (bars and not self.in_lines):
            return
        if self.form == "json":
            print(json.dumps(event), file=sys.stderr, flush=True)
        elif bars:
            print(event["message"], file=sys.stderr, flush=True)
        elif event["level"] == "warning":
            self.console.print(f"warning: {event['message']}", markup=False, style="yellow")
        else:
            self.console.print(event["message"], markup=False)

    @contextmanager
    def within(self, stage: str, listener: Listener | None = None) -> Iterator[None]:
        """Say of all events meanwhile that they are of a stage, and have a listener, if any, take them."""
        before = self.working, self.listener
        self.working, self.listener = stage, listener
        try:
            yield
        finally:
            self.working, self.listener = before

    @contextmanager
    def stage(self, name: str, total: int, unit: str = "tasks") -> Iterator[Advance]:
        """Progress of one part of a stage, of `total` steps."""
        began = time.perf_counter()
        counted = _Counted(name, total, unit, self)
        if self.says("info"):
            from dkmeans.events.steps import Steps

            steps = Steps(name, total, unit, self.console, self.in_lines, self._say_progress)
            with steps.bar:
                yield counted.with_listener(steps.advance)
                message = steps.end()
        else:
            yield counted.with_listener(lambda n=1, note="": None)
            message = name
        self.milestone("done", message, part=name, total=total, seconds=time.perf_counter() - began)

    def _say_progress(self, message: str, **facts: Any) -> None:
        self._say(record("info", self.working, "progress", message, **facts), bars=True)


class _Counted:
    """The steps of a part that are done, for a listener."""

    def __init__(self, name: str, total: int, unit: str, reporter: Reporter) -> None:
        self.facts = {"part": name, "total": total, "unit": unit}
        self.reporter = reporter
        self.done = 0

    def with_listener(self, advance: Advance) -> Advance:
        """The same `advance`, of which the listener is told too."""
        listener = self.reporter.listener
        if listener is None:
            return advance

        def both(n: int = 1, note: str = "") -> None:
            self.done += n
            listener({"event": "progress", **self.facts, "done": self.done})
            advance(n, note)

        both(0)
        return both


class _Silent(Reporter):
    """Says nothing at all: the default when dkmeans is called from Python."""

    def __init__(self) -> None:
        super().__init__(level="warning")

    def warn(self, text: str) -> None:
        import warnings

        warnings.warn(text, stacklevel=3)

    @contextmanager
    def within(self, stage: str, listener: Listener | None = None) -> Iterator[None]:
        """Nothing is known of a stage: this reporter is that of all who have none of their own."""
        yield


SILENT: Reporter = _Silent()
