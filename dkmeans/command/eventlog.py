"""The events of a job as JSON lines, in a file or an object."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dkmeans.errors import UsageError
from dkmeans.storage.faults import translated
from dkmeans.storage.store import Store, open_store
from dkmeans.storage.urls import is_local, resolve_url

__all__ = ["event_log"]

_SECONDS_BETWEEN_WRITES = 5.0


@contextmanager
def event_log(url: str | None) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Open a log of events at `url`; None for None.

    A file grows by a line an event. An object cannot grow: it is written anew with all lines, every few
    seconds and at the end.

    Raises
    ------
    UsageError
        If the URL is none of a file.
    StorageError
        If it cannot be written.
    """
    if url is None:
        yield None
        return
    where = resolve_url(url)
    folder, _, name = where.rpartition("/")
    if not name or folder.endswith(":/"):
        raise UsageError(f"--events: found {url!r}; expected the URL of a file. Add a name.")
    if is_local(url) and Path(folder or "/", name).is_dir():
        raise UsageError(
            f"--events: found the folder {folder}/{name}; expected the URL of a file. Add a name."
        )
    open_store(where)  # so that an error names it
    log = _Log(open_store(folder or "/"), name)
    log.flush()  # so that a mistake is told before any work
    try:
        yield log
    finally:
        log.flush()


class _Log:
    def __init__(self, folder: Store, name: str) -> None:
        self.folder, self.name = folder, name
        self.lines: list[str] = []
        self.flushed = time.monotonic()

    def __call__(self, event: dict[str, Any]) -> None:
        self.lines.append(json.dumps(event))
        if self.folder.is_local or time.monotonic() - self.flushed > _SECONDS_BETWEEN_WRITES:
            self.flush()

    def flush(self) -> None:
        text = "".join(f"{line}\n" for line in self.lines)
        if self.folder.is_local:
            with translated(self.folder.url, f"writing {self.name}"):
                Path(self.folder.url).mkdir(parents=True, exist_ok=True)
                with Path(self.folder.url, self.name).open("a", encoding="utf-8") as file:
                    file.write(text)
            self.lines.clear()
        else:
            self.folder.put(self.name, text.encode())
        self.flushed = time.monotonic()
