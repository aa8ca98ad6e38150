"""Arrays on storage, cut into chunks and shards: the one module that imports zarr.

Tasks write whole shards, each one object, so a shard is there whole or not at all.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import StorePath, WrapperStore

from dkmeans import access, array_stores, plan, storage, stores
from dkmeans.errors import InputError, StorageError
from dkmeans.plan import RowLayout

__all__ = [
    "check_whole",
    "create_array",
    "finished_shards",
    "open_array",
    "read_rows",
    "row_layout",
    "write_array",
    "write_rows",
]

_CHUNK_ROWS = 1 << 20
"""Rows in a chunk of an array that is written at once."""
_SMALL_LEVEL = 19


class _Counted(WrapperStore[Any]):
    """A store that counts what goes through it for the job that opened it."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.job = access.current_access().job

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        self._store = array_stores.alive(self._store)
        found: Buffer | None = await stores.repeat_async(super().get, key, prototype, byte_range)
        access.traffic_of(self.job).add(read=len(found) if found is not None else 0)
        return found

    async def set(self, key: str, value: Buffer) -> None:
        await stores.repeat_async(super().set, key, value)
        access.traffic_of(self.job).add(written=len(value))


def create_array(
    url: str,
    name: str,
    *,
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...] | None = None,
    shards: tuple[int, ...] | None = None,
    small: bool = False,
) -> zarr.Array[Any]:
    """Create the array `name` of the group at `url`, or open it if it is there with the same layout.

    `small` takes the codec that makes codes smallest of those that unpack 100 MB/s: zstd of level 19 instead
    of zarr's default, which is zstd's level 3. Measured on the codes of 24 photos, 9.4 million pixels with 16
    and 256 colors and 590,000 patches of 4x4 with 1,024 centers, in % of the bytes that they take in memory:

    ============================  ====  ====  ====
    zstd 3                        19.2  44.3  40.9
    zstd 9                        17.1  42.0  38.7
    zstd 19                       15.0  37.5  34.3
    gzip 9                        16.5  40.3  37.8
    Blosc, zstd 9, no shuffle     15.0  37.5  34.5
    Blosc, zstd 9, bytes          15.0  37.5  39.3
    Blosc, zstd 9, bits           20.7  68.9  50.1
    lzma (unpacks 40 to 80 MB/s)  14.6  36.9  30.6
    ============================  ====  ====  ====

    It packs 1 to 2 MB/s and unpacks 300 to 600; zstd 9 packs 22 to 29 and zstd 3 90 to 180. That is right for
    an archive, and too slow for the codes of compress, whose pixels are labelled many times faster.

    zarr.create_array() would also write the metadata of every group above the array, which makes a
    half-written artefact visible. So the metadata is made in memory and put in place by itself.

    Raises
    ------
    StorageError
        If another array of this name, with another layout, is in the way.
    """
    scratch: dict[str, Any] = {}
    zarr.create_array(
        zarr.storage.MemoryStore(scratch),
        shape=shape,
        dtype=dtype,
        chunks=tuple(max(1, size) for size in chunks or shape),
        shards=shards,
        compressors=ZstdCodec(level=_SMALL_LEVEL) if small else "auto",
    )
    metadata = scratch["zarr.json"].to_bytes()
    key = f"{name}/zarr.json"
    if not storage.create_object(url, key, metadata) and storage.read_object(url, key) != metadata:
        raise StorageError(
            f"{url}: the array {name!r} is already there with another shape or chunks. "
            "Run with --overwrite to begin anew."
        )
    return open_array(url, name)


def open_array(url: str, name: str) -> zarr.Array[Any]:
    """The array `name` of the group at `url`, to read and to write."""
    with stores.translated(url, f"reading the array {name}"):
        store = StorePath(_Counted(array_stores.opened(url)), stores.key_in_store(url, name))
        try:
            metadata = ArrayV3Metadata.from_dict(json.loads(storage.read_object(url, f"{name}/zarr.json")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{url}: the metadata of the array {name} is damaged: {error!r}.") from error
    # Empty chunks are written too: then a shard that is done exists. open_array() up to zarr 3.1 ignores
    # a config that it is given.
    return zarr.Array(zarr.AsyncArray(metadata, store, {"write_empty_chunks": True}))


def row_layout(array: zarr.Array[Any]) -> RowLayout:
    """How the rows of an array are cut."""
    return RowLayout(array.chunks[0], (array.shards or array.chunks)[0])


def finished_shards(url: str, name: str) -> set[int]:
    """Indices along the first axis of the shards of `name` that are in storage.

    A shard is one object, put whole, so its presence means that it is complete.
    """
    pattern = re.compile(rf"{re.escape(name)}/c/(\d+)(?:/0)*")
    matches = (pattern.fullmatch(found.key) for found in storage.list_objects(url, f"{name}/c"))
    return {int(match[1]) for match in matches if match}


def write_rows(url: str, name: str, start: int, rows: np.ndarray[Any, Any]) -> None:
    """Write whole shards of the array `name`, from row `start`.

    Raises
    ------
    ValueError
        If the rows do not begin and end on borders of shards: two tasks would write one shard and
        lose data silently (zarr-python#3682, dask#12583).
    """
    array = open_array(url, name)
    size = row_layout(array).shard_rows
    stop = start + len(rows)
    if start % size or stop > array.shape[0] or (stop % size and stop != array.shape[0]):
        raise ValueError(f"{name}: rows {start}:{stop} do not fill shards of {size} rows")
    with stores.translated(url, f"writing {name}"):
        array[start:stop] = rows


def read_rows(url: str, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
    """Rows `start` to `stop` of the array `name`; all by default."""
    array = open_array(url, name)
    with stores.translated(url, f"reading {name}"):
        return np.atleast_1d(np.asarray(array[start : array.shape[0] if stop is None else stop]))


def write_array(url: str, name: str, values: NDArray[Any]) -> None:
    """Create the array `name` and write it all: for what the driver holds, not for rows."""
    is_text = values.dtype.kind == "T"
    dtype = "string" if is_text else values.dtype
    # No larger than the array: zarr fills a whole chunk in memory, and compresses it.
    chunks = (max(1, min(_CHUNK_ROWS, len(values))), *values.shape[1:])
    array = create_array(url, name, shape=values.shape, dtype=dtype, chunks=chunks)
    if values.size:
        with stores.translated(url, f"writing {name}"):
            array[...] = values


def check_whole(url: str, name: str) -> None:
    """Refuse an array of which a shard is missing: it would silently be read as zeros.

    Raises
    ------
    InputError
        Naming the first of the shards that are not there.
    """
    array = open_array(url, name)
    wanted = range(len(plan.cuts(array.shape[0], row_layout(array).shard_rows)))
    missing = sorted(set(wanted) - finished_shards(url, name))
    if missing:
        raise InputError(
            f"{url}: {len(missing)} of {len(wanted)} shards of {name} are gone, the first is number "
            f"{missing[0]}. Make it anew with --overwrite."
        )
