"""A folder of image files that one run has written: its manifest, its records, its images.

Beside the files lies one hidden folder, ``.dkmeans``, with the claims, the manifest, and a record of each
image: the version of its source, the options that it was made by, its file with its checksum, and what was
measured. Many records are one object. A run that goes on takes what is recorded of images that are as they
were, and writes the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.coded import MEASURED
from dkmeans.artefacts.manifests import Artefact, Manifest, read_manifest
from dkmeans.errors import DkmeansError, InputError
from dkmeans.images.decode import COLORS, decode
from dkmeans.images.index import ImageIndex
from dkmeans.storage import checksums
from dkmeans.storage.store import Store, StoredObject, open_store

__all__ = [
    "HIDDEN",
    "JOURNAL",
    "OWNED",
    "RECORDS",
    "FolderManifest",
    "ImageFolder",
    "damaged_files",
    "given",
    "open_folder",
    "parse_record",
    "read_file",
]

HIDDEN = ".dkmeans"
"""Folder of the claims, the manifest and the records, beside the files."""
RECORDS = "records"
"""Folder of the records of a complete folder, in the order of the images."""
JOURNAL = "journal"
"""Folder of the records that tasks write while a run is under way."""
OWNED = "owned"
"""Folder with the keys of all files that dkmeans has written, or may have: nothing else is deleted."""
_MOST_PIXELS = 1 << 40  # of a file of our own


class FolderManifest(Manifest):
    """The manifest of a folder of image files.

    Attributes
    ----------
    source : str
        URL of the images, or coded images, that they were made from.
    input_state : str or None
        Digest of the versions of the images in `source`; None where these do not change.
    n_copied, n_left_out, n_gone : int
        Images whose files are those of the source; that have none, as it would be larger; and that have one
        though the source has lost them.
    channels : int or None
        Values per pixel of the first image; None where they are not known.
    n_clusters : int or None
        Colors asked for.
    mean_psnr, mean_ssim, mse, n_exact : None where nothing was measured
    records : dict of str to int
        CRC-32C of each record, by its key.
    inertia, n_iter, converged, centers_sha256 : None where nothing was learned
    """

    kind: Literal["folder"] = "folder"
    names: ClassVar[tuple[str, ...]] = (RECORDS, JOURNAL, OWNED, "skipped")

    source: str
    input_state: str | None = None
    n_copied: int = 0
    n_left_out: int = 0
    n_gone: int = 0
    n_images: int
    n_skipped: int = 0
    n_pixels: int
    image_bytes: int
    channels: int | None = None
    n_clusters: int | None = None
    mean_psnr: float | None = None
    mean_ssim: float | None = None
    mse: float | None = None
    n_exact: int | None = None
    inertia: float | None = None
    n_iter: int | None = None
    converged: bool | None = None
    centers_sha256: str | None = None
    records: dict[str, int]


def parse_record(data: bytes) -> tuple[list[dict[str, Any]], list[Any]]:
    """Read an object of records: facts of each image, and the CRC-32C of its file, None without one.

    Of each image there is `name`, `key` (None without a file), `stored_bytes`, `source` (the version of its
    source), `options` (a digest of those that decide the bytes), `copied`, `gone` (whether its source is) and
    more.

    Raises
    ------
    ValueError
        If the record is damaged.
    """
    record = json.loads(data)
    if not isinstance(record, dict) or record.pop("crc32c", None) != checksums.of_json(record):
        raise ValueError("it has another checksum than was written")
    return record["images"], record["files"]


def given(data: bytes | DkmeansError) -> bytes:
    """Raise what came in place of data."""
    if isinstance(data, DkmeansError):
        raise data
    return data


def damaged_files(folder: Store, images: Sequence[dict[str, Any]], files: Sequence[int]) -> list[str]:
    """Keys of the files of a batch that are gone, or are not as they were written.

    Raises
    ------
    StorageError
        If storage refuses or fails.
    """
    objects = [StoredObject(image["key"], image["stored_bytes"]) for image in images]
    damaged = []
    for found, data, expected in zip(objects, folder.get_many(objects), files, strict=True):
        try:
            if checksums.of_bytes(given(data)) != expected:
                damaged.append(found.key)
        except InputError:
            damaged.append(found.key)
    return damaged


def read_file(folder: Store, key: str, expected: int) -> bytes:
    """Read an image file whose CRC-32C is known.

    Raises
    ------
    InputError
        If it is gone, or is not as it was written.
    """
    data = folder.get(key)
    if checksums.of_bytes(data) != expected:
        raise InputError(_damaged(folder, key))
    return data


def _damaged(folder: Store, key: str) -> str:
    return (
        f"{folder.url}: {key} is gone or damaged. Run the command that wrote the folder again with --resume."
    )


@dataclass(frozen=True)
class ImageFolder(Artefact[FolderManifest]):
    """A folder of image files that is complete. Images without a file, or without a source, do not count."""

    def batches(self) -> Iterator[tuple[list[dict[str, Any]], list[int]] | InputError]:
        """Read the records, one after the other.

        Yields
        ------
        (list of dict, list of int) or InputError
            The images that a record tells of and the CRC-32C of their files, or what is wrong with it.

        Raises
        ------
        StorageError
            If storage refuses or fails.
        """
        hidden = self.store.below(HIDDEN)
        # JSON has them in the order of their keys, where 10 comes before 2.
        records = sorted(self.manifest.records.items(), key=lambda each: int(re.sub(r"\D", "", each[0])))
        found = hidden.get_many([StoredObject(key, 0) for key, _ in records])
        for (key, expected), data in zip(records, found, strict=True):
            try:
                if checksums.of_bytes(given(data)) != expected:
                    raise InputError(f"{key} has another checksum")
                yield _counting(*parse_record(given(data)))
            except (InputError, ValueError):
                yield InputError(_damaged(self.store, f"{HIDDEN}/{key}"))

    @cached_property
    def _recorded(self) -> tuple[list[dict[str, Any]], list[int]]:
        images, files = [], []
        for batch in self.batches():
            if isinstance(batch, InputError):
                raise batch
            images += batch[0]
            files += batch[1]
        return images, files

    @property
    def records(self) -> list[dict[str, Any]]:
        """Facts of each image, in order: `name`, `key`, `height`, `width`, `stored_bytes` and more.

        Raises
        ------
        InputError
            If a record is gone or damaged.
        """
        return self._recorded[0]

    @cached_property
    def index(self) -> ImageIndex:
        """Names and sizes of the images."""
        sizes = np.array([[image["height"], image["width"]] for image in self.records], np.int32)
        sizes = sizes.reshape(-1, 2)
        return ImageIndex(tuple(image["name"] for image in self.records), sizes[:, 0], sizes[:, 1])

    @property
    def keys(self) -> list[str]:
        """Keys of the files."""
        return [image["key"] for image in self.records]

    @property
    def checks(self) -> list[int]:
        """CRC-32C of each file."""
        return self._recorded[1]

    @cached_property
    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Columns of `MEASURED`, as coded images have them; NaN where there is no number."""
        found = {
            name: np.array([image[name] for image in self.records], np.float64)  # None becomes NaN
            for name in MEASURED
        }
        found["psnr"][found["mse"] == 0] = np.inf
        return found

    def image(self, position: int) -> NDArray[Any]:
        """Read one image.

        Parameters
        ----------
        position : int
            Of the image, from 0 on.

        Returns
        -------
        ndarray of shape (height, width, channels)
            Of three channels where these are not known.

        Raises
        ------
        InputError
            If its file is gone or damaged.
        """
        key = self.keys[position]
        data = read_file(self.store, key, self.checks[position])
        channels = self.records[position].get("channels") or self.manifest.channels or 3
        return decode(data, key, COLORS[channels], max_pixels=_MOST_PIXELS)

    def damaged(self) -> Iterator[tuple[list[dict[str, Any]], list[str]]]:
        """Read all files, and compare them with their records.

        Yields
        ------
        (list of dict, list of str)
            The images of each record, and what is damaged of them, in words.
        """
        for batch in self.batches():
            if isinstance(batch, InputError):
                yield [], [str(batch)]
            else:
                yield batch[0], [_damaged(self.store, key) for key in damaged_files(self.store, *batch)]


def _counting(images: list[dict[str, Any]], files: list[Any]) -> tuple[list[dict[str, Any]], list[int]]:
    """The images that have a file and a source."""
    found = [
        (image, check)
        for image, check in zip(images, files, strict=True)
        if image["key"] is not None and not image.get("gone")
    ]
    return [image for image, _ in found], [check for _, check in found]


def open_folder(url: str) -> ImageFolder:
    """Open a folder of image files that is complete.

    Parameters
    ----------
    url : str
        Where it lies: a path, or a URL of an object store.

    Returns
    -------
    ImageFolder
        Its arrays are read when they are asked for.

    Raises
    ------
    InputError
        If no run of dkmeans has written it, or it is unfinished.
    """
    store = open_store(url)
    return ImageFolder(store, read_manifest(store.below(HIDDEN), FolderManifest))
