"""Write a folder of image files: claimed, recorded image by image, committed as every artefact is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dkmeans.artefacts.claims import Finished, Terms, claim
from dkmeans.artefacts.file_batch import FileBatch
from dkmeans.artefacts.folder import (
    HIDDEN,
    JOURNAL,
    OWNED,
    RECORDS,
    FolderManifest,
    ImageFolder,
)
from dkmeans.artefacts.former import (
    Former,
    Record,
    folders_of,
    packed,
    packed_keys,
    read_former,
    refuse_files,
)
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.manifests import ROOT
from dkmeans.config.base import StageConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.storage import checksums
from dkmeans.storage.store import Store

__all__ = ["Files", "Wanted", "begin_files", "claim_folder", "is_whole"]

_RECORDS_PER_OBJECT = 1000


def is_whole(folder: Store, manifest: FolderManifest, *, prunes: bool = False) -> bool:
    """Whether the records of a complete folder can be read, and all files are there, of the sizes recorded.

    With `prunes` a file that is of an image that is gone, or of a run that died, makes it less than whole.
    """
    sizes = {found.key: found.size for found in folder.list()}
    try:
        records = ImageFolder(folder, manifest).records
    except InputError:  # a damaged record, which is made again with its files
        return False
    if prunes and (manifest.n_gone or read_former(folder).owned & sizes.keys() - {r["key"] for r in records}):
        return False
    return all(sizes.get(image["key"]) == image["stored_bytes"] for image in records)


@contextmanager
def claim_folder(
    folder: Store,
    config: StageConfig,
    input_digest: str,
    *,
    input_state: str | None = None,
    updates: bool = False,
    prunes: bool = False,
) -> Iterator[Claim[FolderManifest] | Finished[FolderManifest]]:
    """Claim a folder for image files; see `claim`.

    A complete folder of which a record is damaged, or a file is gone or has another size, is gone on with by
    a run that resumes.

    Parameters
    ----------
    folder : Store
    config : StageConfig
    input_digest : str
        SHA-256 of what the stage reads.
    input_state : str or None
        Digest of the versions of the images; where it is another one, a run that resumes goes on with images
        that are as they were. None where they do not change.
    updates : bool
        Whether a folder is gone on with whatever its images and options were, finished or not.
    prunes : bool
        Whether files stand for nothing to do, the images of which are gone.
    """
    hidden = folder.below(HIDDEN)

    found = {each.key for each in hidden.list()}
    if found and not any(key == ROOT or key.startswith("claim/") for key in found):
        raise UsageError(
            f"{folder.url} was written by an older dkmeans, which this one does not go on with. Delete "
            f"{hidden.url}, or choose another folder."
        )
    terms: Terms[FolderManifest] = Terms(
        input_state=input_state,
        changed="refuse" if input_state is None else "follow",
        updates=updates,
        is_whole=lambda manifest: is_whole(folder, manifest, prunes=prunes),
        clear=lambda: read_former(folder).delete_owned(),
    )
    with claim(hidden, FolderManifest, config, input_digest, terms=terms, shown=folder.url) as held:
        yield held


@dataclass(frozen=True)
class Wanted:
    """The images whose files a run writes.

    Attributes
    ----------
    sources : dict of str to str
        Version of the source of each image, by its name and in order.
    options : str
        Digest of the options that decide the bytes of the files.
    keys : dict of str to tuple of str
        Keys that the file of each image may have: that of a PNG, and perhaps that of a copy.
    """

    sources: Mapping[str, str]
    options: str
    keys: Mapping[str, tuple[str, ...]]


def begin_files(
    held: Claim[FolderManifest] | Finished[FolderManifest],
    former: Former,
    wanted: Wanted,
    what: str,
    *,
    prunes: bool = False,
) -> Files:
    """Find the files that are to be written, beside those that are there as they should be.

    Parameters
    ----------
    held : Claim or Finished
    former : Former
        What earlier runs have left.
    wanted : Wanted
    what : str
        Where the folder was given, for messages.
    prunes : bool
        Whether files of images that are gone are deleted.

    Raises
    ------
    UsageError
        If files that no run has written are in the way.
    OutputTakenError
        If another run has taken over the folder.
    """
    reads = isinstance(held, Claim) and held.before != "complete"
    kept = former.current(wanted.sources, wanted.options, wanted.keys, reads=reads)
    files = Files(held, former, wanted, kept, prunes)
    if isinstance(held, Claim):
        held.check()  # what is there may be of a run that has taken over meanwhile
        refuse_files(former.folder, former.strangers(files.planned), what)
    return files


@dataclass(frozen=True)
class Files:
    """The files of a folder, in the work of one run.

    Attributes
    ----------
    held : Claim or Finished
        The hidden folder; where it is finished nothing is written.
    former : Former
        What earlier runs have left.
    wanted : Wanted
    kept : dict of str to Record
        Of the images that need not be made again, by name.
    prunes : bool
        Whether files of images that are gone are deleted.
    """

    held: Claim[FolderManifest] | Finished[FolderManifest]
    former: Former
    wanted: Wanted
    kept: dict[str, Record]
    prunes: bool = False

    @cached_property
    def planned(self) -> set[str]:
        """Keys of the files that may be written."""
        return {key for name, keys in self.wanted.keys.items() if name not in self.kept for key in keys}

    @cached_property
    def _folders(self) -> set[str]:
        """Folders of the files that may be written: a file of this name had to make way."""
        return {folder for key in self.planned for folder in folders_of(key)}

    def begin(self) -> None:
        """Note which files may be of this run, before the first is written, and make way for them."""
        if not isinstance(self.held, Claim):
            return
        self.held.put(f"{OWNED}/{self.held.number}.json", packed_keys(self.former.owned | self.planned))
        ours = self.former.owned & self.former.there.keys()
        doomed = ours & self._folders
        if self.prunes:
            doomed |= ours - self.planned - {each.key for each in self.kept.values()}
        self.former.folder.delete(sorted(doomed))

    def batch(self, number: int, names: Sequence[str]) -> FileBatch:
        """The files of some images, of which the first has this number among all."""
        wanted = self.wanted
        keys = tuple(wanted.keys[name] for name in names)
        sources = tuple(wanted.sources[name] for name in names)
        return FileBatch(self.held, self.former.folder, number, tuple(names), keys, sources, wanted.options)

    def gone(self, made: Sequence[Record]) -> list[Record]:
        """The records of files that nothing is made of now: their images are gone, or cannot be read."""
        current = {each.name for each in made} | self.kept.keys()
        taken = {each.key for each in (*made, *self.kept.values())}
        found = {
            each.name: each
            for each in self.former.records
            if each.name not in current and each.key in self.former.there and each.key not in taken
        }
        return [Record({**each.image, "gone": True}, each.check) for each in found.values()]

    def records(self, made: Sequence[Record]) -> list[Record]:
        """Of all images, in order: those that were kept, and those that were made."""
        found = {**self.kept, **{each.name: each for each in made}}
        return [found[name] for name in self.wanted.sources if name in found]

    def commit(self, made: Sequence[Record], **facts: Any) -> FolderManifest:
        """Commit the folder, whose files are written.

        First the records of all images are written in order; then files that others have replaced, or that
        are to go, are deleted; then the manifest is written, and last what earlier runs have told is deleted.

        Parameters
        ----------
        made : sequence of Record
            Of the images that were made by this run.
        **facts
            Of the manifest.
        """
        assert isinstance(self.held, Claim)
        number, gone = self.held.number, [] if self.prunes else self.gone(made)
        records = [*self.records(made), *gone]
        checks = {}
        for part, start in enumerate(range(0, len(records), _RECORDS_PER_OBJECT)):
            data = packed(records[start : start + _RECORDS_PER_OBJECT])
            key = f"{RECORDS}/{number}-{part}.json"
            self.held.put(key, data)
            checks[key] = checksums.of_bytes(data)
        self._delete_stale({each.key for each in records if each.key is not None})
        manifest = self.held.commit(**facts, n_gone=len(gone), records=checks)
        journal = [each.key for each in self.held.store.list(JOURNAL)]
        own = [key for key in journal if key.startswith(f"{JOURNAL}/{number}-")]
        self.held.store.delete([*self.former.objects, *own])
        return manifest

    def _delete_stale(self, current: set[str]) -> None:
        """Delete files of earlier runs that are not `current`, and note which ones are ours now."""
        assert isinstance(self.held, Claim)
        recorded = {each.key for each in self.former.records if each.key is not None}
        ours = self.former.owned if self.prunes else recorded
        stale = (ours & self.former.there.keys()) - current - self._folders
        self.held.check()
        self.former.folder.delete(sorted(stale))
        owned = current if self.prunes else current | (self.former.owned - recorded)
        self.held.put(f"{OWNED}/{self.held.number}.json", packed_keys(owned))
