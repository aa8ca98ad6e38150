"""How far the run is that writes an output: what `dkmeans status` tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dkmeans import plan
from dkmeans.artefacts import checkpoint
from dkmeans.artefacts.claims import claim_key, claim_numbers
from dkmeans.artefacts.manifests import ROOT, attributes_of
from dkmeans.errors import InputError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["kept", "status"]

_COMPLETE = "everything"
"""How far a complete output is, in words."""


def status(url: str | Store) -> dict[str, Any]:
    """What is known of the output at `url`, complete or not.

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
    store = open_store(url)
    url, found = store.url, store.list()
    numbers = claim_numbers([each.key for each in found])
    manifest = attributes_of(store, ROOT)
    claim = (attributes_of(store, claim_key(numbers[-1])) or {}) if numbers else {}
    if not (claim or manifest):
        raise InputError(f"{url}: no run of dkmeans has begun anything there. Check the path.")
    told: dict[str, Any] = {
        "url": url,
        "state": "complete" if manifest else "unfinished",
        "kind": claim.get("kind"),
        "runs": len(numbers),
        "host": claim.get("host"),
        "began": claim.get("began"),
        "shards": _shards(store, [each.key for each in found]),
        "stored_bytes": sum(each.size for each in found),
    }
    if told["kind"] == "codebook" and not manifest:
        told["fit"] = _fit(store, claim)
    if told["kind"] == "sweep":
        wanted = claim.get("config", {}).get("n_clusters", [])
        finished = {each.key for each in found} & {f"codebooks/{number}/{ROOT}" for number in wanted}
        told["codebooks"] = {"finished": len(finished), "total": len(wanted)}
    return told


def kept(urls: Sequence[str]) -> str:
    """What a run that was interrupted has left at the URLs that it claimed, in words; empty if nothing.

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


def _words(told: dict[str, Any]) -> str:
    """How far an output is."""
    if told["state"] == "complete":
        return _COMPLETE
    words = [f"{of['finished']} of {of['total']} shards of {name}" for name, of in told["shards"].items()]
    if "codebooks" in told:
        words.append(f"{told['codebooks']['finished']} of {told['codebooks']['total']} codebooks")
    if (iteration := told.get("fit", {}).get("iteration")) is not None:
        words.append(f"iteration {iteration} of at most {told['fit']['max_iter']}" if iteration else "seeds")
    return " and ".join(words) or "a beginning"


def _shards(store: Store, keys: list[str]) -> dict[str, dict[str, int]]:
    """Of each array that is written by tasks: shards that are there, and all."""
    counts = {}
    for name in ("pixels", "patches", "codes"):
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
