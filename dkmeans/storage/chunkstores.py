"""The stores of zarr that arrays are read from and written to: nothing is ever read as a fill value."""

from __future__ import annotations

from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from dkmeans.errors import InputError
from dkmeans.storage import access, array_stores, stores

__all__ = ["ReadingStore", "WritingStore", "damaged"]


class ReadingStore(WrapperStore[Any]):
    """Storage to read an array from: counts bytes for the job that opened it, and takes no gap for zeros."""

    def __init__(self, store: Any, url: str, name: str) -> None:
        super().__init__(store)
        self.url, self.name = url, name
        self.job = access.current_access().job

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object, or a part of it, that has to be there."""
        self._store = array_stores.alive(self._store)
        found: Buffer | None = await stores.repeat_async(super().get, key, prototype, byte_range)
        if found is None or not len(found):
            raise damaged(self.url, self.name, _key(key), "it is gone" if found is None else "it is empty")
        access.traffic_of(self.job).add(read=len(found))
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
        await stores.repeat_async(super().set, key, value)
        access.traffic_of(self.job).add(written=len(value))


def _key(path: str) -> str:
    """The part of the path of a chunk that begins behind the name of its array."""
    return path[path.rindex("c/") :] if "c/" in path else path


def damaged(url: str, name: str, what: str, why: str) -> InputError:
    """The error for a part of an array that is not as it was written; `what` is its key below the array."""
    return InputError(
        f"{url}: {what} of the array {name} is damaged: {why.rstrip('.')}. Bring it back from a copy, or "
        "make the output anew with --overwrite; `dkmeans verify` tells what else is damaged."
    )
