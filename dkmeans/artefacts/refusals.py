"""Why an output cannot be claimed: what is there is another's, of other options, or not of dkmeans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.artefacts.manifests import CHECKPOINT, ROOT, Manifest
from dkmeans.config.base import PLACES, StageConfig
from dkmeans.errors import OutputTakenError, OutputUnfinishedError, UsageError
from dkmeans.storage.urls import resolve_url

__all__ = [
    "changed_option",
    "check_deletable",
    "former_option",
    "recorded_options",
    "same_input",
    "same_run",
    "taken",
    "unfinished",
]

_FORMERLY = {"relaxation": 1.0, "min_gain": 0.0}
"""What runs did that had no such option."""


def unfinished(url: str) -> OutputUnfinishedError:
    """The error for an output that was begun and is neither resumed nor overwritten."""
    return OutputUnfinishedError(
        f"{url} was begun by another run and not finished. If that run is dead, continue it with --resume; "
        "--overwrite deletes it and starts again."
    )


def taken(url: str, by: dict[str, Any] | None) -> OutputTakenError:
    """The error for an output that the run with the claim `by` has taken over."""
    who = f"a run on {by['host']}, begun {by['began']}," if by and "host" in by else "another run"
    return OutputTakenError(
        f"{url}: {who} has taken over this output, so this run stops; `dkmeans status` "
        "shows how far that one is."
    )


def same_input(found: dict[str, Any], recorded: dict[str, Any]) -> bool:
    """Whether a claim or a manifest is of the input that is `recorded`, unchanged."""
    return all(found.get(name) == recorded.get(name) for name in ("input_digest", "input_state"))


def changed_option(found: dict[str, Any], recorded: dict[str, Any]) -> str | None:
    """The first option that a claim or a manifest has another value of; None if there is none."""
    now = recorded["config"]
    return next((key for key in now if former_option(found, key) != now[key]), None)


def former_option(found: dict[str, Any], key: str) -> Any:
    """The value that a claim, a checkpoint or a manifest has of an option; of a place the whole URL.

    Earlier versions recorded relative paths as they were given.
    """
    return _resolved(key, found.get("config", {}).get(key, _FORMERLY.get(key)))


def recorded_options(config: StageConfig) -> dict[str, Any]:
    """The options that decide what is written, as JSON values, with whole URLs in place of relative paths.

    A rerun from another folder, or with another spelling of a path, is the same run.
    """
    return {key: _resolved(key, value) for key, value in config.recorded().items()}


def _resolved(key: str, value: Any) -> Any:
    return resolve_url(value) if key in PLACES and isinstance(value, str) else value


def same_run(found: dict[str, Any], recorded: dict[str, Any]) -> bool:
    """Whether a checkpoint or a manifest is of just these options and this input."""
    return same_input(found, recorded) and changed_option(found, recorded) is None


def check_deletable(
    url: str,
    model: type[Manifest],
    keys: Sequence[str],
    manifest: dict[str, Any],
    claim: dict[str, Any],
) -> None:
    """Refuse to delete what dkmeans did not write.

    Parameters
    ----------
    url : str
        Of the output.
    model : type
        Of the manifest that it will have.
    keys : sequence of str
        Of all objects there.
    manifest, claim : dict
        What these tell; empty where there is none.

    Raises
    ------
    UsageError
        Naming the first object.
    """
    if keys and not (manifest or claim):
        raise UsageError(
            f"{url} was not written by dkmeans, so --overwrite does not delete it. Choose another output."
        )
    own = _own_names(model, keys, manifest, claim)
    foreign = [key for key in keys if key.split("/")[0] not in own]
    if foreign:
        raise UsageError(
            f"{url} also holds {foreign[0]}, which dkmeans did not write, so --overwrite does not delete it. "
            "Move that away, or choose another output."
        )


def _own_names(model: type[Manifest], keys: Sequence[str], *told: dict[str, Any]) -> set[str]:
    """First parts of the keys that dkmeans writes, now or as manifest and claim of older runs tell."""
    names = {ROOT, CHECKPOINT, "claim", *model.names}
    for each in told:
        names |= set(each.get("names", ())) | {node.split("/")[0] for node in each.get("nodes", ())}
    if not any("names" in each for each in told):  # a claim of format version 2
        names |= {key.split("/")[0] for key in keys if key.endswith(f"/{ROOT}")}
    return names
