"""Machine code of the kernels that most jobs need, for all processes: ``python -m dkmeans.kernels.warm``.

It takes half a minute where Numba's cache is empty, and a second where it is not. `make setup` does it, so
that no job has to.
"""

from __future__ import annotations

import zlib

import numpy as np

from dkmeans.kernels import cpu, exact
from dkmeans.kernels.colors import (
    color_labels,
    count_colors,
    find_labels,
    label_table,
    merge_colors,
    note_labels,
)
from dkmeans.kernels.deflate import last_block
from dkmeans.kernels.plusplus import choose_greedily
from dkmeans.kernels.similarity import squared_difference, structural_similarity

__all__ = ["compile_kernels"]


def compile_kernels() -> None:
    """Take a few steps on pixels and on patches of 5x5, gray and RGB, and what images of few colors need."""
    rng = np.random.default_rng(0)
    for n_features in (1, 3, 25, 75):  # for each the loops are unrolled anew
        rows = rng.integers(0, 256, (300, n_features), dtype=np.uint8)
        centers = exact.snap(rows[:5].astype(float), rows.dtype)
        weights = np.ones(len(rows), np.int64)
        for block in (cpu.Block(rows), cpu.Block(rows, weights)):
            stats = block.lloyd(centers)
            block.lloyd(centers[::-1].copy(), centers)
            block.labels(centers)
            block.farthest(centers, 2)
            block.rows()
    exact.relax(centers, exact.update_centers(stats, centers, rows.dtype), 1.5, rows.dtype)
    exact.inertia(stats, centers, rows.dtype)
    choose_greedily(rows, weights, 3, rng)
    image = np.ascontiguousarray(rows[:, :24]).reshape(40, 60, 3)
    pixels = image.reshape(-1, 3)
    colors, _ = merge_colors([count_colors(pixels)] * 2)
    for dtype in (np.uint8, np.int32):
        color_labels(pixels, colors, np.zeros(len(colors), dtype))
    table = label_table(3)
    _, unknown = find_labels(pixels, table)
    note_labels(unknown, np.zeros(len(unknown), np.int32), table)
    squared_difference(image, image)
    structural_similarity(image, image, 7, 255)
    last_block(zlib.compress(bytes(image))[2:-4])  # the stream without what zlib puts around it


if __name__ == "__main__":
    compile_kernels()
