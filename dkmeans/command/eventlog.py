"""The events of a job as JSON lines, in a file or an object."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dkmeans.errors import UsageError
from dkmeans.storage import objects, stores

__all__ = ["event_log"]

_SECONDS_BETWEEN_WRITES = 5.0


@contextmanager
def event_log(url: str | None) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """What takes events and writes them to `url`; None for None.

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
    where = stores.resolve_url(url)
    folder, _, name = where.rpartition("/")
    if not name or folder.endswith(":/"):
        raise UsageError(f"--events: found {url!r}; expected the URL of a file. Add a name.")
    if stores.is_local(where) and Path(where).is_dir():
        raise UsageError(f"--events: found the folder {where}; expected the URL of a file. Add a name.")
    stores.reach(where)
    log = _Log(folder or "/", name)
    log.flush()  # so that a mistake is told before any work
    try:
        yield log
    finally:
        log.flush()


class _Log:
    def __init__(self, folder: str, name: str) -> None:
        self.folder, self.name = folder, name
        self.lines: list[str] = []
        self.flushed = time.monotonic()

    def __call__(self, event: dict[str, Any]) -> None:
        self.lines.append(json.dumps(event))
        if stores.is_local(self.folder) or time.monotonic() - self.flushed > _SECONDS_BETWEEN_WRITES:
            self.flush()

    def flush(self) -> None:
        text = "".join(f"{line}\n" for line in self.lines)
        if stores.is_local(self.folder):
            with stores.translated(self.folder, f"writing {self.name}"):
                Path(self.folder).mkdir(parents=True, exist_ok=True)
                with Path(self.folder, self.name).open("a", encoding="utf-8") as file:
                    file.write(text)
            self.lines.clear()
        else:
            objects.write_object(self.folder, self.name, text.encode())
        self.flushed = time.monotonic()
