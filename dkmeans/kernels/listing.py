"""The centers near a pivot, in about ascending distance: what the rows of a run are searched in.

A list is extended where a row needs more than it has. What is written for every candidate is little; its gap
to the pivot, as wide as a row, is written when the search comes that far, and not at all for rows that are
searched as bytes, which read the centers themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.jit import inlined, without_refcounts
from dkmeans.kernels.records import SLICES, Centers, Extent, Traits, Workspace
from dkmeans.kernels.scoring import GROUP
from dkmeans.kernels.vector import in_range, lowest_bit, squared_distances
from dkmeans.kernels.writer import LANES

__all__ = ["FAR", "bound_tiles", "describe_pivot", "extend", "write_gaps"]

_Floats = NDArray[np.float32]
FAR = np.float32(1e30)
"""More than any squared distance."""


@without_refcounts
def bound_tiles(means: Any, radii: _Floats, vector: Any, start: Any, traits: Traits, out: _Floats) -> None:
    """Bound from below the distance from a vector to any member of each tile of centers, by its ball."""
    size = means.size // radii.size * LANES
    for tile in range(radii.size // LANES):
        squared_distances(means, tile * size, vector, start, traits.width, out, tile * LANES)
    less = np.float32(1) - np.float32(8) * traits.gamma
    for ball in range(radii.size):
        out[ball] = np.sqrt(out[ball]) * less - radii[ball]


@without_refcounts
def _choose(
    centers: Centers, pivots: _Floats, start: Any, low: Any, high: Any, width: Any, work: Workspace
) -> Any:
    """Collect the centers whose computed squared distance from a pivot lies in (low, high]; how many."""
    size = centers.tiles.size // centers.members.size * LANES
    n = 0
    radius = np.sqrt(high)
    for first in range(0, centers.radii.size, LANES):
        bits = in_range(work.pivot_bounds, first, -FAR, radius)
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
def extend(
    centers: Centers, pivots: _Floats, start: Any, extent: Extent, high: Any, width: Any, work: Workspace
) -> Any:
    """Append the centers with squared distances beyond those of the list up to `high`.

    Where they do not all fit, the nearest are taken, and the list is closed.
    """
    candidates, low = work.candidates, extent.squared_radius
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
            half = centers.halves[center] if centers.halves.size else np.float32(0.5) * work.chosen_squares[i]
            candidates.biases[at] = half
    for at in range(extent.length, total):
        candidates.lower_bounds[at] = np.sqrt(candidates.lower_bounds[at])
    for at in range(total, total + GROUP):
        # Behind all centers are the planes of none; of an empty list any center is a guess.
        candidates.members[at] = centers.integers.shape[0] if total else 0
        candidates.biases[at] = FAR
    written = extent.written if centers.planes.size else min(extent.written, extent.length)
    if total == centers.integers.shape[0]:
        return Extent(total, FAR, True, written)
    if last < SLICES:
        return Extent(total, inner + np.float32(last) * step, True, written)
    return Extent(total, high, False, written)


@inlined
def write_gaps(
    centers: Centers, pivots: _Floats, start: Any, extent: Extent, end: Any, work: Workspace
) -> Any:
    """Write the gaps of the candidates up to `end`; those behind the list get zeros."""
    n_features, candidates = np.uint64(work.row.size), work.candidates
    for at in range(extent.written, end):
        to = np.uint64(at) * n_features
        if at < extent.length:
            one, other = np.uint64(start), np.uint64(candidates.members[at]) * n_features
            for feature in range(n_features):
                candidates.gaps[to + feature] = pivots[one + feature] - centers.values[other + feature]
        else:
            for feature in range(n_features):
                candidates.gaps[to + feature] = np.float32(0)
    return Extent(extent.length, extent.squared_radius, extent.closed, np.int64(end))


@without_refcounts
def describe_pivot(pivots: _Floats, start: Any, work: Workspace) -> None:
    """Write the pivot as `bytewise` reads it."""
    square = np.int64(0)
    for feature in range(np.uint64(work.row.size)):
        value = np.int64(pivots[np.uint64(start) + feature])
        work.home_bytes[feature] = np.uint8(value - 128)
        square += value * value
    work.home[work.home.size - 1] = np.int32(square)
