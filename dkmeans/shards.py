"""What the tasks of ingest do: read headers, and write one shard of pixels or of patches each."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import arrays, plan
from dkmeans.claims import Claim
from dkmeans.config import IngestConfig
from dkmeans.dataset import Dataset
from dkmeans.features import patches
from dkmeans.images.decode import ImageHeader
from dkmeans.images.sources import SkippedImage, Source

__all__ = ["count_patches", "read_headers", "read_pixels", "write_patches", "write_pixels"]


def read_headers(part: Source, max_pixels: int) -> list[ImageHeader | SkippedImage]:
    """The header of each image of `part`, or why it has none."""
    return part.headers(max_pixels=max_pixels)


def _chunk_digests(rows: NDArray[Any], chunk_rows: int) -> list[str]:
    starts = range(0, len(rows), chunk_rows)
    return [hashlib.sha256(rows[start : start + chunk_rows].tobytes()).hexdigest() for start in starts]


def read_pixels(url: str, start: int, stop: int) -> tuple[list[str], list[SkippedImage]]:
    """The digests of a shard that an earlier run has written."""
    array = arrays.open_array(url, "pixels")
    return _chunk_digests(np.asarray(array[start:stop]), array.chunks[0]), []


def write_pixels(
    claim: Claim, part: Source, spans: list[plan.ImageSpan], start: int, stop: int, config: IngestConfig
) -> tuple[list[str], list[SkippedImage]]:
    """Decode the images of one shard of pixels and write it, unless one of them cannot be decoded."""
    array = arrays.open_array(claim.url, "pixels")
    rows = np.empty((stop - start, array.shape[1]), array.dtype)
    unreadable = []
    images = part.read(config.color, max_pixels=config.max_image_pixels)
    for span, image in zip(spans, images, strict=True):
        if isinstance(image, SkippedImage):
            unreadable.append(image)
            continue
        pixels = image.reshape(-1, image.shape[2])
        rows[span.at : span.at + span.stop - span.start] = pixels[span.start : span.stop]
    if unreadable:
        return [], unreadable
    claim.write_rows("pixels", start, rows)
    return _chunk_digests(rows, array.chunks[0]), []


def count_patches(dataset: Dataset, start: int, stop: int) -> NDArray[np.int64]:
    """Number of kept patches of the images `start` to `stop`."""
    assert dataset.patch is not None
    counts = [
        patches.kept(stack, dataset.patch, dataset.stride, dataset.blank_threshold).sum(axis=(1, 2))
        for stack in dataset.stacks(start, stop)
    ]
    return np.concatenate(counts).astype(np.int64)


def write_patches(claim: Claim, dataset: Dataset, spans: list[plan.ImageSpan], start: int) -> None:
    """Cut the patches of one shard from the images that hold them, and write it."""
    assert dataset.patch is not None
    first, last = spans[0], spans[-1]
    stop = first.start + last.at + last.stop - last.start
    pieces = []
    seen = 0  # patches before this stack, counted from the first patch of the first image
    for stack in dataset.stacks(first.index, last.index + 1):
        mask = patches.kept(stack, dataset.patch, dataset.stride, dataset.blank_threshold)
        # Of an image that straddles a border only the patches of this shard are cut out.
        rank = seen + np.cumsum(mask).reshape(mask.shape)
        seen = int(rank.flat[-1])
        mask &= (rank > first.start) & (rank <= stop)
        pieces.append(patches.extract(stack, mask, dataset.patch, dataset.stride))
    claim.write_rows("patches", start, np.concatenate(pieces))
