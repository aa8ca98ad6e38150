"""Errors of obstore and of the file system in our words, with the URL and the remedy."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import obstore.exceptions

from dkmeans.errors import InputError, StorageError
from dkmeans.storage.urls import is_local

__all__ = ["first_line", "meaning", "translated"]

_MEANINGS = {
    "NoSuchBucket|ContainerNotFound": (
        "there is no such bucket. Check the URL and the endpoint, or create the bucket."
    ),
    "BadScheme": (
        "the endpoint is http://, expected https://. Take an endpoint with TLS, or, in a network that you "
        "trust, pass --storage-option allow_http=true."
    ),
    r"169\.254\.169\.254|metadata\.google|Account must be specified": (
        "found no credentials. Set them in the environment, such as AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or by --storage-option; public data take skip_signature=true there."
    ),
    "Range request not supported": (
        "this web server sends no parts of files, which a large one is read in. Copy the file first."
    ),
    "error sending request": (
        "the store does not answer. Check the endpoint and the network; what was begun "
        "can be continued with --resume."
    ),
}
"""Meanings of texts in obstore's errors, and the remedy."""


@contextmanager
def translated(url: str, doing: str) -> Iterator[None]:
    """Turn the errors of obstore and the file system into ours, with the URL and the remedy."""
    try:
        yield
    except FileNotFoundError as error:
        if told := meaning(error):
            raise StorageError(f"{url}: {told}") from error
        raise InputError(f"{url}: not found while {doing}. Check the path.") from error
    except (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError) as error:
        raise _refused(url, doing, str(error)) from error
    except (obstore.exceptions.BaseError, OSError) as error:
        raise _failed(url, doing, error) from error


def _failed(url: str, doing: str, error: Exception) -> StorageError | InputError:
    number = _system_error(error)
    if number == errno.ENOSPC:
        return StorageError(
            f"{url}: no space left on the device while {doing}. "
            "Free some space, then run the same command with --resume."
        )
    if number == errno.EFBIG:
        return StorageError(
            f"{url}: a file would be larger than this process may write. Raise that limit (ulimit -f), then "
            "run the same command with --resume."
        )
    if number in (errno.ENOTDIR, errno.EEXIST) and is_local(url):
        return StorageError(f"{url}: a part of this path is a file, expected a folder.")
    if told := meaning(error):
        return StorageError(f"{url}: {told}")
    if key := re.search(r'invalid path: .*?Path "(.*?)"', str(error), re.DOTALL):
        return StorageError(
            f"{url}: found an object whose key begins with {key[1]!r} while {doing}; expected keys without "
            "empty, '.' and '..' parts and control characters, as obstore lists no others. Rename it, or "
            "give a folder without it."
        )
    if number == errno.EACCES or re.search("403 Forbidden|401 Unauthorized", str(error)):
        return _refused(url, doing, str(error))
    return StorageError(f"{url}: {doing} failed: {first_line(error)}")


def _system_error(error: Exception) -> int | None:
    """The errno of an error, which obstore only has in its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def first_line(error: Exception) -> str:
    """The first line of what an error says, or else its type."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def meaning(error: Exception) -> str | None:
    """Tell what an error of obstore means, with the remedy; None where it says enough itself."""
    return next((told for pattern, told in _MEANINGS.items() if re.search(pattern, str(error))), None)


def _refused(url: str, doing: str, said: str) -> StorageError | InputError:
    is_input = is_local(url) and doing.startswith(("reading", "listing", "looking"))
    kind = InputError if is_input else StorageError
    code = re.search(r"<Code>(\w+)</Code>", said)
    named = f" ({code[1]})" if code else ""
    remedy = "Give this user the right to it." if is_local(url) else "Check credentials and policy."
    return kind(f"{url}: permission denied{named} while {doing}. {remedy}")
