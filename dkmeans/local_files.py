"""Files of a local folder, read without obstore: in a forked child its threads are gone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["listed", "read"]

_STAGED = re.compile(r".*#\d+")
"""What object_store calls a file that is not whole yet; it lists none."""


def listed(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    """Key and size of every file below `prefix` in `folder`; none if there is no such folder."""

    def refuse(error: OSError) -> None:
        raise error

    if not (folder / prefix).is_dir():
        return
    for root, _, names in os.walk(folder / prefix, onerror=refuse, followlinks=True):
        for name in names:
            if not _STAGED.fullmatch(name):
                path = Path(root, name)
                yield path.relative_to(folder).as_posix(), path.stat().st_size


def read(path: Path, start: int = 0, length: int = -1) -> bytes:
    """At most `length` bytes of a file from byte `start`; -1 for all that follow."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)
