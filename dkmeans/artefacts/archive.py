"""An archive on disk: codes of images, and what they stand for; it needs nothing else to be decoded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from dkmeans.artefacts import manifests
from dkmeans.artefacts.dataset import read_index
from dkmeans.artefacts.manifests import Artefact
from dkmeans.features import tiles
from dkmeans.features.space import FeatureSpace
from dkmeans.images.index import ImageIndex
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["Archive", "open_archive", "row_offset"]


def row_offset(index: ImageIndex, patch: tuple[int, int] | None) -> NDArray[np.int64]:
    """First code of each image, and the number of all; shape (n + 1,)."""
    if patch is None:
        return index.offset
    down, across = tiles.count_tiles(index.height.astype(np.int64), index.width.astype(np.int64), patch)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(down * across)])


@dataclass(frozen=True)
class Archive(Artefact):
    """A complete archive of quantize: codes of pixels and a palette, or codes of patches and centers.

    Attributes
    ----------
    store : Store
        Where it is.
    manifest : dict
        Config, digests, measures, bytes and versions, as written by quantize.
    """

    @cached_property
    def index(self) -> ImageIndex:
        """The images: names, sizes, offsets of pixels. Tasks do without it."""
        return read_index(self.store)

    @property
    def patch(self) -> tuple[int, int] | None:
        """Height and width of the patches in pixels; None for codes of pixels."""
        size = self.manifest["config"]["patch"]
        return (int(size[0]), int(size[1])) if size else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value: uint8 or uint16."""
        return np.dtype(str(self.manifest["dtype"]))

    @cached_property
    def palette(self) -> NDArray[Any] | None:
        """Colors that the codes stand for, shape (n_clusters, channels); None for patches."""
        return arrays.read_rows(self.store, "palette") if self.patch is None else None

    @cached_property
    def centers(self) -> NDArray[np.float32] | None:
        """Patches that the codes stand for, shape (n_clusters, ph * pw * channels); None for pixels."""
        return arrays.read_rows(self.store, "centers") if self.patch is not None else None

    @property
    def codes(self) -> zarr.Array[Any]:
        """Nearest center of each pixel, or of each patch side by side, image by image, row-major."""
        return arrays.open_array(self.store, "codes")

    @cached_property
    def offset(self) -> NDArray[np.int64]:
        """First code of each image, and the number of all; shape (n + 1,)."""
        return row_offset(self.index, self.patch)

    @cached_property
    def _values(self) -> NDArray[Any]:
        """The pixels that each code stands for, as `FeatureSpace.to_pixels` gives them."""
        if self.palette is not None:
            return self.palette
        assert self.centers is not None
        space = FeatureSpace(self.dtype, int(self.manifest["channels"]), self.patch)
        return space.to_pixels(self.centers)

    def decode(self, codes: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
        """The image of `size` that some codes stand for; shape (height, width, channels)."""
        if self.patch is None:
            return np.asarray(self._values[codes].reshape(*size, -1))
        return tiles.assemble(self._values[codes], size, self.patch)

    def image(self, position: int) -> NDArray[Any]:
        """One image; shape (height, width, channels)."""
        start, stop = (int(row) for row in self.offset[position : position + 2])
        size = int(self.index.height[position]), int(self.index.width[position])
        return self.decode(arrays.read_rows(self.store, "codes", start, stop), size)


def open_archive(url: str | Store) -> Archive:
    """Open a complete archive.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    store = open_store(url)
    return Archive(store, manifests.read_manifest(store, "archive"))
