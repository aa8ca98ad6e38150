"""The tasks of ingest: write one shard of pixels or of patches each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.dataset import DatasetManifest, DatasetPart
from dkmeans.artefacts.held import Claim
from dkmeans.features import patches
from dkmeans.images.collections import Part
from dkmeans.images.decode import SkippedImage
from dkmeans.storage import arrays, checksums
from dkmeans.storage.store import Store

__all__ = ["Pixels", "count_patches", "read_pixels", "read_table", "write_patches", "write_pixels"]


@dataclass(frozen=True)
class Pixels:
    """Digests of a shard of pixels.

    Attributes
    ----------
    digests : list of str
        SHA-256 of each chunk.
    table : ndarray of shape (n_chunks,), uint32
        Their checksums, see `dkmeans.storage.checksums`.
    unreadable : list of SkippedImage
        Images that could not be decoded; then nothing was written.
    """

    digests: list[str]
    table: NDArray[np.uint32]
    unreadable: list[SkippedImage] = field(default_factory=list)


def _pixels(rows: NDArray[Any], chunk_rows: int) -> Pixels:
    starts = range(0, len(rows), chunk_rows)
    digests = [hashlib.sha256(rows[start : start + chunk_rows].tobytes()).hexdigest() for start in starts]
    return Pixels(digests, checksums.of_chunks(rows, chunk_rows))


def read_pixels(store: Store, start: int, stop: int) -> Pixels:
    """Read a shard that an earlier run has written."""
    array = arrays.open_array(store, "pixels")
    return _pixels(arrays.read_part(array, start, stop), array.chunks[0])


def read_table(store: Store, name: str, start: int, stop: int) -> NDArray[np.uint32]:
    """The checksums of a shard of the array `name` that an earlier run has written."""
    array = arrays.open_array(store, name)
    return checksums.of_chunks(arrays.read_part(array, start, stop), array.chunks[0])


def write_pixels(
    claim: Claim[DatasetManifest],
    part: Part,
    spans: list[plan.ImageSpan],
    start: int,
    stop: int,
) -> Pixels:
    """Decode the images of one shard of pixels and write it, unless one of them cannot be decoded."""
    array = arrays.open_array(claim.store, "pixels")
    rows = np.empty((stop - start, array.shape[1]), array.dtype)
    unreadable = []
    for span, image in zip(spans, part.read(), strict=True):
        if isinstance(image, SkippedImage):
            unreadable.append(image)
            continue
        pixels = image.pixels.reshape(-1, array.shape[1])
        rows[span.at : span.at + span.stop - span.start] = pixels[span.start : span.stop]
    if unreadable:
        return Pixels([], np.empty(0, np.uint32), unreadable)
    claim.write_rows("pixels", start, rows, array)
    return _pixels(rows, array.chunks[0])


def count_patches(part: DatasetPart) -> NDArray[np.int64]:
    """Number of kept patches of some images."""
    counts = [_kept(part, stack).sum(axis=(1, 2)) for stack in part.stacks()]
    return np.concatenate(counts).astype(np.int64)


def _kept(part: DatasetPart, stack: NDArray[Any]) -> NDArray[np.bool_]:
    dataset = part.dataset
    assert dataset.patch is not None
    return patches.find_kept(stack, dataset.patch, dataset.stride, dataset.manifest.blank_threshold)


def write_patches(
    claim: Claim[DatasetManifest], part: DatasetPart, spans: list[plan.ImageSpan], start: int
) -> NDArray[np.uint32]:
    """Cut the patches of one shard from the images that hold them, and write it; checksums of its chunks."""
    dataset = part.dataset
    assert dataset.patch is not None
    first, last = spans[0], spans[-1]
    stop = first.start + last.at + last.stop - last.start
    pieces = []
    seen = 0  # patches before this stack, counted from the first patch of the first image
    for stack in part.stacks():
        mask = _kept(part, stack)
        # Of an image that straddles a border only the patches of this shard are cut out.
        rank = seen + np.cumsum(mask).reshape(mask.shape)
        seen = int(rank.flat[-1])
        mask &= (rank > first.start) & (rank <= stop)
        pieces.append(patches.extract(stack, mask, dataset.patch, dataset.stride))
    rows = np.concatenate(pieces)
    array = dataset.patches
    claim.write_rows("patches", start, rows, array)
    return checksums.of_chunks(rows, array.chunks[0])
