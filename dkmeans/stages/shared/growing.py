"""A dataset that grows: what of it stays when images are appended, or why a new dataset is needed.

A dataset holds its images in the order of their keys, as if it had been made of all of them at once. So
images can be appended that come after all that it was made of, if these are as they were. Shards that are
full stay as they are; what lies in the last one is read again, and written with what is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.dataset import Dataset, DatasetManifest
from dkmeans.artefacts.digests import read_digests
from dkmeans.artefacts.index import read_files, read_index, read_skipped
from dkmeans.artefacts.manifests import article, digest, kind_of, validated
from dkmeans.artefacts.refusals import changed_option, recorded_options
from dkmeans.config.stages import IngestConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.images.collections import SourceCollection, widest
from dkmeans.images.decode import CHANNELS, COLORS, Color, SkippedImage
from dkmeans.images.index import ImageIndex
from dkmeans.images.sources import Source
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["NOTHING", "Kept", "find_kept", "made_alike"]

_EMPTY = ImageIndex((), np.empty(0, np.int32), np.empty(0, np.int32))


@dataclass(frozen=True)
class KeptShards:
    """The full shards of an array, which stay.

    Attributes
    ----------
    n : int
        How many.
    table : ndarray of shape (n_chunks,), uint32, or None
        Checksums of their chunks, where these are known without reading them.
    """

    n: int = 0
    table: NDArray[np.uint32] | None = None


@dataclass(frozen=True)
class Kept:
    """What stays of a dataset that images are appended to.

    Attributes
    ----------
    manifest : DatasetManifest or None
        Of the dataset as it was; None where there was none.
    index : ImageIndex
        Its images before the first one that is read again.
    n_files : int
        Images of the source before that one, those that were left out too.
    skipped : list of SkippedImage
        Those that were left out.
    pixels, patches : KeptShards
    digests : list of str or None
        SHA-256 of each chunk of pixels in its full shards; None where they have to be read for that.
    n_patches : ndarray of int64
        Patches of each image of the dataset as it was; empty where they have to be counted.
    """

    manifest: DatasetManifest | None = None
    index: ImageIndex = _EMPTY
    n_files: int = 0
    skipped: list[SkippedImage] = field(default_factory=list)
    pixels: KeptShards = KeptShards()
    patches: KeptShards = KeptShards()
    digests: list[str] | None = None
    n_patches: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


NOTHING = Kept()


def find_kept(
    config: IngestConfig, source: Source, store: Store, base: dict[str, Any], reporter: Reporter
) -> Kept:
    """Find what stays of the dataset in `store`, whose manifest is `base`, with the images of `source`.

    Raises
    ------
    UsageError
        If a new dataset is needed, with the reason.
    """
    if (kind := kind_of(base)) != DatasetManifest.kind_name():
        raise UsageError(
            f"{store.url} holds {article(kind)}, to which no images can be appended. Choose another output."
        )
    manifest = validated(store, base, DatasetManifest)
    if why := _why_not(config, source.versions, store, manifest):
        raise UsageError(_refusal(store.url, why))
    try:
        return _kept(source, Dataset(store, manifest))
    except InputError as error:
        reporter.warn(f"all images are read again, as a part of the dataset cannot be used: {error}")
        return replace(NOTHING, manifest=manifest)


def made_alike(images: SourceCollection, kept: Kept, asked: Color, url: str) -> SourceCollection:
    """Give images the channels and the type of the dataset that they are appended to; `asked` is --color.

    Raises
    ------
    UsageError
        If it does not hold them.
    """
    manifest = kept.manifest
    if manifest is None:
        return images
    own, what = images.own_channels, ""
    needed = [CHANNELS[widest("auto", np.array([manifest.channels, n], np.int8))] for n in own.tolist()]
    wider = [name for name, n in zip(images.index.names, needed, strict=True) if n > manifest.channels]
    if asked == "auto" and wider:
        what = f"{wider[0]} has more than the {manifest.channels} channels of its pixels."
    elif images.dtype.itemsize < np.dtype(manifest.dtype).itemsize:
        what = "its pixels have 16 bits a channel, not all of the new images have."
    if what:
        raise UsageError(_refusal(url, what))
    return replace(images, color=COLORS[manifest.channels], dtype=np.dtype(manifest.dtype))


def _refusal(url: str, why: str) -> str:
    return f"{url}: nothing can be appended: {why} Pass --overwrite to make it again."


# Why not


def _why_not(
    config: IngestConfig, versions: dict[str, str], store: Store, manifest: DatasetManifest
) -> str | None:
    """The reason why the dataset is no beginning of what the source holds now; None if it is."""
    now = recorded_options(config)
    if changed := changed_option({"config": manifest.config}, {"config": now}):
        before = manifest.config.get(changed)
        return f"it was made with {changed} = {before!r}, found {now[changed]!r} now."
    if manifest.input_state is None:
        return "it was made by an older version, which did not note the versions of the images."
    n_before = manifest.n_images + manifest.n_skipped
    beginning = list(versions.items())[:n_before]
    if digest([f"{key} {version}" for key, version in beginning]) == manifest.input_state:
        return None
    try:
        return _what_changed(versions, read_files(store))
    except InputError:
        return "images that it was made of have been changed, are gone, or have got others among them."


def _what_changed(versions: dict[str, str], before: dict[str, str]) -> str:
    gone = [key for key in before if key not in versions]
    if gone:
        return f"{_named(gone)} of the images that it was made of {_are(gone)} gone."
    changed = [key for key, version in before.items() if versions[key] != version]
    if changed:
        return f"{_named(changed)} of the images that it was made of {_are(changed)} another file now."
    # All are there as they were, so others have come between them.
    last = next(reversed(before))
    order = list(versions)
    between = [key for key in order[: order.index(last)] if key not in before]
    return (
        f"{_named(between)} of the new images {'comes' if len(between) == 1 else 'come'} before {last}, the "
        "last that it was made of, and a dataset has its images in the order of their keys."
    )


def _named(keys: Sequence[str]) -> str:
    return f"{len(keys)} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"


def _are(keys: Sequence[str]) -> str:
    return "is" if len(keys) == 1 else "are"


# What stays


def _kept(source: Source, dataset: Dataset) -> Kept:
    manifest, store = dataset.manifest, dataset.store
    index = read_index(store).first(manifest.n_images)
    if int(index.offset[-1]) != manifest.n_pixels:
        raise InputError(f"{store.url}: its index is not the one that it was made with.")
    row_bytes = dataset.channels * dataset.dtype.itemsize
    pixels = _full_shards(store, "pixels", manifest.n_pixels, row_bytes, manifest.shard_mib)
    n_rows = pixels.n * arrays.row_layout(dataset.pixels).shard_rows
    # The last image at least is looked at again, so that there is one.
    first = min(int(np.searchsorted(index.offset, n_rows, side="right")) - 1, len(index) - 1)
    keys = list(source.versions)
    n_files = keys.index(index.names[first])
    reasons = {image.key: image for image in read_skipped(store)}
    stored = set(index.names[:first])
    skipped = [reasons.get(key, SkippedImage(key, "")) for key in keys[:n_files] if key not in stored]
    patches, counts = KeptShards(), NOTHING.n_patches
    if manifest.patch is not None:
        row_bytes = dataset.space("patches").n_features * dataset.dtype.itemsize
        patches = _full_shards(store, "patches", manifest.n_patches, row_bytes, manifest.shard_mib)
        counts = np.diff(arrays.read_rows(store, "patch_offset", 0, manifest.n_images + 1))
    digests = read_digests(store, "digests")
    if digests is not None:
        digests = digests[: n_rows // dataset.pixels.chunks[0]]
    return Kept(manifest, index.first(first), n_files, skipped, pixels, patches, digests, counts)


def _full_shards(store: Store, name: str, n_rows: int, row_bytes: int, shard_mib: float) -> KeptShards:
    """The shards of an array of `n_rows` rows that are full, up to the first that is not there."""
    array = arrays.open_array(store, name)
    layout = arrays.row_layout(array)
    if layout != plan.layout_rows(1 << 62, row_bytes, shard_mib):
        return KeptShards()  # a small array, in a shard of its own size
    finished = arrays.finished_shards(store, name)
    n_full = n_rows // layout.shard_rows
    n_full = next((n for n in range(n_full) if n not in finished), n_full)
    table = arrays.table_of(array)
    n_chunks = n_full * (layout.shard_rows // layout.chunk_rows)
    return KeptShards(n_full, None if table is None else table[:n_chunks])
