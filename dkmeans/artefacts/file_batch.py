"""The image files that one task writes into a folder, and what it records of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dkmeans.artefacts.claims import Finished
from dkmeans.artefacts.folder import JOURNAL, FolderManifest
from dkmeans.artefacts.former import Record, packed
from dkmeans.artefacts.held import Claim
from dkmeans.errors import InputError
from dkmeans.storage import checksums
from dkmeans.storage.store import Store

__all__ = ["FileBatch"]


@dataclass(frozen=True)
class FileBatch:
    """The files that one task writes, and their record.

    Attributes
    ----------
    held : Claim or Finished
        As of `dkmeans.artefacts.files.Files`.
    folder : Store
        Of the files.
    number : int
        Of the first image of the batch among all: the name of the record.
    names : tuple of str
        Of the images.
    keys : tuple of tuple of str
        That each may have.
    sources : tuple of str
        Version of the source of each image.
    options : str
        Digest of the options that decide the bytes of the files.
    """

    held: Claim[FolderManifest] | Finished[FolderManifest]
    folder: Store
    number: int
    names: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    sources: tuple[str, ...]
    options: str

    def write(self, position: int, data: bytes, *, copied: bool = False) -> Record:
        """Write one file; a copy of that of the source under the key for one.

        Raises
        ------
        InputError
            If the folder was finished before: then a file or a record of the batch is damaged.
        """
        key = self.keys[position][-1 if copied else 0]
        if isinstance(self.held, Finished):
            raise InputError(
                f"{self.folder.url}: {key} is damaged, or its record is. Make it again with --overwrite."
            )
        self.held.check()
        self.folder.put(key, data)
        about = {**self._about(position), "key": key, "stored_bytes": len(data), "copied": copied}
        return Record(about, checksums.of_bytes(data))

    def leave_out(self, position: int) -> Record:
        """The record of an image that gets no file."""
        return Record({**self._about(position), "key": None, "stored_bytes": 0, "copied": False}, None)

    def _about(self, position: int) -> dict[str, Any]:
        name, source = self.names[position], self.sources[position]
        return {"name": name, "source": source, "options": self.options}

    def record(self, records: Sequence[Record]) -> None:
        """Note what was written, for a run that goes on if this one dies."""
        assert isinstance(self.held, Claim)
        self.held.put(f"{JOURNAL}/{self.held.number}-{self.number}.json", packed(records))
