"""Groups of an artefact that tell which images there are, which were left out, and what they were made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.manifests import ROOT
from dkmeans.images.decode import SkippedImage
from dkmeans.images.index import ImageIndex
from dkmeans.images.tags import ColorTags
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["read_files", "read_index", "read_skipped", "write_files", "write_index", "write_skipped"]


def write_index(claim: Claim[Any], index: ImageIndex) -> None:
    """Write the group ``images`` of an artefact; its own metadata last, as the mark that it is whole.

    Where images have color tags, ``tags`` are those that occur, each once, and ``tags_at`` of each image its
    row in them: a profile can be larger than an image.
    """
    columns: dict[str, NDArray[Any]] = {
        "name": np.array(index.names, dtype=np.dtypes.StringDType()),
        "height": index.height,
        "width": index.width,
        "offset": index.offset,
    }
    if index.tags:
        distinct = {tags: row for row, tags in enumerate(dict.fromkeys(index.tags))}
        texts = [tags.to_json() for tags in distinct]
        columns["tags"] = np.array(texts, dtype=np.dtypes.StringDType())
        columns["tags_at"] = np.array([distinct[tags] for tags in index.tags], np.int32)
    for name, values in columns.items():
        claim.write_array(f"images/{name}", values)
    claim.commit_group("images")


def read_index(store: Store) -> ImageIndex:
    """The group ``images`` of an artefact; one without color tags has no arrays of them."""
    names, height, width = (arrays.read_rows(store, f"images/{name}") for name in ("name", "height", "width"))
    return ImageIndex(tuple(str(name) for name in names), height, width, _read_tags(store))


def _read_tags(store: Store) -> tuple[ColorTags, ...]:
    if not store.exists(f"images/tags/{ROOT}"):
        return ()
    distinct = [ColorTags.from_json(str(text)) for text in arrays.read_rows(store, "images/tags")]
    return tuple(distinct[row] for row in arrays.read_rows(store, "images/tags_at").tolist())


def write_skipped(claim: Claim[Any], skipped: Sequence[SkippedImage]) -> None:
    """Write the group ``skipped``: name and reason of every image that could not be read; none for none."""
    claim.discard("skipped")
    if not skipped:
        return
    for name, attribute in (("name", "key"), ("reason", "reason")):
        values = np.array([getattr(image, attribute) for image in skipped], dtype=np.dtypes.StringDType())
        claim.write_array(f"skipped/{name}", values)
    claim.commit_group("skipped")


def read_skipped(store: Store) -> list[SkippedImage]:
    """The group ``skipped``: name and reason of every image that could not be read."""
    if not store.exists(f"skipped/{ROOT}"):
        return []
    names, reasons = (arrays.read_rows(store, f"skipped/{name}") for name in ("name", "reason"))
    return [SkippedImage(str(name), str(reason)) for name, reason in zip(names, reasons, strict=True)]


def write_files(claim: Claim[Any], versions: Mapping[str, str]) -> None:
    """Write the group ``files``: of each image of the source, those left out too, its key and its version."""
    claim.discard("files")
    for name, values in (("name", list(versions)), ("version", list(versions.values()))):
        claim.write_array(f"files/{name}", np.array(values, dtype=np.dtypes.StringDType()))
    claim.commit_group("files")


def read_files(store: Store) -> dict[str, str]:
    """The group ``files``: of each image of the source, by its key and in order, its version."""
    names, versions = (arrays.read_rows(store, f"files/{name}") for name in ("name", "version"))
    return {str(name): str(version) for name, version in zip(names, versions, strict=True)}
