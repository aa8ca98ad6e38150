"""The schemas of docs/schemas: written from the models, and of one mind with what reads manifests."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from artefacts.made import KIND_OF
from schemas import FOLDER, draw, path_of

from dkmeans.artefacts.kinds import KINDS, place_of
from dkmeans.artefacts.manifests import ROOT, group_metadata, read_root, sealed, validated
from dkmeans.errors import InputError
from dkmeans.storage.store import Store

NAMES = pytest.mark.parametrize(("name", "kind"), KIND_OF.items())


def schema_of(kind: str) -> dict[str, Any]:
    return json.loads(path_of(kind).read_text(encoding="utf-8"))


def is_valid(kind: str, manifest: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(schema_of(kind)).is_valid(manifest)


def is_read(kind: str, manifest: dict[str, Any]) -> bool:
    """Whether dkmeans takes a manifest, which gets the checksum that it should have."""
    store = Store("memory://manifests")
    store.put(ROOT, group_metadata({"dkmeans": manifest}))
    try:
        validated(store, read_root(store, kind), KINDS[kind])
    except InputError:
        return False
    return True


def stored(url: str) -> dict[str, Any]:
    return json.loads(place_of(Store(url)).get(ROOT))["attributes"]["dkmeans"]


def without_checksum(manifest: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name != "crc32c"}


def test_the_schemas_are_those_of_the_models():
    for kind in KINDS:
        jsonschema.Draft202012Validator.check_schema(schema_of(kind))
        assert path_of(kind).read_text(encoding="utf-8") == draw(kind), "make schemas writes it anew"
    assert {path_of(kind).name for kind in KINDS} <= {path.name for path in FOLDER.iterdir()}


@NAMES
def test_every_artefact_has_a_valid_manifest(made, name, kind):
    manifest = stored(made[name])
    jsonschema.validate(manifest, schema_of(kind), jsonschema.Draft202012Validator)
    for other in set(KINDS) - {kind}:
        assert not is_valid(other, manifest)


def test_the_codebooks_of_a_sweep_too(made):
    for n_clusters in (2, 3):
        assert is_valid("codebook", stored(f"{made['sweep']}/codebooks/{n_clusters}"))


@NAMES
def test_a_missing_key_is_one_to_the_schema_and_to_dkmeans(made, name, kind):
    manifest = without_checksum(stored(made[name]))
    assert is_read(kind, sealed(manifest))
    assert not is_valid(kind, manifest)  # without its checksum
    assert not is_read(kind, manifest)
    refused = set()
    for key in manifest:
        rest = sealed({other: value for other, value in manifest.items() if other != key})
        assert is_valid(kind, rest) == is_read(kind, rest), key
        if not is_valid(kind, rest):
            refused.add(key)
    assert refused == set(schema_of(kind)["required"]) - {"crc32c"}


@NAMES
def test_an_unknown_key_and_another_version_are_too(made, name, kind):
    manifest = without_checksum(stored(made[name]))
    for change in ({"more": 1}, {"format_version": 4}, {"kind": "film"}, {"run": 1}, {"nodes": [1]}):
        changed = sealed({**manifest, **change})
        assert not is_valid(kind, changed)
        assert not is_read(kind, changed)
