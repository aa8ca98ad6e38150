"""The rows of an array on storage, cut into blocks that workers hold or stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from dkmeans import arrays, kernels, plan
from dkmeans.cluster import Cluster

__all__ = ["Rows"]

_SHARE_FOR_ROWS = 0.5
"""Part of the workers' memory that resident rows may take."""


def _load(url: str, name: str, start: int, stop: int, device: str) -> Any:
    return kernels.to_device(arrays.read_rows(url, name, start, stop), device)


def _take(block: Any, positions: NDArray[np.int64]) -> NDArray[Any]:
    chosen = block[positions]
    return np.asarray(chosen.get() if hasattr(chosen, "get") else chosen)


@dataclass(frozen=True)
class Rows:
    """Rows to cluster.

    Attributes
    ----------
    url, name : str
        The array, of shape (n_rows, n_features).
    n_rows, n_features : int
    dtype : numpy dtype
        uint8 or uint16.
    block_rows : int
        Rows of one block.
    cluster : Cluster
        Where the blocks are worked on.
    """

    url: str
    name: str
    n_rows: int
    n_features: int
    dtype: np.dtype[Any]
    block_rows: int
    cluster: Cluster

    @classmethod
    def open(cls, url: str, name: str, cluster: Cluster) -> Rows:
        """The rows of the array `name` at `url`, if all of them are there."""
        arrays.check_whole(url, name)
        array = arrays.open_array(url, name)
        n_rows, n_features = array.shape
        block_rows = plan.block_rows(n_rows, arrays.row_layout(array))
        return cls(url, name, n_rows, n_features, np.dtype(array.dtype), block_rows, cluster)

    @property
    def cuts(self) -> list[tuple[int, int]]:
        """First row of each block, and the one after its last."""
        return plan.cuts(self.n_rows, self.block_rows)

    def resident(self, n_clusters: int) -> bool:
        """Whether the workers can hold all rows; they are streamed from storage if not."""
        memory = self.cluster.memory_bytes()
        itemsize = self.dtype.itemsize
        need = plan.fit_memory(self.n_rows, self.n_features, itemsize, n_clusters, self.block_rows)
        return memory is None or need["rows"] <= _SHARE_FOR_ROWS * memory

    def blocks(self, *, resident: bool) -> list[Delayed]:
        """One task per block, its value the rows; already in the workers' memory if `resident`."""
        load = delayed(_load)
        tasks = [load(self.url, self.name, *cut, self.cluster.device) for cut in self.cuts]
        return self.cluster.persist(tasks) if resident else tasks

    def sample(self, blocks: list[Delayed], size: int, rng: np.random.Generator) -> NDArray[Any]:
        """`size` rows drawn without replacement, in the order of the array; all if there are no more.

        Which rows are drawn depends on the seed and on the number of rows, not on the blocks.
        """
        if size >= self.n_rows:
            chosen = np.arange(self.n_rows)
        else:
            chosen = np.sort(rng.choice(self.n_rows, size, replace=False, shuffle=False))
        take = delayed(_take)
        tasks = []
        for block, (start, stop) in zip(blocks, self.cuts, strict=True):
            low, high = np.searchsorted(chosen, (start, stop))
            if low < high:
                tasks.append(take(block, chosen[low:high] - start))
        return np.concatenate(self.cluster.run(tasks))
