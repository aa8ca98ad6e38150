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
whose list ended too early, is resolved in int64. Rows of uint8 are scored in integers where the machine can,
with an error of its own; see `bytewise`. Everything else that is compared in float32 is widened by
its relative error, a few gamma.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dkmeans.kernels.jit import inlined, without_refcounts
from dkmeans.kernels.listing import FAR, bound_tiles, describe_pivot, extend, write_gaps
from dkmeans.kernels.records import Centers, Extent, Rows, Traits, Workspace
from dkmeans.kernels.scoring import GROUP, load_tile, reset, score_group
from dkmeans.kernels.settle import nearer, resolve_exactly
from dkmeans.kernels.totals import Sums, move_row
from dkmeans.kernels.vector import lower_limits, lowest_bit, near_ties, row_offset, within_limits
from dkmeans.kernels.writer import BEST, LANES, LIMIT, NORM, SECOND, SQUARE, THIRD

__all__ = ["search"]


@inlined
def _needed_radius(state: Any, own: Any, squared_radius: Any) -> Any:
    """Find the distance from the pivot up to which the rows of a tile need the centers."""
    need = np.float32(0)
    while own:
        lane = lowest_bit(own)
        own &= own - np.int32(1)
        limit = state[LIMIT, lane]
        if limit > FAR:  # nothing found so far
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
    n_features, width = work.row.size, traits.width
    load_tile(rows.tiles, at, rows.pivots, start, n_features, width, work.home, work.tile, state)
    reset(work.tile, state, work.found)
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
            extent = extend(centers, rows.pivots, start, extent, wanted, traits.width, work)
            continue
        if not within_limits(state, candidates.lower_bounds[at]) & own:
            break
        if at + GROUP > extent.written:
            extent = write_gaps(centers, rows.pivots, start, extent, at + GROUP, work)
        if score_group(
            work.tile,
            candidates.gaps,
            centers.planes,
            candidates.members,
            candidates.biases,
            at,
            n_features,
            width,
            state,
            work.found,
        ):
            lower_limits(state, traits.gamma, traits.margin)
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


@inlined
def _decide(
    rows: Rows, row: Any, lane: Any, third: Any, centers: Centers, traits: Traits, work: Workspace
) -> Any:
    """Find the label of a row that is near a tie: of two centers, or of all if `third` is set."""
    at = row_offset(row, work.row.size)
    for feature in range(np.uint64(work.row.size)):
        work.row[feature] = rows.tiles[at + feature * np.uint64(LANES)]
    label = work.candidates.members[work.found[lane]]
    if third:
        return resolve_exactly(centers, label, traits, work)
    return nearer(centers, label, work.candidates.members[work.found[LANES + lane]], traits, work)


@inlined
def _label_tile(
    rows: Rows,
    first: Any,
    own: Any,
    pivot: Any,
    extent: Extent,
    centers: Centers,
    sums: Sums,
    traits: Traits,
    work: Workspace,
    exact: Any,
) -> Any:
    """Label the rows of a tile that was searched; how many moved, and how many left the pivot."""
    moved, reassigned = np.int64(0), np.int64(0)
    near, open_ = np.int32(0), np.int32(0)
    if exact:
        beyond = within_limits(work.state, np.sqrt(max(extent.squared_radius, np.float32(0))))
        near = near_ties(work.state, SECOND, traits.margin) | beyond
        open_ = near_ties(work.state, THIRD, traits.margin) & near | beyond
    while own:
        lane = lowest_bit(own)
        own &= own - np.int32(1)
        row, bit = first + lane, np.int32(1) << np.int32(lane)
        label = work.candidates.members[work.found[lane]]
        if near & bit:
            label = _decide(rows, row, lane, open_ & bit, centers, traits, work)
        square = np.float32(2) * work.state[BEST, lane] + work.state[SQUARE, lane]
        rows.spread[row] = max(square, np.float32(0))
        reassigned += label != pivot
        old = rows.labels[row]
        if label != old:
            moved += sums.weights[row] if sums.weights.size else np.int64(1)
            rows.labels[row] = label
            if exact:
                move_row(rows.tiles, row, old, label, sums)
    return moved, reassigned


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
        bound_tiles(centers.means, centers.radii, rows.pivots, pivot * n_features, traits, work.pivot_bounds)
        work.measured[:] = False
        work.candidates.members[0] = 0
        written = np.int64(0)
        if centers.planes.size:
            describe_pivot(rows.pivots, pivot * n_features, work)
            written = np.int64(centers.integers.shape[0] + GROUP)  # there are no gaps to write
        extent = Extent(np.int64(0), np.float32(-1), False, written)
        for tile in range(begin // LANES, (end - 1) // LANES + 1):
            first = tile * LANES
            own = _lanes_between(begin, end, first)
            extent = _search_tile(rows, tile, own, pivot, extent, centers, traits, work)
            moved, reassigned = _label_tile(
                rows, first, own, pivot, extent, centers, sums, traits, work, exact
            )
            n_moved += moved
            n_reassigned += reassigned
        squared_radius = extent.squared_radius
        if squared_radius >= FAR:
            squared_radius = work.candidates.lower_bounds[extent.length - 1] ** 2
        rows.squared_radii[pivot] = squared_radius
    return n_moved, n_reassigned
