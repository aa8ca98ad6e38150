"""Manifests: what an artefact tells of itself. It is complete when its manifest is there.

An artefact is one Zarr v3 group, written by way of `dkmeans.artefacts.claims`. The manifest has a checksum of
itself and of the metadata of each array, these have one of each chunk of their rows: every byte that is read
is checked, from the top down. Each kind of artefact has a model of its own, validated when it is opened; the
config of the run is kept as provenance, and nothing is read from it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema

from dkmeans.errors import DkmeansError, InputError, StorageError
from dkmeans.features.space import FeatureSpace
from dkmeans.storage import checksums
from dkmeans.storage.store import Store, StoredObject

__all__ = [
    "CHECKPOINT",
    "FORMAT_VERSION",
    "ROOT",
    "Artefact",
    "Manifest",
    "Space",
    "array_names",
    "article",
    "attributes_of",
    "damaged",
    "damaged_nodes",
    "digest",
    "group_metadata",
    "kind_of",
    "node_checksums",
    "read_manifest",
    "read_root",
    "sealed",
    "validated",
]

FORMAT_VERSION = 3
_UPGRADED = 2
"""The oldest version that is read; those before it have no checksums."""
ROOT = "zarr.json"
"""Key of the manifest: the metadata of the group."""
CHECKPOINT = "checkpoint.npz"
"""Key of the state of a fit that is under way; gone when it is committed."""
_OLD_KINDS = {"result": "coded", "archive": "coded"}
"""Kinds of format version 2 that have another name now."""


def _to_space(value: Any) -> FeatureSpace:
    return value if isinstance(value, FeatureSpace) else FeatureSpace.from_json(value)


Space = Annotated[
    FeatureSpace,
    PlainValidator(_to_space),
    PlainSerializer(FeatureSpace.to_json),
    WithJsonSchema(FeatureSpace.json_schema()),
]
"""A feature space as a field of a manifest."""


class Manifest(BaseModel):
    """The facts that every artefact tells of itself.

    Attributes
    ----------
    run : str
        Name of the run that wrote it, unlike that of any other.
    config : dict
        Options of the stage, as provenance.
    input_digest : str
        SHA-256 of what the stage has read.
    versions : dict of str to str
        Of the packages that made it.
    nodes : dict of str to int
        CRC-32C of the metadata of each array and group.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: ClassVar[tuple[str, ...]] = ()
    """Arrays and groups directly below an artefact of the kind."""
    sharded: ClassVar[tuple[str, ...]] = ()
    """Those of them that tasks write, a shard at a time."""

    kind: str
    format_version: int
    run: str
    config: dict[str, Any]
    input_digest: str
    versions: dict[str, str]
    nodes: dict[str, int]

    @classmethod
    def upgraded(cls, found: dict[str, Any]) -> dict[str, Any]:
        """The fields that an artefact of format version 2 has elsewhere, or under another name."""
        return {}

    @classmethod
    def kind_name(cls) -> str:
        """The kind of artefact that this is the manifest of."""
        return str(cls.model_fields["kind"].default)

    @classmethod
    def parsed(cls, found: dict[str, Any]) -> Self:
        """The model of a manifest that `read_root` has given.

        Raises
        ------
        pydantic.ValidationError
            If a field is missing, unknown or of another type.
        """
        if found["format_version"] == _UPGRADED:
            known = {name: value for name, value in found.items() if name in cls.model_fields}
            found = {**known, **cls.upgraded(found), "kind": cls.kind_name()}
        return cls.model_validate({name: value for name, value in found.items() if name != "crc32c"})


_M = TypeVar("_M", bound=Manifest)


@dataclass(frozen=True)
class Artefact(Generic[_M]):
    """An artefact that is complete.

    Attributes
    ----------
    store : Store
        Where it lies.
    manifest : Manifest
        Of its kind.
    """

    store: Store
    manifest: _M

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what is cached: a task reads what it needs."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def url(self) -> str:
        """Where it lies."""
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
    """CRC-32C of the metadata of each array and group of an artefact, and of each manifest directly in it."""
    keys = [found.key for found in store.list()]
    wanted = [key for key in keys if re.fullmatch(r"(?!claim/)[^/]+/(?:[^/]+/)?zarr\.json", key)]
    return {key: checksums.of_bytes(store.get(key)) for key in wanted}


def damaged(url: str, key: str, why: str) -> InputError:
    """The error for an object of an artefact that is not as it was written."""
    return InputError(
        f"{url}: {key} is damaged: {why}. Restore it from a copy, or make the output again with "
        "--overwrite; `dkmeans verify` tells what else is damaged."
    )


def attributes_of(store: Store, key: str) -> dict[str, Any] | None:
    """The attributes of the group whose metadata is at `key`; none if it is damaged, None without one."""
    data = store.get_or_none(key)
    if data is None:
        return None
    try:
        return dict(json.loads(data)["attributes"]["dkmeans"])
    except (ValueError, KeyError, TypeError):
        return {}


def read_manifest(store: Store, model: type[_M]) -> _M:
    """The manifest of a complete artefact, checked with the metadata of all its arrays.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, damaged, of another kind, or of another format version.
    """
    found = read_root(store, model.kind_name())
    for error in damaged_nodes(store, found):
        raise error
    return validated(store, found, model)


def validated(store: Store, found: dict[str, Any], model: type[_M]) -> _M:
    """A manifest that `read_root` has given, in the fields of its kind.

    Raises
    ------
    InputError
        Naming the first field that does not fit.
    """
    try:
        return model.parsed(found)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        what = f"{error!r}"
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise damaged(store.url, ROOT, f"its manifest is no {model.kind_name()}'s ({what})") from error


def damaged_nodes(store: Store, manifest: dict[str, Any]) -> Iterator[InputError]:
    """An error for each of the metadata of an artefact that are not those of the manifest."""
    nodes = [StoredObject(key, 0) for key in manifest["nodes"]]
    for found, data in zip(nodes, store.get_many(nodes), strict=True):
        if isinstance(data, StorageError):
            raise data
        if isinstance(data, DkmeansError):
            yield damaged(store.url, found.key, "it is gone")
        elif checksums.of_bytes(data) != manifest["nodes"][found.key]:
            yield damaged(store.url, found.key, "it has another checksum than the manifest tells")


def read_root(store: Store, kind: str | None = None) -> dict[str, Any]:
    """The manifest of a complete artefact as it is stored, without a look at its arrays."""
    url = store.url
    manifest = attributes_of(store, ROOT)
    if manifest is None:
        if store.list("claim"):
            raise InputError(
                f"{url} is unfinished: the run that began it has not committed it. "
                "Run that command again with --resume."
            )
        hint = " A folder of images has to be ingested first." if kind == "dataset" else ""
        raise InputError(
            f"{url}: nothing is there; expected {article(kind)} of dkmeans. Check the path.{hint}"
        )
    found = manifest.get("kind")
    if not isinstance(found, str):
        if store.list("claim"):
            raise damaged(url, ROOT, "it holds no manifest")
        raise InputError(
            f"{url} is a Zarr group that dkmeans did not write; expected {article(kind)} of dkmeans. Check "
            "the order of the arguments."
        )
    kind_now = kind_of(manifest)
    if kind is not None and kind_now != kind:
        raise InputError(
            f"{url} is {article(kind_now)}; expected {article(kind)} of dkmeans. Check the order of the "
            "arguments."
        )
    if manifest.get("format_version") not in (_UPGRADED, FORMAT_VERSION):
        raise InputError(
            f"{url} has format version {manifest.get('format_version')}; this dkmeans reads {_UPGRADED} and "
            f"{FORMAT_VERSION}. Make it again with --overwrite, or use the version of dkmeans that wrote it: "
            f"{manifest.get('versions', {}).get('dkmeans')}."
        )
    if not _is_whole(manifest):
        raise damaged(url, ROOT, "its manifest has another checksum")
    return manifest


def kind_of(manifest: dict[str, Any]) -> str:
    """The kind of an artefact, by its name of now."""
    found = str(manifest["kind"])
    return _OLD_KINDS.get(found, found)


def array_names(nodes: dict[str, int]) -> list[str]:
    """Names of the arrays and groups that a manifest tells of, without artefacts of their own."""
    names = [key.removesuffix(f"/{ROOT}") for key in nodes]
    return [name for name in names if not name.startswith("codebooks/")]


_WORDS = {
    None: "a dataset, codebook, sweep, folder of images or coded images",
    "coded": "a set of coded images",
    "folder": "a folder of images",
}


def article(kind: str | None) -> str:
    """A kind of artefact in words, with its article."""
    return _WORDS.get(kind, f"a {kind}")
