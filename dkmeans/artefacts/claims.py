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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.manifests import (
    FORMAT_VERSION,
    ROOT,
    attributes_of,
    damaged,
    group_metadata,
    node_checksums,
    sealed,
)
from dkmeans.config import StageConfig
from dkmeans.errors import OutputExistsError, OutputTakenError, OutputUnfinishedError, UsageError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["CHECKPOINT", "Claim", "claim", "claim_key", "claim_numbers", "noted"]

CHECKPOINT = "checkpoint.npz"
"""Key of the state of a fit that is under way; gone when it is committed."""
_OWN = {ROOT, CHECKPOINT, "claim", "images", "pixels", "patches", "patch_offset", "skipped"}
_OWN |= {"centers", "counts", "history", "codes", "palette", "codebooks", "curves", "seeds"}
_VERSIONED = ("dkmeans", "numpy", "numba", "zarr", "dask", "dask-ml", "scikit-learn")

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
class Claim:
    """The right to write one artefact; small, it travels with the tasks that write.

    Attributes
    ----------
    store : Store
        Where the artefact goes.
    kind : str
        ``dataset``, ``codebook``, ``sweep``, ``result`` or ``archive``.
    recorded : dict
        The config of the stage and the digest of its input.
    run : str
        Name of this run, unlike that of any other.
    number : int
        Of the claim; a higher one takes precedence.
    finished : dict or None
        The manifest, if `resume` was asked for and the artefact is already complete.
    """

    store: Store
    kind: str
    recorded: dict[str, Any]
    run: str
    number: int = 0
    finished: dict[str, Any] | None = None

    @property
    def url(self) -> str:
        """Where the artefact goes."""
        return self.store.url

    def check(self) -> None:
        """See that this run still has the right, by two requests.

        The next claim alone does not tell: a run that took over and then failed has given back all claims,
        this one too, and the next to come begins with the first number again.

        Raises
        ------
        OutputTakenError
            If another run has taken it.
        """
        own = attributes_of(self.store, claim_key(self.number)) or {}
        after = attributes_of(self.store, claim_key(self.number + 1))
        if after is not None or own.get("run") != self.run:
            raise _taken(self.url, after or own)

    def write_rows(self, name: str, start: int, rows: NDArray[Any], opened: Any = None) -> None:
        """Write whole shards of the array `name`, from row `start`; see `arrays.write_rows`."""
        self.check()
        arrays.write_rows(self.store, name, start, rows, opened)

    def create_array(self, name: str, **layout: Any) -> None:
        """Create the array `name`; see `dkmeans.storage.arrays.create_array`."""
        self.check()
        arrays.create_array(self.store, name, **layout)

    def write_array(self, name: str, values: NDArray[Any]) -> None:
        """Create the array `name` and write it all; see `dkmeans.storage.arrays.write_array`."""
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
        self.check()
        self.store.put(f"{name}/{ROOT}", group_metadata({}))

    def has_group(self, name: str) -> bool:
        """Whether the sub-group `name` was marked as complete."""
        return self.store.exists(f"{name}/{ROOT}")

    def discard(self, name: str) -> None:
        """Delete the array or sub-group `name`, its metadata first."""
        self.check()
        keys = [found.key for found in self.store.list(name)]
        self.store.delete(sorted(keys, key=lambda key: not key.endswith(f"{name}/{ROOT}")))

    def commit(self, facts: dict[str, Any]) -> None:
        """Publish the artefact with `facts` in its manifest; the last write of a stage.

        Raises
        ------
        OutputExistsError
            If another writer has published it first.
        OutputTakenError
            If another run has taken the right to.
        """
        manifest = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "run": self.run,
            **self.recorded,
            **facts,
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONED},
            "nodes": node_checksums(self.store),
        }
        self.check()
        if not self.store.create(ROOT, group_metadata({"dkmeans": sealed(manifest)})):
            raise OutputExistsError(f"{self.url}: another run has committed this output meanwhile.")


@contextmanager
def claim(
    url: str | Store, kind: str, config: StageConfig, input_digest: str, inputs: Sequence[str] = ()
) -> Iterator[Claim]:
    """Claim a place as the output of a stage, or say why not.

    If the stage fails before it has written anything, the claim is given back.

    Parameters
    ----------
    url : str or Store
        Where the output goes.
    kind : {"dataset", "codebook", "sweep", "result", "archive"}
    config : StageConfig
    input_digest : str
        SHA-256 of what the stage reads.
    inputs : sequence of str
        URLs of what it reads: the output must not lie in one of them, nor they in it.

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
    store = open_store(url)
    for source in inputs:
        if f"{store.url}/".startswith(f"{source}/") or f"{source}/".startswith(f"{store.url}/"):
            raise UsageError(f"the output {store.url} and the input {source} overlap. Choose another output.")
    recorded = {"config": config.recorded(), "input_digest": input_digest}
    if (urls := _NOTED.get()) is not None:
        urls.append(store.url)
    held = _take(store, kind, config, recorded)
    try:
        yield held
    except BaseException:
        _give_back(held)
        raise


def _give_back(held: Claim) -> None:
    """Leave an empty place behind if nothing but claims is there, and the newest is ours."""
    keys = [found.key for found in held.store.list()]
    numbers = claim_numbers(keys)
    if len(keys) != len(numbers) or not numbers or numbers[-1] != held.number:
        return
    if (attributes_of(held.store, claim_key(held.number)) or {}).get("run") == held.run:
        # The oldest first: a run that it belonged to does not get its right back in between.
        held.store.delete([claim_key(number) for number in numbers])


def _take(store: Store, kind: str, config: StageConfig, recorded: dict[str, Any]) -> Claim:
    if config.overwrite and config.resume:
        raise UsageError("found both --overwrite and --resume; expected at most one of them.")
    url, manifest = store.url, attributes_of(store, ROOT)
    if manifest and not config.overwrite:
        return _finished(store, kind, config, recorded, manifest)
    keys = [found.key for found in store.list()]
    numbers = claim_numbers(keys)
    clears = config.overwrite  # whether what an older run has left goes
    ours = bool(manifest or (numbers and attributes_of(store, claim_key(numbers[-1]))))
    if config.overwrite:
        _check_deletable(url, keys, ours)
    elif numbers and manifest is None:
        if not config.resume:
            raise _unfinished(url)
        newest = attributes_of(store, claim_key(numbers[-1])) or {}
        _check_same(url, newest, recorded)
        clears = bool(newest.get("clears"))  # that of a run that died while it was deleting
    elif numbers:
        raise damaged(url, ROOT, "it holds no manifest")
    elif keys:
        raise UsageError(
            f"{url} holds files that dkmeans did not write; expected a new or empty place. "
            "Choose another output."
        )
    held = Claim(store, kind, recorded, uuid.uuid4().hex, numbers[-1] + 1 if numbers else 1)
    _create(held, clears)
    if clears:
        _clear(held)
    elif manifest := attributes_of(store, ROOT):  # which the older run has committed meanwhile
        return _finished(store, kind, config, recorded, manifest)
    return held


def _clear(held: Claim) -> None:
    """Delete what older runs have left: first what makes it visible.

    Claims stay, so that no older run gets its right back. Until all is gone ours says that it ``clears``: a
    run that resumes it goes on with that.
    """
    old = [found.key for found in held.store.list() if not found.key.startswith("claim/")]
    held.store.delete(sorted(old, key=lambda key: key != ROOT))
    held.store.put(claim_key(held.number), _token(held, clears=False))


def _token(held: Claim, *, clears: bool) -> bytes:
    where = {"host": socket.gethostname(), "pid": os.getpid(), "began": datetime.now(UTC).isoformat()}
    token = {"kind": held.kind, "run": held.run, "clears": clears, **where, **held.recorded}
    return group_metadata({"dkmeans": token})


def _create(held: Claim, clears: bool) -> None:
    key = claim_key(held.number)
    if not held.store.create(key, _token(held, clears=clears)):
        raise _unfinished(held.url) if held.number == 1 else _taken(held.url, attributes_of(held.store, key))


def _unfinished(url: str) -> OutputUnfinishedError:
    return OutputUnfinishedError(
        f"{url} was begun by another run and not finished. If that run is dead, go on with --resume; "
        "--overwrite deletes it and begins anew."
    )


def _taken(url: str, by: dict[str, Any] | None) -> OutputTakenError:
    who = f"a run on {by['host']}, begun {by['began']}," if by and "host" in by else "another run"
    return OutputTakenError(
        f"{url}: {who} has taken over this output. This run stops and leaves it to that one; "
        "`dkmeans status` tells how far it is."
    )


def _finished(
    store: Store, kind: str, config: StageConfig, recorded: dict[str, Any], manifest: dict[str, Any]
) -> Claim:
    if not config.resume:
        raise OutputExistsError(
            f"{store.url} is already there; expected a new place. Choose another, or pass --overwrite to "
            "delete it."
        )
    _check_same(store.url, manifest, recorded)
    return Claim(store, kind, recorded, str(manifest.get("run")), finished=manifest)


def _check_same(url: str, found: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Refuse to resume an output that another config or another input has begun."""
    if found.get("input_digest") != recorded["input_digest"]:
        raise UsageError(
            f"{url} was begun from another input, or the input has changed since. "
            "Pass --overwrite to begin anew."
        )
    before, now = found.get("config", {}), recorded["config"]
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        key = changed[0]
        raise UsageError(
            f"{url} was begun with {key} = {before.get(key)!r}, found {now[key]!r} now. "
            "Resume with the same options, or pass --overwrite to begin anew."
        )


def _check_deletable(url: str, keys: Sequence[str], ours: bool) -> None:
    """Refuse to delete what dkmeans did not write."""
    if keys and not ours:
        raise UsageError(
            f"{url} was not written by dkmeans, so --overwrite does not delete it. Choose another output."
        )
    foreign = [key for key in keys if key.split("/")[0] not in _OWN]
    if foreign:
        raise UsageError(
            f"{url} also holds {foreign[0]}, which dkmeans did not write, so --overwrite does not delete it. "
            "Move that away, or choose another output."
        )
