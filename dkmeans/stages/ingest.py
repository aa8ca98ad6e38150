"""Images to a dataset: an index from their headers, then their pixels, then their patches."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from dkmeans import plan
from dkmeans.artefacts import claims, manifests
from dkmeans.artefacts.dataset import (
    Dataset,
    dataset_digest,
    read_index,
    read_skipped,
    write_index,
    write_skipped,
)
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config import ClusterConfig, IngestConfig
from dkmeans.errors import InputError, SkippedError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.decode import CHANNELS, ImageHeader
from dkmeans.images.index import ImageIndex
from dkmeans.images.sources import SkippedImage, Source, open_source
from dkmeans.stages.shared import shards
from dkmeans.storage import arrays
from dkmeans.storage.store import open_store

__all__ = ["IngestReport", "ingest"]

_HEADERS_PER_TASK = 256
_PIXELS_PER_TASK = 4 << 20
_NAMED = 20
"""Images that are named one by one when they are skipped."""


@dataclass(frozen=True)
class IngestReport:
    """What ingest wrote."""

    dataset: str
    n_images: int
    n_skipped: int
    n_pixels: int
    n_patches: int
    channels: int
    dtype: str
    digest: str
    seconds: float


@dataclass(frozen=True)
class _Found:
    """The header pass: the images to take, as a source and as an index, and the others with reasons."""

    source: Source
    index: ImageIndex
    dtype: str
    skipped: list[tuple[str, str]]


def ingest(
    config: IngestConfig,
    cluster: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> IngestReport:
    """Store images as a dataset: their pixels laid end to end, and their non-blank patches.

    Parameters
    ----------
    config : IngestConfig
    cluster : ClusterConfig or Executor
    reporter : Reporter

    Raises
    ------
    InputError
        If the source is missing, empty, of mixed depth, or every image is bad.
    SkippedError
        If more than ``max_skipped`` images cannot be read; no dataset is committed.
    UsageError
        If the output is there already, or overlaps the source.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    source = open_source(config.source)
    if source.ignored:
        names = ", ".join(source.ignored[:3])
        reporter.warn(f"{len(source.ignored)} files are no images that can be used, and left out: {names}")
    store = open_store(config.dataset)
    # A dataset may lie among the images that it is made of: none of its files is taken for an image.
    inputs = [] if store.url.startswith(f"{source.url}/") else [source.url]
    with (
        claims.claim(store, "dataset", config, source.fingerprint, inputs) as claim,
        connect(cluster, reporter, "ingest") as workers,
    ):
        if not claim.finished:
            _Ingest(config, claim, workers, reporter).run(source)
    manifest = manifests.read_manifest(store, "dataset")
    facts = {name: manifest[name] for name in IngestReport.__dataclass_fields__ if name in manifest}
    return IngestReport(dataset=store.url, seconds=time.perf_counter() - began, **facts)


class _Ingest:
    """One run of the stage; `run` reads from top to bottom."""

    def __init__(
        self, config: IngestConfig, claim: claims.Claim, cluster: Executor, reporter: Reporter
    ) -> None:
        self.config = config
        self.claim = claim
        self.cluster = cluster
        self.reporter = reporter
        self.channels = CHANNELS[config.color]

    def run(self, source: Source) -> None:
        """Index, pixels, patches, commit."""
        found = self.read_headers(source)
        while True:
            if not len(found.index):
                raise InputError(f"{source.url}: no image can be used; the first: {_first(found.skipped)}.")
            self.store_index(found)
            digests, unreadable = self.store_pixels(found)
            if not unreadable:
                break
            # A header was fine and the pixels were not: the images behind it move up, so begin again.
            found = self.leave_out(found, unreadable)
            self.claim.discard("pixels")
            self.claim.discard("images")
        n_patches = self.store_patches(found) if self.config.patch else 0
        index = found.index
        self.claim.commit(
            {
                "n_images": len(index),
                "n_skipped": len(found.skipped),
                "n_pixels": int(index.offset[-1]),
                "n_patches": n_patches,
                "channels": self.channels,
                "dtype": found.dtype,
                "source_bytes": source.encoded_bytes,
                "digest": dataset_digest(self.config.recorded(), found.dtype, index, digests),
            }
        )

    def read_headers(self, source: Source) -> _Found:
        """The header-only pass over all images; or the index that an earlier run has stored."""
        read = self.cluster.task(shards.read_headers)
        starts = range(0, len(source), _HEADERS_PER_TASK)
        limit = self.config.max_image_pixels
        tasks = [read(source.part(start, start + _HEADERS_PER_TASK), limit) for start in starts]
        with self.reporter.stage("headers", len(tasks), "batches") as advance:
            parts = self.cluster.run(tasks, advance)
        headers: list[ImageHeader] = []
        skipped: list[SkippedImage] = []
        for header in (header for part in parts for header in part):
            if isinstance(header, ImageHeader) and (problem := self.too_small(header)):
                header = SkippedImage(header.key, problem)
            (headers if isinstance(header, ImageHeader) else skipped).append(header)
        notes = [f"{header.key}: {header.note}" for header in headers if header.note]
        for note in notes[:_NAMED]:
            self.reporter.warn(note)
        if len(notes) > _NAMED:
            self.reporter.warn(f"so are {len(notes) - _NAMED} more images")
        found = _Found(source, ImageIndex((), np.zeros(0, np.int32), np.zeros(0, np.int32)), "", [])
        found = self.leave_out(found, skipped)
        if not headers:
            return found
        _check_one_depth(source.url, headers)
        index = ImageIndex(
            tuple(header.key for header in headers),
            np.array([header.height for header in headers], np.int32),
            np.array([header.width for header in headers], np.int32),
        )
        found = replace(found, index=index, dtype=headers[0].dtype)
        if self.claim.has_group("images"):
            # An earlier run has stored an index, which may leave out more: images with broken pixels.
            stored = set(read_index(self.claim.store).names)
            reasons = dict(read_skipped(self.claim.store)) if self.claim.has_group("skipped") else {}
            lost = [
                SkippedImage(name, reasons.get(name, "its pixels cannot be read"))
                for name in index.names
                if name not in stored
            ]
            found = self.leave_out(found, lost)
        return found

    def too_small(self, header: ImageHeader) -> str | None:
        """Why an image holds no patch; None if it does."""
        patch = self.config.patch
        if patch is None or (header.height >= patch[0] and header.width >= patch[1]):
            return None
        return f"{header.height}x{header.width} pixels, smaller than the patch of {patch[0]}x{patch[1]}"

    def leave_out(self, found: _Found, images: list[SkippedImage]) -> _Found:
        """`found` without some images, each named aloud; their names are kept on storage.

        Raises
        ------
        SkippedError
            If these are too many.
        """
        for image in images:
            self.reporter.event("skipped", image=image.key, reason=image.reason)
        for image in images[:_NAMED]:
            self.reporter.warn(f"skipped {image.key}: {image.reason}")
        if len(images) > _NAMED:
            self.reporter.warn(f"skipped {len(images) - _NAMED} more, listed in {self.claim.url}/skipped")
        skipped = found.skipped + [(image.key, image.reason) for image in images]
        if len(skipped) > self.config.max_skipped:
            write_skipped(self.claim, skipped)
            raise SkippedError(
                f"{len(skipped)} images cannot be used, --max-skipped allows {self.config.max_skipped}; the "
                f"first: {_first(skipped)}. All are listed in {self.claim.url}/skipped. Mend or remove them "
                f"and pass --overwrite, or go on with --resume --max-skipped {len(skipped)}."
            )
        gone = {image.key for image in images}
        stay = np.array([name not in gone for name in found.index.names], bool)
        index = ImageIndex(
            tuple(name for name in found.index.names if name not in gone),
            found.index.height[stay],
            found.index.width[stay],
        )
        return replace(found, source=found.source.without(gone), index=index, skipped=skipped)

    def store_index(self, found: _Found) -> None:
        """Write what is skipped, and which images there are."""
        write_skipped(self.claim, found.skipped)
        if not self.claim.has_group("images"):
            self.claim.discard("images")
            write_index(self.claim, found.index)

    def store_pixels(self, found: _Found) -> tuple[list[str], list[SkippedImage]]:
        """Write all pixels, a task a shard; digests of the chunks, and images that cannot be decoded."""
        offset = found.index.offset
        n_pixels, dtype = int(offset[-1]), np.dtype(found.dtype)
        self.claim.check()
        layout = plan.layout_rows(n_pixels, self.channels * dtype.itemsize, self.config.shard_mib)
        largest = int(np.diff(offset).max()) * self.channels * dtype.itemsize
        self.check_memory(n_pixels, self.channels * dtype.itemsize, layout, largest)
        self.claim.create_array(
            "pixels",
            shape=(n_pixels, self.channels),
            dtype=dtype,
            chunks=(layout.chunk_rows, self.channels),
            shards=(layout.shard_rows, self.channels),
        )
        finished = arrays.finished_shards(self.claim.store, "pixels")
        write, read = self.cluster.task(shards.write_pixels), self.cluster.task(shards.read_pixels)
        tasks = []
        for shard, (start, stop) in enumerate(plan.cuts(n_pixels, layout.shard_rows)):
            if shard in finished:
                tasks.append(read(self.claim.store, start, stop))
                continue
            spans = plan.image_spans(offset, start, stop)
            part = found.source.part(spans[0].index, spans[-1].index + 1)
            tasks.append(write(self.claim, part, spans, start, stop, self.config))
        with self.reporter.stage("pixels", len(tasks), "shards") as advance:
            written: list[shards.Pixels] = self.cluster.run(tasks, advance)
        unreadable = {image.key: image for shard in written for image in shard.unreadable}
        if not unreadable:
            self.claim.seal("pixels", [shard.table for shard in written])
        return [digest for shard in written for digest in shard.digests], list(unreadable.values())

    def check_memory(self, n_rows: int, row_bytes: int, layout: plan.RowLayout, largest: int) -> None:
        """Refuse shards that the workers cannot hold, before any is begun; `largest` image in bytes."""
        need = plan.shard_memory(min(layout.shard_rows, n_rows), row_bytes, largest)
        self.cluster.check_memory(need, "a shard", "set a smaller --shard-mib")

    def store_patches(self, found: _Found) -> int:
        """Count the patches of each image, then write them all, a task a shard."""
        store, config = self.claim.store, self.config
        assert config.patch is not None
        dataset = Dataset(
            store, {"config": config.recorded(), "channels": self.channels, "dtype": found.dtype}
        )
        ranges = plan.batches(np.diff(found.index.offset), _PIXELS_PER_TASK)
        count = self.cluster.task(shards.count_patches)
        with self.reporter.stage("counting patches", len(ranges), "batches") as advance:
            counts = self.cluster.run([count(dataset, *images) for images in ranges], advance)
        offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts))])
        n_patches = int(offset[-1])
        self.claim.write_array("patch_offset", offset)
        n_features = config.patch[0] * config.patch[1] * self.channels
        self.claim.check()
        layout = plan.layout_rows(n_patches, n_features * dataset.dtype.itemsize, config.shard_mib)
        largest = int(np.diff(found.index.offset).max()) * self.channels * dataset.dtype.itemsize
        self.check_memory(n_patches, n_features * dataset.dtype.itemsize, layout, largest)
        self.claim.create_array(
            "patches",
            shape=(n_patches, n_features),
            dtype=dataset.dtype,
            chunks=(layout.chunk_rows, n_features),
            shards=(layout.shard_rows, n_features),
        )
        finished = arrays.finished_shards(store, "patches")
        write, read = self.cluster.task(shards.write_patches), self.cluster.task(shards.read_table)
        tasks = [
            read(store, "patches", *cut)
            if shard in finished
            else write(self.claim, dataset, plan.image_spans(offset, *cut), cut[0])
            for shard, cut in enumerate(plan.cuts(n_patches, layout.shard_rows))
        ]
        with self.reporter.stage("patches", len(tasks), "shards") as advance:
            self.claim.seal("patches", self.cluster.run(tasks, advance))
        return n_patches


def _first(skipped: list[tuple[str, str]]) -> str:
    return f"{skipped[0][0]} ({skipped[0][1]})"


def _check_one_depth(url: str, headers: list[ImageHeader]) -> None:
    """Refuse a source of 8-bit and 16-bit images together: one array holds one type."""
    examples = {header.dtype: header.key for header in reversed(headers)}
    if len(examples) > 1:
        raise InputError(
            f"{url} holds 8-bit images ({examples['uint8']}) and 16-bit ones ({examples['uint16']}); "
            "expected one depth. Ingest them from separate folders."
        )
