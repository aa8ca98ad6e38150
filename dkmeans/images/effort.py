"""How hard to try for a small PNG file: orders of palettes, filters, and how deflate searches.

Each step from 0 to 9 is a row of `EFFORTS`; see `dkmeans.images.reindexing` for the orders and
`dkmeans.images.scanlines` for the filters:

======  ================  ========================  =======  ========================================
effort  palette orders    filters tried             in full  deflate
======  ================  ========================  =======  ========================================
0       luma              none                      1        libdeflate 1
1       luma              none                      1        libdeflate 6
2       neighbors         none, sums                1        libdeflate 6
3       neighbors         none, bits                1        libdeflate 9
4       neighbors         none, bits                1        libdeflate 10
5       luma, neighbors   none, sub, bits, pairs    2        libdeflate 11
6       luma, neighbors   all                       4        libdeflate 12
7       as 6              as 6, then oxipng's own   4        libdeflate 12
8       as 6              as 7                      4        as 7, then Zopfli of 5 rounds, by oxipng
9       as 6              as 7                      4        as 7, then Zopfli of 15 rounds, by oxipng
======  ================  ========================  =======  ========================================

All pairs of a form of the image and a filter are tried on a sample of its rows, and the most promising ones,
as many as the table says, are compressed in full. For images of at most 16,384 pixels effort 4 tries all
orders and filters too, by libdeflate 11, as that takes milliseconds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dkmeans.errors import UsageError
from dkmeans.images.deflating import compressed, deflated
from dkmeans.images.png import Form
from dkmeans.images.scanlines import FILTERS, Choose, filtered

__all__ = ["EFFORTS", "Effort", "check_effort", "effort_for", "smallest"]

_SAMPLE = 96 << 10
"""Bytes of rows that a trial compresses; an image of no more is tried as a whole."""
_TINY = 16 << 10
"""Pixels up to which effort 4 tries all orders and filters."""
_BANDS = 8
"""Parts of the image that a sample is taken from: with so many the choice costs 0.1 % of the bytes."""


class Effort(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    orders : tuple of str
    filters : tuple of str
        Of `FILTERS`.
    in_full : int
        Trials that are compressed in full.
    level : int
        Of libdeflate, up to 12.
    oxipng : bool
        Whether oxipng goes on from there.
    zopfli : int
        Rounds of Zopfli, by oxipng.
    """

    orders: tuple[str, ...]
    filters: tuple[str, ...]
    in_full: int
    level: int
    oxipng: bool = False
    zopfli: int = 0


_BOTH, _ALL = ("luma", "neighbors"), tuple(FILTERS)
EFFORTS = (
    Effort(("luma",), ("none",), 1, 1),
    Effort(("luma",), ("none",), 1, 6),
    Effort(("neighbors",), ("none", "sums"), 1, 6),
    Effort(("neighbors",), ("none", "bits"), 1, 9),
    Effort(("neighbors",), ("none", "bits"), 1, 10),
    Effort(_BOTH, ("none", "sub", "bits", "pairs"), 2, 11),
    Effort(_BOTH, _ALL, 4, 12),
    Effort(_BOTH, _ALL, 4, 12, oxipng=True),
    Effort(_BOTH, _ALL, 4, 12, oxipng=True, zopfli=5),
    Effort(_BOTH, _ALL, 4, 12, oxipng=True, zopfli=15),
)


def check_effort(effort: int) -> None:
    """Refuse an effort whose optimizer is not installed, before any work is done.

    Raises
    ------
    UsageError
    """
    if EFFORTS[effort].oxipng and importlib.util.find_spec("oxipng") is None:
        without = sum(not row.oxipng for row in EFFORTS)
        raise UsageError(
            f"--effort {effort} needs pyoxipng, which is not installed. Run pip install 'dkmeans[oxipng]', "
            f"or pass --effort {without - 1} or less."
        )


def effort_for(effort: int, n_pixels: int) -> Effort:
    """Find the row of the table for an image.

    Raises
    ------
    UsageError
        If the optimizer that this effort takes is not installed.
    """
    check_effort(effort)
    row = EFFORTS[effort]
    if effort == 4 and n_pixels <= _TINY:
        return row._replace(orders=_BOTH, filters=_ALL, level=11)
    return row


@dataclass(frozen=True)
class _Trial:
    """A form with a filter, and about how many bytes it takes; `file` where it was tried as a whole."""

    form: Form
    choose: Choose
    size: float
    file: bytes | None


def smallest(forms: Sequence[Form], row: Effort) -> bytes:
    """Write an image in the form, and by the filter, that give the smallest file.

    Parameters
    ----------
    forms : sequence of Form
        Of the same pixels; of equal files the one of the first is taken.
    row : Effort
    """
    trials = [_try(form, name, row.level) for form in forms for name in row.filters]
    trials.sort(key=lambda trial: trial.size)
    files = [trial.file or _written(trial.form, trial.choose, row.level) for trial in trials[: row.in_full]]
    file = min(files, key=len)
    return _optimized(file, row) if row.oxipng else file


def _try(form: Form, name: str, level: int) -> _Trial:
    """Compress a sample of the rows, and reckon from it what the file will take."""
    sample = _sample(form.rows)
    choose = FILTERS[name](sample, form.step)
    if len(sample) == len(form.rows):
        file = _written(form, choose, level)
        return _Trial(form, choose, len(file), file)
    size = len(deflated(filtered(sample, form.step, choose), level))
    return _Trial(form, choose, size * len(form.rows) / len(sample) + form.overhead, None)


def _sample(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows in bands from top to bottom, or all of a small image."""
    band = -(-_SAMPLE // (_BANDS * rows.shape[1]))
    if band * _BANDS >= len(rows):
        return rows
    starts = np.linspace(0, len(rows) - band, _BANDS).astype(int)
    return np.concatenate([rows[start : start + band] for start in starts])


def _written(form: Form, choose: Choose, level: int) -> bytes:
    return form.file(compressed(form.rows, form.step, choose, level))


def _optimized(file: bytes, row: Effort) -> bytes:
    """Filter and compress a file anew by oxipng, where that makes it smaller; its form and chunks stay."""
    import oxipng

    reductions = ("bit_depth", "color_type", "palette", "grayscale")
    options: dict[str, Any] = {f"{name}_reduction": False for name in reductions}
    options["filter"] = [getattr(oxipng.RowFilter, name) for name in _OXIPNG_FILTERS]
    deflate = oxipng.Deflaters
    file = oxipng.optimize_from_memory(file, deflate=deflate.libdeflater(row.level), **options)
    if row.zopfli:
        file = oxipng.optimize_from_memory(file, deflate=deflate.zopfli(row.zopfli), **options)
    return bytes(file)


_OXIPNG_FILTERS = ("NoOp", "Sub", "Up", "Average", "Paeth", "MinSum", "Entropy", "Bigrams", "BigEnt", "Brute")
