"""Objects below a URL: list, read, write, create, delete.

Keys are relative to the URL and checked, so nothing outside it can be read or written. Every error leaves
this module as a `StorageError`, or as an `InputError` where something is simply not there.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import obstore
import obstore.exceptions

from dkmeans.errors import DkmeansError, InputError
from dkmeans.storage import access, forking, local_files
from dkmeans.storage.stores import (
    is_local,
    key_in_store,
    open_store,
    repeat,
    resolve_url,
    translated,
    was_lost,
)

__all__ = [
    "StoredObject",
    "check_key",
    "create_object",
    "delete_objects",
    "exists",
    "join_url",
    "list_objects",
    "object_size",
    "read_object",
    "read_objects",
    "read_range",
    "write_object",
]

_T = TypeVar("_T")

_AT_A_TIME = 16
"""Requests of one task that are under way together; more are hardly faster, see deploy/README.md."""
_AHEAD_BYTES = 64 << 20
"""Bytes that are read before they are asked for."""


@dataclass(frozen=True)
class StoredObject:
    """One object below a URL: its key relative to the URL, and its size in bytes."""

    key: str
    size: int


def join_url(url: str, key: str) -> str:
    """The URL of the object `key` below `url`."""
    return f"{url.rstrip('/')}/{check_key(key)}"


def check_key(key: str) -> str:
    """`key`, if it stays below the URL that it is used with.

    Raises
    ------
    InputError
        For an absolute key, one with an empty, ``.`` or ``..`` part, or one with a control character.
    """
    parts = key.replace("\\", "/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise InputError(
            f"the key {key!r} would leave its folder; expected a relative path without '..'. "
            "Rename the image."
        )
    if any(character < " " or character == "\x7f" for character in key):
        raise InputError(f"the key {key!r} holds a control character. Rename the image.")
    return key


def list_objects(url: str, prefix: str = "", left_out: list[str] | None = None) -> list[StoredObject]:
    """All objects below `url` (and below the folder `prefix` in it), sorted by key.

    A folder that does not exist has no objects, as in an object store. There the folders directly below are
    listed together, as each takes a request per 1,000 objects.

    What lies in a local folder and cannot be an object is left out: pipes and other devices, links to nothing
    or to a folder that they lie in, folders that may not be read, names that are not UTF-8. `left_out` gets
    the key of each, and why.
    """
    base = key_in_store(url, "")
    inside = "/".join(part for part in (base, prefix) if part) or None
    with translated(url, "listing its objects"):
        if is_local(url):
            root, odd = Path(resolve_url(url)), [] if left_out is None else left_out
            found = local_files.walk(root, inside or "", odd) if root.is_dir() else []
            return sorted((StoredObject(*each) for each in found), key=lambda each: each.key)
        store = open_store(url)
        if url.startswith(("http://", "https://")):
            raise InputError(
                f"{url}: a web server does not list its files; expected the URL of one image or stack. Copy "
                "the folder first, or name a file in it."
            )
        top = repeat(lambda: obstore.list_with_delimiter(store, inside))
        below = _together(lambda folder: _listed(store, folder), top["common_prefixes"])
        metas = [*top["objects"], *(meta for found in below for meta in found)]
    cut = len(base) + 1 if base else 0
    return sorted((StoredObject(meta["path"][cut:], meta["size"]) for meta in metas), key=lambda o: o.key)


def _without_obstore(url: str) -> Path | None:
    """The folder of a local `url` in a forked child, where obstore cannot read it; else None."""
    return Path(resolve_url(url)) if forking.forked() and is_local(url) else None


def _listed(store: Any, prefix: str | None) -> list[Any]:
    return repeat(lambda: [meta for page in obstore.list(store, prefix=prefix) for meta in page])


def _together(function: Callable[[Any], _T], items: Sequence[Any]) -> list[_T]:
    """`function` of each item, in order, several at a time."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(function, items))


def exists(url: str, key: str) -> bool:
    """Whether the object `key` lies below `url`."""
    check_key(key)
    with translated(url, f"looking for {key}"):
        if is_local(url):
            return Path(resolve_url(url), key).is_file()
        try:
            repeat(obstore.head, open_store(url), key_in_store(url, key))
        except FileNotFoundError:
            return False
    return True


def read_object(url: str, key: str) -> bytes:
    """The bytes of one object."""
    with translated(join_url(url, key), "reading it"):
        if (folder := _without_obstore(url)) is not None:
            data = local_files.read(folder / key)
        else:
            data = repeat(_whole, open_store(url), key_in_store(url, key))
    _count(read=len(data))
    return data


def _whole(store: Any, path: str) -> bytes:
    return bytes(obstore.get(store, path).bytes())


def read_objects(
    url: str, objects: Sequence[StoredObject], limit: int | None = None
) -> Iterator[bytes | DkmeansError]:
    """The bytes of each object, or why it cannot be read, in order.

    Of an object larger than `limit` only so many bytes from its beginning. In an object store several are
    read at a time, ahead of what is taken, up to 64 MiB of them.
    """

    def read(found: StoredObject) -> bytes | DkmeansError:
        try:
            if limit is not None and found.size > limit:
                return read_range(url, found.key, 0, limit)
            return read_object(url, found.key)
        except DkmeansError as error:
            return error

    if is_local(url):  # a thread costs more time than a file
        yield from map(read, objects)
        return
    pending: deque[tuple[int, Future[bytes | DkmeansError]]] = deque()
    ahead = 0
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for found in objects:
            size = min(found.size, limit or found.size)
            while pending and (len(pending) == _AT_A_TIME or ahead + size > _AHEAD_BYTES):
                ahead -= pending[0][0]
                yield pending.popleft()[1].result()
            pending.append((size, pool.submit(contextvars.copy_context().run, read, found)))
            ahead += size
        while pending:
            yield pending.popleft()[1].result()


def object_size(url: str, key: str) -> int:
    """The size of one object in bytes."""
    with translated(join_url(url, key), "reading it"):
        if (folder := _without_obstore(url)) is not None:
            return (folder / key).stat().st_size
        return int(repeat(obstore.head, open_store(url), key_in_store(url, key))["size"])


def read_range(url: str, key: str, start: int, length: int) -> bytes:
    """At most `length` bytes of one object from byte `start`; fewer at its end, none behind it."""
    if length < 1:
        return b""
    with translated(join_url(url, key), "reading it"):
        if (folder := _without_obstore(url)) is not None:
            return local_files.read(folder / key, start, length)
        store, path = open_store(url), key_in_store(url, key)
        try:
            data = bytes(repeat(obstore.get_range, store, path, start=start, length=length))
        except obstore.exceptions.BaseError as error:  # a start at or behind the end is one to obstore
            if was_lost(error) or start < repeat(obstore.head, store, path)["size"]:
                raise
            return b""
    _count(read=len(data))
    return data


def write_object(url: str, key: str, data: bytes) -> None:
    """Write one object whole: readers see the old bytes or the new ones, never a part."""
    with translated(join_url(url, key), "writing it"):
        repeat(obstore.put, open_store(url, create=True), key_in_store(url, key), data)
    _count(written=len(data))


def create_object(url: str, key: str, data: bytes) -> bool:
    """Write one object unless it exists; False if it does. Of several writers exactly one wins.

    The data of each writer have to be its own: if an answer is lost on the way, what lies there tells whether
    the write was done.
    """
    with translated(join_url(url, key), "creating it"):
        try:
            repeat(obstore.put, open_store(url, create=True), key_in_store(url, key), data, mode="create")
        except obstore.exceptions.AlreadyExistsError:  # another was first, or our own write was repeated
            if is_local(url) or repeat(_whole, open_store(url), key_in_store(url, key)) != data:
                return False
    _count(written=len(data))
    return True


def delete_objects(url: str, keys: list[str]) -> None:
    """Delete objects; one that is already gone is no error."""
    if not keys:
        return
    with translated(url, "deleting objects"):
        if is_local(url) and not Path(resolve_url(url)).exists():
            return
        store = open_store(url)
        for key in keys:
            try:
                repeat(obstore.delete, store, key_in_store(url, check_key(key)))
            except FileNotFoundError:
                continue
        if is_local(url):
            _remove_empty_folders(Path(resolve_url(url)))


def _remove_empty_folders(root: Path) -> None:
    for folder in sorted(root.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _count(*, read: int = 0, written: int = 0) -> None:
    access.traffic_of(access.current_access().job).add(read=read, written=written)
