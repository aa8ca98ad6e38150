"""What a stage leaves behind: one Zarr v3 group, complete when its manifest is there.

It is written by way of `dkmeans.claims`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from dkmeans import arrays, storage, stores
from dkmeans.errors import InputError

__all__ = ["FORMAT_VERSION", "ROOT", "attributes_of", "describe", "digest", "group_metadata", "read_manifest"]

FORMAT_VERSION = 1
ROOT = "zarr.json"
"""Key of the manifest: the metadata of the group."""


def digest(parts: list[str]) -> str:
    """SHA-256, in hex, of a list of strings."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def group_metadata(attributes: dict[str, Any]) -> bytes:
    """The metadata of a Zarr v3 group."""
    node = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(node, indent=1, sort_keys=True).encode()


def attributes_of(url: str, key: str) -> dict[str, Any] | None:
    """The attributes of the group whose metadata is at `key`; None without one."""
    if not storage.exists(url, key):
        return None
    try:
        node = json.loads(storage.read_object(url, key))
        return dict(node["attributes"]["dkmeans"])
    except (ValueError, KeyError, TypeError):
        return {}


def read_manifest(url: str, kind: str | None = None) -> dict[str, Any]:
    """The manifest of a complete artefact.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, of another kind, or of another format version.
    """
    stores.reach(url)
    manifest = attributes_of(url, ROOT)
    if manifest is None:
        if storage.list_objects(url, "claim"):
            raise InputError(
                f"{url} is unfinished: the run that began it has not committed it. "
                "Run that command again with --resume."
            )
        hint = " A folder of images has to be ingested first." if kind == "dataset" else ""
        raise InputError(
            f"{url}: nothing is there; expected {_article(kind)} of dkmeans. Check the path.{hint}"
        )
    found = manifest.get("kind")
    if found is None or (kind is not None and found != kind):
        what = _article(found) if found else "a Zarr group that dkmeans did not write"
        raise InputError(
            f"{url} is {what}; expected {_article(kind)} of dkmeans. Check the order of the arguments."
        )
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{url} has format version {manifest.get('format_version')}; this dkmeans reads "
            f"{FORMAT_VERSION}. Use the version of dkmeans that wrote it: "
            f"{manifest.get('versions', {}).get('dkmeans')}."
        )
    return manifest


def _article(kind: str | None) -> str:
    if kind is None:
        return "a dataset, codebook, sweep, result or archive"
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def describe(url: str) -> dict[str, Any]:
    """What the artefact at `url` is: its manifest, and the shape and chunks of its arrays."""
    manifest = read_manifest(url)
    shapes = {}
    for found in storage.list_objects(url):
        name = found.key.removesuffix(f"/{ROOT}")
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
