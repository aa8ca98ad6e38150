"""The images of a source that can be used, and their rows for one fit, without a dataset in storage.

An image whose header is fine and whose pixels are not shows when it is decoded: it is left out, and what was
being gathered is gathered anew without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.clustering.histogram import counted_parts
from dkmeans.clustering.rows import Rows, given_rows
from dkmeans.clustering.seeding import sample_positions
from dkmeans.compute.executor import Executor
from dkmeans.compute.tree import reduced
from dkmeans.config import QuantizeConfig
from dkmeans.errors import ClusterError, InputError, SkippedError
from dkmeans.events.reporter import Reporter
from dkmeans.features import tiles
from dkmeans.features.colors import countable
from dkmeans.images.decode import CHANNELS, ImageHeader
from dkmeans.images.index import ImageIndex
from dkmeans.images.sources import SkippedImage, Source
from dkmeans.stages.quantizing.rows import count_rows, merge_counts, read_rows
from dkmeans.stages.shared import shards

__all__ = ["Found", "Gathering"]

_PIXELS_PER_TASK = 4 << 20
_HEADERS_PER_TASK = 256
_NAMED = 20
"""Images that are named one by one when they are skipped."""
_SHARE_FOR_ROWS = 0.5
"""Part of the workers' memory that the rows may take."""


@dataclass(frozen=True)
class Found:
    """Images to take, as a source and as an index, of one type, and the others with reasons."""

    source: Source
    index: ImageIndex
    dtype: str
    skipped: tuple[tuple[str, str], ...] = ()

    def without(self, images: Sequence[SkippedImage]) -> Found:
        """All but some images."""
        gone = {image.key for image in images}
        stay = np.array([name not in gone for name in self.index.names], bool)
        index = ImageIndex(
            tuple(name for name in self.index.names if name not in gone),
            self.index.height[stay],
            self.index.width[stay],
        )
        skipped = (*self.skipped, *((image.key, image.reason) for image in images))
        return replace(self, source=self.source.without(gone), index=index, skipped=skipped)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Pixels of each image."""
        return np.diff(self.index.offset)


class Gathering:
    """What quantize reads; the methods read from top to bottom."""

    def __init__(self, config: QuantizeConfig, cluster: Executor, reporter: Reporter) -> None:
        self.config = config
        self.cluster = cluster
        self.reporter = reporter
        self.channels = CHANNELS[config.color]

    def find(self, source: Source) -> Found:
        """The images of which the header can be read.

        Raises
        ------
        InputError
            If there is none, or they are of mixed depth.
        SkippedError
            If more than ``max_skipped`` cannot be read.
        """
        read, limit = self.cluster.task(shards.read_headers), self.config.max_image_pixels
        starts = range(0, len(source), _HEADERS_PER_TASK)
        tasks = [read(source.part(start, start + _HEADERS_PER_TASK), limit) for start in starts]
        with self.reporter.stage("headers", len(tasks), "batches") as advance:
            parts = self.cluster.run(tasks, advance)
        every = [header for part in parts for header in part]
        headers = [header for header in every if isinstance(header, ImageHeader)]
        notes = [f"{header.key}: {header.note}" for header in headers if header.note]
        for note in [
            *notes[:_NAMED],
            *([f"so are {len(notes) - _NAMED} more images"] * (len(notes) > _NAMED)),
        ]:
            self.reporter.warn(note)
        index = ImageIndex(
            tuple(header.key for header in every),
            np.array([getattr(header, "height", 0) for header in every], np.int32),
            np.array([getattr(header, "width", 0) for header in every], np.int32),
        )
        found = Found(source, index, headers[0].dtype if headers else "")
        found = self.leave_out(found, [header for header in every if isinstance(header, SkippedImage)])
        examples = {header.dtype: header.key for header in reversed(headers)}
        if len(examples) > 1:
            raise InputError(
                f"{source.url} holds 8-bit images ({examples['uint8']}) and 16-bit ones "
                f"({examples['uint16']}); expected one depth. Quantize them from separate folders."
            )
        return found

    def leave_out(self, found: Found, images: Sequence[SkippedImage]) -> Found:
        """`found` without some images, each named aloud.

        Raises
        ------
        SkippedError
            If these are too many.
        InputError
            If none is left.
        """
        for image in images:
            self.reporter.event("skipped", image=image.key, reason=image.reason)
        for image in images[:_NAMED]:
            self.reporter.warn(f"skipped {image.key}: {image.reason}")
        if len(images) > _NAMED:
            self.reporter.warn(f"skipped {len(images) - _NAMED} more images")
        found = found.without(images)
        n_skipped, most = len(found.skipped), self.config.max_skipped
        first = ": ".join(found.skipped[0]) if found.skipped else ""
        if n_skipped > most:
            raise SkippedError(
                f"{n_skipped} images cannot be used, --max-skipped allows {most}; the first: {first}. Mend "
                f"or remove them, or pass --max-skipped {n_skipped}; go on with --resume."
            )
        if not len(found.index):
            raise InputError(f"{found.source.url}: no image can be used; the first: {first}.")
        return found

    def batches(self, found: Found) -> list[tuple[int, int]]:
        """Ranges of images, each for one task; some for each thread."""
        n_pixels = int(found.index.offset[-1])
        return plan.batches(found.sizes, min(_PIXELS_PER_TASK, -(-n_pixels // self.cluster.n_threads())))

    def rows(self, found: Found) -> tuple[Found, Rows]:
        """The rows of all images in the workers' memory, and the images that they are of.

        Of 8-bit gray or RGB pixels the distinct ones and how often they occur, as fit takes them.
        """
        while True:
            one_pass = self._counted if self._countable(found) else self._resident
            with self.reporter.stage("rows", len(self.batches(found)), "batches") as advance:
                skipped, rows = one_pass(found, advance)
            if rows is not None:
                return found, rows
            found = self.leave_out(found, skipped)

    def _countable(self, found: Found) -> bool:
        return self.config.patch is None and countable(np.dtype(found.dtype), self.channels)

    def _counted(self, found: Found, advance: Callable[..., None]) -> tuple[list[SkippedImage], Rows | None]:
        n_pixels = int(found.index.offset[-1])
        positions = sample_positions(n_pixels, self.config.n_clusters, self.config.seed)
        ranges = self.batches(found)
        cuts = [(int(found.index.offset[start]), int(found.index.offset[stop])) for start, stop in ranges]
        count = self.cluster.task(count_rows)
        tasks = [
            count(found.source.part(*images), self.config, local)
            for images, local in zip(ranges, plan.in_cuts(positions, cuts), strict=True)
        ]
        skipped, counted = reduced(self.cluster, merge_counts, tasks)
        advance(len(tasks))
        if skipped:
            return skipped, None
        whole = [delayed(counted[0], traverse=False)]
        dtype = np.dtype(found.dtype)
        return [], counted_parts(whole, n_pixels, self.channels, dtype, self.cluster, positions)

    def _resident(self, found: Found, advance: Callable[..., None]) -> tuple[list[SkippedImage], Rows | None]:
        ranges, sizes = self.batches(found), self.n_rows(found)
        n_features = self.channels * int(np.prod(self.config.patch or 1))
        totals = [int(sizes[start:stop].sum()) for start, stop in ranges]
        self._check_memory(sum(totals), n_features, np.dtype(found.dtype).itemsize, max(totals))
        read = self.cluster.task(read_rows)
        parts = self.cluster.persist([read(found.source.part(*images), self.config) for images in ranges])
        first, second = delayed(_first), delayed(_second)
        skipped = [
            image for part in self.cluster.run([first(part) for part in parts], advance) for image in part
        ]
        if skipped:
            return skipped, None
        rows = [second(part) for part in parts]
        return [], given_rows(rows, totals, n_features, np.dtype(found.dtype), self.cluster)

    def n_rows(self, found: Found) -> NDArray[np.int64]:
        """Pixels or patches of each image."""
        if self.config.patch is None:
            return found.sizes
        height, width = found.index.height.astype(np.int64), found.index.width.astype(np.int64)
        down, across = tiles.n_tiles(height, width, self.config.patch)
        return np.asarray(down * across)

    def _check_memory(self, n_rows: int, n_features: int, itemsize: int, most: int) -> None:
        """Refuse rows that the workers cannot hold: there is no dataset to read them from again."""
        need = plan.fit_memory(n_rows, n_features, itemsize, self.config.n_clusters, most)
        self.cluster.check_memory(
            need["block"] + need["sums"], "a batch of images", "quantize smaller images"
        )
        memory = self.cluster.memory_bytes()
        if memory is not None and need["rows"] > _SHARE_FOR_ROWS * memory:
            raise ClusterError(
                f"the rows take {need['rows'] / plan.MIB:.0f} MiB of the workers' memory, which is "
                f"{memory / plan.MIB:.0f} MiB; expected at most half. Give them more, or use dkmeans ingest, "
                "fit and compress or reconstruct, which keep the rows in storage."
            )


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def _second(pair: tuple[Any, Any]) -> Any:
    return pair[1]
