"""A dataset on disk: the index of its images, their pixels laid end to end, and their patches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from dkmeans.artefacts import manifests
from dkmeans.artefacts.claims import Claim
from dkmeans.artefacts.manifests import Artefact
from dkmeans.images.index import ImageIndex
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = [
    "Dataset",
    "dataset_digest",
    "open_dataset",
    "read_index",
    "read_skipped",
    "write_index",
    "write_skipped",
]


def write_index(claim: Claim, index: ImageIndex) -> None:
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


def write_skipped(claim: Claim, skipped: list[tuple[str, str]]) -> None:
    """Write the group ``skipped``: name and reason of every image that could not be read."""
    claim.discard("skipped")
    for position, name in enumerate(("name", "reason")):
        values = np.array([row[position] for row in skipped], dtype=np.dtypes.StringDType())
        claim.write_array(f"skipped/{name}", values)
    claim.commit_group("skipped")


def read_skipped(store: Store) -> list[tuple[str, str]]:
    """The group ``skipped``: name and reason of every image that could not be read."""
    names, reasons = (arrays.read_rows(store, f"skipped/{name}") for name in ("name", "reason"))
    return [(str(name), str(reason)) for name, reason in zip(names, reasons, strict=True)]


def dataset_digest(config: dict[str, Any], dtype: str, index: ImageIndex, chunks: list[str]) -> str:
    """What the rows of a dataset are a function of: its images, and how patches are cut from them.

    Parameters
    ----------
    config : dict
        The config of ingest, as it is recorded.
    dtype : str
    index : ImageIndex
    chunks : list of str
        SHA-256 of each chunk of its pixels.
    """
    identity = [str(config["patch"]), str(config["stride"]), dtype]
    sizes = [f"{height}x{width}" for height, width in zip(index.height, index.width, strict=True)]
    return manifests.digest([*identity, *index.names, *sizes, *chunks])


@dataclass(frozen=True)
class Dataset(Artefact):
    """A complete dataset.

    Attributes
    ----------
    store : Store
        Where it is.
    manifest : dict
        Config, digests, counts and versions, as written by ingest.
    """

    def __repr__(self) -> str:
        from dkmeans.artefacts import display

        return display.text("Dataset", self.url, display.describe_dataset(self.manifest))

    def _repr_html_(self) -> str:
        from dkmeans.artefacts import display

        def pictures() -> Any:
            n = min(display.N_THUMBNAILS, self.n_images)
            names = arrays.read_rows(self.store, "images/name", 0, n)
            return display.thumbnails(names, self.sizes(0, n), self.image)

        return display.page("Dataset", self.url, display.describe_dataset(self.manifest), pictures)

    @cached_property
    def index(self) -> ImageIndex:
        """The images: names, sizes, offsets. Tasks do without it: they read the sizes they need."""
        return read_index(self.store)

    @cached_property
    def offset(self) -> NDArray[np.int64]:
        """Row of the first pixel of each image, and the number of all pixels; shape (n_images + 1,)."""
        return arrays.read_rows(self.store, "images/offset")

    def sizes(self, start: int, stop: int) -> NDArray[np.int32]:
        """Height and width of the images `start` to `stop`; shape (stop - start, 2)."""
        columns = [
            arrays.read_rows(self.store, f"images/{name}", start, stop) for name in ("height", "width")
        ]
        return np.stack(columns, axis=1)

    @property
    def n_images(self) -> int:
        """Number of images."""
        return int(self.manifest["n_images"])

    @property
    def channels(self) -> int:
        """Values per pixel: 1, 3 or 4."""
        return int(self.manifest["channels"])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value: uint8 or uint16."""
        return np.dtype(str(self.manifest["dtype"]))

    @property
    def patch(self) -> tuple[int, int] | None:
        """Height and width of the patches in pixels; None when there are none."""
        size = self.manifest["config"]["patch"]
        return (int(size[0]), int(size[1])) if size else None

    @property
    def stride(self) -> tuple[int, int]:
        """Rows and columns from one patch to the next, in pixels."""
        size = self.manifest["config"]["stride"]
        return int(size[0]), int(size[1])

    @property
    def blank_threshold(self) -> float:
        """Share of the largest possible sum that a kept patch exceeds."""
        return float(self.manifest["config"]["blank_threshold"])

    @property
    def pixels(self) -> zarr.Array[Any]:
        """All pixels, image after image, row-major: shape (n_pixels, channels)."""
        return arrays.open_array(self.store, "pixels")

    @property
    def patches(self) -> zarr.Array[Any]:
        """All patches kept, image after image: shape (n_patches, patch height x width x channels)."""
        return arrays.open_array(self.store, "patches")

    @cached_property
    def patch_offset(self) -> NDArray[np.int64]:
        """First patch of each image, and the number of all; shape (n_images + 1,)."""
        return arrays.read_rows(self.store, "patch_offset")

    def skipped(self) -> list[tuple[str, str]]:
        """Name and reason of each image that ingest could not read."""
        return read_skipped(self.store)

    def image(self, position: int) -> NDArray[Any]:
        """One image; shape (height, width, channels)."""
        (image,) = next(self.stacks(position, position + 1))
        return np.asarray(image)

    def stacks(self, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """The images `start` to `stop`, neighbors of one size together.

        Yields
        ------
        ndarray of shape (n, height, width, channels)
        """
        sizes = self.sizes(start, stop)
        borders = np.flatnonzero((np.diff(sizes, axis=0) != 0).any(axis=1)) + 1
        for low, high in pairwise([0, *borders.tolist(), stop - start]):
            shape = (high - low, int(sizes[low, 0]), int(sizes[low, 1]), self.channels)
            first, last = int(self.offset[start + low]), int(self.offset[start + high])
            yield arrays.read_rows(self.store, "pixels", first, last).reshape(shape)


def open_dataset(url: str | Store) -> Dataset:
    """Open a complete dataset.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    store = open_store(url)
    return Dataset(store, manifests.read_manifest(store, "dataset"))
