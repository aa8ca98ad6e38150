"""URLs, objects and arrays: the one module that imports obstore and zarr.

A URL is a local path, or ``file://``, ``s3://``, ``gs://``, ``az://``, ``http(s)://`` or ``memory://``
(the last for tests: it lives in this process). Objects are addressed by a URL and a key relative to it;
keys are checked, so nothing outside the URL can be read or written. Every error of the libraries below
leaves this module as a `StorageError`, or as an `InputError` where something is simply not there.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import obstore.exceptions
import zarr
from obstore.store import LocalStore, MemoryStore
from zarr.storage import ObjectStore, StorePath

from dkmeans.errors import InputError, StorageError
from dkmeans.plan import RowLayout

__all__ = [
    "StoredObject",
    "create_array",
    "create_object",
    "delete_objects",
    "exists",
    "finished_shards",
    "is_local",
    "join_url",
    "list_objects",
    "object_size",
    "open_array",
    "read_object",
    "read_range",
    "resolve_url",
    "row_layout",
    "write_object",
    "write_rows",
]

_MEMORY: dict[str, MemoryStore] = {}


@dataclass(frozen=True)
class StoredObject:
    """One object below a URL: its key relative to the URL, and its size in bytes."""

    key: str
    size: int


def is_local(url: str) -> bool:
    """Whether `url` names a place in the local file system."""
    return url.startswith("file://") or "://" not in url


def resolve_url(url: str) -> str:
    """`url` with a local path made absolute, and no slash at its end."""
    if is_local(url):
        return str(Path(url.removeprefix("file://")).expanduser().absolute())
    return url.rstrip("/")


def join_url(url: str, key: str) -> str:
    """The URL of the object `key` below `url`."""
    return f"{url.rstrip('/')}/{check_key(key)}"


def check_key(key: str) -> str:
    """`key`, if it stays below the URL that it is used with.

    Raises
    ------
    InputError
        For an absolute key, or one with an empty, ``.`` or ``..`` part.
    """
    parts = key.replace("\\", "/").split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in key:
        raise InputError(
            f"the key {key!r} would leave its folder; expected a relative path without '..'. "
            "Rename the image."
        )
    return key


def _open_store(url: str, *, create: bool = False) -> Any:
    """The obstore store at `url`. The type is Any: obstore's stores share no public base class."""
    if url.startswith("memory://"):
        # One store for the process: a key space, not a place, so that any prefix of a URL can be opened.
        return _MEMORY.setdefault("", MemoryStore())
    if is_local(url):
        return LocalStore(resolve_url(url), mkdir=create)
    return obstore.store.from_url(url)


def _key_in_store(url: str, key: str) -> str:
    """`key` as the store of `url` knows it: memory stores keep the URL's own path in the key."""
    if url.startswith("memory://"):
        base = url.removeprefix("memory://").strip("/")
        return f"{base}/{key}" if key else base
    return key


@contextmanager
def _translated(url: str, doing: str) -> Iterator[None]:
    """Turn the errors of obstore and the file system into ours, with the URL and the remedy."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{url}: not found while {doing}. Check the path.") from error
    except obstore.exceptions.PermissionDeniedError as error:
        raise _refused(url, doing) from error
    except (obstore.exceptions.BaseError, OSError) as error:
        text = str(error)
        if "os error 28" in text or getattr(error, "errno", None) == errno.ENOSPC:
            raise StorageError(
                f"{url}: no space left on the device while {doing}. "
                "Free some space, then run the same command with --resume."
            ) from error
        if "os error 13" in text or getattr(error, "errno", None) == errno.EACCES:
            raise _refused(url, doing) from error
        if "os error 20" in text:  # ENOTDIR: a part of the path is a file
            raise StorageError(f"{url}: a part of this path is a file, expected a folder.") from error
        first_line = text.splitlines()[0] if text else type(error).__name__
        raise StorageError(f"{url}: {doing} failed: {first_line}") from error


def _refused(url: str, doing: str) -> StorageError | InputError:
    kind = InputError if doing.startswith(("reading", "listing")) and is_local(url) else StorageError
    remedy = "Give this user the right to it." if is_local(url) else "Check credentials and policy."
    return kind(f"{url}: permission denied while {doing}. {remedy}")


# Objects


def list_objects(url: str, prefix: str = "") -> list[StoredObject]:
    """All objects below `url` (and below the folder `prefix` in it), sorted by key.

    A folder that does not exist has no objects, as in an object store.
    """
    if is_local(url) and not Path(resolve_url(url)).is_dir():
        return []
    base = _key_in_store(url, "")
    with _translated(url, "listing its objects"):
        inside = "/".join(part for part in (base, prefix) if part)
        metas = [meta for page in obstore.list(_open_store(url), prefix=inside or None) for meta in page]
    cut = len(base) + 1 if base else 0
    return sorted((StoredObject(meta["path"][cut:], meta["size"]) for meta in metas), key=lambda o: o.key)


def exists(url: str, key: str) -> bool:
    """Whether the object `key` lies below `url`."""
    if is_local(url):
        return Path(resolve_url(url), check_key(key)).is_file()
    with _translated(url, f"looking for {key}"):
        try:
            obstore.head(_open_store(url), _key_in_store(url, check_key(key)))
        except FileNotFoundError:
            return False
    return True


def read_object(url: str, key: str) -> bytes:
    """The bytes of one object."""
    with _translated(join_url(url, key), "reading it"):
        return bytes(obstore.get(_open_store(url), _key_in_store(url, key)).bytes())


def object_size(url: str, key: str) -> int:
    """The size of one object in bytes."""
    with _translated(join_url(url, key), "reading it"):
        return int(obstore.head(_open_store(url), _key_in_store(url, key))["size"])


def read_range(url: str, key: str, start: int, length: int) -> bytes:
    """At most `length` bytes of one object from byte `start`; fewer at its end, none behind it."""
    if length < 1:
        return b""
    with _translated(join_url(url, key), "reading it"):
        store, path = _open_store(url), _key_in_store(url, key)
        try:
            return bytes(obstore.get_range(store, path, start=start, length=length))
        except obstore.exceptions.BaseError:  # a start at or behind the end is an error to obstore
            if start < obstore.head(store, path)["size"]:
                raise
            return b""


def write_object(url: str, key: str, data: bytes) -> None:
    """Write one object whole: readers see the old bytes or the new ones, never a part."""
    with _translated(join_url(url, key), "writing it"):
        obstore.put(_open_store(url, create=True), _key_in_store(url, key), data)


def create_object(url: str, key: str, data: bytes) -> bool:
    """Write one object unless it exists; False if it does. Of several writers exactly one wins."""
    with _translated(join_url(url, key), "creating it"):
        try:
            obstore.put(_open_store(url, create=True), _key_in_store(url, key), data, mode="create")
        except obstore.exceptions.AlreadyExistsError:
            return False
    return True


def delete_objects(url: str, keys: list[str]) -> None:
    """Delete objects; one that is already gone is no error."""
    if not keys:
        return
    store = _open_store(url)
    with _translated(url, "deleting objects"):
        for key in keys:
            try:
                obstore.delete(store, _key_in_store(url, check_key(key)))
            except FileNotFoundError:
                continue
    if is_local(url):
        _remove_empty_folders(Path(resolve_url(url)))


def _remove_empty_folders(root: Path) -> None:
    for folder in sorted(root.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


# Arrays


def create_array(
    url: str,
    name: str,
    *,
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...] | None = None,
    shards: tuple[int, ...] | None = None,
) -> zarr.Array[Any]:
    """Create the array `name` of the group at `url`, or open it if it is there with the same layout.

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
    )
    metadata = scratch["zarr.json"].to_bytes()
    key = f"{name}/zarr.json"
    if not create_object(url, key, metadata) and read_object(url, key) != metadata:
        raise StorageError(
            f"{url}: the array {name!r} is already there with another shape or chunks. "
            "Run with --overwrite to begin anew."
        )
    return open_array(url, name)


def open_array(url: str, name: str) -> zarr.Array[Any]:
    """The array `name` of the group at `url`, to read and to write."""
    with _translated(url, f"reading the array {name}"):
        store = StorePath(ObjectStore(_open_store(url)), _key_in_store(url, name))
        # Empty chunks are written too: then a shard that exists is a shard that is done.
        return zarr.open_array(store, mode="r+", config={"write_empty_chunks": True})


def row_layout(array: zarr.Array[Any]) -> RowLayout:
    """How the rows of an array are cut."""
    return RowLayout(array.chunks[0], (array.shards or array.chunks)[0])


def finished_shards(url: str, name: str) -> set[int]:
    """Indices along the first axis of the shards of `name` that are in storage.

    A shard is one object, put whole, so its presence means that it is complete.
    """
    pattern = re.compile(rf"{re.escape(name)}/c/(\d+)(?:/0)*")
    matches = (pattern.fullmatch(found.key) for found in list_objects(url, f"{name}/c"))
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
    if start % size or (stop % size and stop != array.shape[0]):
        raise ValueError(f"{name}: rows {start}:{stop} do not fill shards of {size} rows")
    with _translated(url, f"writing {name}"):
        array[start:stop] = rows
