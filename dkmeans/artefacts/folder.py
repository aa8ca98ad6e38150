"""A folder of image files that one run writes: claimed and committed as every artefact is.

Beside the files lies one hidden folder, ``.dkmeans``, with the claims, the manifest, and a record of each
batch of files: what is known of each image, and the checksum of its file. A run that resumes takes what is
recorded, and writes the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.claims import Claim, Finished, claim
from dkmeans.artefacts.coded import MEASURED
from dkmeans.artefacts.manifests import Manifest, read_manifest
from dkmeans.config.base import StageConfig
from dkmeans.errors import DkmeansError, InputError, UsageError
from dkmeans.images.decode import COLORS, decode
from dkmeans.images.index import ImageIndex
from dkmeans.storage import checksums
from dkmeans.storage.store import Store, StoredObject, open_store

__all__ = [
    "HIDDEN",
    "FileBatch",
    "Files",
    "FolderManifest",
    "ImageFolder",
    "begin_files",
    "claim_folder",
    "files_there",
    "open_folder",
    "read_file",
    "refuse_files",
]

HIDDEN = ".dkmeans"
"""Folder of the claims, the manifest and the records, beside the files."""
RECORDS = "records"
_BEGUN = "begun"
"""Key of the mark that files may have been written: a run that fails behind it keeps its claim."""
_MOST_PIXELS = 1 << 40  # of a file of our own


class FolderManifest(Manifest):
    """What is recorded of a folder of image files.

    Attributes
    ----------
    source : str
        URL of the images, or coded images, that they were made from.
    channels : int or None
        Values per pixel: 1, 3 or 4; None where they are not known.
    n_clusters : int or None
        Colors asked for.
    mean_psnr, mean_ssim, mse, n_exact : None where nothing was measured
    records : dict of str to int
        CRC-32C of each record, by its key.
    inertia, n_iter, converged, centers_sha256 : None where nothing was learned
    """

    kind: Literal["folder"] = "folder"
    names: ClassVar[tuple[str, ...]] = (RECORDS, _BEGUN, "skipped")

    source: str
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


@contextmanager
def claim_folder(
    folder: Store, config: StageConfig, input_digest: str
) -> Iterator[Claim[FolderManifest] | Finished[FolderManifest]]:
    """Claim a folder for image files; see `claim`.

    A complete folder of which a record is damaged, or a file is gone or has another size, is gone on with by
    a run that resumes.
    """
    hidden = folder.below(HIDDEN)

    def is_whole(manifest: FolderManifest) -> bool:
        sizes = {found.key: found.size for found in folder.list()}
        try:
            records = ImageFolder(folder, manifest).records
        except InputError:  # a damaged record, which is made again with its files
            return False
        return all(sizes.get(image["key"]) == image["stored_bytes"] for image in records)

    found = {each.key for each in hidden.list()}
    if found and not any(key.startswith("claim/") for key in found):
        raise UsageError(
            f"{folder.url} was written by an older dkmeans, which this one does not go on with. Delete "
            f"{hidden.url}, or choose another folder."
        )
    with claim(hidden, FolderManifest, config, input_digest, is_whole=is_whole, shown=folder.url) as held:
        yield held


def begin_files(
    held: Claim[FolderManifest] | Finished[FolderManifest],
    folder: Store,
    keys: dict[str, str],
    config: StageConfig,
    what: str,
) -> Files:
    """Look which files an earlier run has left, and delete them where they are overwritten.

    Parameters
    ----------
    held : Claim or Finished
    folder : Store
    keys : dict of str to str
        Key of the file of each image, by its name.
    config : StageConfig
    what : str
        Where the folder was given, for messages.

    Raises
    ------
    UsageError
        If files that no run has written are in the way.
    OutputTakenError
        If another run has taken over the folder.
    """
    there = files_there(folder, keys.values())
    if isinstance(held, Finished):
        return Files(held, folder, keys, there)
    held.check()  # what is there may be of a run that has taken over meanwhile
    if config.overwrite:
        folder.delete(list(there))
        there = {}
    elif held.number == 1 and there and config.resume:
        raise UsageError(
            f"{folder.url} holds {min(there)}, which no run of these options has written. Choose another "
            "folder, or pass --overwrite."
        )
    elif held.number == 1:
        refuse_files(folder, there, what)
    return Files(held, folder, keys, there)


def files_there(folder: Store, keys: Iterable[str]) -> dict[str, int]:
    """The files of some keys that are in a folder already, and their sizes in bytes."""
    wanted = frozenset(keys)
    return {found.key: found.size for found in folder.list() if found.key in wanted}


@dataclass(frozen=True)
class Files:
    """The files of a folder, in the work of one run.

    Attributes
    ----------
    held : Claim or Finished
        The hidden folder; where it is finished nothing is written.
    folder : Store
        Of the files.
    keys : dict of str to str
        Key of the file of each image, by its name.
    there : dict of str to int
        Sizes of the files that are in the folder already.
    records : list of str
        Keys of the records of the batches that were given out.
    """

    held: Claim[FolderManifest] | Finished[FolderManifest]
    folder: Store
    keys: dict[str, str]
    there: dict[str, int]
    records: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Mark the folder as one with files of this run, before the first is written."""
        if isinstance(self.held, Claim):
            self.held.put(_BEGUN, b"")

    def batch(self, number: int, names: Sequence[str]) -> FileBatch:
        """The files of some images, of which the first has this number among all."""
        keys = tuple(self.keys[name] for name in names)
        there = {key: self.there[key] for key in keys if key in self.there}
        batch = FileBatch(self.held, self.folder, number, keys, there)
        self.records.append(batch.record_key)
        return batch

    def commit(self, **facts: Any) -> FolderManifest:
        """Commit the folder, whose files are written, with the checksums of all records.

        Raises
        ------
        InputError
            If a record is gone.
        """
        assert isinstance(self.held, Claim)
        found = self.held.store.get_many([StoredObject(key, 0) for key in self.records])
        records = {
            key: checksums.of_bytes(given(data)) for key, data in zip(self.records, found, strict=True)
        }
        return self.held.commit(**facts, records=records)


@dataclass(frozen=True)
class FileBatch:
    """The files that one task writes, and their record.

    Attributes
    ----------
    held : Claim or Finished
        The hidden folder; where it is finished nothing is written.
    folder : Store
        Of the files.
    number : int
        Of the first image of the batch among all: the name of the record.
    keys : tuple of str
        Of the files.
    there : dict of str to int
        Sizes of those of them that are in the folder already.
    """

    held: Claim[FolderManifest] | Finished[FolderManifest]
    folder: Store
    number: int
    keys: tuple[str, ...]
    there: dict[str, int]

    @property
    def record_key(self) -> str:
        """Key of the record."""
        return f"{RECORDS}/{self.number}.json"

    def finished(self) -> list[dict[str, Any]]:
        """What an earlier run has recorded, if it has written all files; else an empty list.

        The files of a run that is not finished are read: it may have died while it wrote one.
        """
        if not all(key in self.there for key in self.keys):
            return []
        data = self.held.store.get_or_none(self.record_key)
        try:
            images, files = _parsed(data or b"")
        except ValueError:  # damaged: the batch is written again
            return []
        same = tuple(image["key"] for image in images) == self.keys
        sizes = all(self.there[image["key"]] == image["stored_bytes"] for image in images) if same else False
        if not sizes or (isinstance(self.held, Claim) and damaged_files(self.folder, images, files)):
            return []
        return images

    def write(self, position: int, data: bytes) -> None:
        """Write one file.

        Raises
        ------
        InputError
            If the folder was finished before: then a file or a record of the batch is damaged.
        """
        if isinstance(self.held, Finished):
            raise InputError(
                f"{self.folder.url}: of {self.keys[position]} and the files beside it one is damaged, or "
                "their record is. Make them anew with --overwrite."
            )
        self.held.check()
        self.folder.put(self.keys[position], data)

    def record(self, images: Sequence[dict[str, Any]], files: Sequence[int]) -> None:
        """Record what was written of the batch; see `_parsed` for what is recorded."""
        record = {"images": list(images), "files": list(files)}
        data = json.dumps({**record, "crc32c": checksums.of_json(record)})
        assert isinstance(self.held, Claim)
        self.held.put(self.record_key, data.encode())


def _parsed(data: bytes) -> tuple[list[dict[str, Any]], list[int]]:
    """What is known of each image of a batch, its `key` and `stored_bytes` among it; CRC-32C of their files.

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
class ImageFolder:
    """A folder of image files that is complete.

    Attributes
    ----------
    store : Store
        Of the files.
    manifest : FolderManifest
    """

    store: Store
    manifest: FolderManifest

    @property
    def url(self) -> str:
        """Where the files lie."""
        return self.store.url

    def batches(self) -> Iterator[tuple[list[dict[str, Any]], list[int]] | InputError]:
        """Yield what each record tells, see `_parsed`, or what is wrong with it.

        Raises
        ------
        StorageError
            If storage refuses or fails.
        """
        hidden = self.store.below(HIDDEN)
        found = hidden.get_many([StoredObject(key, 0) for key in self.manifest.records])
        for (key, expected), data in zip(self.manifest.records.items(), found, strict=True):
            try:
                if checksums.of_bytes(given(data)) != expected:
                    raise InputError(f"{key} has another checksum")
                yield _parsed(given(data))
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
        """What is known of each image, in order: `name`, `key`, `height`, `width`, `stored_bytes` and more.

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
        """One image; shape (height, width, channels), of three channels where these are not known.

        Raises
        ------
        InputError
            If its file is gone or damaged.
        """
        key = self.keys[position]
        data = read_file(self.store, key, self.checks[position])
        return decode(data, key, COLORS[self.manifest.channels or 3], max_pixels=_MOST_PIXELS)

    def damaged(self) -> Iterator[tuple[list[dict[str, Any]], list[str]]]:
        """Yield the images of each record, and what is damaged of them, in words."""
        for batch in self.batches():
            if isinstance(batch, InputError):
                yield [], [str(batch)]
            else:
                yield batch[0], [_damaged(self.store, key) for key in damaged_files(self.store, *batch)]


def refuse_files(folder: Store, there: Iterable[str], what: str) -> None:
    """Refuse files in the way.

    Raises
    ------
    UsageError
        Naming the first; `what` says where the folder was given.
    """
    if first := min(there, default=None):
        raise UsageError(
            f"{what}: {folder.url} already holds {first}; expected a place without it. Choose another "
            "folder, or pass --overwrite."
        )


def open_folder(url: str) -> ImageFolder:
    """Open a folder of image files that is complete.

    Raises
    ------
    InputError
        If no run of dkmeans has written it, or it is unfinished.
    """
    store = open_store(url)
    return ImageFolder(store, read_manifest(store.below(HIDDEN), FolderManifest))
