"""The Lloyd step on one block of rows: in Numba on the CPU, in CuPy on a GPU, the same bits from both.

Rows of uint8 and uint16 go through integers (`exact`), rows of floats through float64 on the CPU (`floats`).
Words that the kernels use, the same on the CPU and on the GPU:

block           the rows of one task, in the layout of a device; it knows their labels between the steps
piece           a part of the rows of a block on a GPU, on the device or offloaded to the host
tile            16 rows (64 on a GPU) laid out feature by feature, which are searched together
panel           rows of floats laid out as a tile, as many as the registers of the CPU hold scores of
lane            one of the rows of a tile on the CPU; one of the 32 threads of a warp on a GPU
team            the warps of a GPU that share a tile: one, or the four of a block of threads on tensor cores
slot            where a row may lie in the tiles of a GPU; some are empty
run             rows that follow each other and share a pivot
pivot           a point with integer coordinates near the rows of a run: the center of their label, rounded
candidate list  the centers near a pivot, in about ascending distance; it is extended, up to its capacity
group           candidates that are scored together
word            four features of a row of bytes, which one instruction multiplies; see `bytewise`
gap             the difference of a pivot and a center, or of a row and a center
score           half of the squared distance of a row and a center, less what all centers have in common
margin          how far two scores may be wrong together; gamma is its factor, a few units of float32
blur            how far a center may be from where it lies, rounded to whole numbers; see `rounded`
near tie        two scores within the margin: the row is resolved exactly
exact resolution  the nearest center of a row found in int64
bound           a number below a distance (lower bound), or the limit: no center beyond it can be the nearest
radius          the distance from a pivot up to which its list has all centers, or of a ball around a tile
reassigned      of a row: its label is no longer that of its pivot; many of them are a reason to sort
moved           of a row: its label is not that of the step before
spread          about the distance of a row from its center, the second key by which rows are sorted
weight          how often a row counts
grid            the multiples of 2^-F on which centers lie, see `exact`
stripe          one of the parts of a counter on a GPU, so that threads do not wait for each other
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.errors import DeviceError
from dkmeans.kernels.protocols import Arithmetic, Block, Stats

__all__ = ["Arithmetic", "Block", "Stats", "arithmetic", "gpu_problem", "is_exact", "load", "uses_gpu"]


def is_exact(dtype: np.dtype[Any]) -> bool:
    """Tell whether rows of `dtype` are worked on in integers."""
    return dtype in (np.uint8, np.uint16)


def arithmetic(dtype: np.dtype[Any]) -> Arithmetic[Any]:
    """Pick what a fit of rows of `dtype` computes with: `exact.EXACT` or `floats.FLOATS`.

    Centers are float32 on the grid of `exact`, or float64; statistics are the ``ChunkStats`` of the module.
    """
    if is_exact(dtype):
        from dkmeans.kernels.exact import EXACT

        return EXACT
    from dkmeans.kernels.floats import FLOATS

    return FLOATS


def gpu_problem() -> str | None:
    """Say why this process cannot use a GPU; None if it can."""
    try:
        from dkmeans.kernels.cuda import device_count

        n_devices = device_count()
    except ModuleNotFoundError:
        return "CuPy is not installed (pip install 'dkmeans[gpu-cuda12]' or 'dkmeans[gpu-cuda13]')"
    except Exception as error:  # CuPy's own types cannot be named without importing it
        return f"{type(error).__name__}: {error}"
    return None if n_devices else "CUDA finds no device"


def uses_gpu(device: str) -> bool:
    """Tell whether this process works on a GPU, for `device` "auto", "cpu" or "gpu".

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
    """Make a block of `rows` on `device` ("auto", "cpu" or "gpu"); `weights` says how often each row counts.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), uint8, uint16 or floats
        Of floats, float32 is kept as it is, everything else as float64.
    device : {"cpu", "gpu", "auto"}
        "auto" takes a GPU where there is one; rows of floats stay on the CPU.
    weights : ndarray of shape (n_rows,), int64 (or float64 for rows of floats), or None
        None counts each row once.

    Raises
    ------
    DeviceError
        If it is "gpu" and there is none, or the rows are floats.
    """
    if not is_exact(rows.dtype):
        if device == "gpu":
            raise DeviceError("a GPU takes rows of uint8 and uint16, found float64. Use device auto or cpu.")
        from dkmeans.kernels import floats

        return floats.Block(rows, weights)
    if uses_gpu(device):
        from dkmeans.kernels import cuda

        return cuda.Block(rows, weights)
    from dkmeans.kernels import cpu

    return cpu.Block(rows, weights)
