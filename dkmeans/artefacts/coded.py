"""Coded images on storage: the nearest center of each pixel or patch, and what makes images of these again.

`compress`, `reconstruct` and ``quantize --to archive`` write them. Whatever was coded, they need nothing
else to be decoded: neither the originals, nor a dataset, nor a codebook.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.decoders import Decoder, Overlap, Palette, Tiles, mask_offset, unpack_masks
from dkmeans.artefacts.index import read_index
from dkmeans.artefacts.manifests import Artefact, Manifest, Space, read_manifest
from dkmeans.features import patches, tiles
from dkmeans.features.space import FeatureSpace
from dkmeans.images.index import ImageIndex, same_sizes
from dkmeans.images.tags import ColorTags
from dkmeans.storage import arrays
from dkmeans.storage.store import open_store

if TYPE_CHECKING:
    import zarr

__all__ = ["COMPARED", "MEASURED", "CodedImages", "CodedManifest", "open_coded"]

COMPARED = ("mse", "psnr")
"""Columns of the table ``images/measures`` of every stage; psnr is infinite where nothing is lost."""
MEASURED = (*COMPARED, "ssim", "source_bytes", "n_source_colors", "n_colors", "inertia")
"""Those of quantize; NaN where there is no number."""


class CodedManifest(Manifest):
    """The manifest of coded images.

    Attributes
    ----------
    decoder : {"palette", "tiles", "overlap", "pixels"}
        What the codes stand for, see `dkmeans.artefacts.decoders`; "pixels" in format version 2 alone.
    source, dataset, codebook : str or None
        URLs of what they were made from.
    space : FeatureSpace or None
        Of the rows that have codes; None of results of format version 2, which do not tell.
    stride : (int, int) or None
        Rows and columns from one overlapping patch to the next.
    mean_psnr : float or None
        Mean in dB of the images that lost anything; None if none did.
    mse : float
        Mean squared error over all values of all images.
    n_exact : int
        Images that lost nothing.
    image_bytes : int
        Of the image files written beside, 0 without.
    inertia, n_iter, converged : None where the centers are those of a codebook
    digest : str or None
        SHA-256 over the codes; of a result of format version 2 over its codes of pixels, or its pixels.
    """

    kind: Literal["coded"] = "coded"
    names: ClassVar[tuple[str, ...]] = (
        "codes",
        "code_digests",
        "sources",
        "palette",
        "centers",
        "code_offset",
        "mask",
        "pixels",
        "images",
        "skipped",
    )
    sharded: ClassVar[tuple[str, ...]] = ("codes", "pixels")

    decoder: Literal["palette", "tiles", "overlap", "pixels"]
    source: str | None = None
    input_state: str | None = None
    dataset: str | None = None
    codebook: str | None = None
    space: Space | None = None
    stride: tuple[int, int] | None = None
    n_images: int
    n_skipped: int = 0
    n_codes: int
    n_clusters: int
    mean_psnr: float | None = None
    mean_ssim: float | None = None
    mse: float | None = None
    n_exact: int | None = None
    image_bytes: int = 0
    images: str | None = None
    inertia: float | None = None
    n_iter: int | None = None
    converged: bool | None = None
    centers_sha256: str | None = None
    measures_columns: tuple[str, ...]
    digest: str | None = None

    @classmethod
    def upgraded(cls, found: dict[str, Any]) -> dict[str, Any]:
        """The manifest of a result or an archive of format version 2, with what its config alone told."""
        config = found["config"]
        if found["kind"] == "archive":
            space = FeatureSpace.from_json({**found, "patch": config["patch"]})
            return {
                "decoder": "tiles" if space.patch else "palette",
                "space": space,
                "source": config["source"],
            }
        decoder = "palette" if found["on"] == "pixels" else "pixels"
        made = {name: config[name] for name in ("dataset", "codebook", "images")}
        return {"decoder": decoder, "measures_columns": ("psnr",), **made}


@dataclass(frozen=True)
class CodedImages(Artefact[CodedManifest]):
    """Coded images that are complete."""

    def __repr__(self) -> str:
        from dkmeans.artefacts import display

        return display.text("CodedImages", self.url, display.describe_coded(self.manifest))

    def _repr_html_(self) -> str:
        from dkmeans.artefacts import display

        def pictures() -> Any:
            n = min(display.N_THUMBNAILS, len(self.index))
            return display.thumbnails(self.index.names[:n], self.index.sizes(0, n), self.image)

        return display.page("CodedImages", self.url, display.describe_coded(self.manifest), pictures)

    @cached_property
    def index(self) -> ImageIndex:
        """Names, sizes, and offsets of pixels of the images. Tasks do without it."""
        return read_index(self.store)

    @cached_property
    def decoder(self) -> Decoder | None:
        """The decoder that makes images of the codes; None where version 2 has stored pixels beside them."""
        found = self.manifest
        if found.decoder == "palette":
            return Palette(arrays.read_rows(self.store, "palette"))
        if found.decoder == "pixels":
            return None
        assert found.space is not None
        centers = arrays.read_rows(self.store, "centers")
        if found.decoder == "tiles":
            return Tiles(centers, found.space)
        assert found.stride is not None
        return Overlap(centers, found.space, found.stride)

    @property
    def palette(self) -> NDArray[Any] | None:
        """Colors that the codes of pixels stand for, shape (n_clusters, channels); None for patches."""
        return self.decoder.colors if isinstance(self.decoder, Palette) else None

    @property
    def centers(self) -> NDArray[np.float32] | None:
        """Patches that the codes stand for, shape (n_clusters, n_features); None for pixels."""
        return self.decoder.centers if isinstance(self.decoder, (Tiles, Overlap)) else None

    @property
    def codes(self) -> zarr.Array[Any]:
        """Nearest center of each pixel or patch, image by image, row-major; the smallest uint that fits."""
        return arrays.open_array(self.store, "codes")

    @cached_property
    def code_offset(self) -> NDArray[np.int64]:
        """First code of each image, and the number of all; shape (n_images + 1,)."""
        if self.manifest.decoder == "overlap":
            return arrays.read_rows(self.store, "code_offset")
        patch = self.manifest.space.patch if self.manifest.space else None
        return row_offset(self.index, patch if self.manifest.decoder == "tiles" else None)

    @cached_property
    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Columns of the table of measures, each of shape (n_images,)."""
        columns = self.manifest.measures_columns
        if columns == ("psnr",):  # of format version 2
            return {"psnr": arrays.read_rows(self.store, "images/psnr")}
        table = arrays.read_rows(self.store, "images/measures")
        return dict(zip(columns, table.T, strict=True))

    @cached_property
    def _packed(self) -> NDArray[np.int64]:
        """First byte of the mask of each image, or its first pixel where these are stored."""
        index, found = self.index, self.manifest
        if found.decoder == "overlap" and found.space and found.space.patch and found.stride:
            return mask_offset(index.height, index.width, found.space.patch, found.stride)
        return index.offset

    def part(self, start: int, stop: int) -> CodedPart:
        """Choose some images, for one task.

        Parameters
        ----------
        start, stop : int
            The first one, and the one after the last.

        Returns
        -------
        CodedPart
            Reads what it needs of them.
        """
        cut, index = slice(start, stop + 1), self.index
        sizes, tags = index.sizes(start, stop), index.tags_of(start, stop)
        return CodedPart(self, sizes, self.code_offset[cut], self._packed[cut], tags)

    def image(self, position: int) -> NDArray[Any]:
        """Read one image.

        Parameters
        ----------
        position : int
            Of the image, from 0 on.

        Returns
        -------
        ndarray of shape (height, width, channels)
            uint8 or uint16, as the codes stand for.
        """
        return next(self.part(position, position + 1).images())


@dataclass(frozen=True)
class CodedPart:
    """Some coded images, for one task.

    Attributes
    ----------
    coded : CodedImages
    sizes : ndarray of shape (n, 2), int32
        Height and width of each.
    offset : ndarray of shape (n + 1,), int64
        First code of each, and the one after the last.
    packed : ndarray of shape (n + 1,), int64
        First byte of the mask of each, or its first pixel where these are stored.
    tags : tuple of ColorTags
        Profile and density of each.
    """

    coded: CodedImages
    sizes: NDArray[np.int32]
    offset: NDArray[np.int64]
    packed: NDArray[np.int64]
    tags: tuple[ColorTags, ...]

    @cached_property
    def codes(self) -> NDArray[Any]:
        """The codes of these images."""
        return arrays.read_rows(self.coded.store, "codes", int(self.offset[0]), int(self.offset[-1]))

    def codes_of(self, position: int) -> NDArray[Any]:
        """The codes of one of these images."""
        return self.codes[self.offset[position] - self.offset[0] : self.offset[position + 1] - self.offset[0]]

    def images(self) -> Iterator[NDArray[Any]]:
        """Yield each image; shape (height, width, channels)."""
        for stack in self.stacks():
            yield from stack

    def stacks(self) -> Iterator[NDArray[Any]]:
        """Yield the images, neighbors of one size together; shape (n, height, width, channels)."""
        for low, high in same_sizes(self.sizes):
            size = int(self.sizes[low, 0]), int(self.sizes[low, 1])
            if self.coded.decoder is None:
                cut = int(self.packed[low]), int(self.packed[high])
                yield arrays.read_rows(self.coded.store, "pixels", *cut).reshape(high - low, *size, -1)
            else:
                own = self.codes[self.offset[low] - self.offset[0] : self.offset[high] - self.offset[0]]
                yield self.coded.decoder.decode(own, self._masks(low, high, size), size)

    def _masks(self, low: int, high: int, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        if not isinstance(self.coded.decoder, Overlap):
            return None
        patch, stride = self.coded.decoder.space.patch, self.coded.decoder.stride
        assert patch is not None
        packed = arrays.read_rows(self.coded.store, "mask", int(self.packed[low]), int(self.packed[high]))
        return unpack_masks(packed, (high - low, *patches.count_windows(*size, patch, stride)))


def row_offset(index: ImageIndex, patch: tuple[int, int] | None) -> NDArray[np.int64]:
    """First pixel, or patch side by side, of each image, and the number of all; shape (n_images + 1,)."""
    if patch is None:
        return index.offset
    down, across = tiles.count_tiles(index.height.astype(np.int64), index.width.astype(np.int64), patch)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(down * across)])


def open_coded(url: str) -> CodedImages:
    """Open coded images that are complete.

    Parameters
    ----------
    url : str
        Where it lies: a path, or a URL of an object store.

    Returns
    -------
    CodedImages
        Its arrays are read when they are asked for.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    store = open_store(url)
    return CodedImages(store, read_manifest(store, CodedManifest))
