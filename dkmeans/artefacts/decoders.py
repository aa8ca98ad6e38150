"""Decoders: codes stand for colors, patches side by side, or overlapping patches whose mean is the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans.features import patches, tiles
from dkmeans.features.space import FeatureSpace
from dkmeans.kernels.exact import grid_integers

__all__ = ["Decoder", "Overlap", "Palette", "Tiles", "mask_offset", "pack_masks", "unpack_masks"]

Size = tuple[int, int]


class Decoder(Protocol):
    """Images of their codes."""

    def decode(self, codes: NDArray[Any], masks: NDArray[np.bool_] | None, size: Size) -> NDArray[Any]:
        """Put together images of one size.

        Parameters
        ----------
        codes : ndarray of shape (n_codes,), integer
            Of one image after the other, row-major.
        masks : ndarray of shape (n, n_down, n_across), bool, or None
            Which overlapping patches of each image have codes.
        size : (int, int)
            Height and width in pixels.

        Returns
        -------
        ndarray of shape (n, height, width, channels)
        """


@dataclass(frozen=True)
class Palette:
    """A color for each code; `colors` has shape (n_clusters, channels), uint8 or uint16."""

    colors: NDArray[Any]

    def decode(self, codes: NDArray[Any], masks: NDArray[np.bool_] | None, size: Size) -> NDArray[Any]:
        """Look the colors up; see `Decoder`."""
        return np.asarray(self.colors[codes.reshape(-1, *size)])


@dataclass(frozen=True)
class Tiles:
    """A patch for each code, side by side; `centers` has shape (n_clusters, n_features), float32."""

    centers: NDArray[np.float32]
    space: FeatureSpace

    @cached_property
    def _patches(self) -> NDArray[Any]:
        """The patches as pixels; shape (n_clusters, n_features)."""
        return self.space.to_pixels(self.centers).reshape(len(self.centers), -1)

    def decode(self, codes: NDArray[Any], masks: NDArray[np.bool_] | None, size: Size) -> NDArray[Any]:
        """Lay the patches side by side; see `Decoder`."""
        assert self.space.patch is not None
        down, across = tiles.count_tiles(*size, self.space.patch)
        images = codes.reshape(-1, down * across)
        return np.stack([tiles.assemble(self._patches[own], size, self.space.patch) for own in images])


@dataclass(frozen=True)
class Overlap:
    """A patch for each code; each pixel is the mean of those that cover it, and zero where there is none.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_features), float32
        On the grid of `dkmeans.kernels.exact`.
    space : FeatureSpace
    stride : (int, int)
        Rows and columns from one patch to the next, in pixels.
    """

    centers: NDArray[np.float32]
    space: FeatureSpace
    stride: Size

    @cached_property
    def _integers(self) -> NDArray[np.int64]:
        assert self.space.patch is not None
        return grid_integers(self.centers, self.space.row_dtype).reshape(
            -1, *self.space.patch, self.space.channels
        )

    def decode(self, codes: NDArray[Any], masks: NDArray[np.bool_] | None, size: Size) -> NDArray[Any]:
        """Add the patches up and divide; see `Decoder`."""
        assert masks is not None
        shape, dtype = (*size, self.space.channels), self.space.row_dtype
        return self.space.decode(patches.overlap_add(codes, masks, self._integers, shape, self.stride, dtype))


def mask_offset(height: NDArray[Any], width: NDArray[Any], patch: Size, stride: Size) -> NDArray[np.int64]:
    """First byte of the packed mask of each image, and the number of all; shape (n + 1,)."""
    down, across = patches.count_windows(height.astype(np.int64), width.astype(np.int64), patch, stride)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(-(-down * across // 8))])


def pack_masks(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Masks of images of one size, each in whole bytes; shape (n * n_bytes,)."""
    return np.packbits(masks.reshape(len(masks), -1), axis=1).ravel()


def unpack_masks(packed: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """The masks, of shape (n, n_down, n_across), that `pack_masks` has packed."""
    n_images, down, across = shape
    bits = np.unpackbits(packed.reshape(n_images, -1), axis=1, count=down * across)
    return bits.reshape(shape).astype(np.bool_)
