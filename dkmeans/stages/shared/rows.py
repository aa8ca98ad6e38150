"""The rows of images for one fit: stored in a dataset, or decoded from a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.coded import row_offset
from dkmeans.artefacts.dataset import Dataset
from dkmeans.clustering.counted import (
    Counted,
    count_part,
    count_stored_rows,
    load_counted_rows,
    merge_counted,
)
from dkmeans.clustering.rows import Rows, load_given_rows, load_stored_rows
from dkmeans.clustering.seeding import draw_positions
from dkmeans.compute.executor import Executor
from dkmeans.compute.tree import reduced
from dkmeans.errors import ClusterError
from dkmeans.events.reporter import Reporter
from dkmeans.features.histogram import countable
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collections import Part, SourceCollection
from dkmeans.images.decode import SkippedImage
from dkmeans.images.skipping import Skipping

__all__ = ["decode_rows", "open_rows"]

_SHARE_FOR_ROWS = 0.5
"""Part of the workers' memory that the rows may take."""
_Skipped = list[SkippedImage]


def open_rows(
    dataset: Dataset, on: str, n_clusters: int, seed: int, executor: Executor, reporter: Reporter
) -> Rows:
    """The rows of a dataset; of pixels, if they are few colors, the distinct ones and how often they occur.

    `n_clusters` and `seed` decide which pixels are kept for `Rows.take` besides their colors.
    """
    with reporter.stage("rows", 1, "set") as advance:
        if on == "pixels" and countable(dataset.dtype, dataset.channels):
            positions = draw_positions(dataset.manifest.n_pixels, n_clusters, seed)
            rows: Rows = count_stored_rows(dataset.store, on, executor, positions)
        else:
            rows = load_stored_rows(dataset.store, on, executor, n_clusters, dataset.space(on))
        if not rows.resident:
            reporter.say("the rows do not fit into the workers' memory: each iteration reads them again")
        advance(1)
    return rows


def decode_rows(
    images: SourceCollection,
    space: FeatureSpace,
    n_clusters: int,
    seed: int,
    executor: Executor,
    skipping: Skipping,
    reporter: Reporter,
) -> tuple[SourceCollection, Rows]:
    """The rows of images of a source in the workers' memory, as `open_rows` gives those of a dataset.

    Returns
    -------
    images : SourceCollection
        Without those that cannot be decoded.
    rows : Rows
    """
    counts = space.patch is None and countable(images.dtype, images.channels)
    while True:
        ranges = images.batches(executor)
        with reporter.stage("rows", len(ranges), "batches") as advance:
            if counts:
                skipped, rows = _counted(images, space, ranges, n_clusters, seed, executor, advance, skipping)
            else:
                skipped, rows = _resident(images, space, ranges, n_clusters, executor, advance, skipping)
        if rows is not None:
            return images, rows
        skipping.add(skipped)  # and begin anew without them: which rows are sampled depends on all of them
        images = images.without(skipped)


def _read(part: Part, space: FeatureSpace) -> tuple[_Skipped, NDArray[Any] | None]:
    """The rows of some images, or those of them that cannot be decoded."""
    every = list(part.read())
    skipped = [image for image in every if isinstance(image, SkippedImage)]
    if skipped:
        return skipped, None
    return [], np.concatenate(
        [space.to_rows(image.pixels) for image in every if not isinstance(image, SkippedImage)]
    )


def _count(
    part: Part, space: FeatureSpace, positions: NDArray[np.int64], device: str
) -> tuple[_Skipped, Counted | None]:
    skipped, rows = _read(part, space)
    return skipped, None if rows is None else count_part(rows, positions, device)


def _merge(parts: list[tuple[_Skipped, Counted | None]]) -> tuple[_Skipped, Counted | None]:
    """The counts of several batches together, or the images of them that cannot be decoded."""
    skipped = [image for found, _ in parts for image in found]
    return skipped, None if skipped else merge_counted([counted for _, counted in parts if counted])


def _counted(
    images: SourceCollection,
    space: FeatureSpace,
    ranges: list[tuple[int, int]],
    n_clusters: int,
    seed: int,
    executor: Executor,
    advance: Callable[..., None],
    skipping: Skipping,
) -> tuple[_Skipped, Rows | None]:
    offset, stored = images.index.offset, FeatureSpace(images.dtype, images.channels, space="stored")
    positions = draw_positions(int(offset[-1]), n_clusters, seed)
    local = plan.in_cuts(positions, [(int(offset[start]), int(offset[stop])) for start, stop in ranges])
    count = executor.task(_count)
    tasks = [
        count(images.part(*own), stored, kept, executor.device)
        for own, kept in zip(ranges, local, strict=True)
    ]
    watch = skipping.watch()
    skipped, counted = reduced(executor, _merge, tasks, lambda found: watch(found[0]))
    advance(len(tasks))
    if counted is None:
        return skipped, None
    whole = [delayed(counted, traverse=False)]
    shape = int(offset[-1]), images.channels
    return [], load_counted_rows(whole, *shape, images.dtype, executor, positions, space)


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def _second(pair: tuple[Any, Any]) -> Any:
    return pair[1]


def _resident(
    images: SourceCollection,
    space: FeatureSpace,
    ranges: list[tuple[int, int]],
    n_clusters: int,
    executor: Executor,
    advance: Callable[..., None],
    skipping: Skipping,
) -> tuple[_Skipped, Rows | None]:
    offset = row_offset(images.index, space.patch)
    totals = [int(offset[stop] - offset[start]) for start, stop in ranges]
    _check_memory(totals, space, n_clusters, executor)
    read, first, second = executor.task(_read), delayed(_first), delayed(_second)
    parts = executor.persist([read(images.part(*own), space) for own in ranges])
    found = executor.run([first(part) for part in parts], advance, skipping.watch())
    skipped = [image for part in found for image in part]
    if skipped:
        return skipped, None
    rows = [second(part) for part in parts]
    return [], load_given_rows(rows, totals, space.n_features, space.row_dtype, executor)


def _check_memory(totals: list[int], space: FeatureSpace, n_clusters: int, executor: Executor) -> None:
    """Refuse rows that the workers cannot hold: there is no dataset to read them from again."""
    need = plan.fit_memory(sum(totals), space.n_features, space.row_dtype.itemsize, n_clusters, max(totals))
    executor.check_memory(need["block"] + need["sums"], "a batch of images", "quantize smaller images")
    memory = executor.memory_bytes()
    if memory is not None and need["rows"] > _SHARE_FOR_ROWS * memory:
        raise ClusterError(
            f"the rows take {need['rows'] / plan.MIB:.0f} MiB of the workers' memory, which is "
            f"{memory / plan.MIB:.0f} MiB; expected at most half. Give them more, or use dkmeans ingest, "
            "fit and compress or reconstruct, which keep the rows in storage."
        )
