"""The palette that each image of a folder gets, and which of its colors goes where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.palette import Learned, learn_palette
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import FeatureSpace
from dkmeans.images.palettes import PNG_COLORS
from dkmeans.kernels import exact
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
    seed, max_iter, tol
        As of `dkmeans.clustering.palette.learn_palette`.
    keep : ndarray of shape (n_kept, 3 | 4), uint8, or None
        Colors that each palette has.
    """

    n_clusters: int
    seed: int
    max_iter: int
    tol: float
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
            keep=keep,
        )
        return canvas.paint(learned, keep=keep)


@dataclass(frozen=True)
class Given:
    """One palette for every image; `centers` of shape (n_clusters, channels), float32."""

    centers: NDArray[np.float32]

    @property
    def n_clusters(self) -> int:
        """Number of centers."""
        return len(self.centers)

    def channels(self, channels: int) -> int:
        """Count the channels of what is painted; see `Palettes`."""
        return channels

    def paint(self, canvas: Canvas) -> Painted:
        """Paint an image; see `Palettes`."""
        labels, inertia = _nearest(canvas.histogram, canvas.space, self.centers)
        palette = canvas.space.to_pixels(self.centers)
        return canvas.paint(Learned(self.centers, palette, labels, inertia, 0, True))


@dataclass(frozen=True)
class Mapped:
    """Colors that were given, for every image; each pixel takes the nearest.

    Opaque pixels take the nearest opaque one, if there is one. An image with alpha gets one color more for
    what is clear, if the palette has none and there is room; pixels that are not opaque may take it.

    Attributes
    ----------
    colors : ndarray of shape (n_colors, 3 | 4), uint8
        At most 256.
    """

    colors: NDArray[np.uint8]

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
        colors, palette = canvas.histogram.colors, as_channels(self.colors, canvas.image.shape[2])
        is_opaque = colors[:, 3] == 255 if palette.shape[1] == 4 else np.ones(len(colors), bool)
        places = np.arange(len(palette))
        if palette.shape[1] == 4:
            opaque = np.flatnonzero(palette[:, 3] == 255)
            places = opaque if len(opaque) else places
            if self.lacks_clear and self.has_room:
                palette = np.append(palette, np.zeros((1, 4), np.uint8), axis=0)
        centers = canvas.space.to_rows(palette[np.newaxis]).astype(np.float32)
        labels, inertia = np.zeros(len(colors), np.int32), 0.0
        for rows, allowed in ((is_opaque, places), (~is_opaque, np.arange(len(palette)))):
            if rows.any():
                part = Histogram(colors[rows], canvas.histogram.counts[rows])
                found, more = _nearest(part, canvas.space, centers[allowed])
                labels[rows], inertia = allowed[found], inertia + more
        return canvas.paint(Learned(centers, palette, labels, inertia, 0, True))


def _nearest(
    histogram: Histogram, space: FeatureSpace, centers: NDArray[np.float32]
) -> tuple[NDArray[np.int32], float]:
    """Find the nearest center of each color, the first of equally near ones, and the inertia."""
    block = kernels.load(space.to_rows(histogram.colors[np.newaxis]), "cpu", histogram.counts)
    inertia = exact.inertia(block.lloyd(centers), centers, block.dtype)  # type: ignore[arg-type]
    return block.labels(centers), inertia
