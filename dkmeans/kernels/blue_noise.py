"""A mask of thresholds whose pattern has no structure that the eye could follow: blue noise.

By void and cluster [1]_: points are taken from where they are densest and put where they are rarest, and the
order in which they come and go is the mask. In integers, so the mask is the same on every machine.

.. [1] R. Ulichney, "The void-and-cluster method for dither array generation", Proc. SPIE 1913, 1993.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDE", "blue_noise"]

SIDE = 64
"""Pixels after which the mask repeats, in both directions."""
_SIGMA = 1.9
"""Of the Gaussian that tells how dense points are, in pixels."""
_UNIT = 1 << 20
_FIRST = SIDE * SIDE // 10
"""Points to begin with."""


class _Points:
    """Points on a torus, and how dense they are everywhere."""

    def __init__(self) -> None:
        gaps = np.minimum(np.arange(SIDE), SIDE - np.arange(SIDE))
        squares = gaps[:, None] ** 2 + gaps**2
        around = np.rint(_UNIT * np.exp(-squares / (2 * _SIGMA**2))).astype(np.int64)
        self._around = np.tile(around, (2, 2))  # any part of it is the torus seen from another point
        self.there = np.zeros((SIDE, SIDE), bool)
        self._density = np.zeros((SIDE, SIDE), np.int64)

    def _seen_from(self, point: int) -> NDArray[np.int64]:
        row, column = SIDE - point // SIDE, SIDE - point % SIDE
        return self._around[row : row + SIDE, column : column + SIDE]

    def put(self, point: int) -> None:
        self.there.flat[point] = True
        self._density += self._seen_from(point)

    def take(self, point: int) -> None:
        self.there.flat[point] = False
        self._density -= self._seen_from(point)

    def tightest_cluster(self) -> int:
        return int(np.argmax(np.where(self.there, self._density, -1)))

    def largest_void(self) -> int:
        return int(np.argmin(np.where(self.there, np.iinfo(np.int64).max, self._density)))


@functools.cache
def blue_noise() -> NDArray[np.int64]:
    """Make the mask; it takes about 0.05 s, once a process.

    Returns
    -------
    ndarray of shape (SIDE, SIDE), int64
        Each number from 0 to SIDE * SIDE - 1 once.
    """
    points = _Points()
    # The bits of a generator are the same in every version of NumPy, what is made of them need not be.
    for point in np.argsort(np.random.PCG64(0).random_raw(SIDE * SIDE))[:_FIRST]:
        points.put(int(point))
    while True:  # until the point that is taken is put where it was
        cluster = points.tightest_cluster()
        points.take(cluster)
        void = points.largest_void()
        points.put(void)
        if void == cluster:
            break
    ranks = np.zeros(SIDE * SIDE, np.int64)
    first = np.flatnonzero(points.there)
    for rank in reversed(range(_FIRST)):
        ranks[points.tightest_cluster()] = rank
        points.take(points.tightest_cluster())
    for point in first:
        points.put(int(point))
    for rank in range(_FIRST, SIDE * SIDE):
        void = points.largest_void()
        ranks[void] = rank
        points.put(void)
    mask = ranks.reshape(SIDE, SIDE)
    mask.setflags(write=False)
    return mask
