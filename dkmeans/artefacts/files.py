"""Write a folder of image files: claimed, recorded batch by batch, committed as every artefact is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dkmeans.artefacts.claims import Claim, Finished, claim
from dkmeans.artefacts.folder import (
    BEGUN,
    HIDDEN,
    RECORDS,
    FolderManifest,
    ImageFolder,
    damaged_files,
    given,
    parse_record,
)
from dkmeans.artefacts.manifests import ROOT
from dkmeans.config.base import StageConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.storage import checksums
from dkmeans.storage.store import Store, StoredObject

__all__ = ["FileBatch", "Files", "begin_files", "claim_folder", "files_there", "refuse_files"]


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
    if found and not any(key == ROOT or key.startswith("claim/") for key in found):
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
            self.held.put(BEGUN, b"")

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
    held, folder
        As of `Files`.
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
        """Read what an earlier run has recorded, if it has written all files; else an empty list.

        The files of a run that is not finished are read: it may have died while it wrote one.
        """
        if not all(key in self.there for key in self.keys):
            return []
        data = self.held.store.get_or_none(self.record_key)
        try:
            images, files = parse_record(data or b"")
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
        """Record what was written of the batch; see `parse_record` for what is recorded."""
        record = {"images": list(images), "files": list(files)}
        data = json.dumps({**record, "crc32c": checksums.of_json(record)})
        assert isinstance(self.held, Claim)
        self.held.put(self.record_key, data.encode())


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
