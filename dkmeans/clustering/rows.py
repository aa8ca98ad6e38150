"""The rows of a fit, cut into blocks that workers hold, or read again for each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from dkmeans import kernels, plan
from dkmeans.compute.executor import Executor
from dkmeans.features.space import FeatureSpace
from dkmeans.kernels import Block
from dkmeans.plan import RowLayout
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["Cutting", "Rows", "cut_rows", "load_given_rows", "load_stored_rows"]

_SHARE_FOR_ROWS = 0.5
"""Part of the workers' memory that resident rows may take."""
_SCALES = (8, 4, 2, 1)
"""Sizes of blocks that are tried, see `dkmeans.plan.fit_cuts`: the largest for which there is memory."""
_SCALES_ON_GPUS = (64, 32, 16, 8, 4, 2, 1)
"""The same where all workers have GPUs. Of a block of 8 GiB a step takes far longer than its launches; and of
several, those stay on the device that fit there, where a single one would be streamed as a whole.
"""
_SHARE_IN_WORK = 0.75
"""Part of it that resident rows and a block of each thread in work may take."""


@dataclass(frozen=True)
class Rows:
    """Rows to cluster.

    Attributes
    ----------
    blocks : sequence of Delayed
        One task for each block, its value a `dkmeans.kernels.Block`.
    cuts : sequence of (int, int)
        First row of each block, and the one after its last.
    n_features : int
    dtype : numpy dtype
        uint8, uint16 or float64.
    cluster : Executor
        Where the blocks are worked on.
    resident : bool
        Whether the blocks are in the workers' memory; if not, each task that needs one reads it.
    """

    blocks: Sequence[Delayed]
    cuts: Sequence[tuple[int, int]]
    n_features: int
    dtype: np.dtype[Any]
    cluster: Executor
    resident: bool

    @property
    def n_rows(self) -> int:
        """Number of rows, each as often as it counts."""
        return self.cuts[-1][1]

    def take(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Take the rows at `positions`, which ascend; shape (n, n_features)."""
        of_blocks = enumerate(plan.in_cuts(positions, self.cuts))
        tasks = [self.take_of_block(number, local) for number, local in of_blocks if len(local)]
        return np.concatenate(self.cluster.run(tasks))

    def take_of_block(self, number: int, positions: NDArray[np.int64]) -> Delayed:
        """Make the task that takes the rows at `positions` of one block."""
        task: Delayed = delayed(_take)(self.blocks[number], positions)
        return task


def load_given_rows(
    parts: Sequence[Any],
    sizes: Sequence[int],
    n_features: int,
    dtype: np.dtype[Any],
    cluster: Executor,
    weights: Sequence[Any] | None = None,
    *,
    resident: bool = True,
) -> Rows:
    """Load rows, a block for each part.

    Parameters
    ----------
    parts : sequence of ndarray or Delayed
        Values of shape (size, n_features).
    sizes : sequence of int
    n_features : int
    dtype : numpy dtype
    cluster : Executor
    weights : sequence of ndarray or Delayed, or None
        How often each row of each part counts; None counts each once.
    resident : bool
        Whether the blocks are kept in memory; if not, each step makes its own.
    """
    load = delayed(kernels.load)
    times = weights if weights is not None else [None] * len(parts)
    tasks = [load(part, cluster.device, weight) for part, weight in zip(parts, times, strict=True)]
    borders = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    blocks = cluster.persist(tasks) if resident else tasks
    return Rows(blocks, list(pairwise(borders)), n_features, dtype, cluster, resident)


def _take(block: Block, positions: NDArray[np.int64]) -> NDArray[Any]:
    return block.rows(positions)


def _load(
    store: Store, name: str, start: int, stop: int, device: str, features: FeatureSpace | None
) -> Block:
    stored = arrays.read_rows(store, name, start, stop)
    return kernels.load(stored if features is None else features.from_stored(stored), device)


@dataclass(frozen=True)
class Cutting:
    """How rows are cut into blocks, and what that takes.

    Attributes
    ----------
    cuts : list of (int, int)
        As of `Rows`.
    resident : bool
        Whether all blocks fit into the memory of the workers.
    task_bytes : int
        Memory of the host that a task takes for one block.
    n_at_once : int or None
        Tasks of a worker at a time, where they are fewer than its threads may be.
    """

    cuts: list[tuple[int, int]]
    resident: bool
    task_bytes: int
    n_at_once: int | None


def cut_rows(
    n_rows: int, n_features: int, dtype: np.dtype[Any], layout: RowLayout, n_clusters: int, cluster: Executor
) -> Cutting:
    """Cut rows into blocks as large as memory allows: one for each thread, or for each GPU.

    On a GPU a step launches kernels and waits for them once a block, whatever its rows, and all threads of a
    worker share it. So where every worker has one, each gets a single block, of up to 8 GiB and of what its
    host can load at once; blocks that the device cannot hold are streamed by `dkmeans.kernels.cuda`.

    Parameters
    ----------
    n_rows, n_features : int
    dtype : numpy dtype
        Of the rows.
    layout : RowLayout
        How they are stored.
    n_clusters : int
    cluster : Executor
    """
    memory, n_threads = cluster.memory_bytes(), cluster.n_threads()
    n_gpus = cluster.n_gpus() if kernels.is_exact(dtype) else 0
    for scale in _SCALES_ON_GPUS if n_gpus else _SCALES:
        cuts = plan.fit_cuts(n_rows, n_features * dtype.itemsize, layout, n_gpus or n_threads, scale)
        need = plan.fit_memory(n_rows, n_features, dtype.itemsize, n_clusters, cuts[0][1])
        resident = memory is None or need["rows"] <= _SHARE_FOR_ROWS * memory
        task, n_tasks = need["block"] + need["sums"], min(n_threads, len(cuts))
        n_at_once = -(-len(cuts) // n_gpus) if n_gpus else None
        fits = memory is None or need["rows"] + n_tasks * task <= _SHARE_IN_WORK * memory
        if resident and fits and cluster.has_memory(task, n_at_once):  # workers may differ in size
            break
    return Cutting(cuts, resident, task, n_at_once)


def load_stored_rows(
    store: Store, name: str, cluster: Executor, n_clusters: int, features: FeatureSpace | None = None
) -> Rows:
    """The rows of the array `name` in `store`, in the workers' memory if they fit.

    `features` makes rows of the stored ones; None takes them as they are.
    """
    arrays.check_whole(store, name)
    array = arrays.open_array(store, name)
    n_rows, n_features = array.shape
    dtype = np.dtype(array.dtype) if features is None else features.row_dtype
    layout = arrays.row_layout(array)
    cut = cut_rows(n_rows, n_features, dtype, layout, n_clusters, cluster)
    remedy = "ingest with a smaller --shard-mib"
    cluster.check_memory(cut.task_bytes, "a block of the fit", remedy, cut.n_at_once)
    load = cluster.task(_load)
    tasks = [load(store, name, *each, cluster.device, features) for each in cut.cuts]
    blocks = cluster.persist(tasks) if cut.resident else tasks
    return Rows(blocks, cut.cuts, n_features, dtype, cluster, cut.resident)
