"""Rates of the Lloyd step and of seeds: a few numbers of features and clusters, rows of real photos."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.rows import load_given_rows
from dkmeans.clustering.sampling import count_distinct
from dkmeans.clustering.seeding import seed_centers
from dkmeans.clustering.starts import find_starts
from dkmeans.compute.in_process import InProcess
from dkmeans.compute.memory import n_cores
from dkmeans.compute.threads import call_all
from dkmeans.features import patches
from dkmeans.features.histogram import Histogram
from dkmeans.kernels import Block, arithmetic
from dkmeans.plan.cost import StepRate

__all__ = ["POINTS", "measure_step"]

POINTS = ((3, 16), (3, 256), (25, 100), (25, 1_000), (192, 256), (784, 100))
"""Features and clusters: colors, patches of 5x5 and 28x28 of gray, and of 8x8 of RGB.

Not 10,000 clusters: of as few rows as take seconds, a cluster has too few of them for what makes a step fast.
The line through 100 and 1,000 leads to what millions of rows took there (deploy/README.md).
"""
_ROWS = {3: 200_000, 25: 450_000, 192: 30_000, 784: 8_000}
"""Most rows of each thread."""
_PATCHES = {25: ((5, 5), 1, 1), 192: ((8, 8), 3, 3), 784: ((28, 28), 7, 1)}
"""Size, stride and channels."""
_STEPS = 6
_SAMPLE = 20_000


def measure_step(n_features: int, n_clusters: int, photos: Sequence[NDArray[np.uint8]]) -> StepRate:
    """Measure one point on rows of `photos`, each of shape (height, width, 3)."""
    threads = n_cores()
    rows, weights = _rows(n_features, photos)
    size = min(_ROWS[n_features], len(rows) // threads)
    centers, seed_seconds = _seeds(rows, weights, n_clusters)
    _steps(rows, weights, 300, centers[:16])  # compiles
    few = size // 4
    first, small = _steps(rows, weights, few, centers)
    first, large = _steps(rows, weights, size, centers)
    row_seconds = max(large - small, 0.02 * large) / (size - few)
    return StepRate(
        n_features,
        n_clusters,
        row_ns=1e9 * row_seconds,
        label_ns=1e9 * first / size,
        block_seconds=max(0.0, small - row_seconds * few),
        seed_seconds=seed_seconds,
    )


def _rows(
    n_features: int, photos: Sequence[NDArray[np.uint8]]
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Rows in random order, and how often each counts: colors of photos, or patches of them."""
    rng = np.random.default_rng(0)
    if n_features == 3:
        counted = Histogram.of(np.concatenate([photo.reshape(-1, 3) for photo in photos]))
        order = rng.permutation(len(counted.colors))
        return counted.colors[order], counted.counts[order]
    patch, step, channels = _PATCHES[n_features]
    found = []
    for photo in photos:
        stack = np.ascontiguousarray(photo if channels == 3 else photo[..., 1:2])[np.newaxis]
        mask = patches.find_kept(stack, patch, (step, step), -1)
        found.append(patches.extract(stack, mask, patch, (step, step)))
    return rng.permutation(np.concatenate(found)), None


def _seeds(
    rows: NDArray[np.uint8], weights: NDArray[np.int64] | None, n_clusters: int
) -> tuple[NDArray[np.float32], float]:
    """The first centers as a fit draws them, and the seconds that this takes."""
    executor = InProcess(n_cores())
    if weights is not None:
        began = time.perf_counter()
        colors, times = count_distinct(rows[:_SAMPLE])
        return find_starts(colors, times, n_clusters, 0, len(rows))[0], time.perf_counter() - began
    resident = load_given_rows([rows], [len(rows)], rows.shape[1], rows.dtype, executor)
    seed_centers(resident, 2, "k-means||", 0)  # loads and compiles what it takes
    began = time.perf_counter()
    return seed_centers(resident, n_clusters, "k-means||", 0), time.perf_counter() - began


def _steps(
    rows: NDArray[np.uint8], weights: NDArray[np.int64] | None, size: int, centers: NDArray[np.float32]
) -> tuple[float, float]:
    """Seconds of the first step of blocks of so many rows, one a core, and of the median of those after it.

    Of the processor, as a kernel keeps its thread to itself: what else the machine does is left out.
    """
    threads = n_cores()
    blocks = [
        kernels.load(rows[at : at + size], "cpu", None if weights is None else weights[at : at + size])
        for at in range(0, threads * size, size)
    ]

    def stepped(block: Block) -> tuple[float, float]:
        numbers, seconds = arithmetic(block.dtype), []
        previous, now = None, centers
        for _ in range(_STEPS):
            began = time.thread_time()
            stats = block.lloyd(now, previous)
            seconds.append(time.thread_time() - began)
            previous, now = now, numbers.update_centers(stats, now, block.dtype)
        return seconds[0], float(np.median(seconds[1:]))

    found = call_all([partial(stepped, block) for block in blocks], threads)
    first, others = np.mean(found, axis=0)
    return float(first), float(others)
