"""Read everything at a URL again, and tell what is not as it was written."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.codebook import CodebookManifest, centers_sha256
from dkmeans.artefacts.coded import CodedManifest
from dkmeans.artefacts.dataset import DatasetManifest, dataset_digest
from dkmeans.artefacts.folder import FolderManifest, ImageFolder
from dkmeans.artefacts.index import read_index
from dkmeans.artefacts.kinds import model_of, place_of
from dkmeans.artefacts.manifests import (
    Manifest,
    array_names,
    damaged_nodes,
    digest,
    read_root,
    validated,
)
from dkmeans.artefacts.sweep import SweepManifest, codebook_store
from dkmeans.errors import InputError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["VerifyReport", "verify"]

_NAMED = 20
"""Damaged parts that are named one by one."""


@dataclass(frozen=True)
class VerifyReport:
    """The report of verify: all that was read is as it was written.

    Attributes
    ----------
    kind : str
        ``dataset``, ``codebook``, ``sweep``, ``coded`` or ``folder``.
    n_parts : int
        Shards of arrays, or files.
    bytes_read : int
        In memory; of files as they lie there.
    """

    url: str
    kind: str
    n_parts: int
    bytes_read: int
    seconds: float


def verify(url: str, reporter: Reporter = SILENT) -> VerifyReport:
    """Read an artefact, or a folder that quantize wrote, and compare all its checksums and digests.

    Parameters
    ----------
    url : str
    reporter : Reporter

    Raises
    ------
    InputError
        If nothing is there, or something is damaged: each part that is, is named.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    store = open_store(url)
    reading = _Reading(reporter)
    manifest = reading.artefact(place_of(store))
    if isinstance(manifest, FolderManifest):
        reading.files(ImageFolder(store, manifest))
    if manifest is None or reading.problems:
        raise InputError(reading.told(store.url))
    seconds = time.perf_counter() - began
    return VerifyReport(store.url, manifest.kind, reading.n_parts, reading.bytes_read, seconds)


@dataclass
class _Reading:
    """One run over all that lies at a URL; problems are gathered, so that all are told."""

    reporter: Reporter
    problems: list[str] = field(default_factory=list)
    n_parts: int = 0
    bytes_read: int = 0

    def artefact(self, store: Store) -> Manifest | None:
        """Read metadata, arrays and digest, of a sweep its codebooks too; None without a manifest."""
        try:
            found = read_root(store)
            manifest = validated(store, found, model_of(store, found))
        except InputError as error:
            self.problems.append(str(error))
            return None
        before = len(self.problems)
        self.problems += [str(error) for error in damaged_nodes(store, found)]
        digests = {} if len(self.problems) > before else self.arrays(store, array_names(manifest.nodes))
        if len(self.problems) == before and _same_digest(store, manifest, digests) is False:
            self.problems.append(f"{store.url}: the digest of what lies there is not that of the manifest.")
        if isinstance(manifest, SweepManifest):
            for n_clusters in manifest.n_clusters:
                self.artefact(codebook_store(store, n_clusters))
        return manifest

    def arrays(self, store: Store, names: list[str]) -> dict[str, list[str]]:
        """Read all shards; SHA-256 of the parts that digests are made of, for each array."""
        found = {name: arrays.array_at(store, name) for name in names}
        opened = {name: array for name, array in found.items() if array is not None}
        self.problems += [
            f"{store.url}: the array {name} has no checksums."
            for name, array in opened.items()
            if arrays.table_of(array) is None
        ]
        cuts = [
            (array, name, cut)
            for name, array in opened.items()
            for cut in plan.cuts(array.shape[0], arrays.row_layout(array).shard_rows)
        ]
        digests: dict[str, list[str]] = {name: [] for name in opened}
        with (
            self.reporter.stage(f"reading {store.url}", len(cuts), "shards") as advance,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            tasks = [pool.submit(_read, array, *cut) for array, _, cut in cuts]
            for (_, name, _), task in zip(cuts, tasks, strict=True):
                try:
                    n_bytes, shas = task.result()
                except InputError as error:
                    self.problems.append(str(error))
                else:
                    self.n_parts += 1
                    self.bytes_read += n_bytes
                    digests[name] += shas
                advance(1)
        return digests

    def files(self, folder: ImageFolder) -> None:
        """Read the files of a folder of images, and compare them with their records."""
        for images, damaged in folder.damaged():
            self.problems += damaged
            self.n_parts += len(images)
            self.bytes_read += sum(image["stored_bytes"] for image in images)

    def told(self, url: str) -> str:
        """All problems, the first ones in words."""
        more = len(self.problems) - _NAMED
        lines = [f"{url}: found {len(self.problems)} damaged parts, expected none."]
        if len(self.problems) == 1:
            lines = []
        lines += self.problems[:_NAMED] + ([f"and {more} more."] if more > 0 else [])
        return "\n".join(lines)


def _read(array: Any, start: int, stop: int) -> tuple[int, list[str]]:
    """Bytes in memory of one shard, and SHA-256 of each of its chunks and then of the whole."""
    rows = arrays.read_part(array, start, stop)
    if rows.dtype.kind == "T":
        return sum(len(str(text)) for text in rows), []
    size = array.chunks[0]
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    return rows.nbytes, [hashlib.sha256(part.tobytes()).hexdigest() for part in [*parts, rows]]


def _same_digest(store: Store, manifest: Manifest, digests: dict[str, list[str]]) -> bool | None:
    """Whether the digest of an artefact is that of its manifest; None where it has none."""
    if isinstance(manifest, DatasetManifest):
        chunks, _ = _split(store, "pixels", digests)
        cut = (manifest.patch, manifest.stride, manifest.dtype)
        return manifest.digest == dataset_digest(*cut, read_index(store), chunks)
    if isinstance(manifest, CodedManifest) and manifest.digest is not None:
        _, shards = _split(store, "pixels" if manifest.decoder == "pixels" else "codes", digests)
        return manifest.digest == digest(shards) and _same_centers(store, manifest, digests) is not False
    if isinstance(manifest, (CodebookManifest, CodedManifest)):
        return _same_centers(store, manifest, digests)
    return None


def _same_centers(
    store: Store, manifest: CodebookManifest | CodedManifest, digests: dict[str, list[str]]
) -> bool | None:
    if "centers" not in digests:  # coded pixels have the palette alone
        return None
    centers: NDArray[np.float32] = arrays.read_rows(store, "centers")
    return manifest.centers_sha256 == centers_sha256(centers)


def _split(store: Store, name: str, digests: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """Digests of the chunks and of the shards of an array, out of those of `_read`."""
    array = arrays.open_array(store, name)
    layout, left = arrays.row_layout(array), iter(digests[name])
    chunks, shards = [], []
    for start, stop in plan.cuts(array.shape[0], layout.shard_rows):
        chunks += [next(left) for _ in plan.cuts(stop - start, layout.chunk_rows)]
        shards.append(next(left))
    return chunks, shards
