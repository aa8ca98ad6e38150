"""A store: the objects below one URL, to list, read, write, create and delete.

It is opened once and passed on. Requests that fail are repeated, bytes are counted for the job, and every
error leaves as a `StorageError`, or as an `InputError` where something is simply not there.
"""

from __future__ import annotations

import builtins
import contextvars
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
import obstore.exceptions

from dkmeans.errors import DkmeansError, InputError
from dkmeans.storage import forking, local_files
from dkmeans.storage.access import count
from dkmeans.storage.backends import open_backend, reach
from dkmeans.storage.faults import meaning, translated
from dkmeans.storage.retries import RETRIES, Retries, was_lost
from dkmeans.storage.urls import check_key, is_local, resolve_url

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Store", "StoredObject", "open_store"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class StoredObject:
    """One object below a URL.

    Attributes
    ----------
    key : str
        Relative to the URL.
    size : int
        In bytes.
    version : str
        Another one when the object was written anew: its ETag, or the time; empty where it was not asked for.
    """

    key: str
    size: int
    version: str = field(default="", compare=False)


def open_store(url: str | Store) -> Store:
    """Open the store at `url`, and see whether it answers; one that is open already is given back.

    Raises
    ------
    StorageError
        If it does not answer, or URL or options mean nothing.
    UsageError
        If the URL or an option is none.
    """
    if isinstance(url, Store):
        return url
    reach(resolve_url(url))
    return Store(url)


class Store:
    """The objects below `url`, by keys relative to it; nothing outside can be read or written.

    It pickles as its URL, without connections: another process opens it with the options of the job there.

    Parameters
    ----------
    url : str
        A path or URL, see `dkmeans.storage.urls`.
    retries : Retries
        For how long a request is repeated.
    at_a_time : int
        Requests that are under way together; more than 16 are hardly faster, see deploy/README.md.
    ahead_bytes : int
        Bytes that `get_many` reads before they are asked for.

    Attributes
    ----------
    url : str
        Resolved: a local path is absolute, and no slash is at its end.
    """

    def __init__(
        self, url: str, *, retries: Retries = RETRIES, at_a_time: int = 16, ahead_bytes: int = 64 << 20
    ) -> None:
        self.url = resolve_url(url)
        self.retries = retries
        self.at_a_time = at_a_time
        self.ahead_bytes = ahead_bytes
        self._backend: ObjectStore | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_backend": None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    @property
    def is_local(self) -> bool:
        """Whether it is a folder in the local file system."""
        return is_local(self.url)

    def url_of(self, key: str) -> str:
        """The URL of the object `key`."""
        return f"{self.url.rstrip('/')}/{check_key(key)}"

    def below(self, key: str) -> Store:
        """The store of what lies below `key`."""
        options: dict[str, Any] = {"at_a_time": self.at_a_time, "ahead_bytes": self.ahead_bytes}
        return Store(self.url_of(key), retries=self.retries, **options)

    def backend(self, *, create: bool = False) -> ObjectStore:
        """Obstore's store; with `create` a local folder is made where there is none."""
        if self._backend is None:
            self._backend = open_backend(self.url, self.retries, create=create)
        forking.check(self.url)
        return self._backend

    def path(self, key: str) -> str:
        """`key` as the backend knows it: stores in memory keep the URL's own path in the key."""
        if self.url.startswith("memory://"):
            base = self.url.removeprefix("memory://").strip("/")
            return f"{base}/{key}" if key else base
        return key

    def list(
        self, prefix: str = "", left_out: builtins.list[str] | None = None
    ) -> builtins.list[StoredObject]:
        """All objects (below the folder `prefix`), sorted by key.

        A folder that does not exist has no objects, as in an object store. There the folders directly below
        are listed together, as each takes a request per 1,000 objects.

        What lies in a local folder and cannot be an object is left out: pipes and other devices, links to
        nothing or to a folder that they lie in, folders that may not be read, names that are not UTF-8.
        `left_out` gets the key of each, and why.
        """
        base = self.path("")
        inside = "/".join(part for part in (base, prefix) if part)
        with translated(self.url, "listing its objects"):
            if self.is_local:
                root, odd = Path(self.url), [] if left_out is None else left_out
                files = local_files.walk(root, inside, odd) if root.is_dir() else []
                return sorted((StoredObject(*each) for each in files), key=lambda found: found.key)
            metas = self._listed(inside or None)
        cut = len(base) + 1 if base else 0
        found = (StoredObject(meta["path"][cut:], meta["size"], _version(meta)) for meta in metas)
        return sorted(found, key=lambda each: each.key)

    def _listed(self, inside: str | None) -> builtins.list[Any]:
        backend, repeated = self.backend(), self.retries.call
        if self.url.startswith(("http://", "https://")):
            raise InputError(
                f"{self.url}: a web server does not list its files; expected the URL of one image or stack. "
                "Copy the folder first, or name a file in it."
            )

        def below(folder: str) -> list[Any]:
            return repeated(lambda: [meta for page in obstore.list(backend, folder) for meta in page])

        top = repeated(lambda: obstore.list_with_delimiter(backend, inside))
        folders = self._together(below, top["common_prefixes"])
        return [*top["objects"], *(meta for metas in folders for meta in metas)]

    def _together(self, function: Callable[[Any], _T], items: Sequence[Any]) -> builtins.list[_T]:
        """`function` of each item, in order, several at a time."""
        if len(items) < 2:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self.at_a_time) as pool:
            return list(pool.map(function, items))

    def exists(self, key: str) -> bool:
        """Whether the object `key` is there."""
        check_key(key)
        with translated(self.url, f"looking for {key}"):
            if self.is_local:
                return Path(self.url, key).is_file()
            try:
                self.retries.call(obstore.head, self.backend(), self.path(key))
            except FileNotFoundError:
                return False
        return True

    def head(self, key: str) -> int:
        """The size of one object in bytes."""
        return self.look(key).size

    def look(self, key: str) -> StoredObject:
        """One object as `list` tells of it."""
        with translated(self.url_of(key), "reading it"):
            if self.is_local:
                found = Path(self.url, check_key(key)).stat()
                return StoredObject(key, found.st_size, str(found.st_mtime_ns))
            meta = self.retries.call(obstore.head, self.backend(), self.path(key))
            return StoredObject(key, int(meta["size"]), _version(meta))

    def get(self, key: str) -> bytes:
        """The bytes of one object."""
        with translated(self.url_of(key), "reading it"):
            if (folder := self._without_obstore()) is not None:
                data = local_files.read(folder / key)
            else:
                data = self._whole(key)
        _count(read=len(data))
        return data

    def get_or_none(self, key: str) -> bytes | None:
        """The bytes of one object, or None where there is none: one request, not a look and another."""
        if self.is_local:
            return self.get(key) if self.exists(key) else None
        check_key(key)
        with translated(self.url_of(key), "reading it"):
            try:
                data = self._whole(key)
            except FileNotFoundError as error:
                if meaning(error):  # not the object is missing, but the bucket
                    raise
                return None
        _count(read=len(data))
        return data

    def _without_obstore(self) -> Path | None:
        """The folder of a local store in a forked child, where obstore cannot read it; else None."""
        return Path(self.url) if forking.forked() and self.is_local else None

    def _whole(self, key: str) -> bytes:
        backend, path = self.backend(), self.path(key)
        return self.retries.call(lambda: bytes(obstore.get(backend, path).bytes()))

    def get_many(
        self, objects: Sequence[StoredObject], limit: int | None = None
    ) -> Iterator[bytes | DkmeansError]:
        """The bytes of each object, or why it cannot be read, in order.

        Of an object larger than `limit` only so many bytes from its beginning. In an object store several
        are read at a time, ahead of what is taken.
        """

        def read(found: StoredObject) -> bytes | DkmeansError:
            try:
                if limit is not None and found.size > limit:
                    return self.get_range(found.key, 0, limit)
                return self.get(found.key)
            except DkmeansError as error:
                return error

        if self.is_local:  # a thread costs more time than a file
            yield from map(read, objects)
            return
        pending: deque[tuple[int, Future[bytes | DkmeansError]]] = deque()
        ahead = 0
        with ThreadPoolExecutor(self.at_a_time) as pool:
            for found in objects:
                size = min(found.size, limit or found.size)
                while pending and (len(pending) == self.at_a_time or ahead + size > self.ahead_bytes):
                    ahead -= pending[0][0]
                    yield pending.popleft()[1].result()
                pending.append((size, pool.submit(contextvars.copy_context().run, read, found)))
                ahead += size
            while pending:
                yield pending.popleft()[1].result()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes of one object from byte `start`; fewer at its end, none behind it."""
        if length < 1:
            return b""
        with translated(self.url_of(key), "reading it"):
            if (folder := self._without_obstore()) is not None:
                return local_files.read(folder / key, start, length)
            backend, path = self.backend(), self.path(key)
            try:
                data = bytes(self.retries.call(obstore.get_range, backend, path, start=start, length=length))
            except obstore.exceptions.BaseError as error:  # a start at or behind the end is one to obstore
                if was_lost(error) or start < self.retries.call(obstore.head, backend, path)["size"]:
                    raise
                return b""
        _count(read=len(data))
        return data

    def put(self, key: str, data: bytes) -> None:
        """Write one object whole: readers see the old bytes or the new ones, never a part."""
        with translated(self.url_of(key), "writing it"):
            self.retries.call(obstore.put, self.backend(create=True), self.path(key), data)
        _count(written=len(data))

    def create(self, key: str, data: bytes) -> bool:
        """Write one object unless it exists; False if it does. Of several writers exactly one wins.

        The data of each writer have to be its own: if an answer is lost on the way, what lies there tells
        whether the write was done.
        """
        with translated(self.url_of(key), "creating it"):
            backend, path = self.backend(create=True), self.path(key)
            try:
                self.retries.call(obstore.put, backend, path, data, mode="create")
            except obstore.exceptions.AlreadyExistsError:  # another was first, or our write was repeated
                if self.is_local or self._whole(key) != data:
                    return False
        _count(written=len(data))
        return True

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is already gone is no error."""
        if not keys:
            return
        with translated(self.url, "deleting objects"):
            if self.is_local and not Path(self.url).exists():
                return
            for key in keys:
                try:
                    self.retries.call(obstore.delete, self.backend(), self.path(check_key(key)))
                except FileNotFoundError:
                    continue
            if self.is_local:
                local_files.remove_empty_folders(Path(self.url))


def _version(meta: Any) -> str:
    """ETag of an object, or the time when it was written."""
    return str(meta["e_tag"] or meta["last_modified"].isoformat())


def _count(*, read: int = 0, written: int = 0) -> None:
    count(bytes_read=read, bytes_written=written)
