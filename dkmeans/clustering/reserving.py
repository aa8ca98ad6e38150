"""A palette of which some colors are reserved, and whose opaque pixels stay opaque and clear ones clear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.constrained import Constrained, Group, iterate_constrained, label_groups
from dkmeans.clustering.starts import find_starts
from dkmeans.errors import ImageError
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import FeatureSpace

__all__ = ["Reserved", "learn_reserved"]

_OPAQUE = 255
_FEW = 1 << 15
"""Colors up to which every start is tried under the constraints: the best without them is not always so."""
_NEARLY = 0.9
"""Alpha of a center of opaque rows below which it is tried, too, to leave it to translucent ones."""


_Rows = tuple[NDArray[np.bool_], kernels.Block]
_Found = tuple[Constrained, list[Group]]


@dataclass(frozen=True)
class Reserved:
    """Centers of which the first are reserved.

    Attributes
    ----------
    kept : ndarray of shape (n_kept, channels), uint8
        The colors of the reserved ones.
    found : Constrained
    labels : ndarray of shape (n_colors,), int32
    """

    kept: NDArray[np.uint8]
    found: Constrained
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class _Kinds:
    """The colors of an image as rows: clear, translucent and opaque ones, each None where there are none.

    Attributes
    ----------
    features : FeatureSpace
    reserved : ndarray of shape (n_kept, n_features), float32
        Centers that stay; the clear one among them, if there are clear rows.
    """

    features: FeatureSpace
    reserved: NDArray[np.float32]
    clear: _Rows | None
    translucent: _Rows | None
    opaque: _Rows | None

    def groups(self, centers: NDArray[np.float32], opaque: NDArray[np.bool_]) -> list[Group]:
        """The rows, and the centers that they may take, of which `opaque` are those for opaque rows."""
        every = np.ones_like(opaque)
        clear = centers[:, -1] == 0 if self.features.has_alpha else every
        kinds = ((self.clear, clear), (self.translucent, every), (self.opaque, opaque))
        return [Group(*rows, allowed) for rows, allowed in kinds if rows is not None]

    def opaque_centers(self, centers: NDArray[np.float32]) -> Iterator[NDArray[np.bool_]]:
        """Choose the centers that opaque rows may take, in one way or two; each time at least one."""
        can = np.ones(len(centers), np.bool_)
        if self.opaque is None or not self.features.has_alpha:
            yield can
            return
        alpha = centers[:, -1] / self.features.full
        n_kept = len(self.reserved)
        can[:n_kept] = alpha[:n_kept] == 1
        taken = can if self.translucent is None else Group(*self.opaque, can).lloyd(centers).counts > 0
        yield taken
        nearly = taken & (alpha >= _NEARLY)
        if nearly.any() and not np.array_equal(nearly, taken):
            yield nearly

    def iterate(self, start: NDArray[np.float32], **pace: Any) -> _Found:
        """Find the best centers from a start, which follow the reserved ones; see `iterate_constrained`."""
        first = np.concatenate([self.reserved, start])
        tries = []
        for opaque in self.opaque_centers(first):
            centers, fixed = first.copy(), np.zeros(first.shape, np.bool_)
            fixed[: len(self.reserved)] = True
            if self.features.has_alpha and self.opaque is not None:
                centers[opaque, -1], fixed[opaque, -1] = self.features.full, True
            groups = self.groups(centers, opaque)
            found = iterate_constrained(groups, centers, fixed, **pace)
            tries.append((found, groups))
        return min(tries, key=_inertia)


def _inertia(found: _Found) -> float:
    return found[0].inertia


def learn_reserved(
    histogram: Histogram,
    features: FeatureSpace,
    kept: NDArray[np.uint8],
    n_clusters: int,
    *,
    seed: int,
    **pace: Any,
) -> Reserved:
    """Learn a palette around colors that are given.

    Starts are found for all visible colors without any constraint; of these centers, each reserved color
    replaces the nearest. Those that opaque colors take become opaque, and opaque colors may take no others.

    Parameters
    ----------
    histogram : Histogram
        Of more colors, with `kept`, than `n_clusters`.
    features : FeatureSpace
    kept : ndarray of shape (n_kept, channels), uint8
        Distinct; the clear color is added if there are clear pixels.
    n_clusters : int
    seed : int
        Of the starts.
    **pace
        As of `dkmeans.clustering.constrained.iterate_constrained`.

    Raises
    ------
    ImageError
        If `n_clusters` are too few for them, and for one that visible pixels can take.
    """
    alpha, counts = _alpha(histogram.colors, features), histogram.counts
    kept = _with_clear(kept, alpha, features)
    _check(alpha, _alpha(kept, features), n_clusters)
    rows, reserved = features.to_rows(histogram.colors), features.to_rows(kept).astype(np.float32)
    chosen = alpha == 0, (alpha > 0) & (alpha < _OPAQUE), alpha == _OPAQUE
    loaded = [
        (each, kernels.load(rows[each], "cpu", counts[each])) if each.any() else None for each in chosen
    ]
    kinds = _Kinds(features, reserved, *loaded)
    seen, visible = _alpha(kept, features) > 0, alpha > 0
    n_starts = n_clusters - int((~seen).sum())
    starts = [rows[visible].astype(np.float32)]
    if len(starts[0]) > n_starts:
        starts = find_starts(rows[visible], counts[visible], n_starts, seed, int(counts.sum()))
    tries = []
    for start in starts[: len(starts) if len(rows) <= _FEW else 1]:
        free = _without_nearest(start, reserved[seen], n_clusters - len(kept))
        tries.append(kinds.iterate(free, **pace))
    found, groups = min(tries, key=_inertia)
    return Reserved(kept, found, label_groups(groups, found.centers))


def _alpha(colors: NDArray[np.uint8], features: FeatureSpace) -> NDArray[np.uint8]:
    return colors[:, -1] if features.has_alpha else np.full(len(colors), _OPAQUE, np.uint8)


def _with_clear(
    kept: NDArray[np.uint8], alpha: NDArray[np.uint8], features: FeatureSpace
) -> NDArray[np.uint8]:
    if (alpha > 0).all() or (_alpha(kept, features) == 0).any():
        return kept
    return np.concatenate([kept, np.zeros((1, kept.shape[1]), np.uint8)])


def _check(alpha: NDArray[np.uint8], of_kept: NDArray[np.uint8], n_clusters: int) -> None:
    """Refuse fewer colors than there have to be."""
    takes = of_kept == _OPAQUE if (alpha == _OPAQUE).any() else of_kept > 0
    need = len(of_kept) + int((alpha > 0).any() and not takes.any())
    if need > n_clusters:
        raise ImageError(
            f"a palette of {n_clusters} cannot hold the colors that have to be there, {len(of_kept)} "
            f"reserved for clear pixels or asked for, and one for visible pixels; expected at least {need}. "
            f"Use --k {need} or more."
        )


def _without_nearest(
    start: NDArray[np.float32], reserved: NDArray[np.float32], n_free: int
) -> NDArray[np.float32]:
    """Drop the centers nearest to the reserved ones, which take their place, until `n_free` are left."""
    free = start.astype(np.float64)
    for row in reserved:
        if len(free) > n_free:
            free = np.delete(free, np.argmin(((free - row) ** 2).sum(axis=1)), axis=0)
    return free.astype(np.float32)
