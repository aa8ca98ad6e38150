"""URLs and objects: the one module that imports obstore.

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

import obstore
import obstore.exceptions
from obstore.store import LocalStore, MemoryStore

from dkmeans.errors import InputError, StorageError

__all__ = [
    "StoredObject",
    "create_object",
    "delete_objects",
    "exists",
    "is_local",
    "join_url",
    "list_objects",
    "object_size",
    "read_object",
    "read_range",
    "resolve_url",
    "write_object",
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


def open_store(url: str, *, create: bool = False) -> Any:
    """The obstore store at `url`. The type is Any: obstore's stores share no public base class."""
    if url.startswith("memory://"):
        # One store for the process: a key space, not a place, so that any prefix of a URL can be opened.
        return _MEMORY.setdefault("", MemoryStore())
    if is_local(url):
        if not create:
            Path(resolve_url(url)).stat()  # obstore's own error does not say why it cannot go there
        return LocalStore(resolve_url(url), mkdir=create)
    try:
        return obstore.store.from_url(url)
    except ValueError as error:  # a malformed URL
        raise StorageError(f"{url} cannot be used: {error}. Check the URL.") from error


def key_in_store(url: str, key: str) -> str:
    """`key` as the store of `url` knows it: memory stores keep the URL's own path in the key."""
    if url.startswith("memory://"):
        base = url.removeprefix("memory://").strip("/")
        return f"{base}/{key}" if key else base
    return key


@contextmanager
def translated(url: str, doing: str) -> Iterator[None]:
    """Turn the errors of obstore and the file system into ours, with the URL and the remedy."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{url}: not found while {doing}. Check the path.") from error
    except (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError) as error:
        raise _refused(url, doing) from error
    except (obstore.exceptions.BaseError, OSError) as error:
        text = str(error)
        number = _system_error(error)
        if number == errno.ENOSPC:
            raise StorageError(
                f"{url}: no space left on the device while {doing}. "
                "Free some space, then run the same command with --resume."
            ) from error
        if number == errno.EACCES:
            raise _refused(url, doing) from error
        if number in (errno.ENOTDIR, errno.EEXIST):
            raise StorageError(f"{url}: a part of this path is a file, expected a folder.") from error
        first_line = text.splitlines()[0] if text else type(error).__name__
        raise StorageError(f"{url}: {doing} failed: {first_line}") from error


def _system_error(error: Exception) -> int | None:
    """The errno of an error, which obstore only has in its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def _refused(url: str, doing: str) -> StorageError | InputError:
    is_input = is_local(url) and doing.startswith(("reading", "listing", "looking"))
    kind = InputError if is_input else StorageError
    remedy = "Give this user the right to it." if is_local(url) else "Check credentials and policy."
    return kind(f"{url}: permission denied while {doing}. {remedy}")


def list_objects(url: str, prefix: str = "") -> list[StoredObject]:
    """All objects below `url` (and below the folder `prefix` in it), sorted by key.

    A folder that does not exist has no objects, as in an object store.
    """
    base = key_in_store(url, "")
    with translated(url, "listing its objects"):
        if is_local(url) and not Path(resolve_url(url)).is_dir():
            return []
        inside = "/".join(part for part in (base, prefix) if part)
        metas = [meta for page in obstore.list(open_store(url), prefix=inside or None) for meta in page]
    cut = len(base) + 1 if base else 0
    return sorted((StoredObject(meta["path"][cut:], meta["size"]) for meta in metas), key=lambda o: o.key)


def exists(url: str, key: str) -> bool:
    """Whether the object `key` lies below `url`."""
    check_key(key)
    with translated(url, f"looking for {key}"):
        if is_local(url):
            return Path(resolve_url(url), key).is_file()
        try:
            obstore.head(open_store(url), key_in_store(url, key))
        except FileNotFoundError:
            return False
    return True


def read_object(url: str, key: str) -> bytes:
    """The bytes of one object."""
    with translated(join_url(url, key), "reading it"):
        return bytes(obstore.get(open_store(url), key_in_store(url, key)).bytes())


def object_size(url: str, key: str) -> int:
    """The size of one object in bytes."""
    with translated(join_url(url, key), "reading it"):
        return int(obstore.head(open_store(url), key_in_store(url, key))["size"])


def read_range(url: str, key: str, start: int, length: int) -> bytes:
    """At most `length` bytes of one object from byte `start`; fewer at its end, none behind it."""
    if length < 1:
        return b""
    with translated(join_url(url, key), "reading it"):
        store, path = open_store(url), key_in_store(url, key)
        try:
            return bytes(obstore.get_range(store, path, start=start, length=length))
        except obstore.exceptions.BaseError:  # a start at or behind the end is an error to obstore
            if start < obstore.head(store, path)["size"]:
                raise
            return b""


def write_object(url: str, key: str, data: bytes) -> None:
    """Write one object whole: readers see the old bytes or the new ones, never a part."""
    with translated(join_url(url, key), "writing it"):
        obstore.put(open_store(url, create=True), key_in_store(url, key), data)


def create_object(url: str, key: str, data: bytes) -> bool:
    """Write one object unless it exists; False if it does. Of several writers exactly one wins."""
    with translated(join_url(url, key), "creating it"):
        try:
            obstore.put(open_store(url, create=True), key_in_store(url, key), data, mode="create")
        except obstore.exceptions.AlreadyExistsError:
            return False
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
                obstore.delete(store, key_in_store(url, check_key(key)))
            except FileNotFoundError:
                continue
        if is_local(url):
            _remove_empty_folders(Path(resolve_url(url)))


def _remove_empty_folders(root: Path) -> None:
    for folder in sorted(root.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
