"""A result on disk: codes, and the palette or the reconstructed pixels that they stand for."""

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
from dkmeans.images.index import ImageIndex
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["Result", "open_result"]


@dataclass(frozen=True)
class Result(Artefact):
    """A complete result of compress (codes of pixels, palette) or reconstruct (codes of patches, pixels).

    Attributes
    ----------
    store : Store
        Where it is.
    manifest : dict
        Config, digests, PSNR, bytes and versions, as written by the stage.
    """

    def __repr__(self) -> str:
        from dkmeans.artefacts import display

        return display.text("Result", self.url, display.describe_result(self.manifest))

    def _repr_html_(self) -> str:
        from dkmeans.artefacts import display

        def pictures() -> Any:
            index, n = self.index, display.N_THUMBNAILS
            sizes = np.stack([index.height, index.width], axis=1)[:n]
            return display.thumbnails(index.names[:n], sizes, self.image)

        return display.page("Result", self.url, display.describe_result(self.manifest), pictures)

    @cached_property
    def index(self) -> ImageIndex:
        """The images: names, sizes, offsets."""
        return read_index(self.store)

    @cached_property
    def palette(self) -> NDArray[Any] | None:
        """Colors that the codes of pixels stand for, shape (n_clusters, channels); None for patches."""
        if self.manifest["on"] != "pixels":
            return None
        return arrays.read_rows(self.store, "palette")

    @property
    def codes(self) -> zarr.Array[Any]:
        """Nearest center of every pixel or patch, in the order of the dataset; smallest uint that fits."""
        return arrays.open_array(self.store, "codes")

    @cached_property
    def psnr(self) -> NDArray[np.float64]:
        """Peak signal-to-noise ratio of each image in dB, infinite where nothing is lost; shape (n,)."""
        return arrays.read_rows(self.store, "images/psnr")

    def pixel_rows(self, start: int, stop: int) -> NDArray[Any]:
        """Pixels `start` to `stop` as the codebook gives them back; shape (stop - start, channels)."""
        if self.palette is not None:
            return np.asarray(self.palette[arrays.read_rows(self.store, "codes", start, stop)])
        return arrays.read_rows(self.store, "pixels", start, stop)

    def image(self, position: int) -> NDArray[Any]:
        """One image as the codebook gives it back; shape (height, width, channels)."""
        start, stop = (int(row) for row in self.index.offset[position : position + 2])
        shape = (int(self.index.height[position]), int(self.index.width[position]), -1)
        return self.pixel_rows(start, stop).reshape(shape)


def open_result(url: str | Store) -> Result:
    """Open a complete result.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    store = open_store(url)
    return Result(store, manifests.read_manifest(store, "result"))
