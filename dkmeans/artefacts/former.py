"""What earlier runs have left in a folder of image files: their records, and which files are theirs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dkmeans.artefacts.folder import HIDDEN, JOURNAL, OWNED, RECORDS, damaged_files, parse_record
from dkmeans.errors import DkmeansError, StorageError, UsageError
from dkmeans.storage import checksums
from dkmeans.storage.store import Store

__all__ = ["Former", "Record", "folders_of", "packed", "packed_keys", "read_former", "refuse_files"]


@dataclass(frozen=True)
class Record:
    """What is known of an image, see `dkmeans.artefacts.folder.parse_record`, and the CRC-32C of its file."""

    image: dict[str, Any]
    check: int | None

    @property
    def name(self) -> str:
        """Key of the image in its source."""
        return str(self.image["name"])

    @property
    def key(self) -> str | None:
        """Key of its file."""
        key: str | None = self.image["key"]
        return key


@dataclass(frozen=True)
class Former:
    """What earlier runs have left in a folder, and all else that is there.

    Attributes
    ----------
    folder : Store
    records : tuple of Record
        Of any run; of one image there may be several. Each is true as long as its file is as it says.
    owned : frozenset of str
        Keys of files that these runs have written, or may have.
    there : dict of str to int
        Sizes of all files in the folder, ours or not.
    objects : tuple of str
        Keys of the objects, in the hidden folder, that told all this.
    """

    folder: Store
    records: tuple[Record, ...]
    owned: frozenset[str]
    there: dict[str, int]
    objects: tuple[str, ...]

    def given(self, names: Collection[str], *, prunes: bool = False) -> dict[str, str]:
        """Keys that images have already, by their names: `names`, and unless `prunes` those that are gone."""
        return {
            each.name: each.key
            for each in self.records
            if each.key is not None and (each.name in names or (not prunes and each.key in self.there))
        }

    def current(
        self, sources: Mapping[str, str], options: str, keys: Mapping[str, tuple[str, ...]], *, reads: bool
    ) -> dict[str, Record]:
        """The records of the images that need not be made again, by name.

        Parameters
        ----------
        sources : mapping of str to str
            Versions of the images as they are now, by name.
        options : str
            Digest of the options that decide the bytes.
        keys : mapping of str to tuple of str
            Keys that the file of each image may have.
        reads : bool
            Whether the files are read, and compared with their checksums; else their sizes are believed.
        """
        found = {
            each.name: each
            for each in self.records
            if each.image.get("source") == sources.get(each.name, "gone")
            and each.image.get("options") == options
            and (each.key is None or self._is_there(each, keys[each.name]))
        }
        if reads:
            files = [each for each in found.values() if each.key is not None]
            checks = [each.check or 0 for each in files]
            damaged = set(damaged_files(self.folder, [each.image for each in files], checks))
            found = {name: each for name, each in found.items() if each.key not in damaged}
        return found

    def _is_there(self, record: Record, keys: tuple[str, ...]) -> bool:
        return record.key in keys and self.there.get(str(record.key)) == record.image["stored_bytes"]

    def strangers(self, keys: Iterable[str]) -> list[str]:
        """Files that no run of dkmeans has written, and that files with `keys` would replace."""
        wanted = set(keys)
        above = {folder for key in wanted for folder in folders_of(key)}
        return sorted(
            key
            for key in self.there
            if key not in self.owned
            and (key in wanted or key in above or any(folder in wanted for folder in folders_of(key)))
        )

    def delete_owned(self) -> None:
        """Delete all files that are ours."""
        self.folder.delete(sorted(self.owned & self.there.keys()))


def folders_of(key: str) -> list[str]:
    """The folders that a key lies in, the outermost first."""
    return ["/".join(key.split("/")[:depth]) for depth in range(1, key.count("/") + 1)]


def read_former(folder: Store) -> Former:
    """Read all that earlier runs tell of a folder. A damaged record tells nothing, its image is made again.

    Raises
    ------
    StorageError
        If storage refuses or fails.
    """
    listed = folder.list()
    inside = f"{HIDDEN}/"
    told = (f"{RECORDS}/", f"{JOURNAL}/", f"{OWNED}/")
    hidden = [found for found in listed if found.key.startswith(tuple(inside + name for name in told))]
    records: list[Record] = []
    owned: set[str] = set()
    for found, data in zip(hidden, folder.get_many(hidden), strict=True):
        if isinstance(data, StorageError):
            raise data
        if isinstance(data, DkmeansError):  # gone meanwhile
            continue
        try:
            if found.key.startswith(inside + told[2]):
                owned.update(_parsed_keys(data))
            else:
                records += [
                    Record({**image, "gone": False}, check)  # which is found anew
                    for image, check in zip(*parse_record(data), strict=True)
                ]
        except (ValueError, KeyError, TypeError):
            continue
    owned.update(each.key for each in records if each.key is not None)
    there = {found.key: found.size for found in listed if not found.key.startswith(inside)}
    objects = tuple(found.key.removeprefix(inside) for found in hidden)
    return Former(folder, tuple(records), frozenset(owned), there, objects)


def packed(records: Sequence[Record]) -> bytes:
    """Records as one object; see `dkmeans.artefacts.folder.parse_record`."""
    found = {"images": [each.image for each in records], "files": [each.check for each in records]}
    return json.dumps({**found, "crc32c": checksums.of_json(found)}).encode()


def packed_keys(keys: Iterable[str]) -> bytes:
    """Keys of files as one object."""
    found = sorted(keys)
    return json.dumps({"keys": found, "crc32c": checksums.of_json(found)}).encode()


def _parsed_keys(data: bytes) -> list[str]:
    found: dict[str, Any] = json.loads(data)
    if found["crc32c"] != checksums.of_json(found["keys"]):
        raise ValueError("it has another checksum than was written")
    return list(found["keys"])


def refuse_files(folder: Store, files: Iterable[str], what: str) -> None:
    """Refuse files in the way that no run of dkmeans has written.

    Raises
    ------
    UsageError
        Naming the first; `what` says where the folder was given.
    """
    if first := min(files, default=None):
        raise UsageError(
            f"{what}: {folder.url} already holds {first}, which no run of dkmeans has written; expected a "
            "place without it. Move it away, or choose another output."
        )
