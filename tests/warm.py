"""Numba's machine code of what most tests need, made by one process before several would make it at once."""

from __future__ import annotations

import numpy as np

from dkmeans.kernels import cpu, exact
from dkmeans.kernels.colors import color_labels, count_colors
from dkmeans.kernels.plusplus import choose_greedily

__all__ = ["compile_kernels"]


def compile_kernels() -> None:
    """Take a few steps on gray and RGB pixels and on patches of 5x5: half a minute at first."""
    rng = np.random.default_rng(0)
    for n_features in (1, 3, 25):
        rows = rng.integers(0, 256, (300, n_features), dtype=np.uint8)
        centers = exact.snap(rows[:5].astype(float), rows.dtype)
        weights = np.ones(len(rows), np.int64)
        for block in (cpu.Block(rows), cpu.Block(rows, weights)):
            block.lloyd(centers)
            block.lloyd(centers[::-1].copy(), centers)
            block.labels(centers)
            block.farthest(centers, 2)
    choose_greedily(rows, weights, 3, np.random.default_rng(0))
    colors, times = count_colors(rows[:, :3])
    color_labels(rows[:, :3], colors, np.arange(len(times), dtype=np.int32))
