"""The nearest center of every row of a block: pruned by the triangle inequality, decided exactly.

Rows lie in tiles of 16, in runs that share a pivot: a point near them with integer coordinates. For a row x,
its pivot o and the best center found so far at distance b, a center c with |o - c| > |x - o| + b cannot be
as near as that (S. Phillips, Acceleration of k-means and related clustering algorithms, ALENEX 2002, has
the rule for o = the own center). So the centers are tried in ascending distance from the pivot, the same
list for all rows of a run, until no row of the tile can gain.

The scores of a tile are float32, relative to the pivot: with x' = x - o and g = o - c, both exact in float32,

    s = |g|^2 / 2 + x'.g = (|x - c|^2 - |x'|^2) / 2 ,

whose error over d features is below gamma |g| (|g| + |x'|), gamma = (d + 2) 2^-24, in any order of summation
and with or without fused operations (N. J. Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
Let D be the true distance to the center of the best score. The nearest center is no farther, so that for both
|g| <= |x'| + D, and the two errors together are below 4 gamma (|x'| + D)^2; with b the computed distance,
whose square also has the error of |x'|^2, |x'| + D <= (|x'| + b) / (1 - sqrt(5 gamma)). For d <= 2^17 that
makes less than 8 gamma (|x'| + b)^2, which `vector.py` uses. A row whose second best score is within it, or
whose list ended too early, is resolved in int64. Everything else that is compared in float32 is widened by
its relative error, a few gamma.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.jit import inlined, without_refcounts
from dkmeans.kernels.records import SLICES, Centers, Extent, Rows, Traits, Workspace
from dkmeans.kernels.totals import Sums, move_row
from dkmeans.kernels.vector import (
    BEST,
    GROUP,
    LANES,
    LIMIT,
    NORM,
    SQUARE,
    in_range,
    load_tile,
    lower_limits,
    lowest_bit,
    near_ties,
    reset,
    row_offset,
    score_group,
    squared_distances,
    within_limits,
)

__all__ = ["search"]

_Floats = NDArray[np.float32]
_FAR = np.float32(1e30)


@without_refcounts
def _bound_tiles(centers: Centers, vector: _Floats, start: Any, traits: Traits, out: _Floats) -> None:
    """Bound from below the distance from a vector to any member of each tile of centers."""
    n_balls = centers.radii.size
    size = centers.means.size // n_balls * LANES
    for tile in range(n_balls // LANES):
        squared_distances(centers.means, tile * size, vector, start, traits.width, out, tile * LANES)
    less = np.float32(1) - np.float32(8) * traits.gamma
    for ball in range(n_balls):
        out[ball] = np.sqrt(out[ball]) * less - centers.radii[ball]


@without_refcounts
def _choose(
    centers: Centers, pivots: _Floats, start: Any, low: Any, high: Any, width: Any, work: Workspace
) -> Any:
    """Collect the centers whose computed squared distance from a pivot lies in (low, high]; how many."""
    size = centers.tiles.size // centers.members.size * LANES
    n = 0
    radius = np.sqrt(high)
    for first in range(0, centers.radii.size, LANES):
        bits = in_range(work.pivot_bounds, first, -_FAR, radius)
        while bits:
            tile = first + lowest_bit(bits)
            bits &= bits - np.int32(1)
            at = tile * LANES
            if not work.measured[tile]:
                work.measured[tile] = True
                squared_distances(centers.tiles, tile * size, pivots, start, width, work.pivot_squares, at)
            inside = in_range(work.pivot_squares, at, low, high)
            while inside:
                lane = lowest_bit(inside)
                inside &= inside - np.int32(1)
                work.chosen[n] = centers.members[at + lane]
                work.chosen_squares[n] = work.pivot_squares[at + lane]
                n += 1
    return n


@without_refcounts
def _extend(
    centers: Centers, pivots: _Floats, start: Any, extent: Extent, high: Any, width: Any, work: Workspace
) -> Any:
    """Append the centers with squared distances beyond those of the list up to `high`.

    Where they do not all fit, the nearest are taken, and the list is closed.
    """
    n_features, candidates, low = work.row.size, work.candidates, extent.squared_radius
    n_chosen = _choose(centers, pivots, start, low, high, width, work)
    inner = max(low, np.float32(0))
    step = (high - inner) / np.float32(SLICES)
    scale = np.float32(1) / step
    counts = work.slice_counts
    counts[:] = 0
    for i in range(n_chosen):
        counts[min(SLICES - 1, int((work.chosen_squares[i] - inner) * scale))] += 1
    last, total = SLICES, extent.length
    for part in range(SLICES):
        if total + counts[part] > candidates.lower_bounds.size - GROUP:
            last = part
            break
        counts[part], total = total, total + counts[part]
    for i in range(n_chosen):
        part = min(SLICES - 1, int((work.chosen_squares[i] - inner) * scale))
        if part < last:
            center, at = work.chosen[i], counts[part]
            counts[part] += 1
            candidates.members[at] = center
            candidates.lower_bounds[at] = inner + np.float32(part) * step
            candidates.biases[at] = np.float32(0.5) * work.chosen_squares[i]
            to, one, other = np.uint64(at * n_features), np.uint64(start), np.uint64(center * n_features)
            for feature in range(np.uint64(n_features)):
                candidates.gaps[to + feature] = pivots[one + feature] - centers.values[other + feature]
    for at in range(extent.length, total):
        candidates.lower_bounds[at] = np.sqrt(candidates.lower_bounds[at])
    for at in range(total, total + GROUP):
        candidates.biases[at] = _FAR
        candidates.gaps[at * n_features : (at + 1) * n_features] = 0
    if total == centers.integers.shape[0]:
        return Extent(total, _FAR, True)
    if last < SLICES:
        return Extent(total, inner + np.float32(last) * step, True)
    return Extent(total, high, False)


@without_refcounts
def _exact_distance(row: _Floats, integers: NDArray[np.int64], center: Any, bits: Any) -> Any:
    """Sum up the squared distance in units of 2^-2F."""
    total = np.int64(0)
    for feature in range(np.uint64(row.size)):
        gap = (np.int64(row[feature]) << bits) - integers[np.uint64(center), feature]
        total += gap * gap
    return total


@without_refcounts
def _resolve_exactly(centers: Centers, label: Any, traits: Traits, work: Workspace) -> Any:
    """Find the nearest center of the row in ``work.row``, the lowest index on ties; `label` is a guess."""
    size = centers.tiles.size // centers.members.size * LANES
    unit = np.float64(1) / (np.int64(1) << (2 * traits.bits))
    wider = np.float32(1) + np.float32(8) * traits.gamma
    best = _exact_distance(work.row, centers.integers, label, traits.bits)
    _bound_tiles(centers, work.row, 0, traits, work.row_bounds)
    limit = np.float32(best * unit) * wider
    for first in range(0, centers.radii.size, LANES):
        open_ = in_range(work.row_bounds, first, -_FAR, np.sqrt(limit) * wider)
        while open_:
            tile = first + lowest_bit(open_)
            open_ &= open_ - np.int32(1)
            at = tile * LANES
            squared_distances(centers.tiles, tile * size, work.row, 0, traits.width, work.row_squares, at)
            inside = in_range(work.row_squares, at, np.float32(-1), limit)
            while inside:
                center = centers.members[at + lowest_bit(inside)]
                inside &= inside - np.int32(1)
                distance = _exact_distance(work.row, centers.integers, center, traits.bits)
                if distance < best or (distance == best and center < label):
                    best, label = distance, center
                    limit = np.float32(best * unit) * wider
    return label


@inlined
def _needed_radius(state: Any, own: Any, squared_radius: Any) -> Any:
    """Find the distance from the pivot up to which the rows of a tile need the centers."""
    need = np.float32(0)
    while own:
        lane = lowest_bit(own)
        own &= own - np.int32(1)
        limit = state[LIMIT, lane]
        if limit > _FAR:  # nothing found so far
            grown = np.float32(1.2) * np.sqrt(squared_radius)
            limit = max(np.float32(2) * state[NORM, lane] + np.float32(1), grown)
        need = max(need, limit)
    return need


@inlined
def _search_tile(
    rows: Rows,
    tile: Any,
    own: Any,
    pivot: Any,
    extent: Extent,
    centers: Centers,
    traits: Traits,
    work: Workspace,
) -> Any:
    """Search the list of a pivot for the rows of one tile, extending it where they need more."""
    state, start, candidates = work.state, pivot * work.row.size, work.candidates
    at = tile * LANES * work.row.size
    load_tile(rows.tiles, at, rows.pivots, start, traits.width, work.tile, state)
    reset(state, work.found)
    at = 0
    while True:
        if at >= extent.length:
            if extent.closed:
                break
            squared_radius = extent.squared_radius
            need = _needed_radius(state, own, max(squared_radius, np.float32(0)))
            if need * need <= squared_radius:
                break
            wanted = max(need * need * np.float32(1.1), rows.squared_radii[pivot], np.float32(1))
            if extent.length:
                grown = squared_radius * np.float32(2.0 if extent.length < 32 else 1.3)
                wanted = max(min(wanted, grown), squared_radius * np.float32(1.1))
            at = extent.length
            extent = _extend(centers, rows.pivots, start, extent, wanted, traits.width, work)
            continue
        if not within_limits(state, candidates.lower_bounds[at]) & own:
            break
        if score_group(work.tile, candidates.gaps, candidates.biases, at, traits.width, state, work.found):
            lower_limits(state, traits.gamma)
        at += GROUP
    return extent


@inlined
def _lanes_between(begin: Any, end: Any, first: Any) -> Any:
    """Set the bits of the lanes of the tile from row `first` on whose rows lie in [begin, end)."""
    own = np.int32((1 << LANES) - 1)
    if first < begin:
        own &= np.int32(-1) << np.int32(begin - first)
    if first + LANES > end:
        own &= np.int32((1 << (end - first)) - 1)
    return own


@without_refcounts
def search(rows: Rows, centers: Centers, sums: Sums, traits: Traits, work: Workspace, exact: bool) -> Any:
    """Label all rows by their nearest centers.

    Parameters
    ----------
    rows : Rows
    centers : Centers
    sums : Sums
        Follow the labels.
    traits : Traits
    work : Workspace
    exact : bool
        False takes the best of the list as it is, a guess, and leaves the sums alone.

    Returns
    -------
    n_moved, n_reassigned : int
        Rows, each as often as it counts, whose label changed; labels that are not the number of the pivot.
    """
    n_features = work.row.size
    n_moved, n_reassigned = np.int64(0), np.int64(0)
    for pivot in range(rows.starts.size - 1):
        begin, end = rows.starts[pivot], rows.starts[pivot + 1]
        if begin == end:
            continue
        _bound_tiles(centers, rows.pivots, pivot * n_features, traits, work.pivot_bounds)
        work.measured[:] = False
        work.candidates.members[0] = 0
        extent = Extent(np.int64(0), np.float32(-1), False)
        for tile in range(begin // LANES, (end - 1) // LANES + 1):
            first = tile * LANES
            own = _lanes_between(begin, end, first)
            extent = _search_tile(rows, tile, own, pivot, extent, centers, traits, work)
            open_ = np.int32(0)
            if exact:
                beyond = within_limits(work.state, np.sqrt(max(extent.squared_radius, np.float32(0))))
                open_ = (near_ties(work.state, traits.gamma) | beyond) & own
            while own:
                lane = lowest_bit(own)
                own &= own - np.int32(1)
                row = first + lane
                label = work.candidates.members[work.found[lane]]
                if open_ >> np.int32(lane) & np.int32(1):
                    at = row_offset(row, n_features)
                    for feature in range(np.uint64(n_features)):
                        work.row[feature] = rows.tiles[at + feature * np.uint64(LANES)]
                    label = _resolve_exactly(centers, label, traits, work)
                square = np.float32(2) * work.state[BEST, lane] + work.state[SQUARE, lane]
                rows.spread[row] = max(square, np.float32(0))
                n_reassigned += label != pivot
                old = rows.labels[row]
                if label != old:
                    n_moved += sums.weights[row] if sums.weights.size else np.int64(1)
                    rows.labels[row] = label
                    if exact:
                        move_row(rows.tiles, row, old, label, sums)
        squared_radius = extent.squared_radius
        if squared_radius >= _FAR:
            squared_radius = work.candidates.lower_bounds[extent.length - 1] ** 2
        rows.squared_radii[pivot] = squared_radius
    return n_moved, n_reassigned
