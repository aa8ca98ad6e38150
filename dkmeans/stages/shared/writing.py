"""The last pass over images: each made again, beside its original, measured, and as a file if asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error

from dkmeans import plan
from dkmeans.artefacts.coded import MEASURED
from dkmeans.artefacts.files import FileBatch, Files
from dkmeans.compute.executor import Executor
from dkmeans.events.reporter import Reporter
from dkmeans.images.decode import SkippedImage
from dkmeans.images.encode import DEFAULT_EFFORT, encode_indexed_png, encode_png
from dkmeans.images.index import ImageIndex
from dkmeans.images.measures import compare, psnr
from dkmeans.stages.shared.remaking import Made, Remaking, n_colors
from dkmeans.storage import checksums

__all__ = [
    "COLUMNS",
    "MEASURED_PER_TASK",
    "Totals",
    "check_image_memory",
    "json_value",
    "remake_images",
    "totals_of",
]

COLUMNS = (*MEASURED, "stored_bytes", "n_iter", "converged", "seconds")
"""Columns of the table of an image; NaN where it is not measured, PSNR infinite where nothing is lost."""

MEASURED_PER_TASK = 1 << 20
"""Pixels in one task of images that are measured whole: as much work as a few million rows of a fit."""


@dataclass(frozen=True)
class _Batch:
    """The images of one task.

    Attributes
    ----------
    names : tuple of str
    sizes : ndarray of shape (n, 2), int32
        Height and width in pixels.
    remaking : Remaking
    files : FileBatch or None
        Where its files go.
    source_bytes : tuple of int, or None
        Of each image as it was found, where all is measured; None for the error alone, which costs least.
    effort : int
        How hard to try for small files, see `dkmeans.images.effort`.
    """

    names: tuple[str, ...]
    sizes: NDArray[np.int32]
    remaking: Remaking
    files: FileBatch | None
    source_bytes: tuple[int, ...] | None
    effort: int


def _finish(batch: _Batch) -> tuple[NDArray[np.float64], list[SkippedImage]]:
    """Make, compare and write the images of one batch; a table of `COLUMNS`, and those that are damaged."""
    if batch.files is not None and (finished := batch.files.finished()):
        return np.array([[_number(image[name]) for name in COLUMNS] for image in finished]), []
    rows: dict[int, list[float]] = {}
    skipped, checks = [], []
    began = time.perf_counter()
    for position, made in enumerate(batch.remaking.images()):
        if isinstance(made, SkippedImage):
            skipped.append(made)
        else:
            found: dict[str, Any] = {"n_iter": made.n_iter, "converged": made.converged}
            if batch.files is not None:
                data = _encode(made, batch.effort)
                batch.files.write(position, data)
                checks.append(checksums.of_bytes(data))
                found |= {"stored_bytes": len(data), "seconds": time.perf_counter() - began}
            if batch.source_bytes is not None:
                found["source_bytes"] = batch.source_bytes[position]
            found |= _measured(made, full=batch.source_bytes is not None)
            rows[position] = [_number(found.get(name)) for name in COLUMNS]
        began = time.perf_counter()
    if batch.files is not None:
        batch.files.record(_records(batch, rows), checks)
    return np.array(list(rows.values()), np.float64).reshape(-1, len(COLUMNS)), skipped


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _encode(made: Made, effort: int) -> bytes:
    """The bytes of a PNG file: indexed, where there are codes of at most 256 colors of 8 bits."""
    if made.file is not None:
        return made.file
    if made.codes is not None and made.palette is not None:
        return encode_indexed_png(made.codes, made.palette, effort=effort)
    return encode_png(made.pixels, effort=effort)


def _measured(made: Made, *, full: bool) -> dict[str, Any]:
    if made.original is None:
        return {}
    if not full:
        error = float(mean_squared_error(made.original, made.pixels))
        found = psnr(error, int(np.iinfo(made.pixels.dtype).max))
        return {"mse": error, "psnr": math.inf if found is None else found}
    measures = compare(made.original, made.pixels)
    return {
        "mse": measures.mse,
        "psnr": math.inf if measures.psnr is None else measures.psnr,
        "ssim": measures.ssim,
        "n_source_colors": made.n_source_colors,
        "n_colors": n_colors(made.pixels) if made.palette is None else len(made.palette),
        "inertia": made.inertia,
    }


def _records(batch: _Batch, rows: dict[int, list[float]]) -> list[dict[str, Any]]:
    """Describe each image that was made, as JSON values; `rows` by its position."""
    assert batch.files is not None
    records = []
    for position, row in rows.items():
        found = dict(zip(COLUMNS, row, strict=True))
        height, width = batch.sizes[position].tolist()
        about = {"name": batch.names[position], "key": batch.files.keys[position]}
        about |= {"height": height, "width": width}
        records.append({**about, **{name: json_value(name, value) for name, value in found.items()}})
    return records


_WHOLE = {"source_bytes", "stored_bytes", "n_source_colors", "n_colors", "n_iter"}


def json_value(name: str, value: float) -> Any:
    """A value of a row as JSON has it: an infinite PSNR is none, as it says that nothing is lost."""
    if not math.isfinite(value):
        return None
    return int(value) if name in _WHOLE else bool(value) if name == "converged" else value


def check_image_memory(n_pixels: int, channels: int, executor: Executor) -> None:
    """Refuse an image that a worker cannot hold with all that is made of it.

    Pixels, colors, sorted, codes, and the SSIM of a tile.

    Raises
    ------
    ClusterError
        Naming what is needed and what is there.
    """
    need = n_pixels * (4 * channels + 32) + (160 << 20)
    executor.check_memory(need, "an image", "leave out the largest images")


def remake_images(
    index: ImageIndex,
    remaking: Callable[[int, int], Remaking],
    executor: Executor,
    reporter: Reporter,
    *,
    files: Files | None = None,
    source_bytes: Sequence[int] | None = None,
    effort: int = DEFAULT_EFFORT,
) -> tuple[NDArray[np.float64], list[SkippedImage]]:
    """Make, compare and write images, a task a batch.

    Parameters
    ----------
    index : ImageIndex
    remaking : callable
        ``remaking(start, stop)`` tells how these images are made again.
    executor : Executor
    reporter : Reporter
    files : Files or None
        Where files of them go.
    source_bytes : sequence of int, or None
        Of each image as it was found, where all is measured; None for the error alone.
    effort : int
        How hard to try for small files.

    Returns
    -------
    table : ndarray of shape (n_images, n_columns), float64
        `COLUMNS` of each image that can be decoded.
    skipped : list of SkippedImage
        The others.
    """
    # Whatever the number of threads, so that records stay valid.
    limit = plan.PIXELS_PER_TASK if source_bytes is None else MEASURED_PER_TASK
    batches = [
        _Batch(
            index.names[start:stop],
            index.sizes(start, stop),
            remaking(start, stop),
            None if files is None else files.batch(start, index.names[start:stop]),
            None if source_bytes is None else tuple(source_bytes[start:stop]),
            effort,
        )
        for start, stop in plan.batches(np.diff(index.offset), limit)
    ]
    if files is not None:
        files.begin()
    task = executor.task(_finish)
    with reporter.stage("images", len(batches), "batches") as advance:
        found = executor.run([task(batch) for batch in batches], advance)
    table = np.concatenate([np.empty((0, len(COLUMNS))), *(rows for rows, _ in found)])
    return table, [image for _, skipped in found for image in skipped]


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
