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

from dkmeans import artefact, storage

__all__ = ["Dataset", "ImageIndex", "open_dataset", "read_index", "write_index", "write_skipped"]


@dataclass(frozen=True)
class ImageIndex:
    """Which images there are and where their pixels lie.

    Attributes
    ----------
    names : tuple of str
        Keys relative to the source.
    height, width : ndarray of shape (n,), int32
        Sizes in pixels.
    """

    names: tuple[str, ...]
    height: NDArray[np.int32]
    width: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def offset(self) -> NDArray[np.int64]:
        """Row of the first pixel of each image, and the number of all pixels; shape (n + 1,)."""
        sizes = self.height.astype(np.int64) * self.width
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def write_index(claim: artefact.Claim, index: ImageIndex) -> None:
    """Write the group ``images`` of an artefact; its own metadata last, as the mark that it is whole."""
    n_images = len(index)
    columns: dict[str, tuple[Any, Any]] = {
        "name": ("string", np.array(index.names, dtype=np.dtypes.StringDType())),
        "height": (np.int32, index.height),
        "width": (np.int32, index.width),
        "offset": (np.int64, index.offset),
    }
    for name, (dtype, values) in columns.items():
        shape = (len(values),)
        array = storage.create_array(claim.url, f"images/{name}", shape=shape, dtype=dtype, chunks=(1 << 20,))
        if n_images:
            array[:] = values
    claim.commit_group("images")


def read_index(url: str) -> ImageIndex:
    """The group ``images`` of an artefact."""
    names = storage.open_array(url, "images/name")[:]
    return ImageIndex(
        tuple(str(name) for name in np.atleast_1d(np.asarray(names))),
        np.asarray(storage.open_array(url, "images/height")[:]),
        np.asarray(storage.open_array(url, "images/width")[:]),
    )


def write_skipped(claim: artefact.Claim, skipped: list[tuple[str, str]]) -> None:
    """Write the group ``skipped``: name and reason of every image that could not be read."""
    claim.discard("skipped")
    for position, name in enumerate(("name", "reason")):
        values = np.array([row[position] for row in skipped], dtype=np.dtypes.StringDType())
        array = storage.create_array(claim.url, f"skipped/{name}", shape=(len(skipped),), dtype="string")
        if len(skipped):
            array[:] = values
    claim.commit_group("skipped")


@dataclass(frozen=True)
class Dataset:
    """A complete dataset.

    Attributes
    ----------
    url : str
        Where it is.
    manifest : dict
        Config, digests, counts and versions, as written by ingest.
    """

    url: str
    manifest: dict[str, Any]

    @cached_property
    def index(self) -> ImageIndex:
        """The images: names, sizes, offsets."""
        return read_index(self.url)

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
        return storage.open_array(self.url, "pixels")

    @property
    def patches(self) -> zarr.Array[Any]:
        """All patches kept, image after image: shape (n_patches, patch height x width x channels)."""
        return storage.open_array(self.url, "patches")

    @cached_property
    def patch_offset(self) -> NDArray[np.int64]:
        """First patch of each image, and the number of all; shape (n_images + 1,)."""
        return np.asarray(storage.open_array(self.url, "patch_offset")[:])

    def skipped(self) -> list[tuple[str, str]]:
        """Name and reason of each image that ingest could not read."""
        names = np.atleast_1d(np.asarray(storage.open_array(self.url, "skipped/name")[:]))
        reasons = np.atleast_1d(np.asarray(storage.open_array(self.url, "skipped/reason")[:]))
        return [(str(name), str(reason)) for name, reason in zip(names, reasons, strict=True)]

    def image(self, position: int) -> NDArray[Any]:
        """One image; shape (height, width, channels)."""
        start, stop = self.index.offset[position : position + 2]
        shape = (int(self.index.height[position]), int(self.index.width[position]), self.channels)
        return np.asarray(self.pixels[int(start) : int(stop)]).reshape(shape)

    def stacks(self, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """The images `start` to `stop`, neighbors of one size together.

        Yields
        ------
        ndarray of shape (n, height, width, channels)
        """
        index = self.index
        sizes = np.stack([index.height[start:stop], index.width[start:stop]], axis=1)
        borders = np.flatnonzero((np.diff(sizes, axis=0) != 0).any(axis=1)) + 1
        for low, high in pairwise([start, *(start + borders).tolist(), stop]):
            shape = (high - low, int(index.height[low]), int(index.width[low]), self.channels)
            rows = self.pixels[int(index.offset[low]) : int(index.offset[high])]
            yield np.asarray(rows).reshape(shape)


def open_dataset(url: str) -> Dataset:
    """Open a complete dataset.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    url = storage.resolve_url(url)
    return Dataset(url, artefact.read_manifest(url, "dataset"))
