"""The palette of one image: exact k-means on its colors, inside one task and without Dask.

The colors are counted, as in `dkmeans.features.histogram`, so an iteration costs as much as there are colors.

Of an image with alpha three things are sure: clear pixels stay clear, opaque ones opaque, and clear ones take
one color of the palette together. So the clear color is reserved, as those are that were asked for; colors
that opaque pixels take are opaque; and then Lloyd's iterations go on under these constraints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.constrained import group_by_alpha, label_groups, sum_groups
from dkmeans.clustering.loop import LloydResult, State, iterate
from dkmeans.clustering.reserving import learn_reserved
from dkmeans.clustering.starts import find_starts
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import FeatureSpace
from dkmeans.features.spaces import SpaceName
from dkmeans.kernels import exact

__all__ = ["Learned", "learn_palette", "use_palette"]

_FEW_CLUSTERS = 16
_FINALISTS = 4
"""Starts that go on with all colors where the palette has few: each costs a few milliseconds."""


@dataclass(frozen=True)
class Learned:
    """Centers, the colors that they stand for, and which of them each color of the image takes.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_features), float32
        On the grid of `dkmeans.kernels.exact`; without alpha where every color is opaque.
    palette : ndarray of shape (n_clusters, channels), uint8
        The centers as colors.
    labels : ndarray of shape (n_colors,), int32
    inertia : float
        Sum of the squared distances of all pixels to their centers; in units of 1/255 of the length from
        black to white, which are those of the stored values in sRGB.
    n_iter : int
    converged : bool
    """

    centers: NDArray[np.float32]
    palette: NDArray[np.uint8]
    labels: NDArray[np.int32]
    inertia: float
    n_iter: int
    converged: bool


def learn_palette(
    histogram: Histogram,
    n_clusters: int,
    *,
    seed: int,
    max_iter: int,
    tol: float,
    relaxation: float = 1.0,
    min_gain: float = 0.0,
    space: SpaceName = "rgb",
    keep: NDArray[np.uint8] | None = None,
) -> Learned:
    """Find at most `n_clusters` centers for the colors of one image; of as many colors or fewer, the colors.

    Parameters
    ----------
    histogram : Histogram
        Of the pixels of the image, those of alpha 0 all alike, see `dkmeans.features.space.hide`.
    n_clusters : int
    seed : int
        Of the starts.
    max_iter, tol, relaxation, min_gain
        Of the iterations with all colors; as in `dkmeans.clustering.loop.iterate`.
    space : {"rgb", "linear", "oklab"}
        In which distances are measured; see `dkmeans.features.spaces`.
    keep : ndarray of shape (n, channels), uint8; or None
        Colors that are the first ones of the palette, as they are; the others are learned around them.

    Raises
    ------
    ImageError
        If so few colors cannot hold those of `keep`, a clear one for clear pixels, and one for the others.
    """
    pace: Any = {"max_iter": max_iter, "tol": tol, "relaxation": relaxation, "min_gain": min_gain}
    colors, n_channels = histogram.colors, histogram.colors.shape[1]
    kept = _distinct(np.zeros((0, n_channels), np.uint8) if keep is None else keep)
    if n_channels in (2, 4) and (colors[:, -1] == 255).all() and (kept[:, -1] == 255).all():
        without = Histogram(np.ascontiguousarray(colors[:, :-1]), histogram.counts)
        shown = learn_palette(without, n_clusters, seed=seed, space=space, keep=kept[:, :-1], **pace)
        return replace(shown, palette=np.insert(shown.palette, n_channels - 1, 255, axis=1))
    features = FeatureSpace(colors.dtype, n_channels, space=space)
    palette = _distinct(np.concatenate([kept, colors]))
    if len(palette) <= n_clusters:
        return _all_kept(palette, colors, features)
    rows, scale = features.to_rows(colors), features.unit**2
    if not features.has_alpha and not len(kept):
        block = kernels.load(rows, "cpu", histogram.counts)  # so few rows are no work for a GPU
        starts = find_starts(rows, histogram.counts, n_clusters, seed, int(histogram.counts.sum()))
        finalists = starts[: _FINALISTS if n_clusters <= _FEW_CLUSTERS else 1]
        found = min((iterate(block, State(start), **pace) for start in finalists), key=_inertia)
        labels, palette = block.labels(found.centers), features.to_pixels(found.centers)
        n_iter = len(found.history)
        return Learned(found.centers, palette, labels, found.inertia / scale, n_iter, found.converged)
    reserved = learn_reserved(histogram, features, kept, n_clusters, seed=seed, **pace)
    done, palette = reserved.found, features.to_pixels(reserved.found.centers)
    palette[: len(reserved.kept)] = reserved.kept
    return Learned(done.centers, palette, reserved.labels, done.inertia / scale, done.n_iter, done.converged)


def use_palette(histogram: Histogram, centers: NDArray[np.float32], space: SpaceName = "rgb") -> Learned:
    """Give each color of an image the nearest of some centers; opaque ones opaque, clear ones clear ones.

    Parameters
    ----------
    histogram : Histogram
        As of `learn_palette`.
    centers : ndarray of shape (n_clusters, n_features), float32
        On the grid of `dkmeans.kernels.exact`.
    space : {"rgb", "linear", "oklab"}
        Of the centers.
    """
    features = FeatureSpace(histogram.colors.dtype, histogram.colors.shape[1], space=space)
    groups = group_by_alpha(features.to_rows(histogram.colors), histogram.counts, centers, features)
    inertia = exact.inertia(sum_groups(groups, centers), centers, features.row_dtype) / features.unit**2
    return Learned(centers, features.to_pixels(centers), label_groups(groups, centers), inertia, 0, True)


def _inertia(found: LloydResult) -> float:
    return found.inertia


def _distinct(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each color once, in the order in which they come first."""
    _, first = np.unique(colors, axis=0, return_index=True)
    return colors[np.sort(first)]


def _all_kept(palette: NDArray[np.uint8], colors: NDArray[np.uint8], features: FeatureSpace) -> Learned:
    """A palette that has all `colors`."""
    places = {color.tobytes(): place for place, color in enumerate(palette)}
    labels = np.array([places[color.tobytes()] for color in colors], np.int32)
    centers = features.to_rows(palette).astype(np.float32)
    return Learned(centers, palette, labels, 0.0, 0, True)
