"""The feature space between images and the rows of a fit: from pixels to features, and back once rounded.

What features are, stands here alone: values of pixels, or of patches side by side, as they are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dkmeans.features import tiles
from dkmeans.features.patches import Size

__all__ = ["FeatureSpace"]


@dataclass(frozen=True)
class FeatureSpace:
    """Which features a row has, and which pixels it stands for.

    Attributes
    ----------
    dtype : numpy dtype
        Of the values of the images: uint8 or uint16.
    channels : int
        Of the images.
    patch : (int, int), or None
        Height and width of the patches that are rows; None if pixels are.
    """

    dtype: np.dtype[Any]
    channels: int
    patch: Size | None = None

    @property
    def pixel_shape(self) -> tuple[int, ...]:
        """Shape of the pixels of a row: (channels,) or (patch height, patch width, channels)."""
        return (*(self.patch or ()), self.channels)

    @property
    def n_features(self) -> int:
        """Number of features of a row."""
        return prod(self.pixel_shape)

    def to_rows(self, image: NDArray[Any]) -> NDArray[Any]:
        """Make rows of an image: its pixels, or its patches side by side as `tiles.cut` gives them.

        Parameters
        ----------
        image : ndarray of shape (height, width, channels), `dtype`

        Returns
        -------
        ndarray of shape (n_rows, n_features), `dtype`
        """
        return tiles.cut(image, self.patch) if self.patch else image.reshape(-1, self.channels)

    def to_pixels(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Make pixels of rows, or of centers: the nearest values that images can hold, half to even.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features)
            Within the range of `dtype`, as means of rows are.

        Returns
        -------
        ndarray of shape (n_rows, *pixel_shape), `dtype`
        """
        pixels: NDArray[Any] = np.rint(rows).astype(self.dtype)
        return pixels.reshape(-1, *self.pixel_shape)

    def describe(self) -> str:
        """Say for a message what the rows are, as "pixels with 3 channels, uint8"."""
        if self.patch is None:
            return f"pixels with {self.channels} channels, {self.dtype}"
        height, width = self.patch
        return f"patches with {self.channels} channels, {self.dtype}, patches of {height}x{width}"

    def to_json(self) -> dict[str, Any]:
        """Give the values that a manifest keeps."""
        patch = None if self.patch is None else list(self.patch)
        return {"dtype": str(self.dtype), "channels": self.channels, "patch": patch}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make the space of which `to_json` gave these values."""
        patch = values["patch"]
        size = None if patch is None else (int(patch[0]), int(patch[1]))
        return cls(np.dtype(str(values["dtype"])), int(values["channels"]), size)
