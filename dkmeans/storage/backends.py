"""From a URL to obstore's store for it: with which options, and whether it answers.

Options are obstore's: ``endpoint``, ``region``, ``access_key_id``, ``timeout``, ...; what is not given comes
from the environment, as with the tools of each cloud.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
import obstore.exceptions
from obstore.store import LocalStore, MemoryStore

from dkmeans.errors import StorageError, UsageError
from dkmeans.storage import forking
from dkmeans.storage.access import current_access
from dkmeans.storage.faults import first_line, meaning, translated
from dkmeans.storage.retries import Retries, was_lost
from dkmeans.storage.urls import is_local, is_loopback

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["open_backend", "reach"]

_Pairs = tuple[tuple[str, str], ...]

_VARIABLES = ("AWS_", "AZURE_", "GOOGLE_")
_MEMORY = MemoryStore()
_REACH: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=5)}
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


def open_backend(url: str, retries: Retries, *, create: bool = False) -> ObjectStore:
    """Open obstore's store at a resolved URL; with `create` a local folder is made where there is none.

    Raises
    ------
    OSError
        If a local folder cannot be entered.
    StorageError
        If the URL or an option means nothing.
    """
    forking.check(url)
    if url.startswith("memory://"):
        return _MEMORY  # one for the process: a key space, not a place, so that any prefix can be opened
    if is_local(url):
        if not create:
            Path(url).stat()  # obstore's own error does not say why it cannot go there
        return LocalStore(url, mkdir=create)
    return _remote_store(url, current_access().options, _environment(), retries)


def _environment() -> _Pairs:
    """Variables that obstore takes from the environment, which may change while this process runs."""
    return tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith(_VARIABLES)))


@lru_cache(maxsize=256)
def _remote_store(url: str, options: _Pairs, environment: _Pairs, retries: Retries | None) -> ObjectStore:
    """A store is opened once for the same options and `environment`: it holds the connections.

    Without `retries` it is one that tells at once.
    """
    scheme = urlsplit(url).scheme
    config, client = _sorted_options(scheme, dict(options))
    if scheme in _PREFIXES["aws"]:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        if not any("region" in key for key in config):
            config["region"] = region
    if _may_be_plain(url, config):
        client.setdefault("allow_http", "true")
    if retries is None:
        client.setdefault("timeout", _REACH_SECONDS)
    if scheme in ("http", "https") and config:
        raise _no_such_option(scheme, next(iter(config)))
    given: dict[str, Any] = {
        "client_options": client,
        "retry_config": _REACH if retries is None else retries.config(),
    }
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
        if told := meaning(error):
            raise StorageError(f"{url}: {told}") from error
        raise StorageError(f"{url} cannot be used: {first_line(error)}. Check URL and options.") from error


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
        store = _remote_store(url, options, environment, None)
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
