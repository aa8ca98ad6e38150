"""The nearest centers of rows of float64, and distances to them, in loops that round in one way only.

The distance of a row and a center is the float64 sum of their squared differences, added in a fixed order. To
find the least, four rows at a time get a score for each center in float32, and what cannot be the nearest by
its score is left out. That margin is proven, so no label depends on how the scores were rounded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.jit import fused, inlined, jit

__all__ = ["all_distances", "nearest", "own_distances", "sum_up"]

_ROWS = 4
"""Rows that are scored together; the loops of `_score` and `_least` are written out for four."""
_LARGE = 1e30
"""Squares from which a score could leave float32."""
_TINY = 1e-37
"""More than scores lose to numbers too small for float32."""
_EXPONENTS = 1000


class _Scoring(NamedTuple):
    """Numbers and centers that rows are scored with.

    Attributes
    ----------
    middle : ndarray of shape (n_features,), float64
        Point that is subtracted from rows and centers.
    scale : float
        Factor of their differences to it.
    columns : ndarray of shape (n_features, n_clusters), float32
        The centers.
    norms : ndarray of shape (n_clusters,), float32
        Their squared lengths.
    max_norm : float
        Largest length of a center.
    slack, tiny : float
        How far above the least score the nearest center can be: ``slack * (|x| + max_norm)^2 + tiny``.
    limit : float
        Square from which on scores are of no use.
    """

    middle: NDArray[np.float64]
    scale: float
    columns: NDArray[np.float32]
    norms: NDArray[np.float32]
    max_norm: float
    slack: float
    tiny: float
    limit: float


@inlined
def _squared_distance(rows: Any, row: Any, centers: Any, center: Any) -> Any:
    """Add up four partial sums, as additions that wait for each other are slow."""
    n_features = rows.shape[1]
    whole = n_features - n_features % 4
    first = second = third = fourth = 0.0
    for feature in range(0, whole, 4):
        first += (rows[row, feature] - centers[center, feature]) ** 2
        second += (rows[row, feature + 1] - centers[center, feature + 1]) ** 2
        third += (rows[row, feature + 2] - centers[center, feature + 2]) ** 2
        fourth += (rows[row, feature + 3] - centers[center, feature + 3]) ** 2
    for feature in range(whole, n_features):
        first += (rows[row, feature] - centers[center, feature]) ** 2
    return (first + second) + (third + fourth)


@fused
def _score(gaps: Any, columns: Any, norms: Any, scores: Any) -> None:
    """Compute |c|^2 + g.c of four gaps g and all centers c, two features at a time."""
    n_features, n_clusters = columns.shape
    for center in range(n_clusters):
        norm = norms[center]
        scores[0, center] = scores[1, center] = scores[2, center] = scores[3, center] = norm
    even = n_features - n_features % 2
    for feature in range(0, even, 2):
        a, b, c, d = gaps[0, feature], gaps[1, feature], gaps[2, feature], gaps[3, feature]
        feature += 1
        e, f, g, h = gaps[0, feature], gaps[1, feature], gaps[2, feature], gaps[3, feature]
        for center in range(n_clusters):
            here, there = columns[feature - 1, center], columns[feature, center]
            scores[0, center] += a * here + e * there
            scores[1, center] += b * here + f * there
            scores[2, center] += c * here + g * there
            scores[3, center] += d * here + h * there
    for feature in range(even, n_features):
        a, b, c, d = gaps[0, feature], gaps[1, feature], gaps[2, feature], gaps[3, feature]
        for center in range(n_clusters):
            here = columns[feature, center]
            scores[0, center] += a * here
            scores[1, center] += b * here
            scores[2, center] += c * here
            scores[3, center] += d * here


@jit
def _least(scores: Any, least: Any) -> None:
    """Find the least score of each of four rows: four chains of comparisons do not wait for each other."""
    a, b, c, d = scores[0, 0], scores[1, 0], scores[2, 0], scores[3, 0]
    for center in range(scores.shape[1]):
        if scores[0, center] < a:
            a = scores[0, center]
        if scores[1, center] < b:
            b = scores[1, center]
        if scores[2, center] < c:
            c = scores[2, center]
        if scores[3, center] < d:
            d = scores[3, center]
    least[0], least[1], least[2], least[3] = a, b, c, d


@jit
def _resolve_exactly(rows: Any, row: Any, centers: Any, scores: Any, limit: Any) -> Any:
    """Find the nearest center of a row among those whose scores are not above `limit`."""
    n_near, last = np.int32(0), np.int32(-1)
    for center in range(np.int32(scores.size)):
        near = scores[center] <= limit
        n_near += np.int32(near)
        last = max(last, np.int32(center) if near else np.int32(-1))
    if n_near == 1:
        return last
    chosen, least = 0, np.inf
    for center in range(centers.shape[0]):
        if scores[center] > limit:
            continue
        distance = _squared_distance(rows, row, centers, center)
        if distance < least:
            chosen, least = center, distance
    return np.int32(chosen)


@jit
def _search(rows: Any, centers: Any, scoring: _Scoring, labels: Any) -> None:
    n_rows, n_features = rows.shape
    gaps = np.zeros((_ROWS, n_features), np.float32)
    scores = np.empty((_ROWS, scoring.norms.size), np.float32)
    least, margins = np.empty(_ROWS, np.float32), np.empty(_ROWS)
    for first in range(0, n_rows, _ROWS):
        n_here = min(_ROWS, n_rows - first)
        for i in range(n_here):
            square = 0.0
            for feature in range(n_features):
                gap = (rows[first + i, feature] - scoring.middle[feature]) * scoring.scale
                square += gap * gap
                gaps[i, feature] = -2 * gap
            margins[i] = (np.sqrt(square) + scoring.max_norm) ** 2
        _score(gaps, scoring.columns, scoring.norms, scores)
        _least(scores, least)
        for i in range(n_here):
            limit = np.float32(np.inf)
            if margins[i] < scoring.limit:  # not if it is NaN
                limit = np.float32(least[i] + (scoring.slack * margins[i] + scoring.tiny))
            else:
                scores[i] = 0
            labels[first + i] = _resolve_exactly(rows, first + i, centers, scores[i], limit)


def nearest(rows: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.int32]:
    """Find the nearest center of each row, the lowest index on ties; shape (n_rows,).

    Of rows x and centers c, less the mean of the centers and scaled by a power of two, the score is
    |c|^2 - 2 x.c. With x and c rounded to float32, and in any order of summation, it differs from what
    `_squared_distance` gives, less |x|^2, by at most (d + 4) u (|x| + |c|)^2 to first order, u = 2^-24. So,
    of two centers whose scores are more than twice that apart, the one of the larger score is farther. The
    margin is twice as wide again.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float64
    centers : ndarray of shape (n_clusters, n_features), float64
    """
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # then all distances of a row are compared
        middle = centers.mean(axis=0)
        moved = centers - middle
        exponent = int(np.frexp(np.abs(moved).max())[1])
        scale = 2.0 ** -max(-_EXPONENTS, min(_EXPONENTS, exponent))
        moved *= scale
        norms = np.einsum("kj,kj->k", moved, moved)
    scoring = _Scoring(
        middle,
        scale,
        np.ascontiguousarray(moved.T, np.float32),
        norms.astype(np.float32),
        float(np.sqrt(norms.max())),
        (2 * rows.shape[1] + 8) * 2.0**-23,
        # Squares of what is not scaled can leave the range of float64, too.
        _TINY + rows.shape[1] * float(limits.tiny) * scale * scale,
        min(_LARGE, float(limits.max) / 8 * scale * scale),
    )
    labels = np.empty(len(rows), np.int32)
    _search(rows, centers, scoring, labels)
    return labels


@jit
def sum_up(rows: Any, weights: Any, centers: Any, labels: Any, sums: Any, counts: Any) -> float:
    """Add, row by row, weights and weighted differences to the own center; the weighted squared distances."""
    total = 0.0
    for row in range(rows.shape[0]):
        label = labels[row]
        weight = weights[row] if weights.size else 1.0
        counts[label] += weight
        total += weight * _squared_distance(rows, row, centers, label)
        for feature in range(rows.shape[1]):
            sums[label, feature] += weight * (rows[row, feature] - centers[label, feature])
    return total


@jit
def own_distances(rows: Any, centers: Any, labels: Any, out: Any) -> None:
    """Measure the squared distance of each row to the center of its label."""
    for row in range(rows.shape[0]):
        out[row] = _squared_distance(rows, row, centers, labels[row])


@jit
def all_distances(rows: Any, centers: Any, out: Any) -> None:
    """Measure the distance of each row to each center; shape (n_rows, n_clusters)."""
    for row in range(rows.shape[0]):
        for center in range(centers.shape[0]):
            out[row, center] = np.sqrt(_squared_distance(rows, row, centers, center))
