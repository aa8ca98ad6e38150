"""The nearest center of one row, decided in int64 where scores cannot decide."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.jit import without_refcounts
from dkmeans.kernels.listing import FAR, bound_tiles
from dkmeans.kernels.records import Centers, Traits, Workspace
from dkmeans.kernels.rounded import describe_row
from dkmeans.kernels.vector import in_range, lowest_bit, squared_distances
from dkmeans.kernels.writer import LANES

__all__ = ["nearer", "resolve_exactly"]

_Floats = NDArray[np.float32]


@without_refcounts
def _exact_distance(row: _Floats, integers: NDArray[np.int64], center: Any, bits: Any) -> Any:
    """Sum up the squared distance in units of 2^-2F."""
    total = np.int64(0)
    for feature in range(np.uint64(row.size)):
        gap = (np.int64(row[feature]) << bits) - integers[np.uint64(center), feature]
        total += gap * gap
    return total


@without_refcounts
def nearer(centers: Centers, one: Any, other: Any, traits: Traits, work: Workspace) -> Any:
    """Tell which of two centers is nearer to the row in ``work.row``, the lower index on ties."""
    distance = _exact_distance(work.row, centers.integers, one, traits.bits)
    of_other = _exact_distance(work.row, centers.integers, other, traits.bits)
    return other if of_other < distance or (of_other == distance and other < one) else one


@without_refcounts
def resolve_exactly(centers: Centers, label: Any, traits: Traits, work: Workspace) -> Any:
    """Find the nearest center of the row in ``work.row``, the lowest index on ties; `label` is a guess."""
    coarse = centers.coarse
    size = coarse.tiles.size // centers.members.size * LANES
    unit = np.float64(1) / (np.int64(1) << (2 * traits.bits))
    wider = np.float32(1) + np.float32(8) * traits.gamma
    best = _exact_distance(work.row, centers.integers, label, traits.bits)
    if work.row_bytes.size:
        describe_row(work.row, work.row_bytes, work.row_words)
    bound_tiles(coarse.means, coarse.radii, work.row_words, 0, traits, work.row_bounds)
    reach = np.sqrt(np.float32(best * unit)) * wider
    for first in range(0, coarse.radii.size, LANES):
        open_ = in_range(work.row_bounds, first, -FAR, reach)
        while open_:
            tile = first + lowest_bit(open_)
            open_ &= open_ - np.int32(1)
            at = tile * LANES
            squared_distances(
                coarse.tiles, tile * size, work.row_words, 0, traits.width, work.row_squares, at
            )
            limit = (reach + coarse.blur) * wider
            inside = in_range(work.row_squares, at, np.float32(-1), limit * limit)
            while inside:
                center = centers.members[at + lowest_bit(inside)]
                inside &= inside - np.int32(1)
                distance = _exact_distance(work.row, centers.integers, center, traits.bits)
                if distance < best or (distance == best and center < label):
                    best, label = distance, center
                    reach = np.sqrt(np.float32(best * unit)) * wider
    return label
