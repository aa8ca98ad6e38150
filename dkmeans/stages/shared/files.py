"""Under which keys the files of images go, and where they may not."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from dkmeans.errors import UsageError
from dkmeans.storage.store import Store
from dkmeans.storage.urls import resolve_url

__all__ = ["choose_keys", "output_keys", "refuse_originals"]

_LONGEST = 240
"""Bytes of the longest name of a file: file systems take 255, and the store adds some while it writes."""
_DIGITS = 8
"""Hexadecimal digits of the hash of a name in a key; so many more in each further choice."""


def output_keys(names: Collection[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Key of the PNG file of each image, by its name: the same relative key with the suffix ``.png``.

    Of images that differ in their suffix only, each keeps it: ``a.jpg`` and ``a.tif`` become
    ``a.jpg.png`` and ``a.tif.png``. See `choose_keys`.
    """
    return {name: keys[0] for name, keys in choose_keys(names, given or {}, copies=False).items()}


def choose_keys(
    names: Collection[str], given: Mapping[str, str], *, copies: bool
) -> dict[str, tuple[str, ...]]:
    """Choose the keys that each image may take: that of its PNG, and that of a copy of its own file.

    No two images share one, and none is a folder of another's, in file systems too that do not tell ``A``
    from ``a``, or one Unicode form of a letter from another. A name of a file has at most 240 bytes. The
    order of the names changes nothing.

    Parameters
    ----------
    names : collection of str
        Keys of the images in their source.
    given : mapping of str to str
        Keys that images have already, by their names; of images too that are not among `names`. They are
        kept, unless one is the folder of a new image.
    copies : bool
        Whether an image may be copied: its own key is kept free for it then.

    Returns
    -------
    dict of str to tuple of str
        Of each name the key of a PNG, and with `copies` that of a copy; both may be the same.
    """
    images = [_Image.of(name, given.get(name), copies) for name in dict.fromkeys([*names, *given])]
    while crowded := _crowded(images):
        for image in crowded:
            image.level += 1  # which may still have the key that it was given
    wanted = set(names)
    return {image.name: image.keys for image in images if image.name in wanted}


@dataclass
class _Image:
    """An image that looks for its keys.

    Attributes
    ----------
    given : str or None
        The key that it has from an earlier run.
    level : int
        Of its choice: the name with another suffix, the name with one more, then with more and more of the
        hash of the name.
    """

    name: str
    copies: bool
    given: str | None = None
    level: int = 0

    @classmethod
    def of(cls, name: str, given: str | None, copies: bool) -> _Image:
        """An image at the level of the key that it was given."""
        if given is not None:
            for level in range(4):
                if given in (_png_key(name, level), _copy_key(name, level)):
                    return cls(name, copies, given, level)
        return cls(name, copies)

    @property
    def keeps(self) -> bool:
        """Whether the key that was given is one of its own."""
        return self.given in (_png_key(self.name, self.level), _copy_key(self.name, self.level))

    @property
    def keys(self) -> tuple[str, ...]:
        png = _png_key(self.name, self.level)
        return (png, _copy_key(self.name, self.level)) if self.copies else (png,)


def _crowded(images: Iterable[_Image]) -> list[_Image]:
    """The images that have to choose again; of those with one key the ones at the lowest level.

    Those that keep a key of an earlier run give way only to each other.
    """
    files: dict[str, list[_Image]] = defaultdict(list)
    folders: set[str] = set()
    for image in images:
        for key in {_folded(key) for key in image.keys}:
            files[key].append(image)
            folders.update(_folders(key))
    crowded: dict[str, _Image] = {}
    for key, found in files.items():
        losers = found if key in folders else []
        if not losers and len(found) > 1:
            rivals = [image for image in found if not image.keeps] or found
            lowest = min(image.level for image in rivals)
            losers = [image for image in rivals if image.level == lowest]
        crowded.update({image.name: image for image in losers})
    return list(crowded.values())


def _png_key(name: str, level: int) -> str:
    folder, stem, suffix = _split(name)
    if level == 1:
        return _fitting(name, folder, stem + suffix, ".png")
    return _fitting(name, folder, f"{stem}{_mark(name, level)}", ".png")


def _copy_key(name: str, level: int) -> str:
    folder, stem, suffix = _split(name)
    return _fitting(name, folder, f"{stem}{_mark(name, level)}", suffix)


def _mark(name: str, level: int) -> str:
    return f"-{_hash(name, _DIGITS * (level - 1))}" if level > 1 else ""


def _hash(name: str, digits: int) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:digits]


def _split(name: str) -> tuple[str, str, str]:
    """Folder with its slash, stem and suffix with its dot; a dot at either end of a name makes no suffix."""
    folder, slash, last = name.rpartition("/")
    stem, dot, suffix = last.rpartition(".")
    if not stem or not suffix:
        return folder + slash, last, ""
    return folder + slash, stem, dot + suffix


def _fitting(name: str, folder: str, stem: str, suffix: str) -> str:
    """A key whose last part is short enough; what is cut off is told by a hash of the whole name."""
    if len((stem + suffix).encode()) <= _LONGEST:
        return f"{folder}{stem}{suffix}"
    suffix = suffix if len(suffix.encode()) <= _LONGEST // 2 else ""
    end = f"-{_hash(name + stem, _DIGITS)}{suffix}"
    cut = stem.encode()[: _LONGEST - len(end.encode())].decode(errors="ignore")
    return f"{folder}{cut}{end}"


def _folded(key: str) -> str:
    """What file systems that tell neither cases nor Unicode forms apart see in a key."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", key).casefold())


def _folders(key: str) -> Iterator[str]:
    """The folders that a key lies in."""
    while key := key.rpartition("/")[0]:
        yield key


def refuse_originals(folder: Store, source: str, what: str) -> None:
    """Refuse a folder for images that holds the originals below the URL `source`, or is their place.

    Raises
    ------
    UsageError
        Naming the folder; `what` says where it was given.
    """
    if f"{resolve_url(source)}/".startswith(f"{folder.url}/"):
        raise UsageError(f"{what}: {folder.url} holds the originals of the dataset. Choose another folder.")
