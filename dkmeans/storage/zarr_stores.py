"""The stores of zarr that arrays are read from and written to: nothing is ever read as a fill value.

Below them is obstore's, or, in a forked child, one that reads files without obstore.
"""

from __future__ import annotations

from typing import Any

import zarr
import zarr.abc.store
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import LocalStore, ObjectStore, StorePath, WrapperStore

from dkmeans.storage import access, forking
from dkmeans.storage.faults import translated
from dkmeans.storage.nodes import damaged
from dkmeans.storage.store import Store

__all__ = ["ReadingStore", "WritingStore", "array_of", "placed"]


def _opened(store: Store) -> zarr.abc.store.Store:
    if forking.forked() and store.is_local:
        return LocalStore(store.url, read_only=True)
    return ObjectStore(store.backend())


def _alive(store: Any) -> Any:
    """A store as `_opened` gave it, perhaps in the process that this one was forked from.

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


class ReadingStore(WrapperStore[Any]):
    """Storage to read an array from: counts bytes for the job that opened it, and takes no gap for zeros."""

    def __init__(self, store: Store, name: str) -> None:
        super().__init__(_opened(store))
        self.url, self.name, self.retries = store.url, name, store.retries
        self.access = access.current_access()

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object, or a part of it, that has to be there."""
        self._store = _alive(self._store)
        found: Buffer | None = await self.retries.call_async(super().get, key, prototype, byte_range)
        if found is None or not len(found):
            raise damaged(self.url, self.name, _key(key), "it is gone" if found is None else "it is empty")
        access.count(self.access, bytes_read=len(found))
        return found


class WritingStore(ReadingStore):
    """Storage to write whole shards to: what lies there does not matter, so zarr need not look."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Find nothing."""
        return None

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object whole."""
        await self.retries.call_async(super().set, key, value)
        access.count(self.access, bytes_written=len(value))


def _key(path: str) -> str:
    """The part of the path of a chunk that begins behind the name of its array."""
    return path[path.rindex("c/") :] if "c/" in path else path


def array_of(store: Store, name: str, node: dict[str, Any], mode: type[ReadingStore]) -> zarr.Array[Any]:
    """The array that some metadata describe.

    Raises
    ------
    InputError
        If they describe none.
    """
    try:
        metadata = ArrayV3Metadata.from_dict(node)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(store.url, name, "zarr.json", f"{error}") from error
    return placed(store, name, metadata, mode)


def placed(store: Store, name: str, metadata: Any, mode: type[ReadingStore]) -> zarr.Array[Any]:
    """The array of these metadata, to read or to write."""
    with translated(store.url, f"reading the array {name}"):
        # Empty chunks are written too: then a shard that is done exists. open_array() up to zarr 3.1 ignores
        # a config that it is given.
        path = StorePath(mode(store, name), store.path(name))
    return zarr.Array(zarr.AsyncArray(metadata, path, {"write_empty_chunks": True}))
