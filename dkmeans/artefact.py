"""Claim, manifest, commit: how an output becomes visible whole or not at all.

An artefact is one Zarr v3 group. A stage first claims its URL by a create-only PUT of the small group
``claim``; then it writes its arrays; last, again create-only, it puts the group's own metadata,
``zarr.json``, with the manifest in its attributes. Until then no Zarr reader finds a group at the URL.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dkmeans import arrays, storage
from dkmeans.config import StageConfig
from dkmeans.errors import InputError, OutputExistsError, OutputUnfinishedError, UsageError

__all__ = ["FORMAT_VERSION", "Claim", "claim", "describe", "digest", "read_manifest"]

FORMAT_VERSION = 1
_CLAIM = "claim/zarr.json"
_ROOT = "zarr.json"
_OWN = {_ROOT, "claim", "images", "pixels", "patches", "patch_offset", "skipped"}
_OWN |= {"centers", "counts", "history", "codes", "palette"}
_VERSIONED = ("dkmeans", "numpy", "numba", "zarr", "dask", "dask-ml", "scikit-learn")


def digest(parts: list[str]) -> str:
    """SHA-256, in hex, of a list of strings."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _group(attributes: dict[str, Any]) -> bytes:
    """The metadata of a Zarr v3 group."""
    node = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(node, indent=1, sort_keys=True).encode()


def _attributes(url: str, key: str) -> dict[str, Any] | None:
    """The attributes of the group whose metadata is at `key`; None without one."""
    if not storage.exists(url, key):
        return None
    try:
        node = json.loads(storage.read_object(url, key))
        return dict(node["attributes"]["dkmeans"])
    except (ValueError, KeyError, TypeError):
        return {}


@dataclass(frozen=True)
class Claim:
    """The right to write one artefact.

    Attributes
    ----------
    url : str
        Where the artefact goes.
    kind : str
        ``dataset``, ``codebook`` or ``result``.
    recorded : dict
        The config of the stage and the digest of its input.
    finished : dict or None
        The manifest, if `resume` was asked for and the artefact is already complete.
    """

    url: str
    kind: str
    recorded: dict[str, Any]
    finished: dict[str, Any] | None = None

    def commit_group(self, name: str) -> None:
        """Mark the sub-group `name` as complete."""
        storage.write_object(self.url, f"{name}/{_ROOT}", _group({}))

    def has_group(self, name: str) -> bool:
        """Whether the sub-group `name` was marked as complete."""
        return storage.exists(self.url, f"{name}/{_ROOT}")

    def discard(self, name: str) -> None:
        """Delete the array or sub-group `name`, its metadata first."""
        keys = [found.key for found in storage.list_objects(self.url, name)]
        storage.delete_objects(self.url, sorted(keys, key=lambda key: not key.endswith(f"{name}/{_ROOT}")))

    def commit(self, facts: dict[str, Any]) -> None:
        """Publish the artefact with `facts` in its manifest; the last write of a stage.

        Raises
        ------
        OutputExistsError
            If another writer has published it first.
        """
        manifest = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            **self.recorded,
            **facts,
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONED},
        }
        if not storage.create_object(self.url, _ROOT, _group({"dkmeans": manifest})):
            raise OutputExistsError(f"{self.url}: another run has committed this output meanwhile.")


@contextmanager
def claim(
    url: str, kind: str, config: StageConfig, input_digest: str, inputs: Sequence[str] = ()
) -> Iterator[Claim]:
    """Claim `url` as the output of a stage, or say why not.

    If the stage fails before it has written anything, the claim is given back.

    Parameters
    ----------
    url : str
        Where the output goes.
    kind : {"dataset", "codebook", "result"}
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
    UsageError
        If what is there was not made by dkmeans, or by another config or from another input.
    """
    for source in inputs:
        if f"{url}/".startswith(f"{source}/") or f"{source}/".startswith(f"{url}/"):
            raise UsageError(f"the output {url} and the input {source} overlap. Choose another output.")
    recorded = {"config": config.recorded(), "input_digest": input_digest}
    held = _take(url, kind, config, recorded)
    try:
        yield held
    except BaseException:
        if [found.key for found in storage.list_objects(url)] == [_CLAIM]:
            storage.delete_objects(url, [_CLAIM])
        raise


def _take(url: str, kind: str, config: StageConfig, recorded: dict[str, Any]) -> Claim:
    if config.overwrite and config.resume:
        raise UsageError("found both --overwrite and --resume; expected at most one of them.")
    if config.overwrite:
        _delete_artefact(url)
    manifest = _attributes(url, _ROOT)
    if manifest:
        return _finished(url, kind, config, recorded, manifest)
    if manifest is None and config.resume and storage.exists(url, _CLAIM):
        _check_same(url, _attributes(url, _CLAIM) or {}, recorded)
        return Claim(url, kind, recorded)
    others = any(found.key != _CLAIM for found in storage.list_objects(url))
    if others and (manifest is not None or not storage.exists(url, _CLAIM)):
        raise UsageError(
            f"{url} holds files that dkmeans did not write; expected a new or empty place. "
            "Choose another output."
        )
    token = {"kind": kind, "run": uuid.uuid4().hex, "began": datetime.now(UTC).isoformat(), **recorded}
    if not storage.create_object(url, _CLAIM, _group({"dkmeans": token})):
        raise OutputUnfinishedError(
            f"{url} was begun by another run and not finished. If that run is dead, go on with --resume; "
            "--overwrite deletes it and begins anew."
        )
    return Claim(url, kind, recorded)


def _finished(
    url: str, kind: str, config: StageConfig, recorded: dict[str, Any], manifest: dict[str, Any]
) -> Claim:
    if not config.resume:
        raise OutputExistsError(
            f"{url} is already there; expected a new place. Choose another, or pass --overwrite to delete it."
        )
    _check_same(url, manifest, recorded)
    return Claim(url, kind, recorded, finished=manifest)


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


def _delete_artefact(url: str) -> None:
    """Delete an artefact: first what makes it visible, last what claims it."""
    keys = [found.key for found in storage.list_objects(url)]
    if not keys:
        return
    if not (_attributes(url, _ROOT) or _attributes(url, _CLAIM)):
        raise UsageError(
            f"{url} was not written by dkmeans, so --overwrite does not delete it. Choose another output."
        )
    foreign = [key for key in keys if key.split("/")[0] not in _OWN]
    if foreign:
        raise UsageError(
            f"{url} also holds {foreign[0]}, which dkmeans did not write, so --overwrite does not delete it. "
            "Move that away, or choose another output."
        )
    order = {_ROOT: 0, _CLAIM: 2}
    storage.delete_objects(url, sorted(keys, key=lambda key: order.get(key, 1)))


def read_manifest(url: str, kind: str | None = None) -> dict[str, Any]:
    """The manifest of a complete artefact.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, of another kind, or of another format version.
    """
    manifest = _attributes(url, _ROOT)
    if manifest is None:
        if storage.exists(url, _CLAIM):
            raise InputError(
                f"{url} is unfinished: the run that began it has not committed it. "
                "Run that command again with --resume."
            )
        raise InputError(f"{url}: nothing is there; expected {_article(kind)} of dkmeans. Check the path.")
    found = manifest.get("kind")
    if found is None or (kind is not None and found != kind):
        what = _article(found) if found else "a Zarr group that dkmeans did not write"
        raise InputError(f"{url} is {what}; expected {_article(kind)} of dkmeans.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{url} has format version {manifest.get('format_version')}; this dkmeans reads "
            f"{FORMAT_VERSION}. Use the version of dkmeans that wrote it: "
            f"{manifest.get('versions', {}).get('dkmeans')}."
        )
    return manifest


def _article(kind: str | None) -> str:
    return f"a {kind}" if kind else "a dataset, codebook or result"


def describe(url: str) -> dict[str, Any]:
    """What the artefact at `url` is: its manifest, and the shape and chunks of its arrays."""
    manifest = read_manifest(url)
    shapes = {}
    for found in storage.list_objects(url):
        name = found.key.removesuffix(f"/{_ROOT}")
        if name != found.key and json.loads(storage.read_object(url, found.key))["node_type"] == "array":
            array = arrays.open_array(url, name)
            shapes[name] = {
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "chunks": list(array.chunks),
                "shards": list(array.shards) if array.shards else None,
            }
    stored = sum(found.size for found in storage.list_objects(url))
    return {"url": url, **manifest, "arrays": shapes, "stored_bytes": stored}
