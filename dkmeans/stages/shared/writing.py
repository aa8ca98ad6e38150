"""The last pass over images: each made again, beside its original, measured, and as a file if asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.file_batch import FileBatch
from dkmeans.artefacts.files import Files
from dkmeans.artefacts.former import Record
from dkmeans.compute.executor import Executor
from dkmeans.compute.threads import sharing
from dkmeans.errors import InputError
from dkmeans.events.reporter import Reporter
from dkmeans.images.decode import SkippedImage
from dkmeans.images.encode import DEFAULT_EFFORT, encode_indexed_png, encode_png
from dkmeans.images.index import ImageIndex
from dkmeans.stages.shared.measured import COLUMNS, json_value, measure, recorded_row, row_of, stack_rows
from dkmeans.stages.shared.remaking import Made, Remaking
from dkmeans.storage.access import count

__all__ = [
    "MEASURED_PER_TASK",
    "IfLarger",
    "Remade",
    "check_image_memory",
    "remake_images",
]

MEASURED_PER_TASK = 1 << 20
"""Pixels in one task of images that are measured whole: as much work as a few million rows of a fit."""


IfLarger = Literal["keep", "copy", "skip", "error"]
"""What becomes of a PNG that is larger than the file of the source."""


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
    if_larger : {"keep", "copy", "skip", "error"}
    effort : int
        How hard to try for small files, see `dkmeans.images.effort`.
    threads : int
        Threads that the task may take: more than one where images are fewer than threads.
    """

    names: tuple[str, ...]
    sizes: NDArray[np.int32]
    remaking: Remaking
    files: FileBatch | None
    source_bytes: tuple[int, ...] | None
    if_larger: IfLarger
    effort: int
    threads: int


@dataclass
class _Done:
    """What became of the images of one batch: rows of `COLUMNS` by position, records, what is damaged."""

    rows: dict[int, list[float]]
    records: list[Record]
    skipped: list[SkippedImage]


def _finish(batch: _Batch) -> _Done:
    """Make, compare and write the images of one batch."""
    with sharing(batch.threads):
        return _finished(batch)


def _finished(batch: _Batch) -> _Done:
    done = _Done({}, [], [])
    began = time.perf_counter()
    for position, made in enumerate(batch.remaking.images()):
        if isinstance(made, SkippedImage):
            done.skipped.append(made)
        else:
            found: dict[str, Any] = {"n_iter": made.n_iter, "converged": made.converged}
            if batch.source_bytes is not None:
                found["source_bytes"] = batch.source_bytes[position]
            if batch.files is not None:
                made, record = _write(batch, batch.files, position, made)
                found["stored_bytes"] = record.image["stored_bytes"]
                found["seconds"] = time.perf_counter() - began
            found |= measure(made, full=batch.source_bytes is not None)
            row = row_of(found)
            if batch.files is not None:
                done.records.append(_described(record, batch.sizes[position], made, row))
            if batch.files is None or record.key is not None:
                done.rows[position] = row
                count(images_written=1)
        began = time.perf_counter()
    if batch.files is not None:
        batch.files.record(done.records)
    return done


def _write(batch: _Batch, files: FileBatch, position: int, made: Made) -> tuple[Made, Record]:
    """Write the file of an image, and what it shows then: the original, if that is smaller and copied."""
    data = _encode(made, batch.effort)
    if batch.if_larger == "keep" or batch.source_bytes is None or len(data) <= batch.source_bytes[position]:
        return made, files.write(position, data)
    original = batch.remaking.original(position)
    if original is None:  # an image in a stack has no file
        return made, files.write(position, data)
    if batch.if_larger == "error":
        raise InputError(
            f"{batch.names[position]}: {len(data)} bytes as a PNG, {len(original)} as it was found; "
            "--if-larger error allows no larger file. Pass --if-larger copy, skip or keep, or fewer colors."
        )
    if batch.if_larger == "skip":
        return made, files.leave_out(position)
    assert made.original is not None
    same = replace(made, pixels=made.original, codes=None, palette=None, inertia=0.0)
    return same, files.write(position, original, copied=True)


def _encode(made: Made, effort: int) -> bytes:
    """The bytes of a PNG file: indexed, where there are codes of at most 256 colors of 8 bits."""
    if made.file is not None:
        return made.file
    if made.codes is not None and made.palette is not None:
        return encode_indexed_png(made.codes, made.palette, made.tags, effort)
    return encode_png(made.pixels, made.tags, effort)


def _described(record: Record, size: NDArray[np.int32], made: Made, row: Sequence[float]) -> Record:
    """A record with all that is known of the image, as JSON values."""
    height, width = size.tolist()
    about = {"height": height, "width": width}
    if channels := made.pixels.shape[2]:
        about["channels"] = channels
    found = {name: json_value(name, value) for name, value in zip(COLUMNS, row, strict=True)}
    return Record({**record.image, **about, **found}, record.check)


def check_image_memory(images: ImageIndex, channels: int, executor: Executor) -> None:
    """Refuse images of which a worker cannot hold the largest with all that is made of it.

    Pixels, colors, sorted, codes, and the band that is measured.

    Raises
    ------
    ClusterError
        Naming what is needed and what is there.
    """
    need = int(np.diff(images.offset).max()) * (4 * channels + 32) + (160 << 20)
    executor.check_memory(need, "an image", "leave out the largest images", len(images))


@dataclass(frozen=True)
class Remade:
    """Images made again.

    Attributes
    ----------
    table : ndarray of shape (n, n_columns), float64
        `COLUMNS` of each image in order, of those too that an earlier run has made; not of images that cannot
        be decoded, or are left out.
    records : list of Record
        Of the files that were written, and of the images that were left out.
    skipped : list of SkippedImage
        Images that cannot be decoded.
    """

    table: NDArray[np.float64]
    records: list[Record]
    skipped: list[SkippedImage]


def remake_images(
    index: ImageIndex,
    remaking: Callable[[int, int], Remaking],
    executor: Executor,
    reporter: Reporter,
    *,
    files: Files | None = None,
    known: Mapping[str, Sequence[float]] | None = None,
    source_bytes: Sequence[int] | None = None,
    if_larger: IfLarger = "keep",
    effort: int = DEFAULT_EFFORT,
    watch: Callable[[Sequence[SkippedImage]], None] | None = None,
) -> Remade:
    """Make, compare and write images, a task a batch.

    Parameters
    ----------
    index : ImageIndex
    remaking : callable
        ``remaking(start, stop)`` tells how these images are made again.
    executor : Executor
    reporter : Reporter
    files : Files or None
        Where files of them go; images that it keeps are not made again.
    known : mapping of str to sequence of float, or None
        Without files: rows of `COLUMNS` of images that are not made again, by name.
    source_bytes : sequence of int, or None
        Of each image as it was found, where all is measured; None for the error alone.
    if_larger : {"keep", "copy", "skip", "error"}
        What becomes of a file that is larger than that of the source.
    effort : int
        How hard to try for small files.
    watch : callable or None
        Sees the images that cannot be decoded as they come, and may end the work; `Skipping.watch`.
    """
    kept = (known or {}) if files is None else _recorded(files)
    ranges = _ranges(index, kept, plan.PIXELS_PER_TASK if source_bytes is None else MEASURED_PER_TASK)
    threads = executor.threads_for(len(ranges))
    batches = [
        _Batch(
            index.names[start:stop],
            index.sizes(start, stop),
            remaking(start, stop),
            None if files is None else files.batch(start, index.names[start:stop]),
            None if source_bytes is None else tuple(source_bytes[start:stop]),
            if_larger,
            effort,
            threads,
        )
        for start, stop in ranges
    ]
    if files is not None:
        files.begin()
    task = executor.task(_finish)
    with reporter.stage("images", len(batches), "batches") as advance:
        check = None if watch is None else lambda done: watch(done.skipped)
        found = executor.run([task(batch) for batch in batches], advance, check)
    return _together(index, kept, [start for start, _ in ranges], found)


def _recorded(files: Files) -> dict[str, Sequence[float] | None]:
    """The rows of the images that need not be made again; None of those that were left out."""
    return {
        name: None if record.key is None else recorded_row(record.image)
        for name, record in files.kept.items()
    }


def _together(
    index: ImageIndex,
    kept: Mapping[str, Sequence[float] | None],
    starts: Sequence[int],
    found: Sequence[_Done],
) -> Remade:
    """Put what the batches have done in order, with the rows of the images that were kept."""
    rows: dict[int, Sequence[float]] = {
        start + position: row
        for start, done in zip(starts, found, strict=True)
        for position, row in done.rows.items()
    }
    for place, name in enumerate(index.names):
        if (row := kept.get(name)) is not None:
            rows[place] = row
    return Remade(
        stack_rows([rows[place] for place in sorted(rows)]),
        [record for done in found for record in done.records],
        [image for done in found for image in done.skipped],
    )


def _ranges(index: ImageIndex, kept: Container[str], limit: int) -> list[tuple[int, int]]:
    """Ranges of images that are to be made, each for one task; of neighbors only."""
    sizes = np.diff(index.offset)
    todo = np.flatnonzero([name not in kept for name in index.names])
    runs = np.split(todo, np.flatnonzero(np.diff(todo) > 1) + 1) if len(todo) else []
    return [
        (int(run[0]) + start, int(run[0]) + stop)
        for run in runs
        for start, stop in plan.batches(sizes[run], limit)
    ]
