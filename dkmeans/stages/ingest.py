"""Images to a dataset: an index from their headers, then their pixels, then their patches."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dkmeans import plan
from dkmeans.artefacts.claims import Claim, Finished, claim
from dkmeans.artefacts.dataset import Dataset, DatasetManifest, dataset_digest
from dkmeans.artefacts.index import read_index, read_skipped, write_index, write_skipped
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import IngestConfig
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.collecting import collect
from dkmeans.images.collections import SourceCollection
from dkmeans.images.decode import SkippedImage
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import Source, estimate_pixels, open_source
from dkmeans.stages.shared import shards
from dkmeans.storage import arrays
from dkmeans.storage.store import open_store

__all__ = ["IngestReport", "ingest"]


@dataclass(frozen=True)
class IngestReport:
    """The report of ingest."""

    dataset: str
    n_images: int
    n_skipped: int
    n_pixels: int
    n_patches: int
    channels: int
    dtype: str
    digest: str
    seconds: float


def ingest(
    config: IngestConfig,
    executor: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> IngestReport:
    """Store images as a dataset: their pixels laid end to end, and their non-blank patches.

    Parameters
    ----------
    config : IngestConfig
    executor : ClusterConfig or Executor
    reporter : Reporter

    Raises
    ------
    InputError
        If the source is missing or empty, or every image is bad.
    SkippedError
        If more than ``max_skipped`` images cannot be read; the work stops there, and no dataset is committed.
    UsageError
        If the output is there already, or overlaps the source.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    source = open_source(config.source)
    store = open_store(config.dataset)
    # A dataset may lie among the images that it is made of: none of its files is taken for an image.
    inputs = [] if store.url.startswith(f"{source.url}/") else [source.url]
    with claim(store, DatasetManifest, config, source.fingerprint, inputs) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, "ingest", partial(estimate_pixels, source)) as workers:
                manifest = _Ingest(config, held, workers, reporter).run(source)
    names = set(IngestReport.__dataclass_fields__) - {"dataset", "seconds"}
    facts = {name: getattr(manifest, name) for name in names}
    return IngestReport(dataset=store.url, seconds=time.perf_counter() - began, **facts)


class _Ingest:
    """One run of the stage; `run` reads from top to bottom."""

    def __init__(
        self, config: IngestConfig, held: Claim[DatasetManifest], executor: Executor, reporter: Reporter
    ) -> None:
        self.config = config
        self.held = held
        self.executor = executor
        self.reporter = reporter
        keep = partial(write_skipped, held)
        self.skipping = Skipping(config.max_skipped, reporter, keep, held.store.url_of("skipped"))

    def run(self, source: Source) -> DatasetManifest:
        """Index, pixels, patches, commit."""
        config = self.config
        options = (config.color, config.max_image_pixels, self.executor, self.skipping, self.reporter)
        srgb = config.profile == "srgb"
        images = self.without_known(collect(source, *options, patch=config.patch, srgb=srgb))
        while True:
            self.store_index(images)
            digests, unreadable = self.store_pixels(images)
            if not unreadable:
                break
            # A header was fine and the pixels were not: the images behind it move up, so begin again.
            self.skipping.add(unreadable)
            images = images.without(unreadable)
            self.held.discard("pixels")
            self.held.discard("images")
        index, dtype = images.index, str(images.dtype)
        facts: dict[str, Any] = {
            "source": source.url,
            "n_images": len(index),
            "n_skipped": len(self.skipping.images),
            "n_pixels": int(index.offset[-1]),
            "n_patches": 0,
            "channels": images.channels,
            "dtype": dtype,
            "patch": config.patch,
            "stride": config.stride,
            "blank_threshold": config.blank_threshold,
            "shard_mib": config.shard_mib,
            "source_bytes": source.encoded_bytes,
            "digest": dataset_digest(config.patch, config.stride, dtype, index, digests),
        }
        if config.patch:
            facts["n_patches"] = self.store_patches(Dataset(self.held.store, self.held.described(**facts)))
        return self.held.commit(**facts)

    def without_known(self, images: SourceCollection) -> SourceCollection:
        """Leave out what an earlier run could not decode: the index that it has stored has fewer images."""
        if not self.held.has_group("images"):
            return images
        stored, reasons = set(read_index(self.held.store).names), {}
        if self.held.has_group("skipped"):
            reasons = {image.key: image.reason for image in read_skipped(self.held.store)}
        lost = [
            SkippedImage(name, reasons.get(name, "its pixels cannot be read"))
            for name in images.index.names
            if name not in stored
        ]
        if not lost:
            return images
        self.skipping.add(lost)
        return images.without(lost)

    def store_index(self, images: SourceCollection) -> None:
        """Write what is skipped, and which images there are."""
        write_skipped(self.held, self.skipping.images)
        if not self.held.has_group("images"):
            self.held.discard("images")
            write_index(self.held, images.index)

    def store_pixels(self, images: SourceCollection) -> tuple[list[str], list[SkippedImage]]:
        """Write all pixels, a task a shard; digests of the chunks, and images that cannot be decoded."""
        offset, held = images.index.offset, self.held
        n_pixels, row_bytes = int(offset[-1]), images.channels * images.dtype.itemsize
        layout = plan.layout_rows(n_pixels, row_bytes, self.config.shard_mib)
        self.check_memory(n_pixels, row_bytes, layout, int(images.sizes.max()) * row_bytes)
        held.create_array(
            "pixels",
            shape=(n_pixels, images.channels),
            dtype=images.dtype,
            chunks=(layout.chunk_rows, images.channels),
            shards=(layout.shard_rows, images.channels),
        )
        finished = arrays.finished_shards(held.store, "pixels")
        write, read = self.executor.task(shards.write_pixels), self.executor.task(shards.read_pixels)
        tasks = []
        for shard, cut in enumerate(plan.cuts(n_pixels, layout.shard_rows)):
            if shard in finished:
                tasks.append(read(held.store, *cut))
                continue
            spans = plan.image_spans(offset, *cut)
            tasks.append(write(held, images.part(spans[0].index, spans[-1].index + 1), spans, *cut))
        with self.reporter.stage("pixels", len(tasks), "shards") as advance:
            watch = self.skipping.watch()
            written: list[shards.Pixels] = self.executor.run(
                tasks, advance, lambda shard: watch(shard.unreadable)
            )
        unreadable = {image.key: image for shard in written for image in shard.unreadable}
        if not unreadable:
            held.seal("pixels", [shard.table for shard in written])
        return [digest for shard in written for digest in shard.digests], list(unreadable.values())

    def check_memory(self, n_rows: int, row_bytes: int, layout: plan.RowLayout, largest: int) -> None:
        """Refuse shards that the workers cannot hold, before any is begun; `largest` image in bytes."""
        need = plan.shard_memory(min(layout.shard_rows, n_rows), row_bytes, largest)
        self.executor.check_memory(need, "a shard", "set a smaller --shard-mib")

    def store_patches(self, dataset: Dataset) -> int:
        """Count the patches of each image, then write them all, a task a shard."""
        held, n_features = self.held, dataset.space("patches").n_features
        sizes, row_bytes = np.diff(dataset.offset), n_features * dataset.dtype.itemsize
        ranges = plan.batches(sizes, plan.PIXELS_PER_TASK)
        count = self.executor.task(shards.count_patches)
        with self.reporter.stage("counting patches", len(ranges), "batches") as advance:
            counts = self.executor.run([count(dataset.part(*images)) for images in ranges], advance)
        offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts))])
        n_patches = int(offset[-1])
        held.write_array("patch_offset", offset)
        layout = plan.layout_rows(n_patches, row_bytes, self.config.shard_mib)
        largest = int(sizes.max()) * dataset.channels * dataset.dtype.itemsize
        self.check_memory(n_patches, row_bytes, layout, largest)
        held.create_array(
            "patches",
            shape=(n_patches, n_features),
            dtype=dataset.dtype,
            chunks=(layout.chunk_rows, n_features),
            shards=(layout.shard_rows, n_features),
        )
        finished = arrays.finished_shards(held.store, "patches")
        write, read = self.executor.task(shards.write_patches), self.executor.task(shards.read_table)
        tasks = []
        for shard, cut in enumerate(plan.cuts(n_patches, layout.shard_rows)):
            if shard in finished:
                tasks.append(read(held.store, "patches", *cut))
                continue
            spans = plan.image_spans(offset, *cut)
            part = dataset.part(spans[0].index, spans[-1].index + 1)
            tasks.append(write(held, part, spans, cut[0]))
        with self.reporter.stage("patches", len(tasks), "shards") as advance:
            held.seal("patches", self.executor.run(tasks, advance))
        return n_patches
