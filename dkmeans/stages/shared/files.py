"""Under which keys the files of images go, and where they may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from dkmeans.errors import UsageError
from dkmeans.storage.store import Store
from dkmeans.storage.urls import resolve_url

__all__ = ["output_keys", "refuse_originals"]


def output_keys(names: Sequence[str]) -> dict[str, str]:
    """Key of the PNG file of each image, by its name: the same relative key with the suffix ``.png``.

    Of images that differ in their suffix only, each keeps it: ``a.jpg`` and ``a.tif`` become
    ``a.jpg.png`` and ``a.tif.png``.
    """
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    # Case-folded, for file systems that do not tell A.png from a.png.
    times = Counter(stem.casefold() for stem in stems)
    return {
        name: f"{stem if times[stem.casefold()] == 1 else name}.png"
        for name, stem in zip(names, stems, strict=True)
    }


def refuse_originals(folder: Store, source: str, what: str) -> None:
    """Refuse a folder for images that holds the originals below the URL `source`, or is their place.

    Raises
    ------
    UsageError
        Naming the folder; `what` says where it was given.
    """
    if f"{resolve_url(source)}/".startswith(f"{folder.url}/"):
        raise UsageError(f"{what}: {folder.url} holds the originals of the dataset. Choose another folder.")
