"""The kernels of `lloyd.cu`, compiled by NVRTC for one kind of rows."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from dkmeans.kernels.exact import fraction_bits

__all__ = ["GROUP", "NO_ROW", "SLOTS", "SPREADS", "TILE", "Kernels", "defines", "source", "width"]

# As in lloyd.cu, which says what they are.
TILE, GROUP, SLOTS, SPREADS, NO_ROW = 64, 8, 256, 64, -2
_THREADS = 256
_CHUNK = 32


@lru_cache
def source(name: str) -> str:
    """The text of a file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def width(n_features: int) -> int:
    """Values that a row or a center takes in memory: whole chunks of at most 32, each a multiple of 4."""
    n_chunks = -(-n_features // _CHUNK)
    chunk = -(-n_features // n_chunks)
    return n_chunks * (-(-chunk // 4) * 4)


def defines(dtype: np.dtype[Any], n_features: int) -> dict[str, str]:
    """What the compiler is told about the rows."""
    longest = 2 * np.iinfo(dtype).max * np.sqrt(n_features)  # |x'| + b
    return {
        "VALUE": {1: "unsigned char", 2: "unsigned short"}[dtype.itemsize],
        "FEATURES": str(n_features),
        "BITS": str(fraction_bits(dtype)),
        "TOP": str(int(np.float32(longest).view(np.int32)) >> 20),
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
        self.dtype = dtype
        self.n_features = n_features
        self.width = width(n_features)
        self.n_words = self.width * dtype.itemsize // 4
        told = (f"-D{name}={value}" for name, value in defines(dtype, n_features).items())
        self._module = cupy.RawModule(code=source("lloyd.cu"), options=("--std=c++17", *told))

    def launch(self, name: str, grid: tuple[int, ...], threads: int, *args: Any) -> None:
        """Run a kernel on the current stream; ints are passed as int32, None as a null pointer."""
        if 0 in grid:
            return
        passed = [np.int32(a) if isinstance(a, int) else np.uintp(0) if a is None else a for a in args]
        self._module.get_function(name)(grid, (threads,), tuple(passed))

    def each(self, name: str, n: int, *args: Any) -> None:
        """Run a kernel that has a thread for each of `n` things."""
        self.launch(name, (-(-n // _THREADS),), _THREADS, *args)

    def warps(self, name: str, n: int, *args: Any) -> None:
        """Run a kernel that has a warp for each of `n` tiles, four to a block of threads."""
        self.launch(name, (-(-n // 4),), 128, *args)


@lru_cache
def kernels(dtype: np.dtype[Any], n_features: int) -> Kernels:
    """The kernels for one kind of rows; compiled once, and kept on disk by CuPy."""
    return Kernels(dtype, n_features)
