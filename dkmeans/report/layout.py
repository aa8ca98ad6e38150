"""How large a picture is shown on the page of a study, which columns hold numbers, and names of files."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dkmeans.report import references
from dkmeans.report.figures import Picture

__all__ = ["Display", "csv_file", "csv_uri", "display", "extension", "least_width", "named", "numeric"]

_INSIDE = 1094  # pixels of a page that is as wide as it gets, within a section
_GAP = 20
_WIDEST, _HIGHEST = 640, 560  # pixels up to which a picture is enlarged
_LARGER = {"image/svg+xml": 1.55, "image/png": 1.25}  # times: until letters or pixels look coarse
_EXTENSIONS = {"image/svg+xml": "svg", "image/png": "png"}
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Display:
    """Width in pixels that a picture is shown with, at most, and whether its pixels stay squares."""

    width: int
    crisp: bool


def display(picture: Picture, columns: int, crisp: bool) -> Display:
    """How to show one of `columns` pictures that lie beside each other."""
    cell = (_INSIDE - (columns - 1) * _GAP) / columns
    room = min(min(cell, _WIDEST) / picture.width, _HIGHEST / picture.height)
    if crisp:
        zoom = max(1, int(room))
        return Display(picture.width * zoom, zoom > 1)
    zoom_smooth = max(1.0, min(_LARGER[picture.media], room))
    return Display(round(picture.width * zoom_smooth), False)


def least_width(pictures: Sequence[Picture], columns: int) -> int:
    """Pixels below which there are fewer columns: two of small pictures fit on a phone, plots need it all."""
    return 300 if columns < 3 or any(picture.media == "image/svg+xml" for picture in pictures) else 140


def numeric(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Which columns of a table hold numbers: a reference to one in each cell that is not empty."""
    cells = [[references.parse(cell) for cell in column] for column in zip(*rows, strict=True)]
    return [
        all(
            not parts or any(isinstance(part, references.Reference) and part.is_number for part in parts)
            for parts in column
        )
        for column in cells
    ]


def named(files: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Files by their keys, such as ``figures/elbow.svg``.

    Raises
    ------
    ValueError
        For a name that some file system or store would not take as it is, or one that is used twice.
    """
    found: dict[str, bytes] = {}
    for key, data in files:
        name = key.partition("/")[2]
        if not _NAME.fullmatch(name):
            raise ValueError(f"the name {name!r}; expected letters, digits, '-', '_' and '.' only")
        if key.lower() in {other.lower() for other in found}:
            raise ValueError(f"the name {key} is used twice")
        found[key] = data
    return found


def extension(picture: Picture) -> str:
    """``png`` or ``svg``."""
    return _EXTENSIONS[picture.media]


def csv_file(rows: Iterable[Iterable[Any]]) -> bytes:
    """A table as a CSV file; None is empty."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


def csv_uri(data: bytes) -> str:
    """A table as a data URI, to be saved from the page."""
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(data).decode('ascii')}"
