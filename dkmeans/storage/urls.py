"""URLs of storage and keys below them: what they mean, before anything is opened.

A URL is a local path, or ``file://``, ``s3://``, ``gs://``, ``az://``, ``http(s)://`` or ``memory://`` (the
last for tests: it lives in this process).
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dkmeans.errors import InputError, UsageError

__all__ = ["check_key", "is_local", "is_loopback", "resolve_url"]


def is_local(url: str) -> bool:
    """Whether `url` names a place in the local file system."""
    return url.startswith("file://") or "://" not in url


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def resolve_url(url: str) -> str:
    """Make a local path absolute, also that of a file:// URL, and take a slash off the end.

    Raises
    ------
    UsageError
        If a file:// URL names another host, or a part of a file.
    """
    if is_local(url):
        path = Path(_path_of(url)) if url.startswith("file://") else Path(url).expanduser()
        return str(path.absolute())
    scheme, _, place = url.partition("://")
    return f"{scheme}://{place.rstrip('/')}"


def _path_of(url: str) -> str:
    """The path that a file:// URL names, in which other characters than those of URLs are %-encoded."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(
            f"{url}: found the host {parts.netloc!r}, expected none: a file:// URL names a place on this "
            "machine. Write file:/// and the absolute path, or the path alone."
        )
    if parts.query or parts.fragment or "%00" in parts.path:
        raise UsageError(
            f"{url}: found a ?, a # or a zero byte, which are no part of a path in a URL. Write %3F for ? "
            "and %23 for #, or the path alone."
        )
    return unquote(parts.path, errors="surrogateescape")


def check_key(key: str) -> str:
    """Give back `key` if it stays below the URL that it is used with.

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
