"""Codes of rows, a shard each task, wherever the rows come from: an array on storage, or images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.coded import row_offset
from dkmeans.artefacts.held import Claim
from dkmeans.clustering.labels import choose_code_dtype, forget_colors, label_rows
from dkmeans.compute.executor import Executor
from dkmeans.events.reporter import Reporter
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collections import Images, SourceCollection
from dkmeans.plan import RowLayout
from dkmeans.stages.shared.reusing import NOTHING, Reused
from dkmeans.storage import arrays, checksums
from dkmeans.storage.store import Store

__all__ = ["SHARD_MIB", "ImageRows", "StoredArray", "write_codes"]

SHARD_MIB = 64.0
"""MiB of the rows of images whose codes are one object."""


class Cut(Protocol):
    """Some rows, small until a task has read them."""

    def read(self) -> NDArray[Any]:
        """The rows; shape (n, n_features)."""


class RowSource(Protocol):
    """Rows that get codes.

    Attributes
    ----------
    n_rows, n_features : int
    dtype : numpy dtype
    layout : RowLayout
        How the codes are cut.
    small : bool
        Whether codes are packed as small as they get, for good; see `arrays.create_array`.
    remedy : str
        What to do where a shard does not fit into memory.
    """

    n_rows: int
    n_features: int
    dtype: np.dtype[Any]
    layout: RowLayout
    small: bool
    remedy: str

    @property
    def space(self) -> FeatureSpace | None:
        """What the rows are; None of plain numbers."""

    def cut(self, start: int, stop: int) -> Cut:
        """The rows `start` to `stop`, for one task."""


@dataclass(frozen=True)
class _StoredCut:
    store: Store
    name: str
    start: int
    stop: int
    space: FeatureSpace | None

    def read(self) -> NDArray[Any]:
        stored = arrays.read_rows(self.store, self.name, self.start, self.stop)
        return stored if self.space is None else self.space.from_stored(stored)


class StoredArray:
    """The rows of the array `name` in a store; a shard of codes is a block of labels.

    `space` makes rows of the stored ones; None takes them as they are.
    """

    small = False
    remedy = "ingest with a smaller --shard-mib"

    def __init__(self, store: Store, name: str, space: FeatureSpace | None = None) -> None:
        arrays.check_whole(store, name)
        self.store, self.name, self.space = store, name, space
        array = arrays.open_array(store, name)
        self.n_rows, self.n_features = array.shape
        self.dtype = np.dtype(array.dtype) if space is None else space.row_dtype
        layout = arrays.row_layout(array)
        self.layout = RowLayout(layout.chunk_rows, plan.block_rows(self.n_rows, layout))

    def cut(self, start: int, stop: int) -> _StoredCut:
        """The rows `start` to `stop`, for one task."""
        return _StoredCut(self.store, self.name, start, stop, self.space)


@dataclass(frozen=True)
class _ImageCut:
    """The rows of some images, of the first and the last perhaps a part."""

    images: Images
    spans: Sequence[plan.ImageSpan]
    space: FeatureSpace

    def read(self) -> NDArray[Any]:
        pieces = [
            self.space.to_rows(image)[span.start : span.stop]
            for span, image in zip(self.spans, self.images.images(), strict=True)
        ]
        return np.concatenate(pieces)


class ImageRows:
    """The pixels, or the patches side by side, of images that are decoded in the tasks."""

    small = True
    remedy = "use a smaller --patch"

    def __init__(self, images: SourceCollection, space: FeatureSpace) -> None:
        self.images, self.space = images, space
        self.offset = row_offset(images.index, space.patch)
        self.n_rows, self.n_features = int(self.offset[-1]), space.n_features
        self.dtype = space.row_dtype
        rows = plan.layout_rows(self.n_rows, self.n_features * self.dtype.itemsize, SHARD_MIB).shard_rows
        self.layout = RowLayout(rows, rows)

    def cut(self, start: int, stop: int) -> _ImageCut:
        """The rows `start` to `stop`, for one task."""
        spans = plan.image_spans(self.offset, start, stop)
        return _ImageCut(self.images.part(spans[0].index, spans[-1].index + 1), spans, self.space)


@dataclass(frozen=True)
class _Written:
    """One shard of codes: SHA-256 of it, and the checksums of its chunks."""

    digest: str
    table: NDArray[np.uint32]


def _written(codes: NDArray[Any], chunk_rows: int) -> _Written:
    return _Written(hashlib.sha256(codes.tobytes()).hexdigest(), checksums.of_chunks(codes, chunk_rows))


def _write_shard(
    claim: Claim[Any],
    cut: Cut,
    start: int,
    centers: NDArray[np.float32],
    device: str,
    chunk_rows: int,
    space: FeatureSpace | None,
) -> _Written:
    """Label some rows, and write their codes."""
    labels = label_rows(cut.read(), centers, device, space, claim.run)
    codes = labels.astype(choose_code_dtype(len(centers)))
    claim.write_rows("codes", start, codes)
    return _written(codes, chunk_rows)


def _read_shard(store: Store, start: int, stop: int, chunk_rows: int) -> _Written:
    """Read a shard that an earlier run has written."""
    return _written(arrays.read_rows(store, "codes", start, stop), chunk_rows)


def write_codes(
    claim: Claim[Any],
    rows: RowSource,
    centers: NDArray[np.float32],
    executor: Executor,
    reporter: Reporter,
    reused: Reused = NOTHING,
) -> list[str]:
    """Write the array ``codes``: the nearest center of each row. Shards that are there are kept.

    Those that are `reused`, and whose digests are known, are not read.

    Returns
    -------
    list of str
        SHA-256 of each shard of codes.
    """
    chunk_rows, shard_rows = rows.layout.chunk_rows, rows.layout.shard_rows
    need = plan.label_memory(min(shard_rows, rows.n_rows), rows.n_features, rows.dtype.itemsize)
    executor.check_memory(need, "a block of codes", rows.remedy)
    shards = None if rows.small else (shard_rows,)
    layout = {"shape": (rows.n_rows,), "dtype": choose_code_dtype(len(centers)), "chunks": (chunk_rows,)}
    claim.create_array("codes", **layout, shards=shards, small=rows.small, resize=True)
    finished = arrays.finished_shards(claim.store, "codes")
    write, read = executor.task(_write_shard), executor.task(_read_shard)
    tasks = [
        read(claim.store, *cut, chunk_rows)
        if shard in finished
        else write(claim, rows.cut(*cut), cut[0], centers, executor.device, chunk_rows, rows.space)
        for shard, cut in enumerate(plan.cuts(rows.n_rows, shard_rows))
        if shard >= len(reused.digests)
    ]
    try:
        with reporter.stage("codes", len(tasks), "blocks") as advance:
            written: list[_Written] = executor.run(tasks, advance)
    finally:
        executor.everywhere(forget_colors, claim.run)
    claim.seal("codes", [reused.table, *(shard.table for shard in written)])
    return [*reused.digests, *(shard.digest for shard in written)]
