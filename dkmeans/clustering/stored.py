"""A user's Zarr array as the rows of an estimator: found again where its rows are read, and read whole.

Zarr takes a chunk that it does not find for one that was never written. So an array whose path leads nowhere,
as on a worker with another working directory, or another disk, is all fill values. And a chunk of which bytes
are missing may be read as one that is not there (zarr-python#486).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, StorePath, WrapperStore

from dkmeans.errors import DkmeansError, StorageError
from dkmeans.storage import arrays
from dkmeans.storage.zarr_stores import ReadingStore

__all__ = ["StoredRows", "is_stored", "names_of_group"]

_IN_MEMORY = {"MemoryStore", "GpuMemoryStore", "ManagedMemoryStore", "MemoryFileSystem"}
"""Types of zarr, obstore and fsspec that keep what they hold in this process."""


def is_stored(array: Any) -> bool:
    """Whether `array` is one of Zarr's."""
    return isinstance(array, zarr.Array)


def names_of_group(value: Any) -> list[str] | None:
    """Names of the arrays of a group of Zarr; None of anything else."""
    return sorted(value.array_keys()) if isinstance(value, zarr.Group) else None


class StoredRows:
    """The rows of a Zarr array, for this process or for those that it is sent to.

    Parameters
    ----------
    array : zarr.Array
        With a relative path it is taken to lie in the working directory of this process.
    name : str
        Of the argument that it was given as, for the messages.

    Attributes
    ----------
    in_memory : bool
        Whether no other process can read it.
    """

    def __init__(self, array: zarr.Array[Any], name: str) -> None:
        self.shape, self.dtype, self.ndim, self.chunks = array.shape, array.dtype, array.ndim, array.chunks
        self.in_memory = _is_in_memory(array.store)
        self._name = name
        store = array.store
        if type(store) is LocalStore:
            store = LocalStore(store.root.absolute(), read_only=True)
        self._place = StorePath(store, array.path)
        self._metadata = array.metadata

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read some rows whole, for Dask."""
        return self.read(*(key[0] if isinstance(key, tuple) else key).indices(self.shape[0])[:2])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read the rows `start` to `stop`.

        Raises
        ------
        ValueError
            If the array is not here, or is another than was given, or a chunk of it is damaged.
        StorageError
            If the storage refuses or fails.
        """
        if isinstance(self._place.store, ReadingStore):  # ours, which knows the checksums of its chunks
            return arrays.read_part(zarr.Array(zarr.AsyncArray(self._metadata, self._place)), start, stop)
        self._check_here()
        array = self._opened()
        try:
            return np.asarray(array[start:stop])
        except (DkmeansError, MemoryError):
            raise
        except Exception as error:  # each codec has its own
            raise self._damaged(start, stop, error) from error

    def _opened(self) -> zarr.Array[Any]:
        place = StorePath(_Whole(self._place.store), self._place.path)
        return zarr.Array(zarr.AsyncArray(self._metadata, place))

    def _check_here(self) -> None:
        """Refuse an array that this process does not find, or finds to be another."""
        try:
            found = sync(zarr.AsyncArray.open(self._place, zarr_format=self._metadata.zarr_format)).metadata
        except FileNotFoundError as error:
            raise ValueError(
                f"{self._name}: found no Zarr array at {self._place} on {socket.gethostname()}; expected it "
                "wherever its rows are read. Open it by a path or URL that all workers have, or pass "
                f"{self._name}[:]."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self._name}: the metadata of the Zarr array {self._place} is damaged: {error!r}. "
                "Write it again."
            ) from error
        if _layout(found) != _layout(self._metadata):
            raise ValueError(
                f"{self._name}: the Zarr array at {self._place} on {socket.gethostname()} is another one: "
                f"found {found.dtype.to_native_dtype()} of shape {found.shape}, expected {self.dtype} of "
                f"{self.shape}, in the chunks and codecs of the array that was given. Open it again."
            )

    def _damaged(self, start: int, stop: int, error: Exception) -> ValueError:
        """Make the error that names the object that cannot be read, with the words of Zarr."""
        for key, region in self._objects(start, stop):
            try:
                self._opened()[region]
            except Exception as again:
                said = f"{type(again).__name__}: {again}"
                return ValueError(
                    f"{self._name}: the chunk {key} of the Zarr array {self._place} is damaged ({said}). "
                    "Write it again, or pass the other rows."
                )
        said = f"{type(error).__name__}: {error}"
        return ValueError(
            f"{self._name}: rows {start} to {stop} of the Zarr array {self._place} were damaged ({said}), "
            "and no more when read again. Wait until it is written whole."
        )

    def _objects(self, start: int, stop: int) -> Iterator[tuple[str, tuple[slice, ...]]]:
        """Give key and region of the objects (shards, or chunks without) that hold rows `start` to `stop`."""
        array = self._opened()
        sizes = array.shards or array.chunks
        rows = range(start // sizes[0], -(-stop // sizes[0]))
        others = [range(-(-n // size)) for n, size in zip(self.shape[1:], sizes[1:], strict=True)]
        for at in product(rows, *others):
            region = tuple(slice(i * size, (i + 1) * size) for i, size in zip(at, sizes, strict=True))
            yield self._metadata.encode_chunk_key(at), region


class _Whole(WrapperStore[Any]):
    """A store that gives all bytes that it was asked for, if it has the object at all."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        try:
            found: Buffer | None = await super().get(key, prototype, byte_range)
        except DkmeansError:
            raise
        except Exception as error:  # each store has its own
            raise StorageError(f"reading {key} of {self._store} failed: {error!r}. Try again.") from error
        if found is not None and len(found) < _least(byte_range):
            raise ValueError(f"it has {len(found)} of {_least(byte_range)} bytes")
        return found


def _least(byte_range: ByteRequest | None) -> int:
    """Count the bytes that a whole object has to give."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.end - byte_range.start
    return byte_range.suffix if isinstance(byte_range, SuffixByteRequest) else 1


def _is_in_memory(store: Any) -> bool:
    """Whether what a store holds lies in this process, below all stores that wrap it."""
    seen = [store]
    for name in ("_store", "store", "fs", "sync_fs"):
        while (inner := getattr(seen[-1], name, None)) is not None:
            seen.append(inner)
    return any(type(found).__name__ in _IN_MEMORY for found in seen)


def _layout(metadata: Any) -> dict[str, Any]:
    """Take from metadata all but the attributes, which may be changed meanwhile."""
    (document,) = (
        value.to_bytes()
        for key, value in metadata.to_buffer_dict(default_buffer_prototype()).items()
        if key in ("zarr.json", ".zarray")
    )
    found: dict[str, Any] = json.loads(document)
    found.pop("attributes", None)
    return found
