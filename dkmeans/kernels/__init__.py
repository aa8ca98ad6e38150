"""The Lloyd step on one block of rows: in Numba on the CPU, in CuPy on a GPU, the same bits from both.

Rows of uint8 and uint16 go through integers (`exact`), rows of float64 through float64 on the CPU (`floats`).
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans.errors import DeviceError

__all__ = ["Block", "Stats", "arithmetic", "gpu_problem", "is_exact", "load", "uses_gpu"]


class Stats(Protocol):
    """What the ``ChunkStats`` of `exact` and of `floats` have in common."""

    counts: NDArray[Any]
    """Number (or weight) of the rows of each cluster; shape (n_clusters,)."""
    moved: int
    """Rows (or their weight) that are not in the cluster that they were in a step before."""


class Block(Protocol):
    """Rows in the layout that a device likes, and what is known of them between the steps.

    What is known makes the next step fast and never changes its result. It stays in the process: a copy of a
    block in another one has the rows, in their order, and nothing else.
    """

    n_rows: int
    n_features: int
    dtype: np.dtype[Any]

    def rows(self, positions: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """The rows at `positions`, all if None; shape (n, n_features), on the host."""

    def lloyd(self, centers: NDArray[Any], previous: NDArray[Any] | None = None) -> Stats:
        """Assign the rows to their nearest centers, the lowest index on ties, and sum them up.

        Parameters
        ----------
        centers : ndarray of shape (n_clusters, n_features)
            As ``snap`` of the arithmetic gives them: float32 on a grid, or float64.
        previous : ndarray of shape (n_clusters, n_features), or None
            The centers of the step before: what `moved` is counted from; None counts all rows.
        """

    def labels(self, centers: NDArray[Any]) -> NDArray[np.int32]:
        """Index of the nearest center of each row, the lowest on ties; shape (n_rows,), on the host."""

    def adopt(self, labels: NDArray[np.int32], centers: NDArray[Any]) -> None:
        """Know what another block of the same rows knew, whose ``labels(centers)`` these are."""

    def farthest(self, centers: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The `n` distinct rows farthest from their centers; see `dkmeans.kernels.reference.farthest`."""


def is_exact(dtype: np.dtype[Any]) -> bool:
    """Whether rows of `dtype` are worked on in integers."""
    return dtype in (np.uint8, np.uint16)


def arithmetic(dtype: np.dtype[Any]) -> ModuleType:
    """What a fit of rows of `dtype` computes with: `exact`, or `floats`, which has the same functions.

    Centers are float32 on the grid of `exact`, or float64; statistics are the ``ChunkStats`` of the module.
    """
    return importlib.import_module(f"dkmeans.kernels.{'exact' if is_exact(dtype) else 'floats'}")


def gpu_problem() -> str | None:
    """Why this process cannot use a GPU; None if it can."""
    try:
        n_devices = importlib.import_module("dkmeans.kernels.cuda").device_count()
    except ModuleNotFoundError:
        return "CuPy is not installed (pip install 'dkmeans[gpu-cuda12]' or 'dkmeans[gpu-cuda13]')"
    except Exception as error:  # CuPy's own types cannot be named without importing it
        return f"{type(error).__name__}: {error}"
    return None if n_devices else "CUDA finds no device"


def uses_gpu(device: str) -> bool:
    """Whether this process works on a GPU, for `device` "auto", "cpu" or "gpu".

    Raises
    ------
    DeviceError
        If it is "gpu" and there is none.
    """
    problem = None if device == "cpu" else gpu_problem()
    if device == "gpu" and problem:
        raise DeviceError(f"--device gpu: no usable GPU: {problem}. Use --device auto or cpu.")
    return device != "cpu" and not problem


def load(rows: NDArray[Any], device: str = "cpu", weights: NDArray[np.int64] | None = None) -> Block:
    """A block of `rows` on `device` ("auto", "cpu" or "gpu"); `weights` says how often each row counts.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), uint8, uint16 or float64
    device : {"cpu", "gpu", "auto"}
        "auto" takes a GPU where there is one; rows of float64 stay on the CPU.
    weights : ndarray of shape (n_rows,), int64 (or float64 for rows of float64), or None
        None counts each row once.

    Raises
    ------
    DeviceError
        If it is "gpu" and there is none, or the rows are float64.
    """
    if not is_exact(rows.dtype):
        if device == "gpu":
            raise DeviceError("a GPU takes rows of uint8 and uint16, found float64. Use device auto or cpu.")
        floats: Block = importlib.import_module("dkmeans.kernels.floats").Block(rows, weights)
        return floats
    kernels = "cuda" if uses_gpu(device) else "cpu"
    block: Block = importlib.import_module(f"dkmeans.kernels.{kernels}").Block(rows, weights)
    return block
