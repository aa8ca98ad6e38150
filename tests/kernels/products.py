"""Exact nearest centers by matrix products in float64: faster than the reference, for tests of many rows.

Shift rows and centers by the middle of the range, 2^(b-1): then |x| <= 2^(b-1) and |m| <= 2^22, and the part
of the squared distance that depends on the center, |m|^2 - 2^(F+1) x.m, is a sum of integers whose parts all
stay below 1.5 d 2^45, so below 2^53 for d <= 170 features, in any order of summation. Wider rows are cut into
slabs of 128 features, whose exact scores are added in int64.
"""

import numpy as np

from dkmeans.kernels.exact import fraction_bits, grid_integers

SLAB = 128
TILE = 4096


def nearest(rows, centers):
    """Nearest center of each row, the lowest index on ties; int32 (n_rows,)."""
    bits, middle = fraction_bits(rows.dtype), 1 << (8 * rows.dtype.itemsize - 1)
    shifted = (grid_integers(centers, rows.dtype) - (middle << bits)).astype(np.float64)
    labels = [np.empty(0, np.int64)]
    for start in range(0, len(rows), TILE):
        part = rows[start : start + TILE].astype(np.float64) - middle
        scores = np.zeros((len(part), len(centers)), np.int64)
        for first in range(0, rows.shape[1], SLAB):
            some, block = part[:, first : first + SLAB], shifted[:, first : first + SLAB]
            score = some @ (block.T * -float(1 << (bits + 1))) + (block * block).sum(axis=1)
            scores += score.astype(np.int64)
        labels.append(scores.argmin(axis=1))
    return np.concatenate(labels).astype(np.int32)
