"""What the GPU computes, beside what the CPU does: every number must be the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from gpu_rows import seeds

from dkmeans import kernels
from dkmeans.kernels import exact, reference

_STATS = ("sums", "counts", "squares", "moved")


class Reference:
    """A block of rows for `dkmeans.kernels.reference`."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows, self._hint = rows, np.empty(0, np.int32)

    def lloyd(self, centers: np.ndarray, previous: np.ndarray | None = None) -> exact.ChunkStats:
        hint = None if previous is None else self._hint
        stats, self._hint = reference.lloyd_chunk(self._rows, centers, hint)
        return stats

    def labels(self, centers: np.ndarray) -> np.ndarray:
        return reference.assign(self._rows, centers)


def differences(name: str, found: Any, expected: Any) -> list[str]:
    """One line on what differs; none if nothing does."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return [f"{name}: found shape {found.shape}, expected {expected.shape}"]
    wrong = np.argwhere(found != expected)
    if not len(wrong):
        return []
    first = tuple(int(at) for at in wrong[0])
    return [
        f"{name}: {len(wrong):,} of {found.size:,} differ, the first at {first}: "
        f"found {found[first]}, expected {expected[first]}"
    ]


def compare(block: Any, oracle: Any, centers: np.ndarray, dtype: np.dtype, n_iter: int = 2) -> list[str]:
    """What differs in some iterations of two blocks of the same rows."""
    wrong: list[str] = []
    previous = None
    for number in range(1, n_iter + 1):
        stats, expected = block.lloyd(centers, previous), oracle.lloyd(centers, previous)
        for name in _STATS:
            step = f"iteration {number}: {name}"
            wrong += differences(step, getattr(stats, name), getattr(expected, name))
        wrong += differences(f"iteration {number}: labels", block.labels(centers), oracle.labels(centers))
        previous, centers = centers, exact.update_centers(expected, centers, dtype)
    return wrong


def sample(rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """`n` of the rows by chance, or all."""
    return rows[np.random.default_rng(seed).choice(len(rows), min(n, len(rows)), replace=False)]


def check(rows: np.ndarray, k: int, oracle: str, seed: int) -> list[str]:
    """What differs between the GPU and an oracle, "reference" or "cpu", on these rows."""
    other = Reference(rows) if oracle == "reference" else kernels.load(rows, "cpu")
    return compare(kernels.load(rows, "gpu"), other, seeds(rows, k, seed), rows.dtype)


# Pixels


def color_numbers(pixels: np.ndarray) -> np.ndarray:
    """RGB colors as numbers, red highest; shape (n,), uint32."""
    red, green, blue = pixels.T.astype(np.uint32)
    return red << 16 | green << 8 | blue


def check_colors(cuda: Any, pixels: np.ndarray, tables: list[np.ndarray]) -> list[str]:
    """What differs between the GPU's histogram and look-up of colors and NumPy's."""
    import cupy

    on_device, numbers = cupy.asarray(pixels), color_numbers(pixels)
    counts = cupy.asnumpy(cuda.count_colors(on_device))
    wrong = differences("counts of colors", counts, np.bincount(numbers, minlength=1 << 24))
    for table in tables:
        labels = cupy.asnumpy(cuda.look_up(on_device, cupy.asarray(table)))
        wrong += differences(f"labels of colors from {table.dtype}", labels, table[numbers])
    return wrong
