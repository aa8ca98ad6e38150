"""The Lloyd step on one chunk of rows; the functions pick their file by the type of the array."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.errors import DeviceError
from dkmeans.kernels.exact import ChunkStats

__all__ = ["assign", "farthest", "gpu_problem", "lloyd_chunk", "to_device"]


def _kernels_of(rows: Any) -> ModuleType:
    """`cuda` for a CuPy array, else `cpu`. CuPy is not imported to find out."""
    cupy = sys.modules.get("cupy")
    on_gpu = cupy is not None and isinstance(rows, cupy.ndarray)
    return importlib.import_module(f"dkmeans.kernels.{'cuda' if on_gpu else 'cpu'}")


def assign(rows: Any, centers: NDArray[np.float32]) -> NDArray[np.int32]:
    """Index of the nearest center of each row, the lowest on ties; shape (n_rows,)."""
    labels: NDArray[np.int32] = _kernels_of(rows).assign(rows, centers)
    return labels


def lloyd_chunk(
    rows: Any,
    centers: NDArray[np.float32],
    hint: Any = None,
    weights: NDArray[np.int64] | None = None,
) -> tuple[ChunkStats, Any]:
    """Assign a chunk of rows and sum it up; see `dkmeans.kernels.reference.lloyd_chunk`."""
    stats: tuple[ChunkStats, Any] = _kernels_of(rows).lloyd_chunk(rows, centers, hint, weights)
    return stats


def farthest(rows: Any, centers: NDArray[np.float32], n: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The `n` distinct rows farthest from their centers; see `dkmeans.kernels.reference.farthest`."""
    found: tuple[NDArray[np.int64], NDArray[Any]] = _kernels_of(rows).farthest(rows, centers, n)
    return found


def gpu_problem() -> str | None:
    """Why this process cannot use a GPU; None if it can."""
    try:
        n_devices = importlib.import_module("dkmeans.kernels.cuda").device_count()
    except ModuleNotFoundError:
        return "CuPy is not installed (pip install 'dkmeans[gpu-cuda12]' or 'dkmeans[gpu-cuda13]')"
    except Exception as error:  # CuPy's own types cannot be named without importing it
        return f"{type(error).__name__}: {error}"
    return None if n_devices else "CUDA finds no device"


def to_device(rows: NDArray[Any], device: str) -> Any:
    """`rows` where `device` ("auto", "cpu" or "gpu") asks for them.

    Raises
    ------
    DeviceError
        If it is "gpu" and there is none.
    """
    if device == "cpu":
        return rows
    problem = gpu_problem()
    if problem is None:
        return importlib.import_module("dkmeans.kernels.cuda").to_device(rows)
    if device == "gpu":
        raise DeviceError(f"--device gpu: no usable GPU: {problem}. Use --device auto or cpu.")
    return rows
