"""Time on the device, and what the device can do at most: copy, multiply and add.

CuPy is imported where it is used: the arithmetic here needs no GPU.
"""

from __future__ import annotations

import gc
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

_COPIED_BYTES = 2 << 30
_SIDE = 8192
_ROUNDS = 10
_TURNS = 4096
_CHAINS = 8  # of fused multiply-adds that do not wait for each other
_THREADS, _BLOCKS = 256, 32  # in a block; blocks for each multiprocessor

_FMA = """
extern "C" __global__ void fma_rate(float* out, float factor, float term) {
    float value[CHAINS];
    for (int chain = 0; chain < CHAINS; ++chain) value[chain] = threadIdx.x + chain;
    #pragma unroll 16
    for (int turn = 0; turn < TURNS; ++turn) {
        #pragma unroll
        for (int chain = 0; chain < CHAINS; ++chain) value[chain] = fmaf(value[chain], factor, term);
    }
    float sum = 0;
    for (int chain = 0; chain < CHAINS; ++chain) sum += value[chain];
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
"""


class Timed(NamedTuple):
    """What some steps took: `ms` of each by events on the device, `wall_ms` of all by the host's clock."""

    ms: list[float]
    wall_ms: float
    result: Any


def timed(*steps: Callable[[Any], Any]) -> Timed:
    """Run steps in turn, each with what the one before returned; all work on the default stream."""
    import cupy

    events = [cupy.cuda.Event() for _ in range(len(steps) + 1)]
    cupy.cuda.runtime.deviceSynchronize()
    began, result = time.perf_counter(), None
    events[0].record()
    for step, event in zip(steps, events[1:], strict=True):
        result = step(result)
        event.record()
    events[-1].synchronize()
    wall_ms = 1e3 * (time.perf_counter() - began)
    return Timed([float(cupy.cuda.get_elapsed_time(*pair)) for pair in pairwise(events)], wall_ms, result)


def free() -> None:
    """Give memory that no array holds back to the device: CuPy and PyTorch keep it for themselves."""
    import cupy

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.cuda.empty_cache()


def device_facts() -> dict[str, Any]:
    """Name, memory and driver of the device, and versions of what computes on it."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    cuda = cupy.cuda.runtime.driverGetVersion()
    return {
        "device": properties["name"].decode(),
        "multiprocessors": properties["multiProcessorCount"],
        "memory_gib": round(properties["totalGlobalMem"] / 2**30, 1),
        "driver": _driver(),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        "cupy": cupy.__version__,
    }


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True).stdout.split()
    return said[0] if said else None


# The ceilings


def ceilings() -> dict[str, float]:
    """Measured bytes read and written by a copy, and float32 and float16 operations, in a second."""
    import cupy

    n_threads = cupy.cuda.Device().attributes["MultiProcessorCount"] * _BLOCKS * _THREADS
    found = {
        "bytes/s": 2 * _COPIED_BYTES / _seconds(_copy()),
        "fp32 op/s": 2 * n_threads * _TURNS * _CHAINS / _seconds(_multiply_add(n_threads)),
        "fp16 op/s": 2 * _SIDE**3 / _seconds(_half_product()),
    }
    free()
    return found


def _seconds(work: Callable[[Any], Any]) -> float:
    for _ in range(2):
        timed(work)
    return statistics.median(timed(work).ms[0] for _ in range(_ROUNDS)) / 1e3


def _copy() -> Callable[[Any], Any]:
    import cupy

    source = cupy.arange(_COPIED_BYTES // 4, dtype=cupy.int32)
    target = cupy.zeros_like(source)
    return lambda _: cupy.copyto(target, source)


def _multiply_add(n_threads: int) -> Callable[[Any], Any]:
    import cupy

    code = _FMA.replace("CHAINS", str(_CHAINS)).replace("TURNS", str(_TURNS))
    kernel = cupy.RawKernel(code, "fma_rate")
    out = cupy.empty(n_threads, cupy.float32)
    given = (out, np.float32(0.999), np.float32(0.001))
    return lambda _: kernel((n_threads // _THREADS,), (_THREADS,), given)


def _half_product() -> Callable[[Any], Any]:
    import cupy

    left, right = (
        cupy.random.default_rng(seed).random((_SIDE, _SIDE), cupy.float32).astype(cupy.float16)
        for seed in (0, 1)
    )
    return lambda _: left @ right


# Arithmetic


def floors(n: int, d: int, k: int, most: dict[str, float]) -> dict[str, float]:
    """The ms below which nothing gets: the rows read and int32 labels written, and all pairs multiplied."""
    operations = 2 * n * d * k
    return {
        "bytes ms": 1e3 * n * (d + 4) / most["bytes/s"],
        "fp32 ms": 1e3 * operations / most["fp32 op/s"],
        "fp16 ms": 1e3 * operations / most["fp16 op/s"],
    }


def rate(n_pixels: int, n_bytes: int, ms: float, most: dict[str, float]) -> dict[str, float]:
    """Pixels and bytes in a second, and the share of the bytes that a copy moves."""
    per_second = 1e3 / ms
    return {
        "ms": ms,
        "Gpx/s": n_pixels * per_second / 1e9,
        "GB/s": n_bytes * per_second / 1e9,
        "of a copy": n_bytes * per_second / most["bytes/s"],
    }
