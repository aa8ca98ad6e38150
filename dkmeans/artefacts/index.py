"""The groups ``images`` and ``skipped`` of an artefact: which images there are, and which were left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.claims import Claim
from dkmeans.images.decode import SkippedImage
from dkmeans.images.index import ImageIndex
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["read_index", "read_skipped", "write_index", "write_skipped"]


def write_index(claim: Claim[Any], index: ImageIndex) -> None:
    """Write the group ``images`` of an artefact; its own metadata last, as the mark that it is whole."""
    columns: dict[str, NDArray[Any]] = {
        "name": np.array(index.names, dtype=np.dtypes.StringDType()),
        "height": index.height,
        "width": index.width,
        "offset": index.offset,
    }
    for name, values in columns.items():
        claim.write_array(f"images/{name}", values)
    claim.commit_group("images")


def read_index(store: Store) -> ImageIndex:
    """The group ``images`` of an artefact."""
    names, height, width = (arrays.read_rows(store, f"images/{name}") for name in ("name", "height", "width"))
    return ImageIndex(tuple(str(name) for name in names), height, width)


def write_skipped(claim: Claim[Any], skipped: Sequence[SkippedImage]) -> None:
    """Write the group ``skipped``: name and reason of every image that could not be read."""
    claim.discard("skipped")
    for name, attribute in (("name", "key"), ("reason", "reason")):
        values = np.array([getattr(image, attribute) for image in skipped], dtype=np.dtypes.StringDType())
        claim.write_array(f"skipped/{name}", values)
    claim.commit_group("skipped")


def read_skipped(store: Store) -> list[SkippedImage]:
    """The group ``skipped``: name and reason of every image that could not be read."""
    names, reasons = (arrays.read_rows(store, f"skipped/{name}") for name in ("name", "reason"))
    return [SkippedImage(str(name), str(reason)) for name, reason in zip(names, reasons, strict=True)]
