"""What dkmeans is measured beside on a GPU: one Lloyd iteration by the plain means of other libraries.

Each gets the rows on the device as it wants them, not timed. Memory for all scores at once is not there, so
CuPy and PyTorch go through the rows in tiles. flash_kmeans counts in float16 on tensor cores; its input is
scaled to [0, 1], as the squares of bytes leave that type, and filled up to a power of two of features, which
its older versions need and which aligns its reads.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import harness
import numpy as np

OURS = "dkmeans"
_TILE_BYTES = 1 << 30
_WHITE = 255


class Data(NamedTuple):
    """Rows and centers on the device, and the squared norms of the rows where a library wants them."""

    rows: Any
    centers: Any
    squares: Any = None


@dataclass(frozen=True)
class Peer:
    """A library.

    Attributes
    ----------
    module, package : str
        What Python and pip call it.
    prepare : callable
        ``prepare(rows, centers)``: `Data` of uint8 rows on the device and float32 centers on the host.
    assign : callable
        ``assign(data)``: the label of each row, on the device.
    update : callable
        ``update(data, labels)``: the new centers, on the device.
    """

    module: str
    package: str
    prepare: Callable[[Any, np.ndarray], Data]
    assign: Callable[[Data], Any]
    update: Callable[[Data, Any], Any]

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str | None:
        """The version of its package, whose name tells of its CUDA in CuPy's case."""
        return harness.version(self.package) or getattr(
            importlib.import_module(self.module), "__version__", None
        )


def _tiles(data: Data) -> Iterator[slice]:
    step = max(1, _TILE_BYTES // (4 * len(data.centers)))
    for start in range(0, len(data.rows), step):
        yield slice(start, start + step)


# CuPy


def _cupy_data(rows: Any, centers: np.ndarray) -> Data:
    import cupy

    return Data(rows.astype(cupy.float32), cupy.asarray(centers))


def _cupy_assign(data: Data) -> Any:
    import cupy

    labels = cupy.empty(len(data.rows), cupy.int32)
    norms = (data.centers * data.centers).sum(axis=1)
    factors = -2 * data.centers.T
    for tile in _tiles(data):
        scores = data.rows[tile] @ factors
        scores += norms
        labels[tile] = scores.argmin(axis=1)
    return labels


def _cupy_update(data: Data, labels: Any) -> Any:
    import cupy

    sums = cupy.zeros_like(data.centers)
    cupy.add.at(sums, labels, data.rows)
    counts = cupy.bincount(labels, minlength=len(sums)).astype(cupy.float32)[:, None]
    return cupy.where(counts > 0, sums / cupy.maximum(counts, 1), data.centers)


# PyTorch


def _torch_data(rows: Any, centers: np.ndarray) -> Data:
    import torch

    on_device = torch.as_tensor(rows, device="cuda")
    return Data(on_device.float(), torch.as_tensor(centers, device="cuda"))


def _torch_assign(data: Data) -> Any:
    import torch

    labels = torch.empty(len(data.rows), dtype=torch.int64, device=data.rows.device)
    for tile in _tiles(data):
        labels[tile] = torch.cdist(data.rows[tile], data.centers).argmin(1)
    return labels


def _torch_update(data: Data, labels: Any) -> Any:
    import torch

    sums = torch.zeros_like(data.centers).index_add_(0, labels, data.rows)
    counts = torch.bincount(labels, minlength=len(sums))[:, None]
    return torch.where(counts > 0, sums / counts.clamp(min=1), data.centers)


# flash_kmeans: a batch of one


def _flash_data(rows: Any, centers: np.ndarray) -> Data:
    import torch

    on_device, d = torch.as_tensor(rows, device="cuda"), rows.shape[1]
    width = max(16, 1 << (d - 1).bit_length())
    halves = torch.zeros((1, len(rows), width), dtype=torch.float16, device="cuda")
    halves[0, :, :d] = on_device
    halves /= _WHITE
    filled = torch.zeros((1, len(centers), width), dtype=torch.float16, device="cuda")
    filled[0, :, :d] = torch.as_tensor(centers / _WHITE, device="cuda")
    squares = torch.linalg.vector_norm(halves, dim=-1, dtype=torch.float32).square()
    return Data(halves, filled, squares)


def _flash_assign(data: Data) -> Any:
    from flash_kmeans.assign_euclid_triton import euclid_assign_triton

    return euclid_assign_triton(data.rows, data.centers, data.squares)


def _flash_update(data: Data, labels: Any) -> Any:
    from flash_kmeans import triton_centroid_update_sorted_euclid

    return triton_centroid_update_sorted_euclid(data.rows, labels, data.centers)


PEERS = {
    "cupy": Peer("cupy", "cupy", _cupy_data, _cupy_assign, _cupy_update),
    "torch": Peer("torch", "torch", _torch_data, _torch_assign, _torch_update),
    "flash-kmeans": Peer("flash_kmeans", "flash-kmeans", _flash_data, _flash_assign, _flash_update),
}
