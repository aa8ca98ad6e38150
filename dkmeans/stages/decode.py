"""Coded images, or a folder that quantize has written, to image files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dkmeans.artefacts.claims import Finished
from dkmeans.artefacts.coded import CodedImages
from dkmeans.artefacts.files import Wanted, begin_files, claim_folder
from dkmeans.artefacts.folder import FolderManifest, ImageFolder
from dkmeans.artefacts.former import read_former
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.kinds import open_images
from dkmeans.artefacts.manifests import digest
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import DecodeConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.effort import check_effort
from dkmeans.stages.shared.files import output_keys
from dkmeans.stages.shared.measured import COLUMNS
from dkmeans.stages.shared.remaking import Copying, Decoding, Remaking
from dkmeans.stages.shared.writing import remake_images
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["DecodeReport", "decode"]


@dataclass(frozen=True)
class DecodeReport:
    """The report of decode.

    Attributes
    ----------
    images : str
        URL of the folder.
    n_images, n_written : int
        Images there are, and those of them that this run has written.
    n_pixels : int
    image_bytes : int
        Of the files of all images.
    seconds : float
    """

    images: str
    n_images: int
    n_written: int
    n_pixels: int
    image_bytes: int
    seconds: float


def decode(
    config: DecodeConfig,
    executor: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> DecodeReport:
    """Write one PNG for each image, indexed where it has a palette of at most 256 8-bit colors.

    Neither the originals nor a dataset or codebook are needed. Codes of patches side by side give exactly
    their centers, rounded.

    Parameters
    ----------
    config : DecodeConfig
        URLs of what is read and written, and the options.
    executor : ClusterConfig or Executor
        Where the tasks run: a cluster to start or to connect to, `InProcess` or `Distributed`.
    reporter : Reporter
        Told of progress; by default nobody is.

    Returns
    -------
    DecodeReport
        Numbers of images and pixels, bytes of the files, and seconds.

    Raises
    ------
    InputError
        If the coded images are missing, unfinished, damaged or something else.
    UsageError
        If files are in the way, or the folder was written from other images.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    check_effort(config.effort)
    coded = open_images(config.archive)
    if isinstance(coded, CodedImages):
        arrays.check_whole(coded.store, "pixels" if coded.manifest.decoder == "pixels" else "codes")
    folder, n_written = open_store(config.images), 0
    if f"{folder.url}/".startswith(f"{coded.url}/") or f"{coded.url}/".startswith(f"{folder.url}/"):
        raise UsageError(f"the output {folder.url} and the input {coded.url} overlap. Choose another output.")
    with claim_folder(folder, config, _identity(coded)) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            manifest, n_written = _write(coded, held, folder, config, executor, reporter)
    return DecodeReport(
        images=folder.url,
        n_images=manifest.n_images,
        n_written=n_written,
        n_pixels=manifest.n_pixels,
        image_bytes=manifest.image_bytes,
        seconds=time.perf_counter() - began,
    )


def _write(
    coded: CodedImages | ImageFolder,
    held: Claim[FolderManifest],
    folder: Store,
    config: DecodeConfig,
    executor: ClusterConfig | Executor,
    reporter: Reporter,
) -> tuple[FolderManifest, int]:
    """Write the files that are not there yet; the manifest of all, and how many these are."""
    index, n_pixels = coded.index, int(coded.index.offset[-1])
    wanted = Wanted(dict.fromkeys(index.names, _identity(coded)), "", _keys(coded))
    files = begin_files(held, read_former(folder), wanted, "images")
    with connect(executor, reporter, "decode", lambda: n_pixels) as workers:
        largest = int(np.diff(index.offset).max()) * 4 * 2
        workers.check_memory(4 * largest, "an image", "decode on larger workers")
        remaking = partial(_remaking, coded)
        done = remake_images(index, remaking, workers, reporter, files=files, effort=config.effort)
    about: dict[str, Any] = {"source": coded.url, "n_images": len(index), "n_pixels": n_pixels}
    about["channels"] = _channels(coded)
    about["image_bytes"] = int(done.table[:, COLUMNS.index("stored_bytes")].sum())
    return files.commit(done.records, **about), len(done.records)


def _keys(coded: CodedImages | ImageFolder) -> dict[str, tuple[str, ...]]:
    """Key of the file of each image; files are copied under their own."""
    if isinstance(coded, ImageFolder):
        return {name: (key,) for name, key in zip(coded.index.names, coded.keys, strict=True)}
    return {name: (key,) for name, key in output_keys(coded.index.names).items()}


def _channels(coded: CodedImages | ImageFolder) -> int | None:
    if isinstance(coded, ImageFolder):
        return coded.manifest.channels
    return coded.manifest.space.channels if coded.manifest.space else None


def _identity(coded: CodedImages | ImageFolder) -> str:
    """SHA-256 of what is decoded: checksums of all arrays, or the run that has written the files."""
    nodes = [f"{name} {checksum}" for name, checksum in sorted(coded.manifest.nodes.items())]
    return digest(nodes if isinstance(coded, CodedImages) else [coded.manifest.run])


def _remaking(coded: CodedImages | ImageFolder, start: int, stop: int) -> Remaking:
    if isinstance(coded, CodedImages):
        return Decoding(coded.part(start, stop))
    part = slice(start, stop)
    channels = tuple(image.get("channels") or 0 for image in coded.records[part])
    return Copying(coded.store, tuple(coded.keys[part]), tuple(coded.checks[part]), channels)
