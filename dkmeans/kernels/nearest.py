"""The nearest center of every row of a block: pruned by the triangle inequality, decided exactly.

Rows lie in tiles of 16, in runs that share a home: a point near them with integer coordinates. For a row x,
its home o and the best center found so far at distance b, a center c with |o - c| > |x - o| + b cannot be
as near as that (S. Phillips, Acceleration of k-means and related clustering algorithms, ALENEX 2002, has
the rule for o = the own center). So the centers are tried in ascending distance from the home, the same
list for all rows of a run, until no row of the tile can gain.

The scores of a tile are float32, relative to the home: with x' = x - o and g = o - c, both exact in float32,

    s = |g|^2 / 2 + x'.g = (|x - c|^2 - |x'|^2) / 2 ,

whose error over d features is below gamma |g| (|g| + |x'|), gamma = (d + 2) 2^-24, in any order of summation
and with or without fused operations (N. J. Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
Let D be the true distance to the center of the best score. The nearest center is no farther, so that for both
|g| <= |x'| + D, and the two errors together are below 4 gamma (|x'| + D)^2; with b the computed distance,
whose square also has the error of |x'|^2, |x'| + D <= (|x'| + b) / (1 - sqrt(5 gamma)). For d <= 2^17 that
makes less than 8 gamma (|x'| + b)^2, which `vector.py` uses. A row whose second best score is within it, or
whose list ended too early, is settled in int64. Everything else that is compared in float32 is widened by its
relative error, a few gamma.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dkmeans.kernels.jit import bare, inlined
from dkmeans.kernels.totals import move
from dkmeans.kernels.vector import (
    BEST,
    GROUP,
    LANES,
    LIMIT,
    NORM,
    SQUARE,
    above,
    bound,
    lowest_bit,
    near_ties,
    nearest,
    place,
    reset,
    squared_distances,
    widen,
    within,
)

__all__ = ["SLICES", "Centers", "Nearby", "Room", "Rows", "search"]

_FAR = np.float32(1e30)
SLICES = 128
"""Parts of equal width by which new candidates are put in order."""


class Centers(NamedTuple):
    """The centers of a step, in the layouts that the search reads.

    Attributes
    ----------
    values : ndarray of shape (n_clusters * n_features,), float32
    integers : ndarray of shape (n_clusters, n_features), int64
        On the grid of `dkmeans.kernels.exact`.
    tiles : ndarray of shape (n_tiles * n_features * 16,), float32
        The centers again, sixteen near ones to a tile; very far away where a tile has less.
    members : ndarray of shape (n_tiles * 16,), int32
        Their numbers.
    hubs : ndarray, float32
        A middle of each tile, sixteen to a tile of their own.
    radii : ndarray of shape (n_hub_tiles * 16,), float32
        The largest distance from a hub to its members, rounded up.
    """

    values: Any
    integers: Any
    tiles: Any
    members: Any
    hubs: Any
    radii: Any


class Rows(NamedTuple):
    """The rows of a block and what is known of them; padded to whole tiles.

    Attributes
    ----------
    tiles : ndarray of shape (n_tiles * n_features * 16,), uint8 or uint16
    starts : ndarray of shape (n_homes + 1,), int64
        First row of each run.
    labels : ndarray of shape (n_tiles * 16,), int32
    spread : ndarray of shape (n_tiles * 16,), float32
        About the squared distance to the center.
    reach : ndarray of shape (n_homes,), float32
        Squared distance from each home up to which centers were listed the last time.
    """

    tiles: Any
    starts: Any
    labels: Any
    spread: Any
    reach: Any


class Nearby(NamedTuple):
    """The centers near one home, in about ascending distance; the last four places fill up a group.

    Attributes
    ----------
    gaps : ndarray of shape (n_listed * n_features,), float32
        The home less each center: g.
    biases : ndarray of shape (n_listed,), float32
        |g|^2 / 2.
    low : ndarray of shape (n_listed,), float32
        Ascending; no center from here on is nearer to the home.
    members : ndarray of shape (n_listed,), int32
        Numbers of the centers.
    """

    gaps: Any
    biases: Any
    low: Any
    members: Any


class Room(NamedTuple):
    """Memory to work in."""

    tile: Any  # x' of sixteen rows, feature by feature
    state: Any  # of each of them: best and second score, limit, |x'|, |x'|^2; see `vector`
    found: Any  # the place of the best in the list
    hubs: Any  # from the home, a lower bound of the distance to each tile of centers
    squares: Any  # from the home, the squared distance of each center of the tiles that are `known`
    known: Any
    chosen: Any  # centers that come into the list next, and their squared distances
    distance: Any
    counts: Any
    row: Any  # one row that is settled, and what `hubs` and `squares` are for it
    row_hubs: Any
    row_squares: Any


@bare
def _reach(centers: Any, vector: Any, start: Any, gamma: Any, width: Any, out: Any) -> None:
    """A lower bound of the distance from a vector to any member of each tile of centers."""
    n_hubs = centers.radii.size
    size = centers.hubs.size // n_hubs * LANES
    for tile in range(n_hubs // LANES):
        squared_distances(centers.hubs, tile * size, vector, start, width, out, tile * LANES)
    less = np.float32(1) - np.float32(8) * gamma
    for hub in range(n_hubs):
        out[hub] = np.sqrt(out[hub]) * less - centers.radii[hub]


@bare
def _choose(centers: Any, home: Any, start: Any, low: Any, high: Any, width: Any, room: Any) -> Any:
    """Collect the centers whose computed squared distance from the home lies in (low, high]."""
    size = centers.tiles.size // centers.members.size * LANES
    n = 0
    reached = np.sqrt(high)
    for first in range(0, centers.radii.size, LANES):
        bits = within(room.hubs, first, -_FAR, reached)
        while bits:
            tile = first + lowest_bit(bits)
            bits &= bits - np.int32(1)
            at = tile * LANES
            if not room.known[tile]:
                room.known[tile] = True
                squared_distances(centers.tiles, tile * size, home, start, width, room.squares, at)
            inside = within(room.squares, at, low, high)
            while inside:
                lane = lowest_bit(inside)
                inside &= inside - np.int32(1)
                room.chosen[n] = centers.members[at + lane]
                room.distance[n] = room.squares[at + lane]
                n += 1
    return n


@bare
def _extend(
    centers: Any, home: Any, start: Any, low: Any, high: Any, n: Any, width: Any, near: Any, room: Any
) -> Any:
    """Append the centers with squared distance in (low, high]: how many there are now, and up to where.

    Where they do not all fit, the nearest are taken, and the list is closed.
    """
    n_features = room.row.size
    n_chosen = _choose(centers, home, start, low, high, width, room)
    inner = max(low, np.float32(0))
    step = (high - inner) / np.float32(SLICES)
    scale = np.float32(1) / step
    counts = room.counts
    counts[:] = 0
    for i in range(n_chosen):
        counts[min(SLICES - 1, int((room.distance[i] - inner) * scale))] += 1
    last, total = SLICES, n
    for part in range(SLICES):
        if total + counts[part] > near.low.size - GROUP:
            last = part
            break
        counts[part], total = total, total + counts[part]
    for i in range(n_chosen):
        part = min(SLICES - 1, int((room.distance[i] - inner) * scale))
        if part < last:
            center, at = room.chosen[i], counts[part]
            counts[part] += 1
            near.members[at] = center
            near.low[at] = inner + np.float32(part) * step
            near.biases[at] = np.float32(0.5) * room.distance[i]
            to, one, other = np.uint64(at * n_features), np.uint64(start), np.uint64(center * n_features)
            for feature in range(np.uint64(n_features)):
                near.gaps[to + feature] = home[one + feature] - centers.values[other + feature]
    for at in range(n, total):
        near.low[at] = np.sqrt(near.low[at])
    for at in range(total, total + GROUP):
        near.biases[at] = _FAR
        near.gaps[at * n_features : (at + 1) * n_features] = 0
    if total == centers.integers.shape[0]:
        return total, _FAR, True
    if last < SLICES:
        return total, inner + np.float32(last) * step, True
    return total, high, False


@bare
def _exact(row: Any, integers: Any, center: Any, bits: Any) -> Any:
    """Squared distance in units of 2^-2F."""
    total = np.int64(0)
    for feature in range(np.uint64(row.size)):
        gap = (np.int64(row[feature]) << bits) - integers[np.uint64(center), feature]
        total += gap * gap
    return total


@bare
def _settle(centers: Any, label: Any, bits: Any, gamma: Any, width: Any, room: Any) -> Any:
    """The exact nearest center of the row in ``room.row``, the lowest index on ties; `label` is a guess."""
    size = centers.tiles.size // centers.members.size * LANES
    unit = np.float64(1) / (np.int64(1) << (2 * bits))
    wider = np.float32(1) + np.float32(8) * gamma
    best = _exact(room.row, centers.integers, label, bits)
    _reach(centers, room.row, 0, gamma, width, room.row_hubs)
    limit = np.float32(best * unit) * wider
    for first in range(0, centers.radii.size, LANES):
        open_ = within(room.row_hubs, first, -_FAR, np.sqrt(limit) * wider)
        while open_:
            tile = first + lowest_bit(open_)
            open_ &= open_ - np.int32(1)
            at = tile * LANES
            squared_distances(centers.tiles, tile * size, room.row, 0, width, room.row_squares, at)
            inside = within(room.row_squares, at, np.float32(-1), limit)
            while inside:
                center = centers.members[at + lowest_bit(inside)]
                inside &= inside - np.int32(1)
                distance = _exact(room.row, centers.integers, center, bits)
                if distance < best or (distance == best and center < label):
                    best, label = distance, center
                    limit = np.float32(best * unit) * wider
    return label


@inlined
def _need(state: Any, own: Any, reached: Any) -> Any:
    """The distance from the home up to which the rows of a tile need the centers."""
    need = np.float32(0)
    while own:
        lane = lowest_bit(own)
        own &= own - np.int32(1)
        limit = state[LIMIT, lane]
        if limit > _FAR:  # nothing found so far
            limit = max(np.float32(2) * state[NORM, lane] + np.float32(1), np.float32(1.2) * np.sqrt(reached))
        need = max(need, limit)
    return need


@inlined
def _search_tile(
    rows: Any,
    tile: Any,
    own: Any,
    homes: Any,
    home: Any,
    listed: Any,
    centers: Any,
    near: Any,
    gamma: Any,
    width: Any,
    room: Any,
) -> Any:
    """Search the list of a home for the rows of one tile, extending it where they need more."""
    n, reached, closed = listed
    state, start = room.state, home * room.row.size
    widen(rows.tiles, tile * LANES * room.row.size, homes, start, width, room.tile, state)
    reset(state, room.found)
    at = 0
    while True:
        if at >= n:
            if closed:
                break
            need = _need(state, own, max(reached, np.float32(0)))
            if need * need <= reached:
                break
            wanted = max(need * need * np.float32(1.1), rows.reach[home], np.float32(1))
            if n:
                grown = reached * np.float32(2.0 if n < 32 else 1.3)
                wanted = max(min(wanted, grown), reached * np.float32(1.1))
            at = n
            n, reached, closed = _extend(centers, homes, start, reached, wanted, n, width, near, room)
            continue
        if not above(state, near.low[at]) & own:
            break
        if nearest(room.tile, near.gaps, near.biases, at, width, state, room.found):
            bound(state, gamma)
        at += GROUP
    return n, reached, closed


@bare
def search(
    rows: Any,
    homes: Any,
    centers: Any,
    sums: Any,
    near: Any,
    room: Any,
    gamma: Any,
    bits: Any,
    width: Any,
    exact: Any,
) -> Any:
    """Label all rows by their nearest centers.

    Parameters
    ----------
    rows : Rows
    homes : ndarray of shape (n_homes * n_features,), float32
        Integers: one home for each run of `rows`.
    centers : Centers
    sums : Sums
        Follow the labels.
    near : Nearby
    room : Room
    gamma : float32
        (n_features + 2) 2^-24.
    bits : int
        F of the grid of the centers.
    width : int or tuple of None
        See `dkmeans.kernels.vector`.
    exact : bool
        False takes the best of the list as it is, a guess, and leaves the sums alone.

    Returns
    -------
    n_moved, n_strayed : int
        Rows, each as often as it counts, whose label changed; labels that are not the number of the home.
    """
    n_features = room.row.size
    n_moved, n_strayed = np.int64(0), np.int64(0)
    for home in range(rows.starts.size - 1):
        begin, end = rows.starts[home], rows.starts[home + 1]
        if begin == end:
            continue
        _reach(centers, homes, home * n_features, gamma, width, room.hubs)
        room.known[:] = False
        near.members[0] = 0
        listed = (0, np.float32(-1), False)
        for tile in range(begin // LANES, (end - 1) // LANES + 1):
            first = tile * LANES
            own = np.int32((1 << LANES) - 1)
            if first < begin:
                own &= np.int32(-1) << np.int32(begin - first)
            if first + LANES > end:
                own &= np.int32((1 << (end - first)) - 1)
            listed = _search_tile(rows, tile, own, homes, home, listed, centers, near, gamma, width, room)
            open_ = np.int32(0)
            if exact:
                beyond = above(room.state, np.sqrt(max(listed[1], np.float32(0))))
                open_ = (near_ties(room.state, gamma) | beyond) & own
            while own:
                lane = lowest_bit(own)
                own &= own - np.int32(1)
                row = first + lane
                label = near.members[room.found[lane]]
                if open_ >> np.int32(lane) & np.int32(1):
                    at = place(row, n_features)
                    for feature in range(np.uint64(n_features)):
                        room.row[feature] = rows.tiles[at + feature * np.uint64(LANES)]
                    label = _settle(centers, label, bits, gamma, width, room)
                square = np.float32(2) * room.state[BEST, lane] + room.state[SQUARE, lane]
                rows.spread[row] = max(square, np.float32(0))
                n_strayed += label != home
                old = rows.labels[row]
                if label != old:
                    n_moved += sums.weights[row] if sums.weights.size else np.int64(1)
                    rows.labels[row] = label
                    if exact:
                        move(rows.tiles, row, old, label, sums)
        rows.reach[home] = listed[1] if listed[1] < _FAR else near.low[listed[0] - 1] ** 2
    return n_moved, n_strayed
