"""Measures of images that were made again: a row of a table for each, as JSON has it and back, and totals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.coded import COMPARED, MEASURED
from dkmeans.images.measures import compare, mse, psnr
from dkmeans.stages.shared.remaking import Made, n_colors

__all__ = [
    "COLUMNS",
    "Totals",
    "compared_row",
    "json_value",
    "measure",
    "recorded_row",
    "row_of",
    "stack_rows",
    "table_of",
    "totals_of",
]

COLUMNS = (*MEASURED, "stored_bytes", "n_iter", "converged", "seconds")
"""Columns of the table of an image; NaN where it is not measured, PSNR infinite where nothing is lost."""


def measure(made: Made, *, full: bool) -> dict[str, Any]:
    """Compare an image with its original, if there is one: in all measures, or in the error alone."""
    if made.original is None:
        return {}
    if not full:
        error = mse(made.original, made.pixels)
        found = psnr(error, int(np.iinfo(made.pixels.dtype).max))
        return {"mse": error, "psnr": math.inf if found is None else found}
    measures = compare(made.original, made.pixels)
    return {
        "mse": measures.mse,
        "psnr": math.inf if measures.psnr is None else measures.psnr,
        "ssim": measures.ssim,
        "n_source_colors": made.n_source_colors,
        "n_colors": n_colors(made.pixels) if made.codes is None else int(made.codes.max()) + 1,
        "inertia": made.inertia,
    }


_WHOLE = {"source_bytes", "stored_bytes", "n_source_colors", "n_colors", "n_iter"}


def json_value(name: str, value: float) -> Any:
    """A value of a row as JSON has it: an infinite PSNR is none, as it says that nothing is lost."""
    if not math.isfinite(value):
        return None
    return int(value) if name in _WHOLE else bool(value) if name == "converged" else value


def table_of(images: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """The rows of `COLUMNS` that records tell; shape (n_images, n_columns)."""
    return stack_rows([recorded_row(image) for image in images])


def stack_rows(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Make a table of rows, of which there may be none."""
    return np.array(rows, np.float64).reshape(-1, len(COLUMNS))


def row_of(found: Mapping[str, Any]) -> list[float]:
    """The values of `COLUMNS` in what was found of an image; NaN for what was not."""
    return [math.nan if found.get(name) is None else float(found[name]) for name in COLUMNS]


def compared_row(values: NDArray[np.float64]) -> list[float]:
    """The row of an image of which `COMPARED` alone are known."""
    return row_of(dict(zip(COMPARED, values.tolist(), strict=True)))


def recorded_row(image: Mapping[str, Any]) -> list[float]:
    """The row that a record tells, where an infinite PSNR is none."""
    lossless = {"psnr": math.inf} if image.get("mse") == 0 else {}
    return row_of({**image, **lossless})


@dataclass(frozen=True)
class Totals:
    """The totals of a table of measures.

    Attributes
    ----------
    mean_psnr : float or None
        Mean in dB of the images that lost anything; None if none did.
    mean_ssim : float or None
        Mean of the images that are large enough for it.
    mse : float
        Mean squared error over all values of all images.
    n_exact : int
        Images that lost nothing.
    image_bytes : int
        Of the image files.
    """

    mean_psnr: float | None
    mean_ssim: float | None
    mse: float
    n_exact: int
    image_bytes: int


def totals_of(table: NDArray[np.float64], sizes: NDArray[np.int64]) -> Totals:
    """Add up a table of `COLUMNS`; `sizes` are the pixels of each image."""
    columns = dict(zip(COLUMNS, table.T, strict=True))
    lossy, similar = columns["psnr"][np.isfinite(columns["psnr"])], columns["ssim"]
    similar = similar[np.isfinite(similar)]
    return Totals(
        mean_psnr=float(lossy.mean()) if len(lossy) else None,
        mean_ssim=float(similar.mean()) if len(similar) else None,
        mse=float((columns["mse"] * sizes).sum() / sizes.sum()),
        n_exact=int(np.isinf(columns["psnr"]).sum()),
        image_bytes=int(np.nansum(columns["stored_bytes"])),
    )
