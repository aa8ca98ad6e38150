"""Looks at what stages have written, and at how they went about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dkmeans.events.reporter import Advance, Reporter
from dkmeans.storage.store import Store

KEYS = ["astronaut.png", "astronaut2.png", "cat.png", "deep/coffee.png", "deep/er/cup.png"]
"""Of the files that are made of the photos."""


def read_files(folder: Path) -> dict[str, bytes]:
    """Keys and bytes of the images of a folder."""
    store = Store(str(folder))
    found = [file.key for file in store.list() if not file.key.startswith(".dkmeans/")]
    return {key: store.get(key) for key in found}


def read_arrays(url: str | Path) -> dict[str, bytes]:
    """Keys and bytes of all objects but claims and manifest, which name times and runs."""
    store = Store(str(url))
    found = [file.key for file in store.list()]
    return {key: store.get(key) for key in found if not (key == "zarr.json" or key.startswith("claim/"))}


class PowerCut(Exception):
    """Not an error that any code expects."""


class Parts(Reporter):
    """Notes how many steps each part of a stage has."""

    def __init__(self) -> None:
        super().__init__(level="warning")
        self.totals: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str, total: int, unit: str = "tasks") -> Iterator[Advance]:
        """Note the total."""
        self.totals[name] = total
        with super().stage(name, total, unit) as advance:
            yield advance
