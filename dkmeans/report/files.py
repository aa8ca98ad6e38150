"""The table of all images of a result: its rows, its columns, the links to the files, and which are shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dkmeans.artefacts.folder import ImageFolder
from dkmeans.events import words
from dkmeans.report.layout import csv_file
from dkmeans.report.links import relative
from dkmeans.report.subjects import Subject

__all__ = ["Cell", "FileTable", "file_rows", "file_table", "shown_files"]

_KEPT = (
    *("name", "width", "height", "source_bytes", "stored_bytes", "change", "n_source_colors", "n_colors"),
    *("psnr", "ssim", "copied"),
)
"""What a row has of an image, as far as it is known."""


@dataclass(frozen=True)
class Cell:
    """A value as people read it, and the number that it is sorted by; None for a text."""

    text: str
    value: float | None = None
    link: str | None = None


@dataclass(frozen=True)
class FileTable:
    """Titles of the columns, and the cells of each row; the first of a row is the name."""

    titles: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def csv(self) -> bytes:
        """The same with exact values as a CSV file; a PSNR where nothing is lost is empty, as null is."""
        return csv_file([self.titles, *([_exact(cell) for cell in row] for row in self.rows)])


def _exact(cell: Cell) -> str | float | None:
    if cell.value is None:
        return cell.text
    return cell.value if math.isfinite(cell.value) else None


def file_rows(subject: Subject) -> tuple[dict[str, Any], ...]:
    """What is known of each image, in the order of the index; empty for results with other measures.

    `change` is the share of bytes that the file has more than its source; `exact` says that nothing is lost.
    """
    result = subject.result
    if isinstance(result, ImageFolder):
        found = result.records
    elif "source_bytes" in result.measures:
        found = _measured(subject)
    else:
        return ()
    return tuple(_row(image) for image in found)


def _measured(subject: Subject) -> list[dict[str, Any]]:
    """The measures of coded images as records."""
    result = subject.result
    sizes = zip(result.index.height.tolist(), result.index.width.tolist(), strict=True)
    records = []
    for place, (name, (height, width)) in enumerate(zip(result.index.names, sizes, strict=True)):
        values = {column: float(values[place]) for column, values in result.measures.items()}
        known = {column: value for column, value in values.items() if math.isfinite(value)}
        records.append({"name": name, "height": height, "width": width, **known})
    return records


def _row(image: dict[str, Any]) -> dict[str, Any]:
    row = {name: image[name] for name in _KEPT if image.get(name) is not None}
    for name in ("source_bytes", "n_source_colors", "n_colors"):
        if name in row:
            row[name] = int(row[name])
    if row.get("source_bytes") and "stored_bytes" in row:
        row["change"] = row["stored_bytes"] / row["source_bytes"] - 1
    row["exact"] = image.get("mse") == 0
    return row


def shown_files(rows: tuple[dict[str, Any], ...], n_shown: int) -> list[tuple[int, str]]:
    """The images to look at, and why: those that lost the most, and gained the most and the least, in turn.

    Parameters
    ----------
    rows : tuple of dict
        See `file_rows`.
    n_shown : int
        At most so many.
    """
    if len(rows) <= n_shown:
        return [(place, "") for place in range(len(rows))]
    lossy = sorted((row["psnr"], place) for place, row in enumerate(rows) if "psnr" in row)
    changes = sorted((row["change"], place) for place, row in enumerate(rows) if "change" in row)
    orders = {"lowest PSNR": lossy, "largest gain": changes, "smallest gain": changes[::-1]}
    found: dict[int, str] = {}
    for rank in range(len(rows)):
        for reason, order in orders.items():
            place = order[rank][1] if rank < len(order) else None
            if place in found and rank == 0:
                found[place] += f", {reason}"
            elif place is not None and len(found) < n_shown:
                found.setdefault(place, reason if rank == 0 else f"{reason}, number {rank + 1}")
    rest = [place for place in range(len(rows)) if place not in found]
    return [*found.items(), *((place, "") for place in rest[: n_shown - len(found)])]


_COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("source_bytes", "Before", words.size),
    ("stored_bytes", "After", words.size),
    ("change", "Change", words.change),
    ("n_source_colors", "Colors before", words.integer),
    ("n_colors", "Colors", words.integer),
    ("psnr", "PSNR", words.psnr),
    ("ssim", "SSIM", "{:.3f}".format),
    ("copied", "Copied", lambda copied: "yes" if copied else ""),
)
"""Of the table, besides the name and the size in pixels: those that no row has are left out."""


def file_table(subject: Subject, rows: tuple[dict[str, Any], ...], page: Path) -> FileTable:
    """The table as the page at `page` shows it, with links to the files that it can reach."""
    columns = [column for column in _COLUMNS if any(_has(row, column[0]) for row in rows)]
    links = [relative(url, str(page)) for url in subject.file_urls] or [None] * len(rows)
    table = []
    for row, href in zip(rows, links, strict=True):
        size = f"{row['width']:,} × {row['height']:,}"
        cells = [Cell(row["name"], None, href), Cell(size, row["width"] * row["height"])]
        table.append((*cells, *(_cell(row, name, tell) for name, _, tell in columns)))
    return FileTable(("Name", "Pixels", *(title for _, title, _ in columns)), tuple(table))


def _has(row: dict[str, Any], name: str) -> bool:
    return row.get(name) not in (None, False) or (name == "psnr" and row["exact"])


def _cell(row: dict[str, Any], name: str, tell: Callable[[Any], str]) -> Cell:
    if name == "psnr" and row["exact"]:
        return Cell(words.psnr(None), math.inf)
    if name not in row:
        return Cell("n/a")
    return Cell(tell(row[name]), int(row[name]) if isinstance(row[name], bool) else row[name])
