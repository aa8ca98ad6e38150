"""How far the run is that writes an output: what `dkmeans status` tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dkmeans import plan
from dkmeans.artefacts import checkpoint
from dkmeans.artefacts.folder import HIDDEN
from dkmeans.artefacts.held import claim_key, claim_numbers
from dkmeans.artefacts.kinds import KINDS, place_of
from dkmeans.artefacts.manifests import ROOT, attributes_of
from dkmeans.errors import InputError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["kept", "progress", "status"]

_COMPLETE = "everything"
"""How far a complete output is, in words."""


def status(url: str) -> dict[str, Any]:
    """Tell how far the output at `url` is, complete or not.

    Returns
    -------
    dict
        ``state`` ("complete" or "unfinished"), ``kind``, ``runs`` (how many have claimed it), ``host`` and
        ``began`` of the last; ``shards``, per array how many are there and how many there will be; of a fit
        that is under way ``fit``, with the last iteration that is stored; of a sweep ``codebooks``, how many
        are finished and how many there will be.

    Raises
    ------
    InputError
        If no run of dkmeans has claimed the URL.
    """
    whole = open_store(url)
    store = place_of(whole)
    found = [each.key for each in store.list()]
    numbers = claim_numbers(found)
    manifest = attributes_of(store, ROOT)
    claim = (attributes_of(store, claim_key(numbers[-1])) or {}) if numbers else {}
    if not (claim or manifest):
        raise InputError(f"{whole.url}: no run of dkmeans has begun anything there. Check the path.")
    kind = str(claim.get("kind") or (manifest or {}).get("kind"))
    told: dict[str, Any] = {
        "url": whole.url,
        "state": "complete" if manifest else "unfinished",
        "kind": kind,
        "runs": len(numbers),
        "host": claim.get("host"),
        "began": claim.get("began"),
        "shards": _shards(store, kind, found),
        "stored_bytes": sum(each.size for each in whole.list()),
    }
    if kind == "codebook" and not manifest:
        told["fit"] = _fit(store, claim)
    if kind == "sweep":
        wanted = claim.get("config", {}).get("n_clusters", [])
        finished = set(found) & {f"codebooks/{number}/{ROOT}" for number in wanted}
        told["codebooks"] = {"finished": len(finished), "total": len(wanted)}
    if kind == "folder":
        told["files"] = sum(not each.key.startswith(f"{HIDDEN}/") for each in whole.list())
    return told


def kept(urls: Sequence[str]) -> str:
    """Say what a run that was interrupted has left at the URLs that it claimed; empty if nothing.

    Raises
    ------
    StorageError
        If storage refuses or fails.
    """
    told: dict[str, str] = {}
    for url in urls:
        try:
            told[url] = _words(status(url))
        except InputError:  # the run has given its claim back
            continue
        if told[url] == _COMPLETE and any(url.startswith(f"{outer}/") for outer in told):
            del told[url]  # which is told of the whole
    complete = [url for url, words in told.items() if words == _COMPLETE]
    words = [f"{words} in {url}" for url, words in told.items() if len(complete) == 1 or url not in complete]
    return "; ".join([f"{len(complete)} finished outputs", *words] if len(complete) > 1 else words)


def progress(told: dict[str, Any]) -> str:
    """Say in a line how far an output is, from its status."""
    fit = told.get("fit", {})
    inertia = f", inertia {fit['inertia']:.6g}" if "inertia" in fit else ""
    return f"{told['kind']}, run {told['runs']}, {told['state']}: {_words(told)}{inertia}"


def _words(told: dict[str, Any]) -> str:
    """How far an output is."""
    if told["state"] == "complete":
        return _COMPLETE
    words = [f"{of['finished']} of {of['total']} shards of {name}" for name, of in told["shards"].items()]
    if "codebooks" in told:
        words.append(f"{told['codebooks']['finished']} of {told['codebooks']['total']} codebooks")
    if "files" in told:
        words.append(f"{told['files']} files")
    if (iteration := told.get("fit", {}).get("iteration")) is not None:
        words.append(f"iteration {iteration} of at most {told['fit']['max_iter']}" if iteration else "seeds")
    return " and ".join(words) or "a beginning"


def _shards(store: Store, kind: str, keys: list[str]) -> dict[str, dict[str, int]]:
    """Of each array that is written by tasks: shards that are there, and all."""
    counts = {}
    for name in KINDS[kind].sharded if kind in KINDS else ():
        if f"{name}/{ROOT}" in keys:
            array = arrays.open_array(store, name)
            total = len(plan.cuts(array.shape[0], arrays.row_layout(array).shard_rows))
            counts[name] = {"finished": len(arrays.finished_shards(store, name)), "total": total}
    return counts


def _fit(store: Store, claim: dict[str, Any]) -> dict[str, Any]:
    """The last checkpoint of a fit."""
    try:
        found = checkpoint.load(store)
    except ValueError as error:
        return {"checkpoint": str(error)}
    if found is None:
        return {"iteration": None, "max_iter": claim.get("config", {}).get("max_iter")}
    history = found[0].history
    return {
        "iteration": len(history),
        "max_iter": claim.get("config", {}).get("max_iter"),
        "converged": found[0].converged,
        **(
            {name: value for name, value in asdict(history[-1]).items() if name != "seconds"}
            if history
            else {}
        ),
        "seconds": sum(step.seconds for step in history),
    }
