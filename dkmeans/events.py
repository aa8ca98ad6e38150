"""What a job says while it runs: one bar per stage on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["SILENT", "Advance", "Reporter"]

Advance = Callable[..., None]
"""``advance(n, note="")``: `n` more steps are done; the note says what the last one found."""

_SECONDS_BETWEEN_LINES = 5.0


class Reporter:
    """Progress and messages of a job.

    Parameters
    ----------
    quiet : bool
        Say nothing but warnings.
    log : callable or None
        Takes each event, a dict of JSON values; see `dkmeans.eventlog`.
    """

    def __init__(self, *, quiet: bool = False, log: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.quiet = quiet
        self.log = log
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)

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
        elif self.console.is_terminal:
            with self._bar(name, total) as advance:
                yield advance
        else:
            with self._lines(name, total, unit) as advance:
                yield advance

    @contextmanager
    def _bar(self, name: str, total: int) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            bar = progress.add_task(name, total=total, note="")

            def advance(n: int = 1, note: str = "") -> None:
                progress.update(bar, advance=n, note=note)

            yield advance

    @contextmanager
    def _lines(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        began = last = time.monotonic()
        done = 0
        latest = ""

        def advance(n: int = 1, note: str = "") -> None:
            nonlocal done, last, latest
            done, latest = done + n, note
            if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                print(f"{name}: {done}/{total} {unit}  {note}".rstrip(), file=sys.stderr, flush=True)

        yield advance
        seconds = time.monotonic() - began
        tail = f"  {latest}" if latest else ""
        print(f"{name}: {done} {unit} in {seconds:.1f} s{tail}", file=sys.stderr, flush=True)


class _Silent(Reporter):
    """Says nothing at all: the default when dkmeans is called from Python."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def warn(self, text: str) -> None:
        import warnings

        warnings.warn(text, stacklevel=3)


SILENT: Reporter = _Silent()
