"""What a stage leaves behind: one Zarr v3 group, complete when its manifest is there.

It is written by way of `artefacts.claims`. The manifest has a checksum of itself and of the metadata of
each array, these have one of each chunk of their rows: every byte that is read is checked, from the top down.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from dkmeans.errors import DkmeansError, InputError, StorageError
from dkmeans.storage import arrays, checksums
from dkmeans.storage.store import Store, StoredObject

__all__ = [
    "FORMAT_VERSION",
    "ROOT",
    "Artefact",
    "array_names",
    "attributes_of",
    "damaged",
    "damaged_nodes",
    "describe",
    "digest",
    "group_metadata",
    "node_checksums",
    "read_manifest",
    "read_root",
    "sealed",
]

FORMAT_VERSION = 2
ROOT = "zarr.json"
"""Key of the manifest: the metadata of the group."""


@dataclass(frozen=True)
class Artefact:
    """A complete artefact; what it has read stays behind when it goes to another process.

    Attributes
    ----------
    store : Store
        Where it is.
    manifest : dict
        What the stage that wrote it has noted of it.
    """

    store: Store
    manifest: dict[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def url(self) -> str:
        """Where it is."""
        return self.store.url


def digest(parts: list[str]) -> str:
    """SHA-256, in hex, of a list of strings."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def group_metadata(attributes: dict[str, Any]) -> bytes:
    """The metadata of a Zarr v3 group."""
    node = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(node, indent=1, sort_keys=True).encode()


def sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest with a checksum of itself."""
    return {**manifest, "crc32c": checksums.of_json(manifest)}


def _is_whole(manifest: dict[str, Any]) -> bool:
    """Whether a manifest has the checksum that it was written with."""
    facts = {name: value for name, value in manifest.items() if name != "crc32c"}
    return manifest.get("crc32c") == checksums.of_json(facts)


def node_checksums(store: Store) -> dict[str, int]:
    """CRC-32C of the metadata of each array and group in `store`, and of each manifest directly in it."""
    keys = [found.key for found in store.list()]
    wanted = [key for key in keys if re.fullmatch(r"(?!claim/)[^/]+/(?:[^/]+/)?zarr\.json", key)]
    return {key: checksums.of_bytes(store.get(key)) for key in wanted}


def damaged(url: str, key: str, why: str) -> InputError:
    """The error for an object of an artefact that is not as it was written."""
    return InputError(
        f"{url}: {key} is damaged: {why}. Bring it back from a copy, or make the output anew with "
        "--overwrite; `dkmeans verify` tells what else is damaged."
    )


def attributes_of(store: Store, key: str) -> dict[str, Any] | None:
    """The attributes of the group whose metadata is at `key`; none if it is damaged, None without one."""
    data = store.get_or_none(key)
    if data is None:
        return None
    try:
        node = json.loads(data)
        return dict(node["attributes"]["dkmeans"])
    except (ValueError, KeyError, TypeError):
        return {}


def read_manifest(store: Store, kind: str | None = None) -> dict[str, Any]:
    """The manifest of a complete artefact, checked with the metadata of all its arrays.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, damaged, of another kind, or of another format version.
    """
    manifest = read_root(store, kind)
    for error in damaged_nodes(store, manifest):
        raise error
    return manifest


def damaged_nodes(store: Store, manifest: dict[str, Any]) -> Iterator[InputError]:
    """An error for each of the metadata in `store` that are not those of the manifest."""
    listed = [StoredObject(key, 0) for key in manifest["nodes"]]
    for found, data in zip(listed, store.get_many(listed), strict=True):
        if isinstance(data, StorageError):
            raise data
        if isinstance(data, DkmeansError):
            yield damaged(store.url, found.key, "it is gone")
        elif checksums.of_bytes(data) != manifest["nodes"][found.key]:
            yield damaged(store.url, found.key, "it has another checksum than the manifest tells")


def read_root(store: Store, kind: str | None = None) -> dict[str, Any]:
    """The manifest of a complete artefact, without a look at its arrays; see `read_manifest`."""
    url, manifest = store.url, attributes_of(store, ROOT)
    if manifest is None:
        if store.list("claim"):
            raise InputError(
                f"{url} is unfinished: the run that began it has not committed it. "
                "Run that command again with --resume."
            )
        hint = " A folder of images has to be ingested first." if kind == "dataset" else ""
        raise InputError(
            f"{url}: nothing is there; expected {_article(kind)} of dkmeans. Check the path.{hint}"
        )
    found = manifest.get("kind")
    if not isinstance(found, str):
        if store.list("claim"):
            raise damaged(url, ROOT, "it holds no manifest")
        raise InputError(
            f"{url} is a Zarr group that dkmeans did not write; expected {_article(kind)} of dkmeans. Check "
            "the order of the arguments."
        )
    if kind is not None and found != kind:
        raise InputError(
            f"{url} is {_article(found)}; expected {_article(kind)} of dkmeans. Check the order of the "
            "arguments."
        )
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{url} has format version {manifest.get('format_version')}; this dkmeans reads "
            f"{FORMAT_VERSION}. Make it anew with --overwrite, or use the version of dkmeans that wrote it: "
            f"{manifest.get('versions', {}).get('dkmeans')}."
        )
    if not _is_whole(manifest):
        raise damaged(url, ROOT, "its manifest has another checksum")
    return manifest


def array_names(manifest: dict[str, Any]) -> list[str]:
    """Names of the arrays and groups that a manifest tells of, without artefacts of their own."""
    names = [key.removesuffix(f"/{ROOT}") for key in manifest["nodes"]]
    return [name for name in names if not name.startswith("codebooks/")]


def _article(kind: str | None) -> str:
    if kind is None:
        return "a dataset, codebook, sweep, result or archive"
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def describe(store: Store) -> dict[str, Any]:
    """What the artefact in `store` is: its manifest, and the shape and chunks of its arrays."""
    manifest = read_manifest(store)
    shapes = {}
    for name in array_names(manifest):
        if (array := arrays.array_at(store, name)) is not None:
            shapes[name] = {
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "chunks": list(array.chunks),
                "shards": list(array.shards) if array.shards else None,
            }
    stored = sum(found.size for found in store.list())
    shown = {name: value for name, value in manifest.items() if name not in ("nodes", "crc32c")}
    return {"url": store.url, **shown, "arrays": shapes, "stored_bytes": stored}
