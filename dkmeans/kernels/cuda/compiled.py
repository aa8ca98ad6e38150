"""The kernels of a Lloyd step, compiled by NVRTC for one kind of rows."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from dkmeans.kernels.exact import fraction_bits

__all__ = [
    "GROUP",
    "MOST_TENSOR_FEATURES",
    "NO_ROW",
    "SPREADS",
    "STRIPES",
    "TENSOR_FEATURES",
    "TILE",
    "Kernels",
    "kernels",
    "lloyd_defines",
    "lloyd_source",
    "source",
]

# As in layout.cu, which says what they are.
TILE, STRIPES, SPREADS, NO_ROW = 64, 256, 128, -2
_THREADS, _WARPS = 256, 4
GROUP, _CHUNK = 8, 32  # of scores.cu, the first of scores_tensor.cu too
TENSOR_FEATURES = 33
"""Features of 8 bits from which tensor cores score; of fewer, the scores take little of the time."""
MOST_TENSOR_FEATURES = 1 << 15
"""Features up to which sums of products of two bytes are within int32."""
_TENSOR_CAPABILITY = 80


@lru_cache
def source(name: str) -> str:
    """Read a file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def lloyd_source(tensor: bool) -> str:
    """Join the source of the kernels of a Lloyd step; `tensor` scores on tensor cores."""
    scores = ("scores_tensor.cu",) if tensor else ("scores.cu", "beyond.cu")
    parts = ("layout.cu", "state.cu", *scores, "lloyd.cu", "candidates.cu", "rows.cu")
    return "\n".join(source(name) for name in parts)


def _width(n_features: int, tensor: bool) -> int:
    """Count the values of a row in memory, filled up: by fours, or in equal chunks by fours."""
    n_chunks = 1 if tensor else -(-n_features // _CHUNK)
    chunk = -(-n_features // n_chunks)
    return n_chunks * (-(-chunk // 4) * 4)


def lloyd_defines(dtype: np.dtype[Any], n_features: int, tensor: bool) -> dict[str, str]:
    """Describe the rows to the compiler."""
    longest = 2 * np.iinfo(dtype).max * np.sqrt(n_features)  # |x'| + b
    return {
        "VALUE": {1: "unsigned char", 2: "unsigned short"}[dtype.itemsize],
        "FEATURES": str(n_features),
        "WIDTH": str(_width(n_features, tensor)),
        "BITS": str(fraction_bits(dtype)),
        "TOP": str(int(np.float32(longest).view(np.int32)) >> 19),
    }


class Kernels:
    """The kernels for rows of one type and width.

    Parameters
    ----------
    dtype : numpy dtype
        uint8 or uint16.
    n_features : int
    """

    def __init__(self, dtype: np.dtype[Any], n_features: int) -> None:
        capability = int(cupy.cuda.Device().compute_capability)
        self.dtype = dtype
        self.n_features = n_features
        few = TENSOR_FEATURES <= n_features <= MOST_TENSOR_FEATURES
        self.tensor = dtype == np.uint8 and few and capability >= _TENSOR_CAPABILITY
        self.width = _width(n_features, self.tensor)
        self.n_words = self.width * dtype.itemsize // 4
        told = (f"-D{name}={value}" for name, value in lloyd_defines(dtype, n_features, self.tensor).items())
        module = cupy.RawModule(code=lloyd_source(self.tensor), options=("--std=c++17", *told))
        self._function = lru_cache(module.get_function)

    def launch(self, name: str, grid: tuple[int, ...], threads: int, *args: Any) -> None:
        """Run a kernel on the current stream; ints are passed as int32, None as a null pointer."""
        if 0 in grid:
            return
        passed = [np.int32(a) if isinstance(a, int) else np.uintp(0) if a is None else a for a in args]
        self._function(name)(grid, (threads,), tuple(passed))

    def launch_threads(self, name: str, n: int, *args: Any) -> None:
        """Run a kernel that has a thread for each of `n` things."""
        self.launch(name, (-(-n // _THREADS),), _THREADS, *args)

    def launch_warps(self, name: str, n: int, *args: Any) -> None:
        """Run a kernel that has a warp for each of `n` tiles, four to a block of threads.

        On tensor cores, all four search for the rows of one.
        """
        n_tiles = 1 if name == "search" and self.tensor else _WARPS
        self.launch(name, (-(-n // n_tiles),), 32 * _WARPS, *args)


@lru_cache
def _on_device(dtype: np.dtype[Any], n_features: int, device: int) -> Kernels:
    return Kernels(dtype, n_features)


def kernels(dtype: np.dtype[Any], n_features: int) -> Kernels:
    """Compile the kernels for one kind of rows and the current device, once; CuPy keeps them on disk."""
    return _on_device(dtype, n_features, cupy.cuda.Device().id)
