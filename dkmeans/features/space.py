"""The feature space between images and the rows of a fit: from pixels to features, and back once rounded.

What features are, stands here alone: values of pixels, or of patches side by side, as they are stored; or
coordinates of their colors, and with alpha these premultiplied, on a grid of 16-bit integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from dkmeans.features import tiles
from dkmeans.features.patches import Size
from dkmeans.features.spaces import LENGTH, SpaceName, coordinates, premultiply, raised, srgb, unpremultiply

__all__ = ["FeatureSpace", "hide"]

_U16 = np.dtype(np.uint16)


def hide(pixels: NDArray[Any]) -> NDArray[Any]:
    """Make the colors behind alpha 0 zero, as nobody sees them.

    Parameters
    ----------
    pixels : ndarray of shape (..., channels), uint8 or uint16
        Of 1 or 3 channels, which have no alpha, they are given back as they are.
    """
    if pixels.shape[-1] not in (2, 4):
        return pixels
    clear = pixels[..., -1:] == 0
    return np.where(clear, np.zeros((), pixels.dtype), pixels) if clear.any() else pixels


@dataclass(frozen=True)
class FeatureSpace:
    """Which features a row has, and which pixels it stands for.

    Rows of sRGB without alpha are the stored values. All others are integers of 16 bits. With alpha of 8
    bits these are r * a, g * a, b * a and 255 * a: exact, so every color behind an alpha above 0 has a row of
    its own, and those behind alpha 0 have one. Products of 16 bits do not fit: v * a / 65535 is rounded, half
    to even.

    Attributes
    ----------
    dtype : numpy dtype
        Of the values of the images: uint8 or uint16.
    channels : int
        Of the images; the last of 2 or 4 is alpha.
    patch : (int, int), or None
        Height and width of the patches that are rows; None if pixels are.
    space : {"rgb", "linear", "oklab", "stored"}
        In which distances are measured; see `dkmeans.features.spaces`. "stored" are the values as they are,
        alpha one of them: so were rows of images with alpha once, and codebooks of these are still read.
    """

    dtype: np.dtype[Any]
    channels: int
    patch: Size | None = None
    space: SpaceName | Literal["stored"] = "rgb"

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha, and the others are multiplied by it."""
        return self.channels in (2, 4) and self.space != "stored"

    @property
    def _axes(self) -> SpaceName | None:
        """The space that values are computed of; None where rows are the stored values."""
        if self.space == "stored" or (self.space == "rgb" and not self.has_alpha):
            return None
        return self.space

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """Type of the values of a row: that of the images as they are stored, else uint16."""
        return self.dtype if self._axes is None else _U16

    @property
    def limit(self) -> int:
        """The largest value of an image: 255 or 65535."""
        return int(np.iinfo(self.dtype).max)

    @property
    def full(self) -> int:
        """The row value of the whole length of an axis, as from black to white, or from clear to opaque."""
        if self._axes is None:
            return self.limit
        products = self._axes == "rgb" and self.dtype == np.uint8
        return self.limit**2 if products else LENGTH[self._axes]

    @property
    def unit(self) -> float:
        """Length in a row of one step of a stored value, by which distances of all spaces are told alike."""
        return self.full / self.limit

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
        ndarray of shape (n_rows, n_features), `row_dtype`
        """
        encoded = self.encode(image)
        return tiles.cut(encoded, self.patch) if self.patch else encoded.reshape(-1, self.channels)

    def from_stored(self, values: NDArray[Any]) -> NDArray[Any]:
        """Make rows of stored ones of shape (n_rows, n_features), `dtype`, as a dataset has them."""
        return self.encode(values.reshape(-1, self.channels)).reshape(values.shape)

    def encode(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Make features of pixels of shape (..., channels); of the same shape, `row_dtype`."""
        if self._axes is None:
            return pixels
        if self.full == self.limit**2:
            alpha = pixels[..., -1:].astype(_U16)
            return np.concatenate([pixels[..., :-1] * alpha, alpha * _U16.type(self.limit)], axis=-1)
        values = premultiply(pixels, self._axes) if self.has_alpha else coordinates(pixels, self._axes)
        return np.rint((values + self._raised(self._axes)) * self.full).astype(_U16)

    def _raised(self, axes: SpaceName) -> NDArray[np.float64]:
        """What is added to each coordinate; alpha is never below zero."""
        of_color = raised(self.channels - self.has_alpha, axes)
        return np.append(of_color, 0.0) if self.has_alpha else of_color

    def to_pixels(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Make pixels of rows, or of centers: the nearest values that images can hold, half to even.

        Alpha is rounded first, and the color is what comes nearest with it; what cannot be shown is clipped.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_features)
            Within the range of `row_dtype`, as means of rows are.

        Returns
        -------
        ndarray of shape (n_rows, *pixel_shape), `dtype`
        """
        return self.decode(rows.reshape(-1, *self.pixel_shape))

    def decode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Make pixels of features of shape (..., channels), as `to_pixels`; of the same shape, `dtype`."""
        if self._axes is not None:
            values = values.astype(np.float64) / self.full - self._raised(self._axes)
            if self.has_alpha:
                values = unpremultiply(values, self.limit, self._axes)
            else:
                values = srgb(values, self._axes) * self.limit
        pixels: NDArray[Any] = np.rint(values).astype(self.dtype)
        return pixels

    def describe(self) -> str:
        """Say for a message what the rows are, as "pixels with 3 channels, uint8"."""
        if self.patch is None:
            words = f"pixels with {self.channels} channels, {self.dtype}"
        else:
            height, width = self.patch
            words = f"patches with {self.channels} channels, {self.dtype}, patches of {height}x{width}"
        return words if self.space in ("rgb", "stored") else f"{words}, in {self.space}"

    def to_json(self) -> dict[str, Any]:
        """Give the values that a manifest keeps."""
        patch = None if self.patch is None else list(self.patch)
        return {"dtype": str(self.dtype), "channels": self.channels, "patch": patch, "space": self.space}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Give the JSON schema of what `to_json` gives."""
        size = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}
        properties = {
            "dtype": {"enum": ["uint8", "uint16"]},
            "channels": {"type": "integer", "minimum": 1, "maximum": 4},
            "patch": {"anyOf": [size, {"type": "null"}]},
            "space": {"enum": ["rgb", "linear", "oklab", "stored"]},
        }
        return {
            "type": "object",
            "properties": properties,
            "required": ["dtype", "channels", "patch"],
            "additionalProperties": False,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make the space of which `to_json` gave these values."""
        patch = values["patch"]
        size = None if patch is None else (int(patch[0]), int(patch[1]))
        dtype, channels = np.dtype(str(values["dtype"])), int(values["channels"])
        space = values.get("space", "rgb" if channels in (1, 3) else "stored")  # before it was recorded
        return cls(dtype, channels, size, space)
