"""From a URL to an obstore store: with which options, whether it answers, and its errors in our words.

A URL is a local path, or ``file://``, ``s3://``, ``gs://``, ``az://``, ``http(s)://`` or ``memory://``
(the last for tests: it lives in this process). Options are obstore's: ``endpoint``, ``region``,
``access_key_id``, ``timeout``, ...; what is not given comes from the environment, as with the tools of each
cloud. A request that fails is repeated with growing pauses for up to 3 minutes, by obstore or, where that
does not repeat it, by `repeat`: so long may a store be away. Only what a driver asks first is told at once,
see `reach`.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
import obstore.exceptions
import tenacity
from obstore.store import LocalStore, MemoryStore

from dkmeans.errors import InputError, StorageError, UsageError
from dkmeans.storage import forking
from dkmeans.storage.access import current_access, traffic_of

__all__ = [
    "is_local",
    "is_loopback",
    "key_in_store",
    "open_store",
    "reach",
    "repeat",
    "repeat_async",
    "resolve_url",
    "translated",
    "was_lost",
]

_T = TypeVar("_T")
_Pairs = tuple[tuple[str, str], ...]

_VARIABLES = ("AWS_", "AZURE_", "GOOGLE_")
_MEMORY = MemoryStore()
_PATIENCE = 180.0
"""Seconds for which a request is repeated."""
_LONGEST_PAUSE = 10.0
"""Seconds between two repetitions, so that a store that has come back is found soon."""
_RETRIES: Any = {
    # The seconds are to end it. The pauses are random between the first and `base` times the one before: with
    # obstore's own 2 they hardly grow, and its 10 retries of a refused connection are over in 2 or 3 seconds.
    "max_retries": 10_000,
    "retry_timeout": timedelta(seconds=_PATIENCE),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=_LONGEST_PAUSE),
        "base": 3,
    },
}
_REACH: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=5)}
"""Of the first call only, so that a mistake in URL or credentials is told at once."""
_REACH_SECONDS = "6s"
_REACHED: set[tuple[str, _Pairs, _Pairs]] = set()
"""The stores that have answered this process, with the options and environment they were reached by."""
_PREFIXES = {"aws": ("s3", "s3a"), "google": ("gs",), "azure": ("az", "azure", "abfs", "abfss", "adl")}
"""An option that begins with one of these names is for these stores only."""
_OF_CLIENT = {
    *("allow_http", "allow_invalid_certificates", "root_certificate", "user_agent"),
    *("connect_timeout", "read_timeout", "timeout", "pool_idle_timeout", "pool_max_idle_per_host"),
    *("proxy_url", "proxy_ca_certificate", "proxy_excludes"),
}
"""Options of the connection rather than of the store, whatever the store."""
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
        "the store does not answer. Check the endpoint and the network; what was begun goes on with --resume."
    ),
}
"""What texts of obstore's errors mean, and the remedy."""


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
    """`url` with a local path made absolute, also that of a file:// URL, and no slash at its end."""
    if is_local(url):
        path = Path(_path_of(url)) if url.startswith("file://") else Path(url).expanduser()
        return str(path.absolute())
    scheme, _, place = url.partition("://")
    return f"{scheme}://{place.rstrip('/')}"


def _path_of(url: str) -> str:
    """The path that a file:// URL names, in which other characters than those of URLs are %-encoded.

    Raises
    ------
    UsageError
        If it names another host, or a part of a file.
    """
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


def key_in_store(url: str, key: str) -> str:
    """`key` as the store of `url` knows it: memory stores keep the URL's own path in the key."""
    if url.startswith("memory://"):
        base = url.removeprefix("memory://").strip("/")
        return f"{base}/{key}" if key else base
    return key


def open_store(url: str, *, create: bool = False) -> Any:
    """The obstore store at `url`. The type is Any: obstore's stores share no public base class."""
    forking.check(url)
    if url.startswith("memory://"):
        return _MEMORY  # one for the process: a key space, not a place, so that any prefix can be opened
    if is_local(url):
        if not create:
            Path(resolve_url(url)).stat()  # obstore's own error does not say why it cannot go there
        return LocalStore(resolve_url(url), mkdir=create)
    return _remote_store(url, current_access().options, _environment())


def _environment() -> _Pairs:
    """What obstore takes from the environment, which may change while this process runs."""
    return tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith(_VARIABLES)))


@lru_cache(maxsize=256)
def _remote_store(url: str, options: _Pairs, environment: _Pairs, *, quick: bool = False) -> Any:
    """A store is opened once for the same options and `environment`: it holds the connections."""
    scheme = urlsplit(url).scheme
    config, client = _sorted_options(scheme, dict(options))
    if scheme in _PREFIXES["aws"]:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        if not any("region" in key for key in config):
            config["region"] = region
    if _may_be_plain(url, config):
        client.setdefault("allow_http", "true")
    if quick:
        client.setdefault("timeout", _REACH_SECONDS)
    if scheme in ("http", "https") and config:
        raise _no_such_option(scheme, next(iter(config)))
    given: dict[str, Any] = {"client_options": client, "retry_config": _REACH if quick else _RETRIES}
    if config:  # which a web server does not take
        given["config"] = config
    try:
        return obstore.store.from_url(url, **given)
    except obstore.exceptions.UnknownConfigurationKeyError as error:
        quoted = re.search(r"'(.+?)'", str(error))
        name = quoted[1] if quoted else ""
        given_as = next((key for key, _ in options if key.endswith(name)), name)
        raise _no_such_option(scheme, given_as) from error
    except (ValueError, obstore.exceptions.BaseError) as error:  # a malformed URL, an option's value
        if meaning := _meaning(error):
            raise StorageError(f"{url}: {meaning}") from error
        raise StorageError(f"{url} cannot be used: {_first_line(error)}. Check URL and options.") from error


def _no_such_option(scheme: str, name: str) -> UsageError:
    return UsageError(
        f"--storage-option {name}: {scheme}:// has no such option. Check its name, or put aws_, google_ or "
        "azure_ before it to say which store it is for."
    )


def _sorted_options(scheme: str, options: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options for a store of this scheme: of the store, and of its connections."""
    config: dict[str, Any] = {}
    client: dict[str, Any] = {}
    for key, value in options.items():
        prefix, _, rest = key.partition("_")
        if prefix in _PREFIXES and scheme not in _PREFIXES[prefix]:
            continue
        name = rest if prefix in _PREFIXES else key
        if name in _OF_CLIENT:
            client[name] = value
        else:
            config[key if name.startswith("storage_") else name] = value  # obstore has azure_storage_ whole
    return config, client


def _may_be_plain(url: str, config: Mapping[str, str]) -> bool:
    """Whether HTTP without TLS is in order: to this machine, or to a web server that was named so."""
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https"):
        return scheme == "http"  # only images are read from there
    given = [value for key, value in config.items() if "endpoint" in key]
    given += [value for key, value in os.environ.items() if re.match("AWS_.*ENDPOINT|AZURE_.*ENDPOINT", key)]
    plain = [urlsplit(endpoint) for endpoint in given if endpoint.startswith("http://")]
    return bool(plain) and all(is_loopback(endpoint.hostname or "") for endpoint in plain)


def reach(url: str) -> None:
    """See whether the store of `url` answers and lets us list it; tells a mistake in seconds.

    Of the URLs in one bucket only the first is asked: later ones, in the middle of a job, meet a store that
    is known to be there, and wait for it. It is for who begins a job; tasks wait from their first request on.

    Raises
    ------
    StorageError
        If it does not.
    """
    if is_local(url) or url.startswith("memory://") or current_access().in_task:
        return
    forking.check(url)
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}", current_access().options, _environment()
    if place not in _REACHED:
        _ask(url, *place[1:])
        _REACHED.add(place)


def _ask(url: str, options: _Pairs, environment: _Pairs) -> None:
    with translated(url, "looking whether it answers"):
        store = _remote_store(url, options, environment, quick=True)
        if not url.startswith("http"):
            next(iter(obstore.list(store, chunk_size=1)), None)
            return
        try:  # a web server lists nothing, and any answer will do
            obstore.head(store, "")
        except FileNotFoundError:
            pass
        except obstore.exceptions.BaseError as error:
            if was_lost(error):
                raise


def was_lost(error: BaseException) -> bool:
    """Whether the connection broke during a request, or there was none."""
    text = str(error)
    broken = "error sending request" in text or "response body error" in text
    return isinstance(error, obstore.exceptions.BaseError) and broken


def _how_until(end: float) -> dict[str, Any]:
    """How `repeat` repeats, until this time of `time.monotonic`."""
    return {
        "retry": tenacity.retry_if_exception(was_lost),
        "wait": tenacity.wait_exponential(multiplier=0.1, max=_LONGEST_PAUSE),
        "stop": lambda state: time.monotonic() + state.upcoming_sleep > end,
        "before_sleep": lambda _: _count_repetition(),
        "reraise": True,
    }


def _count_repetition() -> None:
    traffic_of(current_access().job).add(failed=1)


def repeat(function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    """Call `function`, and again if the connection broke in a request that obstore does not repeat itself.

    It does not if the request may have been done: creating, deleting; and if a list broke off. Most calls
    need no tenacity, whose objects are not for several calls at a time.
    """
    end = time.monotonic() + _PATIENCE
    try:
        return function(*arguments, **options)
    except obstore.exceptions.BaseError as error:
        if not was_lost(error) or time.monotonic() > end:
            raise
    _count_repetition()
    return tenacity.Retrying(**_how_until(end))(function, *arguments, **options)


async def repeat_async(function: Callable[..., Awaitable[_T]], *arguments: Any, **options: Any) -> _T:
    """`repeat` for a coroutine function."""
    end = time.monotonic() + _PATIENCE
    try:
        return await function(*arguments, **options)
    except obstore.exceptions.BaseError as error:
        if not was_lost(error) or time.monotonic() > end:
            raise
    _count_repetition()
    return await tenacity.AsyncRetrying(**_how_until(end))(function, *arguments, **options)


@contextmanager
def translated(url: str, doing: str) -> Iterator[None]:
    """Turn the errors of obstore and the file system into ours, with the URL and the remedy."""
    try:
        yield
    except FileNotFoundError as error:
        if meaning := _meaning(error):
            raise StorageError(f"{url}: {meaning}") from error
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
    if meaning := _meaning(error):
        return StorageError(f"{url}: {meaning}")
    if number == errno.EACCES or re.search("403 Forbidden|401 Unauthorized", str(error)):
        return _refused(url, doing, str(error))
    return StorageError(f"{url}: {doing} failed: {_first_line(error)}")


def _system_error(error: Exception) -> int | None:
    """The errno of an error, which obstore only has in its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _meaning(error: Exception) -> str | None:
    return next((meaning for pattern, meaning in _MEANINGS.items() if re.search(pattern, str(error))), None)


def _refused(url: str, doing: str, said: str) -> StorageError | InputError:
    is_input = is_local(url) and doing.startswith(("reading", "listing", "looking"))
    kind = InputError if is_input else StorageError
    code = re.search(r"<Code>(\w+)</Code>", said)
    named = f" ({code[1]})" if code else ""
    remedy = "Give this user the right to it." if is_local(url) else "Check credentials and policy."
    return kind(f"{url}: permission denied{named} while {doing}. {remedy}")
