"""The palette that each image of a folder gets, and which of its colors goes where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.palette import Learned, learn_palette
from dkmeans.features.histogram import Histogram
from dkmeans.kernels import exact

__all__ = ["Given", "Palettes", "PerImage"]


class Palettes(Protocol):
    """Where the palette of an image comes from."""

    def learn(self, histogram: Histogram) -> Learned:
        """Find the palette of the pixels that these are the colors of."""


@dataclass(frozen=True)
class PerImage:
    """A palette for each image, learned from its own colors."""

    n_clusters: int
    seed: int
    max_iter: int
    tol: float

    def learn(self, histogram: Histogram) -> Learned:
        """Find the palette of the pixels that these are the colors of."""
        options = {"seed": self.seed, "max_iter": self.max_iter, "tol": self.tol}
        return learn_palette(histogram, self.n_clusters, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Given:
    """One palette for every image; `centers` of shape (n_clusters, channels), float32."""

    centers: NDArray[np.float32]

    def learn(self, histogram: Histogram) -> Learned:
        """Find the nearest center of each color."""
        block, centers = kernels.load(histogram.colors, "cpu", histogram.counts), self.centers
        inertia = exact.inertia(block.lloyd(centers), centers, block.dtype)  # type: ignore[arg-type]
        return Learned(centers, block.labels(centers), inertia, 0, True)
