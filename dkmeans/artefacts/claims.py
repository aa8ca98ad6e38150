"""Claim, write, commit: how an output becomes visible whole or not at all, by one run.

A stage first claims its URL by a create-only PUT of the small group ``claim``; then it writes its arrays;
last, again create-only, it puts the group's own metadata, ``zarr.json``, with the manifest in its
attributes. Until then no Zarr reader finds a group at the URL.

Claims are numbered: a run that goes on with an unfinished output, or overwrites one, creates the claim with
the next number, ``claim/2`` and so on. Of several runs one gets it. The run before it, should it still be
alive, finds that claim at its next write and stops: tasks look before they write a shard.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.manifests import (
    FORMAT_VERSION,
    ROOT,
    Manifest,
    attributes_of,
    damaged,
    group_metadata,
    node_checksums,
    sealed,
    validated,
)
from dkmeans.artefacts.refusals import (
    changed_option,
    check_deletable,
    former_option,
    same_input,
    same_run,
    taken,
    unfinished,
)
from dkmeans.config.base import StageConfig
from dkmeans.errors import OutputExistsError, UsageError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["Claim", "Finished", "Terms", "claim", "claim_key", "claim_numbers", "noted"]

_VERSIONED = ("dkmeans", "numpy", "numba", "zarr", "dask", "dask-ml", "scikit-learn")
_M = TypeVar("_M", bound=Manifest)

_NOTED: ContextVar[list[str] | None] = ContextVar("noted", default=None)


@contextmanager
def noted(urls: list[str]) -> Iterator[None]:
    """Meanwhile `urls` gets every URL that is claimed, whatever becomes of it."""
    before = _NOTED.set(urls)
    try:
        yield
    finally:
        _NOTED.reset(before)


def claim_key(number: int) -> str:
    """Key of the claim with this number."""
    return f"claim/{ROOT}" if number == 1 else f"claim/{number}/{ROOT}"


def claim_numbers(keys: Sequence[str]) -> list[int]:
    """The numbers of the claims among some keys, ascending."""
    matches = (re.fullmatch(rf"claim/(?:(\d+)/)?{re.escape(ROOT)}", key) for key in keys)
    return sorted(int(match[1] or 1) for match in matches if match)


@dataclass(frozen=True)
class Terms(Generic[_M]):
    """How a claim deals with what is there already.

    Attributes
    ----------
    input_state : str or None
        Digest of the versions of what the stage reads; None where its `input_digest` tells all.
    changed : {"refuse", "anew", "follow"}
        What becomes of an output of the same options whose input has changed since: it is refused, deleted
        and made anew, or gone on with.
    updates : bool
        Whether the output is gone on with whatever its input and options were, finished or not.
    is_whole : callable
        Whether a complete output is what its manifest tells; else a run that resumes it writes the rest.
    clear : callable
        Deletes what belongs to the output and lies elsewhere, before the output itself is deleted.
    """

    input_state: str | None = None
    changed: Literal["refuse", "anew", "follow"] = "refuse"
    updates: bool = False
    is_whole: Callable[[_M], bool] = lambda _: True
    clear: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Finished(Generic[_M]):
    """An output that is complete already, of the same options and input."""

    store: Store
    manifest: _M


@dataclass(frozen=True)
class Claim(Generic[_M]):
    """The right to write one artefact; small, it travels with the tasks that write.

    Attributes
    ----------
    store : Store
        Where the artefact goes.
    model : type
        Of its manifest.
    recorded : dict
        The config of the stage and the digest of its input.
    run : str
        Name of this run, unlike that of any other.
    number : int
        Of the claim; a higher one takes precedence.
    url : str
        What was claimed, for messages.
    before : {"nothing", "unfinished", "complete", "other"}
        What was there and is gone on with; ``other`` was made from another input, and is deleted.
    """

    store: Store
    model: type[_M]
    recorded: dict[str, Any]
    run: str
    number: int
    url: str
    before: Literal["nothing", "unfinished", "complete", "other"] = "nothing"

    def check(self) -> None:
        """See that this run still has the right, by two requests.

        The claim of another run behind ours has taken it. And ours has to be there: where nothing else was
        written, that other run may have given all claims back, and a third one may have begun anew.

        Raises
        ------
        OutputTakenError
            If another run has taken it.
        """
        own = attributes_of(self.store, claim_key(self.number)) or {}
        after = attributes_of(self.store, claim_key(self.number + 1))
        if after is not None or own.get("run") != self.run:
            raise taken(self.url, after or own)

    def put(self, key: str, data: bytes) -> None:
        """Write one object below the artefact."""
        self.check()
        self.store.put(key, data)

    def write_rows(self, name: str, start: int, rows: NDArray[Any], opened: Any = None) -> None:
        """Write whole shards of the array `name`, from row `start`; see `arrays.write_rows`."""
        self.check()
        arrays.write_rows(self.store, name, start, rows, opened)

    def create_array(self, name: str, **layout: Any) -> None:
        """Create the array `name`; see `arrays.create_array`."""
        self.check()
        arrays.create_array(self.store, name, **layout)

    def write_array(self, name: str, values: NDArray[Any]) -> None:
        """Create the array `name` and write it all; see `arrays.write_array`."""
        self.check()
        arrays.write_array(self.store, name, values)

    def seal(self, name: str, tables: Sequence[NDArray[np.uint32]]) -> None:
        """Note the checksums of the chunks of the array `name`, all shards of which have been written.

        `tables` has those of one shard after the other, as the tasks that wrote them have found them.
        """
        self.check()
        arrays.seal(self.store, name, np.concatenate([np.empty(0, np.uint32), *tables]))

    def commit_group(self, name: str) -> None:
        """Mark the sub-group `name` as complete."""
        self.put(f"{name}/{ROOT}", group_metadata({}))

    def has_group(self, name: str) -> bool:
        """Whether the sub-group `name` was marked as complete."""
        return self.store.exists(f"{name}/{ROOT}")

    def discard(self, name: str) -> None:
        """Delete the array or sub-group `name`, its metadata first."""
        self.check()
        keys = [found.key for found in self.store.list(name)]
        self.store.delete(sorted(keys, key=lambda key: not key.endswith(f"{name}/{ROOT}")))

    def described(self, *, nodes: dict[str, int] | None = None, **facts: Any) -> _M:
        """The manifest that the artefact would have with `facts`, for what reads it before it is complete."""
        return self.model(
            kind=self.model.kind_name(),
            format_version=FORMAT_VERSION,
            run=self.run,
            **self.recorded,
            versions={name: importlib.metadata.version(name) for name in _VERSIONED},
            nodes=nodes or {},
            **facts,
        )

    def commit(self, **facts: Any) -> _M:
        """Publish the artefact with `facts` in its manifest; the last write of a stage.

        Raises
        ------
        OutputExistsError
            If another writer has published it first.
        OutputTakenError
            If another run has taken the right to.
        """
        manifest = self.described(nodes=node_checksums(self.store), **facts)
        self.check()
        document = sealed(manifest.model_dump(mode="json"))
        if not self.store.create(ROOT, group_metadata({"dkmeans": document})):
            raise OutputExistsError(f"{self.url}: another run has committed this output meanwhile.")
        return manifest


@contextmanager
def claim(
    store: Store,
    model: type[_M],
    config: StageConfig,
    input_digest: str,
    inputs: Sequence[str] = (),
    terms: Terms[_M] | None = None,
    shown: str = "",
) -> Iterator[Claim[_M] | Finished[_M]]:
    """Claim `store` as the output of a stage, or say why not.

    If the stage fails before it has written anything, the claim is given back.

    Parameters
    ----------
    store : Store
        Where the output goes.
    model : type
        Of the manifest of the output: a `Manifest`.
    config : StageConfig
    input_digest : str
        SHA-256 of what the stage reads.
    inputs : sequence of str
        URLs of what it reads: the output must not lie in one of them, nor they in it.
    terms : Terms or None
        How what is there is dealt with; None for the usual terms.
    shown : str
        URL of the output for messages, where it is not that of `store`.

    Raises
    ------
    OutputExistsError
        If a complete artefact is there and neither `overwrite` nor `resume` is set.
    OutputUnfinishedError
        If an unfinished one is there and neither is set.
    OutputTakenError
        If another run takes over or overwrites the output at the same time.
    UsageError
        If what is there was not made by dkmeans, or by another config or from another input.
    """
    url, terms = shown or store.url, terms or Terms()
    for source in inputs:
        if f"{url}/".startswith(f"{source}/") or f"{source}/".startswith(f"{url}/"):
            raise UsageError(f"the output {url} and the input {source} overlap. Choose another output.")
    recorded = {"config": config.recorded(), "input_digest": input_digest}
    if terms.input_state is not None:
        recorded["input_state"] = terms.input_state
    if (urls := _NOTED.get()) is not None:
        urls.append(url)
    held = _take(store, model, config, recorded, terms, url)
    try:
        yield held
    except BaseException:
        if isinstance(held, Claim):
            _give_back(held)
        raise


def _give_back(held: Claim[_M]) -> None:
    """Leave an empty place behind if nothing but claims is there, and the newest is ours."""
    keys = [found.key for found in held.store.list()]
    numbers = claim_numbers(keys)
    if len(keys) != len(numbers) or not numbers or numbers[-1] != held.number:
        return
    if (attributes_of(held.store, claim_key(held.number)) or {}).get("run") == held.run:
        # The oldest first: a run that it belonged to does not get its right back in between.
        held.store.delete([claim_key(number) for number in numbers])


def _take(
    store: Store,
    model: type[_M],
    config: StageConfig,
    recorded: dict[str, Any],
    terms: Terms[_M],
    url: str,
) -> Claim[_M] | Finished[_M]:
    if config.overwrite and config.resume:
        raise UsageError("found both --overwrite and --resume; expected at most one of them.")
    found = attributes_of(store, ROOT)
    goes_on = found and not config.overwrite
    if goes_on and (finished := _finished(store, model, config, recorded, found or {}, terms, url)):
        return finished
    keys = [each.key for each in store.list()]
    numbers = claim_numbers(keys)
    newest = (attributes_of(store, claim_key(numbers[-1])) or {}) if numbers else {}
    before: Literal["nothing", "unfinished", "complete", "other"] = "nothing"
    clears = config.overwrite  # whether what an older run has left goes
    if config.overwrite:
        check_deletable(url, model, keys, found or {}, newest)
    elif found:
        before = "complete" if _goes_on(url, found, recorded, terms) else "other"
    elif numbers and found is None:
        if not (config.resume or terms.updates):
            raise unfinished(url)
        before = "unfinished" if _goes_on(url, newest, recorded, terms) else "other"
        clears = bool(newest.get("clears"))  # that of a run that died while it was deleting
    elif numbers:
        raise damaged(url, ROOT, "it holds no manifest")
    elif keys:
        raise UsageError(
            f"{url} holds files that dkmeans did not write; expected a new or empty place. "
            "Choose another output."
        )
    if before == "other":
        check_deletable(url, model, keys, found or {}, newest)
        clears = True
    number = numbers[-1] + 1 if numbers else 1
    held = Claim(store, model, recorded, uuid.uuid4().hex, number, url, before)
    _create(held, clears)
    if clears:
        _clear(held, terms)
    elif found:  # complete, but not whole
        store.delete([ROOT])
    elif meanwhile := attributes_of(store, ROOT):  # which the older run has committed
        if finished := _finished(store, model, config, recorded, meanwhile, terms, url):
            return finished
        store.delete([ROOT])
    return held


def _clear(held: Claim[_M], terms: Terms[_M]) -> None:
    """Delete what older runs have left: first what makes it visible.

    Claims stay, so that no older run gets its right back. Until all is gone ours says that it ``clears``: a
    run that resumes it goes on with that.
    """
    held.store.delete([ROOT])
    terms.clear()
    old = [found.key for found in held.store.list() if not found.key.startswith("claim/")]
    held.store.delete(old)
    held.store.put(claim_key(held.number), _token(held, clears=False))


def _token(held: Claim[_M], *, clears: bool) -> bytes:
    where = {"host": socket.gethostname(), "pid": os.getpid(), "began": datetime.now(UTC).isoformat()}
    kind = held.model.kind_name()
    own = {"kind": kind, "names": list(held.model.names), "run": held.run, "clears": clears}
    token = {**own, **where, **held.recorded}
    return group_metadata({"dkmeans": token})


def _create(held: Claim[_M], clears: bool) -> None:
    key = claim_key(held.number)
    if not held.store.create(key, _token(held, clears=clears)):
        raise unfinished(held.url) if held.number == 1 else taken(held.url, attributes_of(held.store, key))


def _finished(
    store: Store,
    model: type[_M],
    config: StageConfig,
    recorded: dict[str, Any],
    found: dict[str, Any],
    terms: Terms[_M],
    url: str,
) -> Finished[_M] | None:
    """A complete output, if nothing is left to do; None if there is."""
    if not (config.resume or terms.updates):
        hint = ", or pass --update to do what has changed since" if terms.changed == "follow" else ""
        raise OutputExistsError(
            f"{url} is already there; expected a new place. Choose another, or pass --overwrite to delete "
            f"it{hint}."
        )
    _goes_on(url, found, recorded, terms)
    manifest = validated(store, found, model)
    same = same_run(found, recorded)
    return Finished(store, manifest) if same and terms.is_whole(manifest) else None


def _goes_on(url: str, found: dict[str, Any], recorded: dict[str, Any], terms: Terms[_M]) -> bool:
    """Whether what a run with these options and this input has left is gone on with; if not it is deleted.

    Raises
    ------
    UsageError
        If neither is allowed.
    """
    if terms.updates:
        return True
    if not (same := same_input(found, recorded)) and terms.changed == "refuse":
        raise UsageError(
            f"{url} was begun from another input, or the input has changed since. "
            "Pass --overwrite to begin anew."
        )
    if changed := changed_option(found, recorded):
        before, now = former_option(found, changed), recorded["config"][changed]
        raise UsageError(
            f"{url} was begun with {changed} = {before!r}, found {now!r} now. "
            "Resume with the same options, or pass --overwrite to begin anew."
        )
    return same or terms.changed == "follow"
