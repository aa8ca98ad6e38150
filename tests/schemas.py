"""Writes the JSON schemas of the manifests from their models: `make schemas`."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from dkmeans.artefacts.kinds import KINDS
from dkmeans.artefacts.manifests import FORMAT_VERSION, Manifest

__all__ = ["FOLDER", "draw", "path_of"]

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
CRC = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}


def path_of(kind: str) -> Path:
    """Where the schema of a kind lies, of the format version that is written now."""
    return FOLDER / f"{kind}-{FORMAT_VERSION}.json"


def described(model: type[Manifest]) -> dict[str, str]:
    """What the docstrings of a model and its bases say of the fields."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        text = inspect.cleandoc(base.__doc__ or "") if issubclass(base, Manifest) else ""
        attributes = text.partition("Attributes\n----------\n")[2]
        for names, told in re.findall(r"^(\w[\w, ]*) : .*\n((?:    .*\n?)+)", attributes, re.MULTILINE):
            found |= dict.fromkeys(names.split(", "), " ".join(told.replace("`", "").split()))
    return found


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of a manifest as it is stored: with what tells its kind and version, and its checksum."""
    model = KINDS[kind]
    schema = model.model_json_schema()
    properties = schema["properties"]
    properties["format_version"] = {"const": FORMAT_VERSION}
    properties["kind"] = {"const": kind}
    properties["crc32c"] = {**CRC, "description": "CRC-32C of all else, as JSON with sorted keys."}
    for name in {"nodes", "records"} & properties.keys():
        properties[name]["additionalProperties"] = CRC
    for name, own in properties.items():
        own.pop("title", None)
        own |= {"description": text} if (text := described(model).get(name)) else {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Manifest of a {kind}, format version {FORMAT_VERSION}",
        "description": "The attribute 'dkmeans' of the Zarr group of the artefact.",
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "required": sorted({*schema["required"], "kind", "crc32c"}),
        "additionalProperties": False,
    }


def draw(kind: str) -> str:
    """The schema as it is committed."""
    return json.dumps(schema_of(kind), indent=2) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for kind in KINDS:
        path_of(kind).write_text(draw(kind), encoding="utf-8")
