"""Claim, write, commit: how an output becomes visible whole or not at all, by one run.

A stage first claims its URL by a create-only PUT of the small group ``claim``; then it writes its arrays;
last, again create-only, it puts the group's own metadata, ``zarr.json``, with the manifest in its
attributes. Until then no Zarr reader finds a group at the URL.

Claims are numbered: a run that goes on with an unfinished output, or overwrites one, creates the claim with
the next number, ``claim/2`` and so on. Of several runs one gets it. The run before it, should it still be
alive, finds that claim at its next write and stops: tasks look before they write a shard.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from dkmeans.artefacts.held import Before, Claim, claim_key, claim_numbers, token_of
from dkmeans.artefacts.manifests import (
    ROOT,
    Manifest,
    attributes_of,
    damaged,
    validated,
)
from dkmeans.artefacts.refusals import (
    changed_option,
    check_deletable,
    former_option,
    recorded_options,
    same_input,
    same_run,
    taken,
    unfinished,
)
from dkmeans.config.base import StageConfig
from dkmeans.errors import OutputExistsError, UsageError
from dkmeans.storage.store import Store

__all__ = ["Finished", "Terms", "claim", "committed", "noted"]

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


@dataclass(frozen=True)
class Terms(Generic[_M]):
    """How a claim deals with what is there already.

    Attributes
    ----------
    input_state : str or None
        Digest of the versions of what the stage reads; None where its `input_digest` tells all.
    changed : {"refuse", "anew", "follow", "keep"}
        What becomes of an output of the same options whose input has changed since: it is refused, deleted
        and made anew, gone on with, or, where it is complete, kept as it is and else made anew.
    updates : bool
        Whether the output is gone on with whatever its input and options were, finished or not.
    adds : bool
        Whether the stage adds to what is there, and itself deletes what does not stay: what is complete stays
        so until `Claim.withdraw`, and until `Claim.begun` a later run finds that this was not done.
    base : dict or None
        The manifest of the state that is added to, see `committed`; a later run finds it in the claim of one
        that died.
    is_whole : callable
        Whether a complete output is what its manifest tells; else a run that resumes it writes the rest.
    clear : callable
        Deletes what belongs to the output and lies elsewhere, before the output itself is deleted.
    """

    input_state: str | None = None
    changed: Literal["refuse", "anew", "follow", "keep"] = "refuse"
    updates: bool = False
    adds: bool = False
    base: dict[str, Any] | None = None
    is_whole: Callable[[_M], bool] = lambda _: True
    clear: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Finished(Generic[_M]):
    """An output that is complete already, of the same options and input."""

    store: Store
    manifest: _M


def committed(store: Store) -> dict[str, Any] | None:
    """The manifest of the last complete state: that of the output, or of what a run that died has added to.

    None where nothing was ever complete, or it was overwritten since.
    """
    if found := attributes_of(store, ROOT):
        return found
    numbers = claim_numbers([found.key for found in store.list("claim")])
    newest = attributes_of(store, claim_key(numbers[-1])) if numbers else None
    return (newest or {}).get("base")


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
    recorded = {"config": recorded_options(config), "input_digest": input_digest}
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
    """Leave what was there before: nothing but older claims, or a complete output; if the newest is ours."""
    keys = [found.key for found in held.store.list()]
    numbers = claim_numbers(keys)
    if ROOT in keys and held.base:  # an update that has changed nothing yet
        numbers = [number for number in numbers if number >= held.number]
    elif len(keys) != len(numbers):
        return
    if not numbers or numbers[-1] != held.number:
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
    before: Before = "nothing"
    clears = config.overwrite  # whether what an older run has left goes
    if config.overwrite:
        check_deletable(url, model, keys, found or {}, newest)
    elif found:
        before = "complete" if _goes_on(url, found, recorded, terms) else "other"
    elif numbers and found is None:
        if not (config.resume or terms.updates or terms.changed == "keep"):
            raise unfinished(url)
        before = "unfinished" if _goes_on(url, newest, recorded, terms) else "other"
        clears = bool(newest.get("clears"))  # that of a run that died while it was deleting
        if (terms.updates and not same_run(newest, recorded)) or (terms.base and clears):
            before = "changed"
        clears &= not terms.base
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
    held = Claim(store, model, recorded, uuid.uuid4().hex, number, url, before, terms.base)
    _create(held, clears or (terms.adds and before in ("complete", "changed")))
    if clears:
        _clear(held, terms)
    elif found and not terms.adds:  # complete, but not whole
        store.delete([ROOT])
    elif not found and (meanwhile := attributes_of(store, ROOT)):  # which the older run has committed
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
    held.store.put(claim_key(held.number), token_of(held, clears=False))


def _create(held: Claim[_M], clears: bool) -> None:
    key = claim_key(held.number)
    if not held.store.create(key, token_of(held, clears=clears)):
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
    if not (config.resume or terms.updates or terms.changed == "keep"):
        hint = ", or pass --update to do only what has changed since" if terms.changed == "follow" else ""
        hint = ", or pass --update to add what is new" if terms.adds else hint
        raise OutputExistsError(
            f"{url} already exists; expected a new place. Choose another, or pass --overwrite to replace "
            f"it{hint}."
        )
    _goes_on(url, found, recorded, terms)
    manifest = validated(store, found, model)
    same = terms.changed == "keep" or same_run(found, recorded)
    return Finished(store, manifest) if same and terms.is_whole(manifest) else None


def _goes_on(url: str, found: dict[str, Any], recorded: dict[str, Any], terms: Terms[_M]) -> bool:
    """Whether what a run with these options and this input has left is gone on with; if not it is deleted.

    Raises
    ------
    UsageError
        If neither is allowed.
    """
    if terms.updates:
        before, now = former_option(found, "source"), recorded["config"].get("source")
        if "config" in found and before != now:
            held = f"images of {before}" if before else "what another command has written"
            raise UsageError(
                f"{url} holds {held}; --update continues with the same source, found {now}. "
                "Choose another output, or pass --overwrite to delete this one."
            )
        return True
    if not (same := same_input(found, recorded)) and terms.changed == "refuse":
        raise UsageError(
            f"{url} was begun from another input, or the input has changed since. "
            "Pass --overwrite to start again."
        )
    if changed := changed_option(found, recorded):
        before, now = former_option(found, changed), recorded["config"][changed]
        raise UsageError(
            f"{url} was begun with {changed} = {before!r}, found {now!r} now. "
            "Resume with the same options, or pass --overwrite to start again."
        )
    return same or terms.changed == "follow"
