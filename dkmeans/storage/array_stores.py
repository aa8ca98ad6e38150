"""The Zarr store at a URL: obstore's, or, in a forked child, one that reads files without obstore."""

from __future__ import annotations

from typing import Any

from zarr.abc.store import Store
from zarr.storage import LocalStore, ObjectStore

from dkmeans.storage import forking, stores

__all__ = ["alive", "opened"]


def opened(url: str) -> Store:
    """The store at `url`."""
    if forking.forked() and stores.is_local(url):
        return LocalStore(stores.resolve_url(url), read_only=True)
    return ObjectStore(stores.open_store(url))


def alive(store: Any) -> Any:
    """A store as `opened` gave it, perhaps in the process that this one was forked from.

    Raises
    ------
    StorageError
        If it cannot be read here.
    """
    if not (forking.forked() and isinstance(store, ObjectStore)):
        return store
    local = getattr(store.store, "prefix", None) if type(store.store).__name__ == "LocalStore" else None
    if local is None:
        forking.check(str(store))
    return LocalStore(str(local), read_only=True)
