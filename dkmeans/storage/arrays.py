"""Arrays on storage, cut into chunks and shards.

Tasks write whole shards, each one object, so a shard is there whole or not at all. What is read is checked:
once an array is sealed, its metadata hold a checksum of each chunk of its rows (`checksums`), and
before that those of the packed chunks, by zarr, are compared. Nothing is ever read as a fill value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.errors import DkmeansError, InputError, StorageError
from dkmeans.plan import RowLayout
from dkmeans.storage import checksums, nodes
from dkmeans.storage.faults import translated
from dkmeans.storage.nodes import damaged
from dkmeans.storage.store import Store

if TYPE_CHECKING:  # zarr loads where an array is opened: jobs without arrays need not wait for it
    import zarr

    from dkmeans.storage.zarr_stores import ReadingStore

__all__ = [
    "array_at",
    "check_whole",
    "create_array",
    "cut_shards",
    "finished_shards",
    "open_array",
    "read_part",
    "read_rows",
    "row_layout",
    "seal",
    "table_of",
    "write_array",
    "write_rows",
]

_CHUNK_ROWS = 1 << 20
"""Rows in a chunk of an array that is written at once."""


def create_array(
    store: Store,
    name: str,
    *,
    shape: tuple[int, ...],
    dtype: Any,
    dimensions: tuple[str, ...] | None = None,
    chunks: tuple[int, ...] | None = None,
    shards: tuple[int, ...] | None = None,
    small: bool = False,
    table: NDArray[np.uint32] | None = None,
    resize: bool = False,
) -> zarr.Array[Any]:
    """Create the array `name` of a group to write it, or open it if it is there, laid out alike.

    Parameters
    ----------
    store : Store
        Of the group.
    name : str
    shape, chunks, shards : tuple of int
    dtype : dtype, or "string"
    dimensions : tuple of str, or None
        What the axes are called.
    small : bool
        Whether to take the codec that makes codes smallest, and is slow to pack: for archives.
    table : ndarray of shape (n_chunks,), uint32, or None
        Checksums of its chunks, where they are known before it is written.
    resize : bool
        Whether an array that is there may have another number of rows; it gets these, and is not sealed.

    Raises
    ------
    StorageError
        If another array of this name, with another layout, is in the way.
    """
    node = nodes.make_node(shape, dtype, chunks, shards, dimensions, small=small)
    if table is not None:
        node = nodes.seal_node(node, table)
    if not store.create(nodes.node_key(name), nodes.encode_node(node)):
        there = nodes.read_node(store, name)
        if resize and there.get("shape") != node["shape"]:
            there = {**there, "shape": [shape[0], *there.get("shape", [])[1:]], "attributes": {}}
            if nodes.same_layout(there, node):
                store.put(nodes.node_key(name), nodes.encode_node(node))
        if not nodes.same_layout(there, node):
            raise StorageError(
                f"{store.url}: the array {name!r} is already there with another shape or chunks. "
                "Run with --overwrite to start again."
            )
        if table is not None and there != node:
            store.put(nodes.node_key(name), nodes.encode_node(node))
    return _array(store, name, node, writes=True)


def seal(store: Store, name: str, table: NDArray[np.uint32]) -> None:
    """Note the checksums of the chunks of an array that has been written; from now on they are compared."""
    node = nodes.seal_node(nodes.read_node(store, name), table)
    store.put(nodes.node_key(name), nodes.encode_node(node))


def array_at(store: Store, name: str) -> zarr.Array[Any] | None:
    """The array `name` of a group, to read; None if a group has that name."""
    node = nodes.read_node(store, name)
    return _array(store, name, node) if node.get("node_type") == "array" else None


def open_array(store: Store, name: str) -> zarr.Array[Any]:
    """The array `name` of a group, to read.

    A missing or empty chunk is an error, and a damaged one is; `read_part` also compares the checksums.
    """
    return _array(store, name, nodes.read_node(store, name))


def _array(store: Store, name: str, node: dict[str, Any], *, writes: bool = False) -> zarr.Array[Any]:
    from dkmeans.storage.zarr_stores import ReadingStore, WritingStore, array_of

    return array_of(store, name, node, WritingStore if writes else ReadingStore)


def table_of(array: Any) -> NDArray[np.uint32] | None:
    """The checksums of the chunks of an array of dkmeans; None of one that is not sealed, or of others.

    Raises
    ------
    InputError
        If they are damaged.
    """
    from dkmeans.storage.zarr_stores import ReadingStore

    store = array.store_path.store
    if not isinstance(store, ReadingStore) or nodes.ABOUT not in array.attrs:
        return None
    try:
        table = checksums.unpacked(array.attrs[nodes.ABOUT]["crc32c"])
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(store.url, store.name, "zarr.json", f"{error!r}") from error
    if len(table) != len(plan.cuts(array.shape[0], array.chunks[0])):
        raise damaged(store.url, store.name, "zarr.json", f"it has {len(table)} checksums")
    return table


def row_layout(array: zarr.Array[Any]) -> RowLayout:
    """How the rows of an array are cut."""
    return RowLayout(array.chunks[0], (array.shards or array.chunks)[0])


def finished_shards(store: Store, name: str) -> set[int]:
    """Indices along the first axis of the shards of `name` that are in storage.

    A shard is one object, put whole, so its presence means that it is complete. One without a byte is none:
    a disk that lost power can leave such files.
    """
    pattern = re.compile(rf"{re.escape(name)}/c/(\d+)(?:/0)*")
    found = store.list(f"{name}/c")
    matches = (pattern.fullmatch(each.key) for each in found if each.size)
    return {int(match[1]) for match in matches if match}


def cut_shards(store: Store, name: str, shard: int) -> None:
    """Delete the shards of `name` from that with the index `shard` on, the last one first."""
    gone = sorted(each for each in finished_shards(store, name) if each >= shard)
    array = open_array(store, name)
    store.delete([f"{name}/{_shard_key(array, each)}" for each in reversed(gone)])


def write_rows(
    store: Store,
    name: str,
    start: int,
    rows: np.ndarray[Any, Any],
    opened: zarr.Array[Any] | None = None,
) -> None:
    """Write whole shards of the array `name`, from row `start`.

    `opened` is that array where it has been opened already: its metadata are not read again.

    Raises
    ------
    ValueError
        If the rows do not begin and end on borders of shards: two tasks would write one shard and
        lose data silently (zarr-python#3682, dask#12583).
    """
    if opened is None:
        array = _array(store, name, nodes.read_node(store, name), writes=True)
    else:
        from dkmeans.storage.zarr_stores import WritingStore, placed

        array = placed(store, name, opened.metadata, WritingStore)
    size = row_layout(array).shard_rows
    stop = start + len(rows)
    if start % size or stop > array.shape[0] or (stop % size and stop != array.shape[0]):
        raise ValueError(f"{name}: rows {start}:{stop} do not fill shards of {size} rows")
    with translated(store.url, f"writing {name}"):
        array[start:stop] = rows


def read_rows(store: Store, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
    """Rows `start` to `stop` of the array `name`, checked; all by default."""
    array = open_array(store, name)
    return read_part(array, start, array.shape[0] if stop is None else stop)


def read_part(array: zarr.Array[Any], start: int, stop: int) -> NDArray[Any]:
    """Rows `start` to `stop` of an array that `open_array` has opened.

    Raises
    ------
    InputError
        Naming the first shard that is damaged: one that cannot be unpacked, or a chunk that is not the one
        that was written.
    """
    store, size = _store_of(array), array.chunks[0]
    # Whole chunks, as zarr unpacks them whole too.
    first, last = start // size * size, min(-(-stop // size) * size, array.shape[0])
    with translated(store.url, f"reading {store.name}"):
        try:
            rows = np.atleast_1d(np.asarray(array[first:last]))
        except (DkmeansError, OSError, MemoryError):
            raise
        except Exception as error:  # zarr and its codecs raise almost anything on damaged bytes
            _raise_of_shard(array, first, last)
            raise error  # as no shard of its own is damaged
    table = table_of(array)
    if table is not None:
        wrong = checksums.of_chunks(rows, size) != table[first // size : -(-last // size)]
        if wrong.any():
            row = first + size * int(np.argmax(wrong))
            what = _shard_key(array, row // row_layout(array).shard_rows)
            raise damaged(store.url, store.name, what, f"row {row} begins a chunk with another checksum")
    return rows[start - first : stop - first]


def _store_of(array: zarr.Array[Any]) -> ReadingStore:
    from dkmeans.storage.zarr_stores import ReadingStore

    store = array.store_path.store
    assert isinstance(store, ReadingStore), "an array that open_array did not open"
    return store


def _shard_key(array: zarr.Array[Any], shard: int) -> str:
    return "/".join(["c", str(shard), *["0"] * (array.ndim - 1)])


def _raise_of_shard(array: zarr.Array[Any], first: int, last: int) -> None:
    """Raise the error of the first shard in a range of rows that cannot be read."""
    size = row_layout(array).shard_rows
    for shard in range(first // size, -(-last // size)):
        try:
            array[max(first, shard * size) : min(last, (shard + 1) * size)]
        except (DkmeansError, OSError, MemoryError):
            raise
        except Exception as error:
            store = _store_of(array)
            raise damaged(store.url, store.name, _shard_key(array, shard), str(error)) from error


def write_array(
    store: Store, name: str, values: NDArray[Any], dimensions: tuple[str, ...] | None = None
) -> None:
    """Create the array `name`, write it all, and seal it: for what the driver holds, not for rows."""
    is_text = values.dtype.kind == "T"
    dtype = "string" if is_text else values.dtype
    # No larger than the array: zarr fills a whole chunk in memory, and compresses it.
    chunks = (max(1, min(_CHUNK_ROWS, len(values))), *values.shape[1:])
    table = checksums.of_chunks(values, chunks[0])
    layout: dict[str, Any] = {"shape": values.shape, "dtype": dtype, "chunks": chunks}
    array = create_array(store, name, **layout, dimensions=dimensions, table=table)
    if values.size:
        with translated(store.url, f"writing {name}"):
            array[...] = values


def check_whole(store: Store, name: str) -> None:
    """Refuse an array of which a shard is missing or empty, before any is read.

    Raises
    ------
    InputError
        Naming the first of the shards that are not there.
    """
    array = open_array(store, name)
    wanted = range(len(plan.cuts(array.shape[0], row_layout(array).shard_rows)))
    missing = sorted(set(wanted) - finished_shards(store, name))
    if missing:
        raise InputError(
            f"{store.url}: {len(missing)} of {len(wanted)} shards of {name} are gone or empty, the first is "
            f"{_shard_key(array, missing[0])}. Restore them from a copy, or make it again with --overwrite."
        )
