"""Which files of a folder are images: by what they begin with, whatever they are called."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from dkmeans.errors import InputError, StorageError
from dkmeans.images.formats import SUFFIXES, kind_of
from dkmeans.storage.store import Store, StoredObject
from dkmeans.storage.urls import check_key

__all__ = ["NOTHING", "Ignored", "begins_as_image", "list_images", "shown"]

_BEGINNING = 1 << 10
"""Bytes of a file that tell whether it is an image, where its name does not."""
_MARK, _HIDDEN = "/claim/zarr.json", ".dkmeans"
"""What lies in each output of dkmeans, and the folder of it among image files."""
_KINDS = 6
"""Suffixes of files that are no images, which are counted one by one."""


@dataclass(frozen=True)
class Ignored:
    """What lies in a folder besides its images.

    Attributes
    ----------
    files : tuple of str
        Keys of files that are no images, or hidden.
    odd : tuple of str
        Entries that cannot be read, or lead out of the folder: each as a message can show it, and why.
    made : tuple of str
        Keys of outputs of dkmeans, which are no sources of the same images.
    """

    files: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say it, a line for each kind."""
        told = []
        if self.files:
            told.append(
                f"left out {_files(len(self.files))} that {_are(len(self.files))}: {_kinds(self.files)}"
            )
        if self.odd:
            more = f", and {len(self.odd) - 3} more" if len(self.odd) > 3 else ""
            told.append(
                f"left out {len(self.odd)} that cannot be used: {'; '.join(self.odd[:3])}{more}. Rename or "
                "copy what belongs to the images."
            )
        if self.made:
            told.append(f"left out what dkmeans has written: {', '.join(map(shown, self.made[:3]))}")
        return told


NOTHING = Ignored()


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"


def _are(number: int) -> str:
    return "is no image" if number == 1 else "are no images"


def _kinds(keys: Sequence[str]) -> str:
    """Count keys by suffix, such as ``9 .txt, 2 .mp4, 1 without a suffix, 1 hidden``."""
    counts = Counter(map(_kind, keys)).most_common()
    rest = sum(times for _, times in counts[_KINDS:])
    named = [f"{times} {kind}" for kind, times in counts[:_KINDS]]
    return ", ".join([*named, *([f"{rest} of other kinds"] if rest else [])])


def _kind(key: str) -> str:
    return "hidden" if _is_hidden(key) else shown(PurePosixPath(key).suffix.lower()) or "without a suffix"


def shown(key: str) -> str:
    """A key as a message can show it."""
    return key if key.isprintable() else repr(key)


def list_images(store: Store) -> tuple[list[StoredObject], Ignored]:
    """The images in a folder, in natural order of their keys, and what else is there.

    A file with a suffix of images is one, though it may be damaged; another is one if it begins as an image
    does. Of such a file the beginning is read.

    Parameters
    ----------
    store : Store
        The folder.

    Raises
    ------
    InputError, StorageError
        If it cannot be listed, or storage fails.
    """
    odd: list[str] = []
    listed, made = _without_artefacts(_without_folders(store.list(left_out=odd)))
    usable, leaves = [], _leaving(store)
    for found in listed:
        if not _is_key(found.key):
            odd.append(f"{found.key!r} (as a path its name would leave the folder)")
        elif leaves(found.key):
            odd.append(f"{shown(found.key)} (a link that leads out of the folder)")
        else:
            usable.append(found)
    named = {found.key for found in usable if found.key.lower().endswith(SUFFIXES)}
    visible = [found for found in usable if not _is_hidden(found.key)]
    begun = set(_begun_as_images(store, [found for found in visible if found.key not in named], odd))
    images = [found for found in visible if found.key in named or found.key in begun]
    kept = {found.key for found in images}
    others = tuple(found.key for found in usable if found.key not in kept)
    return sorted(images, key=_natural), Ignored(others, tuple(odd), made)


def begins_as_image(store: Store, key: str) -> bool:
    """Whether one object begins as an image does."""
    return kind_of(store.get_range(key, 0, _BEGINNING)) is not None


def _begun_as_images(store: Store, files: Sequence[StoredObject], odd: list[str]) -> Iterator[str]:
    """Keys of the files that begin as images do; `odd` gets those that cannot be read."""
    files = [found for found in files if found.size]
    for found, data in zip(files, store.get_many(files, limit=_BEGINNING), strict=True):
        if isinstance(data, StorageError):
            raise data
        if isinstance(data, bytes):
            if kind_of(data):
                yield found.key
        else:
            reason = str(data).removeprefix(f"{store.url_of(found.key)}: ")
            odd.append(f"{shown(found.key)} ({reason.partition('. ')[0]})")


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))


def _leaving(store: Store) -> Callable[[str], bool]:
    """Give what tells whether a link on the way to a key leads out of a local folder."""
    if not store.is_local:
        return lambda key: False
    root, real = os.path.realpath(store.url), cache(os.path.realpath)

    def leaves(key: str) -> bool:
        folder, name = os.path.split(os.path.join(store.url, key))
        path = os.path.join(real(folder), name)
        return os.path.commonpath([root, os.path.realpath(path) if os.path.islink(path) else path]) != root

    return leaves


def _is_key(key: str) -> bool:
    """Whether a key stays in its folder; a store may hold others."""
    try:
        check_key(key)
    except InputError:
        return False
    return True


def _without_folders(listed: list[StoredObject]) -> list[StoredObject]:
    """Leave out the empty objects by which tools mark folders in an object store; they are no files."""
    above = {str(folder) for found in listed for folder in PurePosixPath(found.key).parents}
    return [found for found in listed if found.size or found.key not in above]


def _without_artefacts(listed: list[StoredObject]) -> tuple[list[StoredObject], tuple[str, ...]]:
    """Leave out the objects of datasets and other outputs of dkmeans; what is left, and their keys.

    The folder that is listed may be one itself: its image files are what is asked for.
    """
    roots = (found.key.removesuffix(_MARK) for found in listed if found.key.endswith(_MARK))
    made = tuple(sorted({root.removesuffix(f"/{_HIDDEN}") for root in roots} - {_HIDDEN}))
    inside = tuple(f"{root}/" for root in made)
    return [found for found in listed if not found.key.startswith(inside)], made


def _natural(found: StoredObject) -> tuple[list[str | int], str]:
    """Numbers in a key count as numbers; what differs only in case or leading zeros goes by the key."""
    parts = re.split(r"([0-9]+)", found.key)
    # Every second part is a number, so numbers are compared to numbers only.
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], found.key
