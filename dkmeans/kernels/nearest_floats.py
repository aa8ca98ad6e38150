"""The nearest centers of rows of floats, and distances to them, in loops that round in one way only.

The distance of a row and a center is the float64 sum of their squared differences, added in a fixed order. To
find the least, rows get a score for each center in float32 (`panels`), and what cannot be the nearest by its
score is left out. That margin is proven, so no label depends on how the scores were rounded: a row whose
second best score lies outside of it has the label of the best, the few others are resolved by distances.

Of a row x and a center c, less the mean of the centers and scaled by a power of two, the score is
s = |c|^2 - 2 x.c, which is |x - c|^2 less what all centers have in common. Let u = 2^-24. Rounding x and c to
float32 costs 2 u |x||c| each, rounding |c|^2 another u |c|^2. As sums begin anew after 64 features, no term
passes more than r = min(d, 64) + ceil(d / 64) roundings, fused or not. So to first order

    |error of s| <= (r + 2) u (2 |x||c| + |c|^2) = (r + 2) u (2 |x| + |c|) |c| .

The distances that decide are rounded too: their terms three times each and in d / 4 + 5 additions at most,
so by less than (d + 8) 2^-53 (|x| + |c|)^2. Of two centers whose scores differ by more than the sum of both
errors of both, the one of the larger score is farther, by the distances that decide. The margin is twice
that, for what is of second order, and for its own computation in float32:

    4 (r + 2) u (2 |x| + C) C + 4 (d + 8) 2^-53 (|x| + C)^2 + tiny ,

where C is no less than both |c|, and `tiny` more than what is lost to numbers too small for float32. C is
the largest of all |c| at first. Of a row that is near a tie by this, C is lowered to what the centers in
question can have: the nearest is no farther from x than the one of the best score, so |c| <= |x| + |x - c|.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.jit import inlined, without_refcounts
from dkmeans.kernels.panels import (
    BEST,
    CENTERS,
    ROWS,
    SECOND,
    SPAN,
    SQUARE,
    add_gaps,
    load_square,
    near_ties,
    score_centers,
    squared_distance,
)
from dkmeans.kernels.vector import lanes_below, lowest_bit
from dkmeans.kernels.writer import LANES

__all__ = ["Sums", "all_distances", "nearest", "new_sums", "own_distances", "sum_up"]

_Rows = NDArray[np.float32] | NDArray[np.float64]

_TINY = 1e-37
"""More than scores lose to numbers too small for float32."""
_LARGE = 1e38
"""Squares from which a score could leave float32."""
_EXPONENTS = 1000


class _Scoring(NamedTuple):
    """Numbers and centers that rows are scored with.

    Attributes
    ----------
    middle : ndarray of shape (n_features,), float64
        Point that is subtracted from rows and centers.
    scale : float64
        Factor of their differences to it.
    factors : ndarray of float32
        The centers times -2 as `panels.score_centers` takes them; the last group is filled up with zeros.
    norms : ndarray of shape (n_padded,), float32
        Their squared lengths; infinite where there is no center.
    longest : float32
        Largest length of a center.
    slack, wide, tiny : float32
        The margin is ``slack * (2 |x| + longest) * longest + wide * (|x| + longest)^2 + tiny``.
    limit : float32
        Square of |x| + longest from which on scores are of no use.
    """

    middle: NDArray[np.float64]
    scale: np.float64
    factors: NDArray[np.float32]
    norms: NDArray[np.float32]
    longest: np.float32
    slack: np.float32
    wide: np.float32
    tiny: np.float32
    limit: np.float32


class _Workspace(NamedTuple):
    """What a search writes to for each panel of rows.

    Attributes
    ----------
    panel : ndarray of shape (n_features * ROWS,), float32
    state : ndarray of shape (3, ROWS), float32
        Best score, second best score, |x|^2.
    found : ndarray of shape (ROWS,), int32
        Number of the best.
    scores : ndarray of shape (n_padded * ROWS,), float32
    limits : ndarray of shape (ROWS,), float32
        Largest score that the nearest center of a near tie can have.
    least : ndarray of shape (ROWS,), float64
        Least distance so far of a near tie.
    """

    panel: NDArray[np.float32]
    state: NDArray[np.float32]
    found: NDArray[np.int32]
    scores: NDArray[np.float32]
    limits: NDArray[np.float32]
    least: NDArray[np.float64]


class Sums(NamedTuple):
    """What the rows of a block are added to, one by one.

    Attributes
    ----------
    weights : ndarray of shape (n_rows,), float64
        How often each row counts; empty where each counts once.
    gaps : ndarray of shape (n_clusters, n_features), float64
        Weighted differences of the rows of each cluster to its center.
    counts : ndarray of shape (n_clusters,), float64
        Their weights.
    inertia : ndarray of shape (1,), float64
        Weighted squared distances.
    """

    weights: NDArray[np.float64]
    gaps: NDArray[np.float64]
    counts: NDArray[np.float64]
    inertia: NDArray[np.float64]


@without_refcounts
def _load_panel(rows: Any, first: Any, scoring: _Scoring, work: _Workspace) -> None:
    """Write the rows of a panel, from `first` on, less the middle and scaled."""
    n_features = rows.shape[1]
    whole = n_features - n_features % LANES
    work.state[SQUARE] = 0
    for lane in range(0, ROWS, LANES):
        for feature in range(0, whole, LANES):
            at, to = (first + lane) * n_features + feature, feature * ROWS + lane
            load_square(
                rows, at, n_features, scoring.middle, feature, scoring.scale, work.panel, to, work.state, lane
            )
    for feature in range(whole, n_features):
        for lane in range(ROWS):
            gap = np.float32((rows[first + lane, feature] - scoring.middle[feature]) * scoring.scale)
            work.panel[feature * ROWS + lane] = gap
            work.state[SQUARE, lane] += gap * gap


@inlined
def _limit(lane: Any, scoring: _Scoring, work: _Workspace) -> Any:
    """Find the largest score that the nearest center of a row can have."""
    norm, best = np.float64(np.sqrt(work.state[SQUARE, lane])), np.float64(work.state[BEST, lane])
    longest = np.float64(scoring.longest)
    if not (norm + longest) ** 2 < scoring.limit:
        return np.float32(np.inf)
    own = np.sqrt(np.float64(scoring.norms[work.found[lane]]))
    error = scoring.slack * (2 * norm + own) * own + scoring.wide * (norm + own) ** 2 + scoring.tiny
    square = max(best + norm * norm, 0.0) + error
    longest = min(longest, np.float64(1.01) * max(own, norm + np.sqrt(square)))
    error = scoring.slack * (2 * norm + longest) * longest + scoring.wide * (norm + longest) ** 2
    return np.float32(best + (error + scoring.tiny))


@without_refcounts
def _resolve(rows: Any, first: Any, centers: Any, work: _Workspace, labels: Any) -> None:
    """Find the nearest centers of the rows of a panel that have a limit, among those not above it."""
    n_clusters, n_features = centers.shape
    work.least[:] = np.inf
    for lane in range(ROWS):
        if work.limits[lane] == np.inf:  # if all distances are infinite, it is the first
            labels[first + lane] = 0
    for center in range(n_clusters):
        for vector in range(0, ROWS, LANES):
            above = lanes_below(work.limits, vector, work.scores, center * ROWS + vector)
            bits = ~above & np.int32((1 << LANES) - 1)  # and what cannot be compared
            while bits:
                lane = vector + lowest_bit(bits)
                bits &= bits - np.int32(1)
                at, start = (first + lane) * n_features, center * n_features
                distance = squared_distance(rows, at, centers, start, n_features)
                if distance < work.least[lane]:
                    work.least[lane] = distance
                    labels[first + lane] = center


@without_refcounts
def _add_rows(rows: Any, begin: Any, end: Any, centers: Any, labels: Any, sums: Sums) -> None:
    """Add the rows from `begin` to `end`, one by one, to the sums of their labels."""
    n_features, inertia = rows.shape[1], sums.inertia[0]
    for row in range(begin, end):
        label = np.int64(labels[row])
        weight = sums.weights[row] if sums.weights.size else 1.0
        sums.counts[label] += weight
        at, start = row * n_features, label * n_features
        inertia += weight * add_gaps(rows, at, centers, start, n_features, weight, sums.gaps)
    sums.inertia[0] = inertia


@inlined
def _label_panel(
    rows: Any, first: Any, centers: Any, scoring: _Scoring, work: _Workspace, labels: Any
) -> None:
    """Label the rows of a panel by their scores, and what is near a tie by distances."""
    open_ = False
    for vector in range(0, ROWS, LANES):
        for lane in range(vector, vector + LANES):
            labels[first + lane] = work.found[lane]
        bits = near_ties(
            work.state,
            vector,
            scoring.longest,
            scoring.slack,
            scoring.wide,
            scoring.tiny,
            scoring.limit,
        )
        while bits:
            lane = vector + lowest_bit(bits)
            bits &= bits - np.int32(1)
            limit = _limit(lane, scoring, work)
            if not work.state[SECOND, lane] > limit:
                work.limits[lane] = limit
                open_ = True
    if open_:
        _resolve(rows, first, centers, work, labels)
        work.limits[:] = -np.inf


@without_refcounts
def _search(
    rows: Any, centers: Any, scoring: _Scoring, work: _Workspace, labels: Any, n_added: Any, sums: Sums
) -> None:
    """Label the rows, of which there is at least a panel, and add the first `n_added` to the sums."""
    n_rows, n_features = rows.shape
    for begin in range(0, n_rows, ROWS):
        first = min(begin, n_rows - ROWS)  # the last panel takes some rows again
        _load_panel(rows, first, scoring, work)
        work.state[BEST], work.state[SECOND] = np.inf, np.inf
        work.found[:] = 0
        score_centers(
            work.panel, scoring.factors, scoring.norms, n_features, work.state, work.found, work.scores
        )
        _label_panel(rows, first, centers, scoring, work, labels)
        _add_rows(rows, begin, min(begin + ROWS, n_added), centers, labels, sums)


def _scoring(centers: NDArray[np.float64]) -> _Scoring:
    """Prepare centers for the scores."""
    n_clusters, n_features = centers.shape
    n_padded = -(-n_clusters // CENTERS) * CENTERS
    norms, factors = np.full(n_padded, np.inf, np.float32), np.zeros((n_padded, n_features), np.float32)
    limits, roundings = np.finfo(np.float64), min(n_features, SPAN) + -(-n_features // SPAN)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # then all distances are compared
        middle = centers.mean(axis=0)
        moved = centers - middle
        exponent = int(np.frexp(np.abs(moved).max())[1])
        scale = np.float64(2.0 ** -max(-_EXPONENTS, min(_EXPONENTS, exponent)))
        moved *= scale
        norms[:n_clusters] = squares = np.einsum("kj,kj->k", moved, moved)
        factors[:n_clusters] = -2 * moved
        return _Scoring(
            middle,
            scale,
            _in_groups(factors),
            norms,
            np.float32(np.sqrt(squares.max())),
            np.float32(4 * (roundings + 2) * 2.0**-24),
            np.float32(4 * (n_features + 8) * 2.0**-53),
            # Squares of what is not scaled can leave the range of float64, too.
            np.float32(_TINY + n_features * limits.tiny * scale * scale),
            np.float32(min(_LARGE, limits.max / 8 * scale * scale)),
        )


def _in_groups(factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay out factors of shape (n_padded, n_features) as `score_centers` takes them."""
    spans = [factors[:, begin : begin + SPAN] for begin in range(0, factors.shape[1], SPAN)]
    return np.concatenate([span.reshape(-1, CENTERS, span.shape[1]).swapaxes(1, 2).ravel() for span in spans])


_LAST: list[tuple[NDArray[np.float64], _Scoring]] = []
"""Centers that were prepared last in this process: the blocks of a step all have the same."""


def _prepared(centers: NDArray[np.float64]) -> _Scoring:
    """Give what `_scoring` makes of the centers; other threads may ask for it meanwhile."""
    for known, scoring in _LAST[-1:]:
        if np.array_equal(known, centers):
            return scoring
    scoring = _scoring(centers)
    _LAST[:] = [(centers.copy(), scoring)]
    return scoring


def nearest(rows: _Rows, centers: NDArray[np.float64], sums: Sums | None = None) -> NDArray[np.int32]:
    """Find the nearest center of each row, the lowest index on ties; shape (n_rows,).

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float32 or float64
    centers : ndarray of shape (n_clusters, n_features), float64
    sums : Sums or None
        Get all rows, as from `sum_up`: while they are near, as it takes long to read them.
    """
    n_rows, n_features = rows.shape
    labels = np.zeros(max(n_rows, ROWS), np.int32)
    if n_rows < ROWS:
        rows = np.concatenate([rows, np.zeros((ROWS - n_rows, n_features), rows.dtype)])
    if len(centers) > 1:
        scoring = _prepared(centers)
        work = _Workspace(
            np.empty(n_features * ROWS, np.float32),
            np.empty((3, ROWS), np.float32),
            np.empty(ROWS, np.int32),
            np.empty(scoring.norms.size * ROWS, np.float32),
            np.full(ROWS, -np.inf, np.float32),
            np.empty(ROWS),
        )
        given = new_sums(centers[:0], np.empty(0)) if sums is None else sums
        _search(rows, centers, scoring, work, labels, 0 if sums is None else n_rows, given)
    elif sums is not None:
        _add_rows(rows, 0, n_rows, centers, labels, sums)
    return labels[:n_rows]


def new_sums(centers: NDArray[np.float64], weights: NDArray[np.float64]) -> Sums:
    """Begin to add up rows of these weights, an empty array where each counts once."""
    return Sums(weights, np.zeros(centers.shape), np.zeros(len(centers)), np.zeros(1))


def sum_up(rows: _Rows, centers: NDArray[np.float64], labels: NDArray[np.int32], sums: Sums) -> None:
    """Add the rows, one by one, to the sums of their labels."""
    _add_rows(rows, 0, len(rows), centers, labels, sums)


@without_refcounts
def own_distances(rows: Any, centers: Any, labels: Any, out: Any) -> None:
    """Measure the squared distance of each row to the center of its label."""
    n_features = rows.shape[1]
    for row in range(rows.shape[0]):
        start = np.int64(labels[row]) * n_features
        out[row] = squared_distance(rows, row * n_features, centers, start, n_features)


@without_refcounts
def all_distances(rows: Any, centers: Any, out: Any) -> None:
    """Measure the distance of each row to each center; shape (n_rows, n_clusters)."""
    n_features = rows.shape[1]
    for row in range(rows.shape[0]):
        for center in range(centers.shape[0]):
            square = squared_distance(rows, row * n_features, centers, center * n_features, n_features)
            out[row, center] = np.sqrt(square)
