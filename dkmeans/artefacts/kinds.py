"""Every kind of artefact, for what takes any of them: `info`, `status`, `decode`, `verify`."""

from __future__ import annotations

from typing import Any

from dkmeans.artefacts.codebook import CodebookManifest
from dkmeans.artefacts.coded import CodedImages, CodedManifest
from dkmeans.artefacts.dataset import DatasetManifest
from dkmeans.artefacts.folder import HIDDEN, FolderManifest, ImageFolder
from dkmeans.artefacts.manifests import (
    ROOT,
    Manifest,
    array_names,
    article,
    damaged_nodes,
    kind_of,
    read_root,
    validated,
)
from dkmeans.artefacts.sweep import SweepManifest
from dkmeans.errors import InputError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["KINDS", "describe", "model_of", "open_images", "place_of", "read_any"]

_MODELS: tuple[type[Manifest], ...] = (
    DatasetManifest, CodebookManifest, SweepManifest, CodedManifest, FolderManifest
)  # fmt: skip
KINDS = {model.kind_name(): model for model in _MODELS}
"""The manifest of each kind."""


def place_of(store: Store) -> Store:
    """Where the claims and the manifest of an output lie: in it, or hidden in a folder of images."""
    if store.exists(ROOT) or store.list("claim"):
        return store
    hidden = store.below(HIDDEN)
    return hidden if hidden.list() else store


def model_of(store: Store, found: dict[str, Any]) -> type[Manifest]:
    """Tell the model of a manifest that `read_root` has given.

    Raises
    ------
    InputError
        If it is of no kind that is known here.
    """
    kind = kind_of(found)
    if kind not in KINDS:
        raise InputError(
            f"{store.url} is {article(kind)}; expected {article(None)} of dkmeans. Use the version of "
            f"dkmeans that wrote it: {found.get('versions', {}).get('dkmeans')}."
        )
    return KINDS[kind]


def read_any(store: Store) -> Manifest:
    """The manifest of a complete artefact of any kind, checked with the metadata of all its arrays.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, damaged, or of another format version.
    """
    found = read_root(store)
    for error in damaged_nodes(store, found):
        raise error
    return validated(store, found, model_of(store, found))


def open_images(url: str) -> CodedImages | ImageFolder:
    """Open images that a stage has written: coded ones, or a folder of files.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    store = open_store(url)
    manifest = read_any(place_of(store))
    if isinstance(manifest, CodedManifest):
        return CodedImages(store, manifest)
    if isinstance(manifest, FolderManifest):
        return ImageFolder(store, manifest)
    raise InputError(
        f"{store.url} is {article(manifest.kind)}; expected coded images (of compress, reconstruct or "
        "quantize --to archive), or a folder of images that quantize has written."
    )


def describe(url: str) -> dict[str, Any]:
    """Describe the artefact at `url`: its manifest, and the shape and chunks of its arrays."""
    whole = open_store(url)
    store = place_of(whole)
    manifest = read_any(store)
    shapes = {}
    for name in array_names(manifest.nodes):
        if (array := arrays.array_at(store, name)) is not None:
            shapes[name] = {
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "chunks": list(array.chunks),
                "shards": list(array.shards) if array.shards else None,
            }
    stored = sum(found.size for found in whole.list())
    shown = manifest.model_dump(mode="json", exclude={"nodes"})
    return {"url": whole.url, **shown, "arrays": shapes, "stored_bytes": stored}
