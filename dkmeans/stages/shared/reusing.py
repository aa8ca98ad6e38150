"""What of coded images stays when their dataset has grown: full shards of codes, and measures of images.

Codes are a function of the centers and of the pixels. So a result notes what its codes were made of: its
array ``sources`` has a SHA-256 for each chunk of pixels. Images that lie in chunks which are still the same
have their codes; of these, shards that are full stay. Whatever else has changed is made anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.claims import Terms, committed
from dkmeans.artefacts.codebook import Codebook
from dkmeans.artefacts.coded import CodedManifest
from dkmeans.artefacts.dataset import Dataset
from dkmeans.artefacts.decoders import mask_offset
from dkmeans.artefacts.digests import read_digests
from dkmeans.artefacts.files import is_whole
from dkmeans.artefacts.folder import open_folder
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.manifests import ROOT, article, kind_of, validated
from dkmeans.config.stages import CompressConfig, ReconstructConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.plan import RowLayout
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = [
    "NOTHING",
    "Reused",
    "begin_again",
    "find_reused",
    "find_sources",
    "image_versions",
    "terms_of",
]


@dataclass(frozen=True)
class Reused:
    """What stays of coded images.

    Attributes
    ----------
    n_shards : int
        Full shards of codes.
    digests : list of str
        SHA-256 of each of these shards; empty where they have to be read for that.
    table : ndarray of shape (n_chunks,), uint32
        Checksums of the chunks of the shards whose digests are known.
    measures : ndarray of shape (n_images, n_measures), float64
        Of the first images, as far as they are known.
    mask : ndarray of uint8
        Which patches of the first `n_masked` images have codes, as stored.
    n_masked : int
    """

    n_shards: int = 0
    digests: list[str] = field(default_factory=list)
    table: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    measures: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    mask: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    n_masked: int = 0


NOTHING = Reused()


def terms_of(
    config: CompressConfig | ReconstructConfig, store: Store, folder: Store | None, decoder: str
) -> Terms[CodedManifest]:
    """How what is in `store`, and in the folder of its images, is dealt with.

    Raises
    ------
    UsageError
        If an update is asked for that is also to be made anew, or of what the stage has not made.
    """
    if config.overwrite and config.update:
        raise UsageError("found both --overwrite and --update; expected at most one of them.")
    base = None
    if (config.update or config.resume) and not config.overwrite:
        base = committed(store)
        if base and config.update:
            _check_updatable(store, base, decoder)
        elif store.exists(ROOT):
            base = None
    whole = lambda _: _is_whole(store, folder)  # noqa: E731
    return Terms(updates=config.update, adds=True, base=base, is_whole=whole)


def _is_whole(store: Store, folder: Store | None) -> bool:
    """Whether all codes, and all files that were asked for, are there."""
    try:
        arrays.check_whole(store, "codes")
        return folder is None or is_whole(folder, open_folder(folder.url).manifest)
    except InputError:
        return False


def _check_updatable(store: Store, base: dict[str, Any], decoder: str) -> None:
    """Refuse to update what is there, if the stage that is to update it would not have made it.

    Raises
    ------
    UsageError
        Naming what is there.
    """
    found = article(kind_of(base))
    if kind_of(base) == CodedManifest.kind_name():
        manifest = validated(store, base, CodedManifest)
        if manifest.dataset is not None and manifest.decoder == decoder:
            return
        found = "coded images of another command"
    raise UsageError(
        f"--update: {store.url} holds {found}; expected a result of this one. Choose another output."
    )


def find_sources(dataset: Dataset, codebook: Codebook) -> list[str] | None:
    """Digest what codes, and measures, are a function of, for each chunk of pixels.

    That is the chunk itself, the sizes of the images that begin in it, how patches are cut, and the centers.

    Returns
    -------
    list of str, or None
        SHA-256; None for a dataset of an older version, which has no digests of its chunks.
    """
    manifest, index = dataset.manifest, dataset.index
    chunks = read_digests(dataset.store, "digests")
    if chunks is None:
        return None
    cutting = (
        (manifest.patch, manifest.stride, manifest.blank_threshold) if codebook.on == "patches" else None
    )
    chunk_rows = dataset.pixels.chunks[0]
    common = [codebook.manifest.centers_sha256, cutting, manifest.dtype, chunk_rows]
    first = np.searchsorted(index.offset[:-1], np.arange(len(chunks) + 1) * chunk_rows).tolist()
    sizes = np.stack([index.height, index.width], axis=1).tolist()
    return [
        _sha256([*common, chunk, sizes[low:high]])
        for chunk, low, high in zip(chunks, first[:-1], first[1:], strict=True)
    ]


def _sha256(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def image_versions(dataset: Dataset, sources: list[str]) -> dict[str, str]:
    """Digest what the file of each image is a function of, by name: its chunks, its place, size and tags."""
    index, chunk_rows = dataset.index, dataset.pixels.chunks[0]
    starts, stops = index.offset[:-1], index.offset[1:]
    first, last = starts // chunk_rows, -(-stops // chunk_rows)
    places = np.stack([starts % chunk_rows, index.height, index.width, first, last], axis=1).tolist()
    tags = [each.to_json() for each in index.tags] or [""] * len(index)
    return {
        name: _sha256([start, height, width, about, sources[low:high]])
        for name, (start, height, width, low, high), about in zip(index.names, places, tags, strict=True)
    }


def find_reused(
    store: Store, dataset: Dataset, sources: list[str] | None, layout: RowLayout, on: str
) -> Reused:
    """Find what stays of the coded images in `store`, whose codes of now are cut by `layout`.

    A run that died may have left a part of it: whatever is there is of the ``sources`` that are there.
    """
    before = read_digests(store, "sources")
    if sources is None or before is None:
        return NOTHING
    pairs = enumerate(zip(before, sources, strict=False))
    n_chunks = next((n for n, (old, now) in pairs if old != now), min(len(before), len(sources)))
    n_rows = min(n_chunks * dataset.pixels.chunks[0], int(dataset.offset[-1]))
    n_images = int(np.searchsorted(dataset.offset, n_rows, side="right")) - 1
    if on == "patches":  # those of whole images
        n_rows = int(dataset.patch_offset[n_images])
    n_shards = _n_full_shards(store, n_rows, layout)
    digests = (read_digests(store, "code_digests") or [])[:n_shards]
    table = arrays.table_of(arrays.open_array(store, "codes")) if digests else None
    if table is None:
        digests = []
    n_known = len(digests) * (layout.shard_rows // layout.chunk_rows)
    measures, n_masked, mask = _stored(store, "images/measures", n_images), n_images, None
    if on == "patches":
        index = dataset.index
        assert dataset.patch is not None
        packed = mask_offset(index.height, index.width, dataset.patch, dataset.stride)
        mask = _stored(store, "mask", int(packed[n_images]))
    return Reused(
        n_shards,
        digests,
        NOTHING.table if table is None else table[:n_known],
        NOTHING.measures if measures is None else measures,
        NOTHING.mask if mask is None else mask,
        0 if mask is None else n_masked,
    )


def _stored(store: Store, name: str, stop: int | None = None) -> NDArray[Any] | None:
    """The first rows of an array, up to `stop` of them; None where it is gone, shorter or damaged."""
    try:
        rows = arrays.read_rows(store, name)
    except InputError:
        return None
    return rows[:stop]


def _n_full_shards(store: Store, n_rows: int, layout: RowLayout) -> int:
    """How many shards of codes lie within the first `n_rows`, up to the first that is not there."""
    try:
        codes = arrays.open_array(store, "codes")
    except InputError:
        return 0
    if arrays.row_layout(codes) != layout:
        return 0
    finished = arrays.finished_shards(store, "codes")
    n_shards = n_rows // layout.shard_rows
    return next((shard for shard in range(n_shards) if shard not in finished), n_shards)


def begin_again(claim: Claim[CodedManifest], reused: Reused) -> None:
    """Take back what is updated: nobody reads it meanwhile, and only what is `reused` stays.

    ``sources`` go last: as long as they are there they tell what the shards were made of.
    """
    if claim.before == "complete":
        claim.withdraw()
    if reused.n_shards:
        claim.cut_shards("codes", reused.n_shards)
    else:
        claim.discard("codes")
    for name in ("images", "code_digests", "palette", "centers", "code_offset", "mask", "sources"):
        claim.discard(name)
    claim.begun()
