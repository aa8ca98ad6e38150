"""The palette that each image of a folder gets, and which of its colors goes where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans.clustering.palette import learn_palette, use_palette
from dkmeans.features.space import FeatureSpace
from dkmeans.features.spaces import SpaceName
from dkmeans.images.palettes import PNG_COLORS
from dkmeans.stages.shared.canvas import Canvas, Painted, as_channels, channels_for

__all__ = ["Given", "Mapped", "Palettes", "PerImage"]


class Palettes(Protocol):
    """Where the palette of an image comes from."""

    @property
    def n_clusters(self) -> int:
        """The most colors of a palette."""

    def channels(self, channels: int) -> int:
        """Count the channels of what is painted, of an image of so many."""

    def paint(self, canvas: Canvas) -> Painted:
        """Paint an image with its palette."""


@dataclass(frozen=True)
class PerImage:
    """A palette for each image, learned from its own colors.

    Attributes
    ----------
    n_clusters : int
        Colors, those that are kept among them.
    seed, max_iter, tol, relaxation, min_gain
        As of `dkmeans.clustering.palette.learn_palette`.
    space : {"rgb", "linear", "oklab"}
        In which distances are measured.
    keep : ndarray of shape (n_kept, 3 | 4), uint8, or None
        Colors that any pixel may take, as they are.
    """

    n_clusters: int
    seed: int
    max_iter: int
    tol: float
    relaxation: float = 1.0
    min_gain: float = 0.0
    space: SpaceName = "rgb"
    keep: NDArray[np.uint8] | None = None

    def channels(self, channels: int) -> int:
        """Count the channels of what is painted; see `Palettes`."""
        return channels if self.keep is None else channels_for(channels, self.keep)

    def prepared(self, canvas: Canvas) -> Canvas:
        """The canvas with channels enough for the colors that are kept."""
        return canvas if self.keep is None else canvas.holding(self.keep)

    def range_of(self, canvas: Canvas) -> tuple[int, int]:
        """Find the least and the most colors of a palette of this image: kept ones, a clear one, one more."""
        colors, n_kept = canvas.histogram.colors, 0 if self.keep is None else len(self.keep)
        most = min(self.n_clusters, len(colors) + n_kept)
        n_clear = int(colors.shape[1] in (2, 4) and bool((colors[:, -1] == 0).any()))
        return min(n_kept + n_clear + 1, most), most

    def paint(self, canvas: Canvas) -> Painted:
        """Paint an image; see `Palettes`."""
        canvas = self.prepared(canvas)
        keep = None if self.keep is None else as_channels(self.keep, canvas.image.shape[2])
        learned = learn_palette(
            canvas.histogram,
            self.n_clusters,
            seed=self.seed,
            max_iter=self.max_iter,
            tol=self.tol,
            relaxation=self.relaxation,
            min_gain=self.min_gain,
            space=self.space,
            keep=keep,
        )
        return canvas.paint(learned)


@dataclass(frozen=True)
class Given:
    """One palette for every image.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_features), float32
    space : {"rgb", "linear", "oklab"}
        Of the centers.
    """

    centers: NDArray[np.float32]
    space: SpaceName = "rgb"

    @property
    def n_clusters(self) -> int:
        """Number of centers."""
        return len(self.centers)

    def channels(self, channels: int) -> int:
        """Count the channels of what is painted; see `Palettes`."""
        return channels

    def paint(self, canvas: Canvas) -> Painted:
        """Paint an image; see `Palettes`."""
        return canvas.paint(use_palette(canvas.histogram, self.centers, self.space))


@dataclass(frozen=True)
class Mapped:
    """Colors that were given, for every image; each pixel takes the nearest.

    Opaque pixels take an opaque one, if there is one, and clear ones a clear one. An image with alpha gets
    one color more for what is clear, if the palette has none and there is room.

    Attributes
    ----------
    colors : ndarray of shape (n_colors, 3 | 4), uint8
        At most 256.
    space : {"rgb", "linear", "oklab"}
        In which the nearest one is looked for.
    """

    colors: NDArray[np.uint8]
    space: SpaceName = "rgb"

    @property
    def n_clusters(self) -> int:
        """Number of colors."""
        return len(self.colors)

    @property
    def lacks_clear(self) -> bool:
        """Whether none of the colors is clear."""
        return self.colors.shape[1] == 3 or not (self.colors[:, 3] == 0).any()

    @property
    def has_room(self) -> bool:
        """Whether an indexed PNG holds one color more."""
        return len(self.colors) < PNG_COLORS

    def channels(self, channels: int) -> int:
        """Count the channels of what is painted; see `Palettes`."""
        return channels_for(channels, self.colors)

    def paint(self, canvas: Canvas) -> Painted:
        """Paint an image; see `Palettes`."""
        canvas = canvas.holding(self.colors)
        channels = canvas.image.shape[2]
        palette = as_channels(self.colors, channels)
        if channels == 4 and self.lacks_clear and self.has_room:
            palette = np.append(palette, np.zeros((1, 4), np.uint8), axis=0)
        centers = FeatureSpace(palette.dtype, channels, space=self.space).to_rows(palette).astype(np.float32)
        return canvas.paint(replace(use_palette(canvas.histogram, centers, self.space), palette=palette))
