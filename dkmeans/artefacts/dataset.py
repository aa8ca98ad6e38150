"""A dataset on storage: the index of its images, their pixels laid end to end, and their patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.index import read_index, read_skipped
from dkmeans.artefacts.manifests import Artefact, Manifest, digest, read_manifest
from dkmeans.features.space import FeatureSpace
from dkmeans.images.decode import SkippedImage
from dkmeans.images.index import ImageIndex, same_sizes
from dkmeans.storage import arrays
from dkmeans.storage.store import open_store

if TYPE_CHECKING:
    import zarr

__all__ = ["Dataset", "DatasetManifest", "DatasetPart", "dataset_digest", "open_dataset"]


class DatasetManifest(Manifest):
    """The manifest of a dataset.

    Attributes
    ----------
    source : str
        URL of the images.
    channels : int
        Values per pixel: 1, 3 or 4.
    dtype : {"uint8", "uint16"}
    patch : (int, int) or None
        Height and width of the patches in pixels; None without.
    stride : (int, int)
        Rows and columns from one patch to the next, in pixels.
    blank_threshold : float
        Share of the largest possible sum that a kept patch exceeds.
    shard_mib : float
        MiB of rows in one shard.
    source_bytes : int
        Of the images as they were found.
    digest : str
        SHA-256 over what its rows are a function of.
    input_state : str or None
        Digest of the versions of the images in `source`; None of a dataset of an older version.
    """

    kind: Literal["dataset"] = "dataset"
    names: ClassVar[tuple[str, ...]] = (
        "images",
        "pixels",
        "patches",
        "patch_offset",
        "skipped",
        "files",
        "digests",
    )
    sharded: ClassVar[tuple[str, ...]] = ("pixels", "patches")

    source: str
    n_images: int
    n_skipped: int
    n_pixels: int
    n_patches: int
    channels: int
    dtype: Literal["uint8", "uint16"]
    patch: tuple[int, int] | None
    stride: tuple[int, int]
    blank_threshold: float
    shard_mib: float
    source_bytes: int
    digest: str
    input_state: str | None = None

    @classmethod
    def upgraded(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Take from the config of format version 2 what it alone told."""
        names = ("source", "patch", "stride", "blank_threshold", "shard_mib")
        return {name: found["config"][name] for name in names}


def dataset_digest(
    patch: tuple[int, int] | None,
    stride: tuple[int, int],
    dtype: str,
    index: ImageIndex,
    chunks: Sequence[str],
) -> str:
    """Digest what the rows of a dataset are a function of: its images, and how patches are cut from them.

    Parameters
    ----------
    patch, stride : (int, int)
    dtype : str
    index : ImageIndex
    chunks : sequence of str
        SHA-256 of each chunk of its pixels.
    """
    identity = [str(list(patch) if patch else None), str(list(stride)), dtype]
    sizes = [f"{height}x{width}" for height, width in zip(index.height, index.width, strict=True)]
    return digest([*identity, *index.names, *sizes, *chunks])


@dataclass(frozen=True)
class Dataset(Artefact[DatasetManifest]):
    """A dataset that is complete."""

    def __repr__(self) -> str:
        from dkmeans.artefacts import display

        return display.text("Dataset", self.url, display.describe_dataset(self.manifest))

    def _repr_html_(self) -> str:
        from dkmeans.artefacts import display

        def pictures() -> Any:
            n = min(display.N_THUMBNAILS, self.n_images)
            names = arrays.read_rows(self.store, "images/name", 0, n)
            return display.thumbnails(names, self.part(0, n).sizes(), self.image)

        return display.page("Dataset", self.url, display.describe_dataset(self.manifest), pictures)

    @property
    def told(self) -> list[str]:
        """Digests of what the dataset tells: its rows, and the color tags where its images have any."""
        nodes = sorted(self.manifest.nodes.items())
        return [
            self.manifest.digest,
            *(f"{key} {crc}" for key, crc in nodes if key.startswith("images/tags")),
        ]

    @cached_property
    def index(self) -> ImageIndex:
        """The images: names, sizes, offsets."""
        return read_index(self.store)

    @cached_property
    def offset(self) -> NDArray[np.int64]:
        """Row of the first pixel of each image, and the number of all pixels; shape (n_images + 1,)."""
        return arrays.read_rows(self.store, "images/offset")

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.manifest.n_images

    @property
    def channels(self) -> int:
        """Values per pixel: 1, 3 or 4."""
        return self.manifest.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value: uint8 or uint16."""
        return np.dtype(self.manifest.dtype)

    @property
    def patch(self) -> tuple[int, int] | None:
        """Height and width of the patches in pixels; None when there are none."""
        return self.manifest.patch

    @property
    def stride(self) -> tuple[int, int]:
        """Rows and columns from one patch to the next, in pixels."""
        return self.manifest.stride

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

    def space(self, on: str) -> FeatureSpace:
        """Tell in which space its rows are.

        Parameters
        ----------
        on : {"pixels", "patches"}
            Which rows.

        Returns
        -------
        FeatureSpace
            The dtype and channels of a row, and the size of a patch.
        """
        patch = self.patch if on == "patches" else None
        return FeatureSpace(self.dtype, self.channels, patch)

    def skipped(self) -> list[SkippedImage]:
        """Read which images ingest could not read.

        Returns
        -------
        list of SkippedImage
            Name and reason of each.
        """
        return read_skipped(self.store)

    def part(self, start: int, stop: int) -> DatasetPart:
        """Choose some images, for one task.

        Parameters
        ----------
        start, stop : int
            The first one, and the one after the last.

        Returns
        -------
        DatasetPart
            Reads what it needs of them.
        """
        return DatasetPart(self, start, stop)

    def image(self, position: int) -> NDArray[Any]:
        """Read one image.

        Parameters
        ----------
        position : int
            Of the image, from 0 on.

        Returns
        -------
        ndarray of shape (height, width, channels)
            uint8 or uint16, as it is stored.
        """
        return next(self.part(position, position + 1).images())


@dataclass(frozen=True)
class DatasetPart:
    """The images `start` to `stop` of a dataset, for one task: it reads what it needs of them."""

    dataset: Dataset
    start: int
    stop: int

    def sizes(self) -> NDArray[np.int32]:
        """Height and width of each; shape (n, 2)."""
        store, cut = self.dataset.store, (self.start, self.stop)
        columns = [arrays.read_rows(store, f"images/{name}", *cut) for name in ("height", "width")]
        return np.stack(columns, axis=1)

    def images(self) -> Iterator[NDArray[Any]]:
        """Yield each image; shape (height, width, channels)."""
        for stack in self.stacks():
            yield from stack

    def stacks(self) -> Iterator[NDArray[Any]]:
        """Yield the images, neighbors of one size together; shape (n, height, width, channels)."""
        store, sizes = self.dataset.store, self.sizes()
        offset = arrays.read_rows(store, "images/offset", self.start, self.stop + 1)
        pixels = arrays.open_array(store, "pixels")
        for low, high in same_sizes(sizes):
            rows = arrays.read_part(pixels, int(offset[low]), int(offset[high]))
            yield rows.reshape(high - low, int(sizes[low, 0]), int(sizes[low, 1]), -1)


def open_dataset(url: str) -> Dataset:
    """Open a dataset that is complete.

    Parameters
    ----------
    url : str
        Where it lies: a path, or a URL of an object store.

    Returns
    -------
    Dataset
        Its arrays are read when they are asked for.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    store = open_store(url)
    return Dataset(store, read_manifest(store, DatasetManifest))
