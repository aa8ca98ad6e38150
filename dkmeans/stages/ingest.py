"""Images to a dataset: an index from their headers, then their pixels, then their patches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dkmeans import plan
from dkmeans.artefacts.claims import Finished, Terms, claim, committed
from dkmeans.artefacts.dataset import Dataset, DatasetManifest, dataset_digest
from dkmeans.artefacts.digests import write_digests
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.index import read_index, read_skipped, write_files, write_index, write_skipped
from dkmeans.artefacts.manifests import ROOT
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import IngestConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.collecting import collect
from dkmeans.images.collections import SourceCollection
from dkmeans.images.decode import SkippedImage
from dkmeans.images.index import ImageIndex
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import Source, estimate_pixels, open_source
from dkmeans.stages.shared import shards
from dkmeans.stages.shared.gathering import state_of
from dkmeans.stages.shared.growing import NOTHING, Kept, find_kept, made_alike
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

    With ``update`` images are appended to a dataset that is complete, which is then what it would be had it
    been made of all of them; see `dkmeans.stages.shared.growing`.

    Parameters
    ----------
    config : IngestConfig
        URLs of what is read and written, and the options.
    executor : ClusterConfig or Executor
        Where the tasks run: a cluster to start or to connect to, `InProcess` or `Distributed`.
    reporter : Reporter
        Told of progress; by default nobody is.

    Returns
    -------
    IngestReport
        Numbers of images, pixels and patches, what was skipped, the digest of the dataset, and seconds.

    Raises
    ------
    InputError
        If the source is missing or empty, or every image is bad.
    SkippedError
        If more than ``max_skipped`` images cannot be read; the work stops there, and no dataset is committed.
    UsageError
        If the output is there already, overlaps the source, or is no dataset that can be appended to.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    source = open_source(config.source)
    store = open_store(config.dataset)
    # A dataset may lie among the images that it is made of: none of its files is taken for an image.
    inputs = [] if store.url.startswith(f"{source.url}/") else [source.url]
    base, kept = None, NOTHING
    if config.overwrite and config.update:
        raise UsageError("found both --overwrite and --update; expected at most one of them.")
    if (config.update or config.resume) and not config.overwrite:
        base = committed(store)
        if base and (config.update or not store.exists(ROOT)):
            kept = find_kept(config, source, store, base, reporter)
    terms: Terms[DatasetManifest] = Terms(
        input_state=state_of(source), updates=config.update, adds=True, base=base
    )
    with claim(store, DatasetManifest, config, source.fingerprint, inputs, terms) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            left = source.part(kept.n_files, len(source)) if kept.n_files else source
            with connect(executor, reporter, "ingest", partial(estimate_pixels, left)) as workers:
                manifest = _Ingest(config, held, kept, workers, reporter).run(source, left)
    names = set(IngestReport.__dataclass_fields__) - {"dataset", "seconds"}
    facts = {name: getattr(manifest, name) for name in names}
    return IngestReport(dataset=store.url, seconds=time.perf_counter() - began, **facts)


class _Ingest:
    """One run of the stage; `run` reads from top to bottom."""

    def __init__(
        self,
        config: IngestConfig,
        held: Claim[DatasetManifest],
        kept: Kept,
        executor: Executor,
        reporter: Reporter,
    ) -> None:
        self.config = config
        self.held = held
        self.kept = kept
        self.executor = executor
        self.reporter = reporter
        again, on = ("--update", "--update") if config.update else ("--overwrite", "--resume")
        # A complete one stays as it is until all headers have been read.
        place = "" if held.before == "complete" else held.store.url_of("skipped")
        self.skipping = Skipping(config.max_skipped, reporter, self.keep_skipped, place, again, on)

    def run(self, source: Source, left: Source) -> DatasetManifest:
        """Index, pixels, patches, commit; `left` are the images of `source` that are read."""
        config, versions = self.config, source.versions
        options = (config.color, config.max_image_pixels, self.executor, self.skipping, self.reporter)
        srgb = config.profile == "srgb"
        images = collect(left, *options, patch=config.patch, srgb=srgb)
        images = made_alike(images, self.kept, config.color, self.held.store.url)
        if self.held.before in ("complete", "changed"):
            self.begin()
        else:
            images = self.without_known(images)
        while True:
            index = self.kept.index.followed_by(images.index)
            self.store_index(index)
            digests, unreadable = self.store_pixels(images, index)
            if not unreadable:
                break
            # A header was fine and the pixels were not: the images behind it move up, so begin again.
            self.skipping.add(unreadable)
            images = images.without(unreadable)
            self.begin()
        write_digests(self.held, "digests", digests)
        write_files(self.held, versions)
        dtype = str(images.dtype)
        facts: dict[str, Any] = {
            "source": source.url,
            "n_images": len(index),
            "n_skipped": len(self.kept.skipped) + len(self.skipping.images),
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

    def begin(self) -> None:
        """Take back what is added to or begun anew: its full shards stay, and nobody reads it meanwhile."""
        if self.held.before == "complete":
            self.held.withdraw()
            self.skipping.place = self.held.store.url_of("skipped")
        for name, shards_kept in (("pixels", self.kept.pixels), ("patches", self.kept.patches)):
            if shards_kept.n:
                self.held.cut_shards(name, shards_kept.n)
            else:
                self.held.discard(name)
        self.held.discard("images")  # the last: what is left of the shards is of this index
        self.held.begun()

    def keep_skipped(self, images: Sequence[SkippedImage]) -> None:
        """Store which images are left out, where there is a place for it."""
        if self.skipping.place:
            write_skipped(self.held, [*self.kept.skipped, *images])

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

    def store_index(self, index: ImageIndex) -> None:
        """Write what is skipped, and which images there are."""
        self.keep_skipped(self.skipping.images)
        if not self.held.has_group("images"):
            self.held.discard("images")
            write_index(self.held, index)

    def store_pixels(
        self, images: SourceCollection, index: ImageIndex
    ) -> tuple[list[str], list[SkippedImage]]:
        """Write the pixels of `images`, the last ones of `index`, a task a shard.

        Returns the digests of the chunks of all pixels, and images that cannot be decoded.
        """
        offset, held = index.offset, self.held
        n_pixels, row_bytes = int(offset[-1]), images.channels * images.dtype.itemsize
        layout = plan.layout_rows(n_pixels, row_bytes, self.config.shard_mib)
        self.check_memory(n_pixels, row_bytes, layout, int(images.sizes.max()) * row_bytes)
        held.create_array(
            "pixels",
            shape=(n_pixels, images.channels),
            dtype=images.dtype,
            chunks=(layout.chunk_rows, images.channels),
            shards=(layout.shard_rows, images.channels),
            resize=True,
        )
        known = self.known_pixels(layout)
        finished = arrays.finished_shards(held.store, "pixels")
        write, read = self.executor.task(shards.write_pixels), self.executor.task(shards.read_pixels)
        tasks, n_before = [], len(index) - len(images.index)
        for shard, cut in enumerate(plan.cuts(n_pixels, layout.shard_rows)[len(known) :], len(known)):
            if shard in finished:
                tasks.append(read(held.store, *cut))
                continue
            spans = plan.image_spans(offset, *cut)
            part = images.part(spans[0].index - n_before, spans[-1].index + 1 - n_before)
            tasks.append(write(held, part, spans, *cut))
        with self.reporter.stage("pixels", len(tasks), "shards") as advance:
            watch = self.skipping.watch()
            found = self.executor.run(tasks, advance, lambda shard: watch(shard.unreadable))
        written: list[shards.Pixels] = [*known, *found]
        unreadable = {image.key: image for shard in written for image in shard.unreadable}
        if not unreadable:
            held.seal("pixels", [shard.table for shard in written])
        return [digest for shard in written for digest in shard.digests], list(unreadable.values())

    def known_pixels(self, layout: plan.RowLayout) -> list[shards.Pixels]:
        """What is known of the shards that stay, all of them or none."""
        kept, digests = self.kept.pixels, self.kept.digests
        if kept.table is None or digests is None:
            return []
        n = layout.shard_rows // layout.chunk_rows
        return [
            shards.Pixels(digests[start : start + n], kept.table[start : start + n])
            for start in range(0, kept.n * n, n)
        ]

    def check_memory(self, n_rows: int, row_bytes: int, layout: plan.RowLayout, largest: int) -> None:
        """Refuse shards that the workers cannot hold, before any is begun; `largest` image in bytes."""
        need = plan.shard_memory(min(layout.shard_rows, n_rows), row_bytes, largest)
        self.executor.check_memory(need, "a shard", "set a smaller --shard-mib")

    def store_patches(self, dataset: Dataset) -> int:
        """Count the patches of each image, then write them all, a task a shard."""
        held, n_features = self.held, dataset.space("patches").n_features
        sizes, row_bytes = np.diff(dataset.offset), n_features * dataset.dtype.itemsize
        known = self.kept.n_patches
        ranges = plan.batches(sizes[len(known) :], plan.PIXELS_PER_TASK)
        parts = [dataset.part(len(known) + start, len(known) + stop) for start, stop in ranges]
        count = self.executor.task(shards.count_patches)
        with self.reporter.stage("counting patches", len(ranges), "batches") as advance:
            counts = self.executor.run([count(part) for part in parts], advance)
        offset = np.cumsum(np.concatenate([np.zeros(1, np.int64), known, *counts]))
        n_patches = int(offset[-1])
        held.discard("patch_offset")
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
            resize=True,
        )
        finished = arrays.finished_shards(held.store, "patches")
        write, read = self.executor.task(shards.write_patches), self.executor.task(shards.read_table)
        table = self.kept.patches.table
        first = 0 if table is None else self.kept.patches.n
        tasks = []
        for shard, cut in enumerate(plan.cuts(n_patches, layout.shard_rows)[first:], first):
            if shard in finished:
                tasks.append(read(held.store, "patches", *cut))
                continue
            spans = plan.image_spans(offset, *cut)
            part = dataset.part(spans[0].index, spans[-1].index + 1)
            tasks.append(write(held, part, spans, cut[0]))
        with self.reporter.stage("patches", len(tasks), "shards") as advance:
            found = self.executor.run(tasks, advance)
        held.seal("patches", found if table is None else [table, *found])
        return n_patches
