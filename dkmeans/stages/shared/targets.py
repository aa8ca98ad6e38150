"""One file as an output, at a URL of its own: where it goes, and what may not be there."""

from __future__ import annotations

from pathlib import Path

from dkmeans.errors import UsageError
from dkmeans.storage.store import Store, open_store

__all__ = ["is_folder", "open_target", "put_target", "taken"]


def is_folder(url: str) -> bool:
    """Whether a URL is that of a folder, by its end or by what is there."""
    store = open_store(url)
    return url.endswith("/") or (Path(store.url).is_dir() if store.is_local else bool(store.list()))


def open_target(url: str, option: str) -> tuple[Store, str]:
    """Open the folder that a file goes to; and the key of the file in it.

    Raises
    ------
    UsageError
        If the URL has no name below a bucket; `option` is what it was given by.
    StorageError
        If the store does not answer.
    """
    above, _, name = open_store(url).url.rpartition("/")
    if above.endswith(":/"):
        raise UsageError(f"{option}: found {url!r}; expected the URL of a file. Add a name.")
    return open_store(above or "/"), name


def put_target(place: Store, name: str, data: bytes, option: str, *, overwrite: bool) -> None:
    """Write the file whole; create it, unless it may be overwritten.

    Raises
    ------
    UsageError
        If another writer was first.
    StorageError
        If storage refuses or fails.
    """
    if overwrite:
        place.put(name, data)
    elif not place.create(name, data):
        raise taken(place, name, option)


def taken(place: Store, name: str, option: str) -> UsageError:
    """Make the error for a file that is in the way."""
    return UsageError(
        f"{option}: {place.url_of(name)} is there already; expected a name without a file. "
        "Choose another, or pass --overwrite."
    )
