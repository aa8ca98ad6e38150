"""What reading a header gives, and how a file is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["Found", "Refused"]


class Refused(Exception):
    """Says what was found and what was expected; the caller adds the key and the remedy."""


@dataclass(frozen=True)
class Found:
    """An image whose header was read: its size and channels as stored, and how to load the pixels.

    `load` gives a (height, width) or (height, width, channels) array of `dtype`, or raises `Refused` or what
    the library raises that decodes.
    """

    height: int
    width: int
    channels: int
    dtype: str
    load: Callable[[], NDArray[Any]]
    orientation: int = 1
    note: str = ""
