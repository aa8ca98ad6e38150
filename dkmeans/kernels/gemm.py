"""Exact nearest centers by matrix products in float64, for any array module (NumPy or CuPy).

Shift rows and centers by the middle of the range, 2^(b-1): then |x| <= 2^(b-1) and |m| <= 2^22, and the part
of the squared distance that depends on the center,

    |m|^2 - 2^(F+1) x.m ,     |m|^2 <= d 2^44 ,   |2^(F+1) x.m| <= d 2^(24-b + b-1 + 22) = d 2^45 ,

is a sum of integers whose parts all stay below 1.5 d 2^45, so below 2^53 for d <= 170 features, in any order
of summation and with any fused operations: float64 gives it exactly. Wider rows are cut into slabs of 128
features, whose exact scores are added in int64 (below d 2^46 <= 2^63).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from dkmeans.kernels.exact import fraction_bits

__all__ = ["SLAB", "nearest", "shifted_centers"]

SLAB = 128
"""Features whose scores float64 adds exactly."""

_TILE_BYTES = 64 << 20


def shifted_centers(xp: ModuleType, integers: Any, dtype: Any) -> Any:
    """Grid integers of the centers less the middle of the range, float64."""
    middle = 1 << (8 * dtype.itemsize - 1 + fraction_bits(dtype))
    return xp.asarray(integers - middle, dtype=xp.float64)


def nearest(xp: ModuleType, rows: Any, integers: Any) -> tuple[Any, Any]:
    """Nearest center of each row, and the exact squared distance to it.

    Parameters
    ----------
    xp : module
        numpy or cupy.
    rows : array of shape (n_rows, n_features), uint8 or uint16
    integers : ndarray of shape (n_clusters, n_features), int64
        Grid integers of the centers.

    Returns
    -------
    labels : array of shape (n_rows,), int32
        The lowest index on ties.
    distances : array of shape (n_rows,), int64
        In units of 2^-2F.
    """
    n_rows = len(rows)
    centers = shifted_centers(xp, integers, rows.dtype)
    middle = 1 << (8 * rows.dtype.itemsize - 1)
    bits = fraction_bits(rows.dtype)
    labels = xp.empty(n_rows, dtype=xp.int32)
    distances = xp.empty(n_rows, dtype=xp.int64)
    tile = max(1, _TILE_BYTES // (8 * max(centers.shape)))
    for start in range(0, n_rows, tile):
        part = rows[start : start + tile].astype(xp.float64) - middle
        scores = _scores(xp, part, centers, bits)
        chosen = scores.argmin(axis=1)
        labels[start : start + tile] = chosen
        least = xp.take_along_axis(scores, chosen[:, None], axis=1)[:, 0]
        squares = (part * part).sum(axis=1).astype(xp.int64)
        distances[start : start + tile] = least.astype(xp.int64) + (squares << (2 * bits))
    return labels, distances


def _scores(xp: ModuleType, part: Any, centers: Any, bits: int) -> Any:
    """|m|^2 - 2^(F+1) x.m of every row and center: exact, in float64 for one slab, else in int64."""
    n_features = part.shape[1]
    total = None
    for first in range(0, n_features, SLAB):
        block = centers[:, first : first + SLAB]
        score = part[:, first : first + SLAB] @ (block.T * -float(1 << (bits + 1)))
        score += (block * block).sum(axis=1)
        if n_features <= SLAB:
            return score
        total = score.astype(xp.int64) if total is None else total + score.astype(xp.int64)
    return total
