"""Lloyd iterations on an NVIDIA GPU: exact first, then their time beside other libraries, floors and targets.

    python bench_gpu.py --data train-images-idx3-ubyte.gz --json gpu.json --page gpu.html

One file, since it is copied to a machine with a GPU that has dkmeans, NumPy, Numba and CuPy, no Dask, no Zarr
and maybe no network. Peers are flashlib, flash-kmeans, cuVS and PyTorch where they can be imported, and CuPy;
what is not there or fails is said and left out. Without --data the rows are drawn from the seed.

Parts: ``patches`` are 5x5 patches of digits (d = 25), ``pixels`` colors counted and looked up (d = 3),
``wide`` 8x8 RGB patches (d = 192), ``fit`` a whole fit from the host's memory: first centers by chance, then
the loop of `KMeans` with its defaults. Before them every number of the GPU is compared with the CPU's; where
one differs, the script says which and ends with 1. Without a usable GPU it ends with 5. ``--small`` compares
on few rows and does nothing else: it runs every kernel, for compute-sanitizer. ``--profile`` takes the
iterations of the largest K and does nothing else, for ncu.

Columns: `ms` is an iteration with its new centers, from the second on. Ours is the mean of `--iterations`,
that of a peer the difference of four iterations and one, over three. `update ms` is the part of ours that
makes the new centers, on the host. `labels off` is the share of a peer's labels that are not the exact ones.
Of the floors, `bytes ms` reads the rows and writes labels at the speed of a copy, `fp32 ms` and `fp16 ms`
multiply every row with every center at the measured rates, and `pruned ms` with `candidates` of them at that
of fp32: as many as the triangle inequality leaves to a row, on a sample. Kernels are timed one at a time,
each with about 0.02 ms of its launch.
"""

from __future__ import annotations

import argparse
import functools
import gc
import gzip
import html
import importlib
import importlib.util
import json
import math
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import metadata, resources
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any
from unittest import mock

import numpy as np

if importlib.util.find_spec("dkmeans") is None:  # in a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


from dkmeans.clustering.loop import State, iterate
from dkmeans.features.patches import extract, find_kept, windows
from dkmeans.kernels import exact, gpu_problem, load, reference

PARTS = ("patches", "pixels", "wide", "fit")
OURS = "dkmeans"
ROWS, PIXELS = 20_074_704, 1_000_000_000  # of which the targets are
TARGETS = {
    "K = 100: ms": ("≤", 2.0),
    "K = 1,000: ms": ("≤", 4.0),
    "K = 10,000: ms": ("≤", 15.0),
    "K = 100: flashlib or flash-kmeans, x ours": ("≥", 1.0),
    "K = 1,000: flashlib or flash-kmeans, x ours": ("≥", 3.0),
    "K = 10,000: flashlib or flash-kmeans, x ours": ("≥", 6.0),
    "pixels counted: of a copy": ("≥", 0.4),
    "K = 1,000: seconds of the fit": ("≤", 3.0),
}
COLUMNS = {  # of each table, and the formats of their values
    "iterations": {"K": ",", "iteration": "", "ms": ".3f", "update ms": ".3f", "moved": ".2%"},
    "floors": {
        **{"K": ",", "ms": ".3f", "bytes ms": ".3f", "x bytes": ".1f", "fp32 ms": ".1f", "fp16 ms": ".1f"},
        **{"candidates": ",.0f", "pruned ms": ".3f"},
    },
    "kernels": {"K": ",", "kernel": "", "launches": ".1f", "ms": ".3f", "share": ".1%"},
    "libraries": {"K": ",", "library": "", "ms": ".3f", "x ours": ".2f", "labels off": ".2e"},
    "pixels": {"work": "", "pixels": ",", "ms": ".2f", "Gpx/s": ".1f", "GB/s": ".0f", "of a copy": ".1%"},
    "fits": {
        **{"K": ",", "rows": ",", "iterations": "", "seconds": ".3f", "load s": ".3f", "inertia": ".8g"},
        **{"converged": ""},
    },
    "targets": {"target": "", "asked": "", "measured": "", "reached": ""},
}
_NO_GPU = 5
_PHOTOS, _PHOTO_SIDE = 48, 1024
_BEGAN = time.perf_counter()

Line = dict[str, Any]


def say(text: str) -> None:
    """Print a heading, with the seconds since the start."""
    print(f"\n[{time.perf_counter() - _BEGAN:.0f} s] {text}", flush=True)


def cells(name: str, line: Line) -> list[str]:
    """Format the values of a line."""
    values = [(line.get(column), form) for column, form in COLUMNS[name].items()]
    return ["-" if value is None else format(value, form) for value, form in values]


def show(name: str, lines: list[Line]) -> list[Line]:
    """Print a table."""
    texts = [list(COLUMNS[name]), *(cells(name, line) for line in lines)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    print("\n" + "\n".join("  ".join(map(str.rjust, row, widths)) for row in texts), flush=True)
    return lines


# Rows. What a step costs depends on how they are spread, not on what they show: drawn ones are spread like
# those of MNIST and of photos, as test_bench_gpu.py measures. Each batch has a generator of its own, so they
# are the same for any number of threads.

DIGIT_SIDE, PATCH, BLOCK, _STRIDE = 28, (5, 5), (8, 8), (1, 1)
_BATCH = 128
_POINTS = 96
_DRAWN = 19  # pixels that a digit is high or wide
_PER_DIGIT = 320  # patches that are not blank, a little fewer than there are


def _in_threads(make: Callable[[Any], np.ndarray], items: Iterable[Any]) -> list[np.ndarray]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(make, items))


def read_idx(path: str) -> np.ndarray:
    """The images of an IDX file, packed by gzip or not; shape (n, height, width), uint8."""
    data = Path(path).read_bytes()
    if path.endswith(".gz"):
        data = gzip.decompress(data)
    if data[:4] != b"\x00\x00\x08\x03":
        raise SystemExit(f"--data {path}: not IDX of 8-bit images, as MNIST's train-images-idx3-ubyte is")
    shape = [int(size) for size in np.frombuffer(data, ">u4", 3, offset=4)]
    return np.frombuffer(data, np.uint8, offset=16).reshape(shape)


def _draw_digits(n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` images of one line each, drawn by a pen about 2.5 pixels wide.

    The line's heading turns, waves and has one corner. The images are the last axis of all arrays, so that
    loops over them are long.
    """
    when = np.linspace(0, 1, _POINTS)[:, None]
    waves = 2 * np.pi * (rng.random(n) + rng.uniform(0.3, 1, n) * when)
    heading = rng.uniform(0, 2 * np.pi, n) + rng.normal(0, 7, n) * when
    heading += rng.normal(0, 1.3, n) * np.sin(waves)
    heading += (when > rng.random(n)) * rng.normal(0, 1.5, n)
    line = np.stack([np.cumsum(np.cos(heading), 0) * rng.uniform(0.6, 1, n), np.cumsum(np.sin(heading), 0)])
    line = (line - line.mean(1, keepdims=True)) * (_DRAWN / np.ptp(line, 1).max(0)) + (DIGIT_SIDE - 1) / 2
    across, down = ((line[:, :, None] - np.arange(DIGIT_SIDE)[:, None]) ** 2).astype(np.float32)
    least = np.full((DIGIT_SIDE, DIGIT_SIDE, n), np.inf, np.float32)
    squares = np.empty_like(least)
    for x, y in zip(across, down, strict=True):
        np.minimum(least, np.add(y[:, None], x[None], out=squares), out=least)
    # The edge of the ink is a little soft and a little rough.
    distances = np.sqrt(least) + np.float32(0.15) * rng.standard_normal(least.shape, np.float32)
    radii = np.maximum(rng.normal(1.25, 0.25, n), 0.6).astype(np.float32)
    ink = np.clip((radii - distances) / np.float32(1.15) + np.float32(0.5), 0, 1)
    return np.rint(255 * ink.transpose(2, 0, 1)).astype(np.uint8)


def digits(n: int, seed: int) -> np.ndarray:
    """Drawn images that have patches like those of MNIST; shape (n, 28, 28), uint8."""
    batches = range(-(-n // _BATCH))
    return np.concatenate(
        _in_threads(lambda batch: _draw_digits(_BATCH, np.random.default_rng([seed, batch])), batches)
    )[:n]


def digit_patches(images: np.ndarray) -> np.ndarray:
    """All 5x5 patches that are not blank, image by image; shape (n, 25), uint8."""

    def cut(start: int) -> np.ndarray:
        stack = images[start : start + _BATCH, :, :, None]
        return extract(stack, find_kept(stack, PATCH, _STRIDE, 0.0), PATCH, _STRIDE)

    return np.concatenate(_in_threads(cut, range(0, len(images), _BATCH)))


def digit_rows(data: str | None, n: int, seed: int) -> np.ndarray:
    """The first `n` patches of the images of a file, or of drawn ones."""
    images = read_idx(data) if data else digits(_BATCH * -(-n // (_BATCH * _PER_DIGIT)), seed)
    return np.ascontiguousarray(digit_patches(images)[:n])


def _stretched(images: np.ndarray, size: int) -> np.ndarray:
    """Images of coarse points drawn larger, linear between them; shape (n, size, size), float32."""
    at = np.linspace(0, images.shape[1] - 1, size)
    low = np.minimum(at.astype(int), images.shape[1] - 2)
    part = (at - low).astype(np.float32)
    down = images[:, low] * (1 - part)[:, None] + images[:, low + 1] * part[:, None]
    return down[:, :, low] * (1 - part) + down[:, :, low + 1] * part


def _draw_photo(size: int, rng: np.random.Generator) -> np.ndarray:
    """Brightness and a little color at all scales, the finer the fainter, and the grain of a sensor."""
    image = 105 + rng.normal(0, 25) + rng.normal(0, 20, (3, 1, 1)).astype(np.float32)
    coarse = 4
    while coarse < size:
        noise = rng.standard_normal((4, coarse, coarse), np.float32)
        level = _stretched(noise[:1] + np.float32(0.15) * noise[1:], size)
        image = image + np.float32(33 * (coarse / 4) ** -0.12) * level
        coarse *= 2
    image += 2 * rng.standard_normal((size, size), np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def photos(n: int, size: int, seed: int) -> np.ndarray:
    """Drawn images smooth like photos; shape (n, size, size, 3), uint8."""
    return np.stack(
        _in_threads(lambda number: _draw_photo(size, np.random.default_rng([seed, number])), range(n))
    )


def photo_patches(images: np.ndarray, n: int, seed: int) -> np.ndarray:
    """8x8 patches at `n` places, none taken twice; shape (n, 192), uint8."""
    places = (images.shape[1] - BLOCK[0] + 1) * (images.shape[2] - BLOCK[1] + 1)
    if n > len(images) * places:
        raise SystemExit(f"{n:,} patches asked for, {len(images)} images have {len(images) * places:,}")
    shares = [len(part) for part in np.array_split(np.empty(n, bool), len(images))]

    def cut(number: int) -> np.ndarray:
        rng = np.random.default_rng([seed, number])
        chosen = rng.choice(places, shares[number], replace=False, shuffle=False)
        view = windows(images[number : number + 1], BLOCK, _STRIDE)[0]
        return view[np.unravel_index(chosen, view.shape[:2])].reshape(len(chosen), -1)

    return np.concatenate(_in_threads(cut, range(len(images))))


def sample(rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """`n` of the rows by chance, or all."""
    return rows[np.random.default_rng(seed).choice(len(rows), min(n, len(rows)), replace=False)]


def seeds(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """`k` distinct rows by chance as first centers; shape (k, n_features), float32."""
    some = sample(rows, 4 * k, seed)
    distinct = np.unique(some, axis=0)
    if len(distinct) < k:
        raise SystemExit(
            f"{len(distinct)} distinct rows in {len(some)}, expected {k}: ask for fewer clusters"
        )
    return exact.snap(np.random.default_rng(seed).permutation(distinct)[:k], rows.dtype)


# Is it exact?


@dataclass(frozen=True)
class Case:
    """Rows by chance that a kernel has to be right about; `streamed` ones find no room on the device."""

    dtype: str
    d: int
    k: int
    weighted: bool = False
    streamed: bool = False

    def __str__(self) -> str:
        return self.dtype + ", weights" * self.weighted + ", streamed" * self.streamed

    def make(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows near some points, an eighth of them twice, and weights."""
        rng, top = np.random.default_rng([seed, self.d]), int(np.iinfo(self.dtype).max)
        points = rng.integers(0, top, (self.k, self.d))
        near = points[rng.integers(0, self.k, n)] + rng.normal(0, top / 12, (n, self.d))
        rows = np.clip(np.rint(near), 0, top).astype(self.dtype)
        rows[: n // 8] = rows[n // 8 : 2 * (n // 8)]
        return rows, rng.integers(0, 1 << 14, n) if self.weighted else None


CASES = [
    Case("uint8", 3, 257, weighted=True),
    Case("uint8", 25, 100),
    Case("uint8", 192, 70, weighted=True),
    Case("uint8", 784, 33),
    Case("uint16", 25, 100, weighted=True),
    Case("uint8", 25, 80, streamed=True),
]
_TABLES = {np.uint8: 256, np.uint16: 4096, np.int32: 100_000}  # type of the labels: number of colors


class Plain:
    """A block of rows that `dkmeans.kernels.reference` works on; each step follows the one before."""

    def __init__(self, rows: np.ndarray, weights: np.ndarray | None = None) -> None:
        self.dtype, self._rows, self._weights, self._hint = rows.dtype, rows, weights, np.empty(0, np.int32)

    def lloyd(self, centers: np.ndarray, previous: np.ndarray | None = None) -> exact.ChunkStats:
        hint = None if previous is None else self._hint
        stats, self._hint = reference.lloyd_chunk(self._rows, centers, hint, self._weights)
        return stats

    def labels(self, centers: np.ndarray) -> np.ndarray:
        return reference.assign(self._rows, centers)

    def farthest(self, centers: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        return reference.farthest(self._rows, centers, n)


def told(block: Any, centers: np.ndarray) -> Line:
    """All that a block tells in a fit of some steps, of which the later ones go beyond the means."""
    found: Line = {}
    previous = None
    for number in range(1, 7):
        stats = block.lloyd(centers, previous)
        found |= {f"step {number}: {name}": value for name, value in vars(stats).items()}
        means = exact.update_centers(stats, centers, block.dtype)
        previous = centers
        centers = means if number < 3 else exact.relax(centers, means, 1.9, block.dtype)
    far, rows = block.farthest(centers, 3)
    return {**found, "labels": block.labels(centers), "distances of the farthest": far, "farthest": rows}


def differences(found: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """A line for each thing that differs."""
    lines = []
    for name in {**right, **found}:
        one, other = (np.asarray(all_.get(name, "nothing")) for all_ in (found, right))
        if one.shape != other.shape:
            lines.append(f"{name}: found shape {one.shape}, expected {other.shape}")
        elif len(wrong := np.argwhere(one != other)):
            first = tuple(int(at) for at in wrong[0])
            lines.append(
                f"{name}: {len(wrong):,} of {one.size:,} differ, the first at {first}: "
                f"found {one[first]}, expected {other[first]}"
            )
    return lines


def stop_if(wrong: list[str], where: str) -> None:
    """End with 1 where the GPU's numbers are not those expected."""
    if wrong:
        print("\n".join([f"differs from {where}:", *wrong]), flush=True)
        raise SystemExit(1)
    print(f"equal to {where}", flush=True)


def check(block: Any, right: Any, centers: np.ndarray, where: str) -> None:
    """Compare a fit on a block with one on another of the same rows."""
    wrong = differences(told(block, centers), told(right, centers))
    stop_if(wrong, f"{where}, d = {centers.shape[1]}, K = {len(centers):,}")


def check_cases(n: int, seed: int) -> None:
    """Compare with the reference on `n` rows of each case."""
    from dkmeans.kernels import cuda

    no_room = mock.patch.multiple(cuda.block, _PIECE_BYTES=10 * n, _RESERVE=1 << 60)
    for case in CASES:
        rows, weights = case.make(n, seed)
        print(case, end=": ", flush=True)
        with no_room if case.streamed else nullcontext():
            block = cuda.Block(rows, weights)
            assert block.resident != case.streamed
            check(block, Plain(rows, weights), seeds(rows, case.k, seed), f"the reference on {n:,} rows")


def check_rows(rows: np.ndarray, k: int, seed: int) -> None:
    """Compare with the CPU."""
    gpu, cpu = (load(rows, device) for device in ("gpu", "cpu"))
    check(gpu, cpu, seeds(rows, k, seed), f"the CPU on {len(rows):,} rows")


def color_tables(seed: int) -> list[np.ndarray]:
    """For each type of labels one for every color."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, n_labels, 1 << 24).astype(dtype) for dtype, n_labels in _TABLES.items()]


def check_colors(pixels: np.ndarray, seed: int) -> None:
    """Compare the GPU's counts and labels of colors with NumPy's."""
    import cupy

    from dkmeans.kernels import cuda

    on_device = cupy.asarray(pixels)
    red, green, blue = pixels.T.astype(np.uint32)
    numbers = red << 16 | green << 8 | blue
    found = {"counts of colors": cupy.asnumpy(cuda.count_colors(on_device))}
    right = {"counts of colors": np.bincount(numbers, minlength=1 << 24)}
    for table in color_tables(seed):
        name = f"labels of colors from {table.dtype}"
        found[name] = cupy.asnumpy(cuda.look_up(on_device, cupy.asarray(table)))
        right[name] = table[numbers]
    stop_if(differences(found, right), f"NumPy on {len(pixels):,} pixels")


def check_small(seed: int) -> None:
    """Run each kernel on few rows; each array has memory of its own, so that a sanitizer sees its ends."""
    import cupy

    cupy.cuda.set_allocator(None)
    check_cases(1031, seed)
    check_colors(Case("uint8", 3, 40).make(70_001, seed)[0], seed)


def check_all(made: dict[str, np.ndarray], options: argparse.Namespace) -> None:
    """Compare the GPU with the reference, and with the CPU on rows of all parts that were asked for."""
    check_cases(4000, options.seed)
    wanted = {"patches": options.k, "fit": [options.fit_k]}
    for k in sorted({k for part in options.parts for k in wanted.get(part, [])}):
        check_rows(sample(made["digits"], 200_000, options.seed), k, options.seed)
    if "wide" in made:
        check_rows(sample(made["wide"], 50_000, options.seed), options.wide_k, options.seed)
    if "pixels" in options.parts:
        check_colors(sample(made["photos"].reshape(-1, 3), 1 << 20, options.seed), options.seed)
    free()


# Time, and what the device can do at most

_COPIED_BYTES = 2 << 30
_SIDE = 8192
_TURNS, _CHAINS = 4096, 8  # fused multiply-adds of a thread, and how many of them do not wait for each other
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


def timed(work: Callable[[], Any], *, here: bool = False) -> tuple[float, Any]:
    """Run `work` on whatever streams it likes: milliseconds, and what it returns.

    They pass between two events on a stream of its own that waits for no other, nor any other for it: before
    each of them is recorded, the host waits for the whole device. So nothing of before is in it, and all of
    `work` is, with what the host does meanwhile and the last wait, about 0.01 ms. `here` says that all of it
    is on the current stream, and takes this one without that last wait.
    """
    import cupy

    wait = cupy.cuda.runtime.deviceSynchronize
    stream = cupy.cuda.get_current_stream() if here else cupy.cuda.Stream(non_blocking=True)
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    wait()
    begin.record(stream)
    result = work()
    if not here:
        wait()
    end.record(stream)
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(begin, end)), result


def free() -> None:
    """Give memory that no array holds back to the device: CuPy and PyTorch keep it for themselves."""
    import cupy

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()


def ceilings() -> dict[str, float]:
    """Measure bytes read and written by a copy, and float32 and float16 operations, in a second."""
    import cupy

    n_threads = cupy.cuda.Device().attributes["MultiProcessorCount"] * _BLOCKS * _THREADS
    source = cupy.arange(_COPIED_BYTES // 4, dtype=np.int32)
    target = cupy.zeros_like(source)
    fma = cupy.RawKernel(_FMA.replace("CHAINS", str(_CHAINS)).replace("TURNS", str(_TURNS)), "fma_rate")
    grid, given = (n_threads // _THREADS,), (cupy.empty(n_threads, np.float32), np.float32(1), np.float32(0))
    halves = cupy.random.default_rng(0).random((_SIDE, _SIDE), np.float32).astype(np.float16)
    works: dict[str, tuple[int, Callable[[], Any]]] = {
        "bytes/s": (2 * _COPIED_BYTES, lambda: cupy.copyto(target, source)),
        "fp32 op/s": (2 * n_threads * _TURNS * _CHAINS, lambda: fma(grid, (_THREADS,), given)),
        "fp16 op/s": (2 * _SIDE**3, lambda: halves @ halves.T),
    }
    return {
        name: 1e3 * n / median([timed(work, here=True)[0] for _ in range(12)][2:])
        for name, (n, work) in works.items()
    }


def floors(n: int, d: int, k: int, most: dict[str, float]) -> dict[str, float]:
    """The ms that reading rows and writing int32 labels takes, and multiplying all pairs."""
    operations = 2 * n * d * k
    return {
        "bytes ms": 1e3 * n * (d + 4) / most["bytes/s"],
        "fp32 ms": 1e3 * operations / most["fp32 op/s"],
        "fp16 ms": 1e3 * operations / most["fp16 op/s"],
    }


def candidates(rows: np.ndarray, previous: np.ndarray, centers: np.ndarray) -> float:
    """Count the centers that the triangle inequality leaves to a row, in the mean.

    Its pivot is the center of its label in the step before, rounded: see dkmeans/kernels/cuda/lloyd.cu. A
    search that knew the distance to the nearest center from the start would score so many.
    """
    labels = load(rows, "cpu").labels(previous)
    pivots, values, places = (
        np.rint(previous).astype(float)[labels],
        rows.astype(float),
        centers.astype(float),
    )

    def distances(points: np.ndarray) -> np.ndarray:
        squares = (points**2).sum(1)[:, None] + (places**2).sum(1) - 2 * points @ places.T
        return np.sqrt(np.maximum(squares, 0))

    limits = np.linalg.norm(values - pivots, axis=1) + distances(values).min(axis=1)
    return float((distances(pivots) <= limits[:, None]).sum(axis=1).mean())


# Ours


def iterations(block: Any, centers: np.ndarray, n: int) -> tuple[list[Line], list[np.ndarray]]:
    """Take Lloyd iterations: a line for each, and the centers that each began with."""
    lines, begun, previous = [], [], None
    for number in range(1, n + 1):
        begun.append(centers)
        step, stats = timed(functools.partial(block.lloyd, centers, previous))
        began = time.perf_counter()
        previous, centers = centers, exact.update_centers(stats, centers, block.dtype)
        update = 1e3 * (time.perf_counter() - began)
        line = {"K": len(centers), "iteration": number, "ms": step + update, "update ms": update}
        lines.append({**line, "moved": stats.moved / block.n_rows})
    return lines, begun


def mean_ms(lines: list[Line]) -> float:
    """The mean of all iterations but the first."""
    return fmean(line["ms"] for line in lines if line["iteration"] > 1)


def kernel_times(block: Any, begun: list[np.ndarray], whole_ms: float) -> list[Line]:
    """Time each kernel in an iteration after the first, the longest first, each launched while nothing runs.

    `whole_ms` is that of an iteration; what no kernel of ours takes is the last line: the host, copies and
    kernels of CuPy's.
    """
    from dkmeans.kernels.cuda import compiled

    launch, found = compiled.Kernels.launch, dict[str, list[float]]()

    def timed_launch(self: Any, name: str, *args: Any) -> None:
        found.setdefault(name, []).append(timed(lambda: launch(self, name, *args), here=True)[0])

    block.lloyd(begun[0])
    with mock.patch.object(compiled.Kernels, "launch", timed_launch):
        for previous, centers in pairwise(begun):
            block.lloyd(centers, previous)
    n, k = len(begun) - 1, len(begun[0])
    lines: list[Line] = [
        {"K": k, "kernel": name, "launches": len(times) / n, "ms": sum(times) / n}
        for name, times in sorted(found.items(), key=lambda item: -sum(item[1]))
    ]
    rest = {"K": k, "kernel": "the rest", "ms": max(0.0, whole_ms - sum(line["ms"] for line in lines))}
    return [{**line, "share": line["ms"] / whole_ms} for line in [*lines, rest]]


def fit(rows: np.ndarray, k: int, seed: int) -> Line:
    """Fit with the defaults of `KMeans`, from rows in the host's memory to the codebook there."""
    free()
    began = time.perf_counter()
    centers = seeds(rows, k, seed)
    loading = time.perf_counter()
    block = load(rows, "gpu")
    loaded = time.perf_counter()
    result = iterate(block, State(centers), max_iter=300, tol=1e-4, relaxation=1.9, min_gain=2e-5)
    return {
        **{"K": k, "rows": len(rows), "iterations": len(result.history)},
        **{"seconds": time.perf_counter() - began, "load s": loaded - loading},
        **{"inertia": result.inertia, "converged": result.converged},
    }


# Peers: their Lloyd iterations by plain means. Each is made of uint8 rows on the device and float32 centers
# on the host, and lays both out as it likes, which is not timed.

_TILE_BYTES = 1 << 30
_PEER_ITERATIONS = 4
_WHITE = 255


class Peer:
    """A library that Python knows as `module`; `rows` and `centers` lie on the device."""

    module: str
    rows: Any
    centers: Any

    def fit(self, n_iter: int) -> Any:
        """Take iterations from the centers; the labels of the last, on the device."""
        raise NotImplementedError

    def labels(self) -> Any:
        """Find the labels that belong to the centers, on the device."""
        return self.fit(1)

    def ms(self) -> float:
        """Time an iteration after the first."""
        more, one = timed(lambda: self.fit(_PEER_ITERATIONS))[0], timed(lambda: self.fit(1))[0]
        return (more - one) / (_PEER_ITERATIONS - 1)

    def tiles(self) -> Iterator[slice]:
        """Cut the rows, as there is no memory for the scores of all."""
        step = max(1, _TILE_BYTES // (4 * len(self.centers)))
        for start in range(0, len(self.rows), step):
            yield slice(start, start + step)


class CuPy(Peer):
    module = "cupy"

    def __init__(self, rows: Any, centers: np.ndarray) -> None:
        import cupy

        self.rows, self.centers = rows.astype(np.float32), cupy.asarray(centers)

    def fit(self, n_iter: int) -> Any:
        import cupy

        centers, labels = self.centers, cupy.empty(len(self.rows), np.int32)
        for _ in range(n_iter):
            norms, factors = (centers * centers).sum(axis=1), -2 * centers.T
            for tile in self.tiles():
                scores = self.rows[tile] @ factors
                scores += norms
                labels[tile] = scores.argmin(axis=1)
            sums = cupy.zeros_like(centers)
            cupy.add.at(sums, labels, self.rows)
            counts = cupy.bincount(labels, minlength=len(sums)).astype(np.float32)[:, None]
            centers = cupy.where(counts > 0, sums / cupy.maximum(counts, 1), centers)
        return labels


class Torch(Peer):
    module = "torch"

    def __init__(self, rows: Any, centers: np.ndarray) -> None:
        import torch

        self.rows = torch.as_tensor(rows, device="cuda").float()
        self.centers = torch.as_tensor(centers, device="cuda")

    def fit(self, n_iter: int) -> Any:
        import torch

        centers, labels = self.centers, torch.empty(len(self.rows), dtype=torch.int64, device="cuda")
        for _ in range(n_iter):
            for tile in self.tiles():
                labels[tile] = torch.cdist(self.rows[tile], centers).argmin(1)
            sums = torch.zeros_like(centers).index_add_(0, labels, self.rows)
            counts = torch.bincount(labels, minlength=len(sums))[:, None]
            centers = torch.where(counts > 0, sums / counts.clamp(min=1), centers)
        return labels


class CuVS(CuPy):
    module = "cuvs"

    def _params(self, n_iter: int) -> Any:
        from cuvs.cluster.kmeans import KMeansParams

        return KMeansParams(n_clusters=len(self.centers), init_method="Array", max_iter=n_iter, tol=1e-30)

    def fit(self, n_iter: int) -> Any:
        from cuvs.cluster import kmeans

        taken = kmeans.fit(self._params(n_iter), self.rows, centroids=self.centers.copy()).n_iter
        if taken < n_iter:
            raise RuntimeError(f"took {taken} iterations, expected {n_iter}")

    def labels(self) -> Any:
        from cuvs.cluster import kmeans

        return kmeans.predict(self._params(1), self.rows, self.centers).labels


class FlashKMeans(Peer):
    """It counts in float16 on tensor cores.

    Its input is scaled to [0, 1], as the squares of bytes leave that type, and filled up to a power of two
    of features, which its older versions need and which aligns its reads.
    """

    module, function = "flash_kmeans", "batch_kmeans_Euclid"

    def __init__(self, rows: Any, centers: np.ndarray) -> None:
        import torch

        def halves(values: Any) -> Any:
            n, d = values.shape
            filled = torch.zeros(
                (1, n, max(16, 1 << (d - 1).bit_length())), dtype=torch.float16, device="cuda"
            )
            filled[0, :, :d] = torch.as_tensor(values, device="cuda").float() / _WHITE
            return filled

        self.rows, self.centers = halves(rows), halves(centers)

    def fit(self, n_iter: int) -> Any:
        first = self.centers.clone()  # flashlib writes into those that it is given
        function = getattr(importlib.import_module(self.module), self.function)
        return function(self.rows, first.shape[1], max_iters=n_iter, tol=0.0, init_centroids=first)[0]


class Flashlib(FlashKMeans):
    """The successor of flash-kmeans."""

    module, function = "flashlib", "flash_kmeans"


PEERS = {"flashlib": Flashlib, "flash-kmeans": FlashKMeans, "cuvs": CuVS, "cupy": CuPy, "torch": Torch}
FLASH = ("flashlib", "flash-kmeans")


def versions() -> dict[str, str]:
    """Find the peers that can be imported: package and version."""
    packages = metadata.packages_distributions()
    there = {name: peer.module for name, peer in PEERS.items() if importlib.util.find_spec(peer.module)}
    named = {name: packages.get(module, [""])[0] for name, module in there.items()}
    return {
        name: f"{package} {metadata.version(package)}" if package else "" for name, package in named.items()
    }


# The parts


def measure(peer: Peer, own: Any) -> Line:
    """Compare the labels of a peer with the exact ones, which compiles what it needs, and time it."""
    import cupy

    off = float((cupy.asarray(peer.labels()).ravel() != own).mean())
    return {"labels off": off, "row bytes": peer.rows.nbytes / len(own), "ms": peer.ms()}


def libraries(
    block: Any, rows: np.ndarray, centers: np.ndarray, names: Iterable[str], options: argparse.Namespace
) -> list[Line]:
    """Measure our iteration and the peers', in turn, from the same centers: medians of all rounds."""
    import cupy

    left, k = list(names), len(centers)
    on_device, own = cupy.asarray(rows), cupy.asarray(block.labels(centers))
    found: dict[str, Line] = {name: {"K": k, "library": name, "rounds": []} for name in (OURS, *left)}
    found[OURS]["row bytes"] = rows.nbytes / len(rows)
    for _ in range(options.rounds):
        found[OURS]["rounds"].append(mean_ms(iterations(block, centers, options.iterations)[0]))
        for name in list(left):
            try:
                measured = measure(PEERS[name](on_device, centers), own)
                found[name]["rounds"].append(measured.pop("ms"))
                found[name] |= measured
            except Exception as error:  # of many types: out of memory, or from a compiler
                print(f"{name} left out at K = {k:,}: {type(error).__name__}: {error}", flush=True)
                left.remove(name)
            free()
    lines = [{**found[name], "ms": median(found[name]["rounds"])} for name in (OURS, *left)]
    return [{**line, "x ours": line["ms"] / lines[0]["ms"]} for line in lines]


def lloyd_part(
    rows: np.ndarray, ks: list[int], names: Iterable[str], most: dict[str, float], options: argparse.Namespace
) -> Line:
    """Take iterations for each K, with their floors, their kernels, and other libraries."""
    block, few = load(rows, "gpu"), sample(rows, 1000, options.seed)
    tables: dict[str, list[Line]] = {}
    for k in ks:
        say(f"d = {rows.shape[1]}, K = {k:,}")
        lines, begun = iterations(block, seeds(rows, k, options.seed), options.iterations)
        ms, least, left = mean_ms(lines), floors(*rows.shape, k, most), candidates(few, *begun[-2:])
        pruned = {"candidates": left, "pruned ms": least["fp32 ms"] * left / k}
        made = {
            "iterations": lines,
            "floors": [{"K": k, "ms": ms, "x bytes": ms / least["bytes ms"], **least, **pruned}],
            "kernels": kernel_times(block, begun, ms),
            "libraries": libraries(block, rows, begun[0], names, options),
        }
        free()
        for name, more in made.items():
            tables.setdefault(name, []).extend(show(name, more))
    return {"rows": len(rows), "features": rows.shape[1], **tables}


def pixels_part(images: np.ndarray, most: dict[str, float], options: argparse.Namespace) -> Line:
    """Count and look up colors, of as many pixels as were asked for, all on the device at once."""
    import cupy

    from dkmeans.kernels import cuda

    some, n = cupy.asarray(images.reshape(-1, 3)), options.pixels
    pixels = cupy.concatenate([some] * -(-n // len(some)))[:n]
    works: dict[str, tuple[Callable[[], Any], int]] = {"counted": (lambda: cuda.count_colors(pixels), 3)}
    for table in color_tables(options.seed):
        look_up = functools.partial(cuda.look_up, pixels, cupy.asarray(table))
        works[f"to {table.dtype}"] = look_up, 3 + table.itemsize
    lines = []
    for name, (work, pixel_bytes) in works.items():
        rounds = [timed(work)[0] for _ in range(options.rounds + 1)][1:]
        rate = pixel_rate(n, pixel_bytes, median(rounds), most)
        lines.append({"work": name, "pixels": n, **rate, "rounds": rounds})
    return {"pixels": show("pixels", lines)}


def pixel_rate(n: int, pixel_bytes: int, ms: float, most: dict[str, float]) -> dict[str, float]:
    """Pixels and bytes in a second, and the share of the bytes that a copy moves."""
    moved = 1e3 * n * pixel_bytes / ms
    return {"ms": ms, "Gpx/s": n / ms / 1e6, "GB/s": moved / 1e9, "of a copy": moved / most["bytes/s"]}


def fit_part(rows: np.ndarray, options: argparse.Namespace) -> Line:
    """Fit as often as was asked for."""
    return {"fits": show("fits", [fit(rows, options.fit_k, options.seed) for _ in range(options.rounds)])}


def slowest(report: Line) -> list[str]:
    """Name the two kernels that take the most time, in an iteration for each K."""
    times: dict[str, float] = {}
    for line in (line for part in PARTS for line in report.get(part, {}).get("kernels", [])):
        times[line["kernel"]] = times.get(line["kernel"], 0) + line["ms"]
    times.pop("the rest", None)
    return sorted(times, key=lambda name: -times[name])[:2]


def figures(report: Line) -> dict[str, float]:
    """The measured numbers of `TARGETS`, and whatever else has such a name."""
    ms = {(line["K"], line["library"]): line["ms"] for line in report.get("patches", {}).get("libraries", [])}
    found = {f"K = {k:,}: ms": value for (k, library), value in ms.items() if library == OURS}
    for k in {k for k, library in ms if library in FLASH}:
        best = min(ms[k, name] for name in FLASH if (k, name) in ms)
        found[f"K = {k:,}: flashlib or flash-kmeans, x ours"] = best / ms[k, OURS]
    for line in report.get("pixels", {}).get("pixels", []):
        found[f"pixels {line['work']}: of a copy"] = line["of a copy"]
    if fits := report.get("fit", {}).get("fits"):
        found[f"K = {fits[0]['K']:,}: seconds of the fit"] = median(line["seconds"] for line in fits)
    return found


def verdicts(report: Line) -> list[Line]:
    """What was asked for, what was measured, and whether that is reached; of fewer rows nothing is."""
    found, (n, pixels) = figures(report), (report["facts"][name] for name in ("rows", "pixels"))
    lines = []
    for target, (sign, asked) in TARGETS.items():
        value, fewer = found.get(target), pixels < PIXELS if "pixels" in target else n < ROWS
        met = value is not None and (value <= asked if sign == "≤" else value >= asked)
        reached = "not measured" if value is None else "fewer rows" if fewer else "yes" if met else "no"
        told = None if value is None else f"{value:.3g}"
        lines.append({"target": target, "asked": f"{sign} {asked:g}", "measured": told, "reached": reached})
    return lines


# The page: the tables, and a roofline

_SIZE, _FRAME = (880, 520), (70, 16, 790, 470)  # of the plot; left, top, right and bottom of its axes
_MARKS = {  # shapes around 0, 0, so that libraries differ without color; colors on light pages, on dark ones
    OURS: ("M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z", "#1d5fd0", "#7fb0ff"),
    "flashlib": ("M-5-5H5V5H-5z", "#de6907", "#f18800"),
    "flash-kmeans": ("M0-7L7 0L0 7L-7 0z", "#5a9777", "#c5e1a9"),
    "cuvs": ("M0-6L6 5H-6z", "#671a2d", "#b34f2a"),
    "cupy": ("M0 6L6-5H-6z", "#ab7da7", "#ded1dc"),
    "torch": ("M-6-2H-2V-6H2V-2H6V2H2V6H-2V2H-6z", "#6a5f69", "#9d9689"),
}
_STYLE = """
.plot { display: block; width: 100%; min-width: 640px; height: auto; font: 13px system-ui, sans-serif; }
.plot text { fill: var(--soft); stroke: var(--card); stroke-width: 4; paint-order: stroke; }
.plot .name { fill: var(--ink); }
.grid { stroke: var(--line); }
.roof { stroke: var(--soft); stroke-width: 2; fill: none; }
.mark { fill: var(--own); stroke: var(--card); }
.needed { fill: var(--card); stroke: var(--own); stroke-width: 2; }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; padding: 0; list-style: none; }
.key svg { width: 16px; height: 16px; vertical-align: -3px; }
"""
_ROOFLINE = """Operations are those of all pairs of a row and a center, two for each feature, whether a
library computes them or not; bytes are the rows as the library has them, read once, and the labels. A search
that leaves pairs out may so lie above a ceiling. Hollow marks count the pairs that the triangle inequality
leaves, and no others."""


def points(report: Line) -> list[Line]:
    """Place all libraries at each K, as if they multiplied all pairs; ours with those that are left, too."""
    found = []
    for part in (report[name] for name in ("patches", "wide") if name in report):
        left = {line["K"]: line["candidates"] for line in part["floors"]}
        for line in (line for line in part["libraries"] if line["ms"] > 0):
            k, moved = line["K"], part["rows"] * (line["row bytes"] + 4)
            for pairs, needed in [(k, False), (left[k], True)][: 1 + (line["library"] == OURS)]:
                operations = 2 * part["rows"] * part["features"] * pairs
                place = {"x": operations / moved, "y": 1e3 * operations / line["ms"]}
                name = f"K = {k:,}, d = {part['features']}"
                found.append({"library": line["library"], "name": name, **place, "needed": needed})
    for line in report.get("pixels", {}).get("pixels", []):
        if line["work"] == "counted":  # an addition for three bytes
            place = {"x": 1 / 3, "y": 1e9 * line["Gpx/s"]}
            found.append({"library": OURS, "name": "pixels counted", **place, "needed": False})
    return found


def _mark(library: str, title: str, needed: bool, x: float = 0, y: float = 0) -> str:
    shape, *colors = _MARKS[library]
    look = f'class="{"needed" if needed else "mark"}" style="--own: light-dark({", ".join(colors)})"'
    where = f'd="{shape}" transform="translate({x:.1f} {y:.1f})"'
    return f"<path {look} {where}><title>{html.escape(title)}</title></path>"


def _text(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    place = f'class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {place}>{html.escape(text)}</text>"


class Axes:
    """Logarithmic axes of whole decades."""

    def __init__(self, xs: list[float], ys: list[float]) -> None:
        self.x, self.y = (
            (math.floor(math.log10(min(each))), math.ceil(math.log10(max(each)))) for each in (xs, ys)
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the plot."""
        left, top, right, bottom = _FRAME
        across = (math.log10(x) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(y) - self.y[0]) / (self.y[1] - self.y[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    def grid(self) -> Iterator[str]:
        """Lines and numbers of the decades, and what they are."""
        left, top, right, bottom = _FRAME
        for power in range(self.x[0], self.x[1] + 1):
            x, _ = self.at(10.0**power, 10.0 ** self.y[0])
            yield f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>'
            yield _text(x, bottom + 18, f"{10.0**power:,g}")
        for power in range(self.y[0], self.y[1] + 1):
            _, y = self.at(10.0 ** self.x[0], 10.0**power)
            yield f'<path class="grid" d="M{left} {y:.1f}H{right}"/>'
            yield _text(left - 8, y + 4, f"{10.0 ** (power - 12):,g}", "end")
        yield _text((left + right) / 2, _SIZE[1] - 8, "operations for each byte", kind="name")
        turned = _text(0, 0, "10¹² operations in a second", kind="name")
        yield f'<g transform="translate(16 {(top + bottom) / 2}) rotate(-90)">{turned}</g>'

    def roof(self, name: str, peak: float, bytes_per_s: float) -> str:
        """What the device can do at most: by its memory, then by its arithmetic."""
        first, last = max(10.0 ** self.x[0], 10.0 ** self.y[0] / bytes_per_s), 10.0 ** self.x[1]
        places = (self.at(first, first * bytes_per_s), self.at(peak / bytes_per_s, peak), self.at(last, peak))
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        return f'<path class="roof" d="M{path}"/>' + _text(places[2][0] + 8, places[2][1] + 4, name, "start")


def roofline(report: Line) -> str:
    """Draw the ceilings and the points, and say which mark is whose."""
    shown, most = points(report), report["ceilings"]
    peaks = {name: most[f"{name} op/s"] for name in ("fp32", "fp16")}
    ridges = [peak / most["bytes/s"] for peak in peaks.values()]
    xs, ys = ([each[name] for each in shown] for name in "xy")
    axes = Axes([0.1, *ridges, *xs], [*peaks.values(), *ys])
    parts = [
        *axes.grid(),
        *(axes.roof(f"{name}, {peak / 1e12:.3g}", peak, most["bytes/s"]) for name, peak in peaks.items()),
    ]
    for each in shown:
        x, y = axes.at(each["x"], each["y"])
        title = f"{each['library']}, {each['name']}: {each['y'] / 1e12:.3g}, {each['x']:.3g} a byte"
        parts.append(_mark(each["library"], title, each["needed"], x, y))
        if each["library"] == OURS and not each["needed"]:
            side, anchor = (11, "start") if x < _SIZE[0] / 2 else (-11, "end")
            parts.append(_text(x + side, y + 4, each["name"], anchor, "name"))
    there = [name for name in _MARKS if any(each["library"] == name for each in shown)]
    keys = [(name, name, False) for name in there] + [(OURS, f"{OURS}, pairs that are left", True)]
    items = (f'<li><svg viewBox="-8 -8 16 16">{_mark(*key)}</svg> {key[1]}</li>' for key in keys)
    plot = f'<svg class="plot" viewBox="0 0 {_SIZE[0]} {_SIZE[1]}" role="img" aria-label="Roofline">'
    return f'<div class="scroll">{plot}{"".join(parts)}</svg></div><ul class="key">{"".join(items)}</ul>'


def html_table(name: str, lines: list[Line]) -> str:
    """A table of `COLUMNS`."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS[name])
    rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in cells(name, line)) for line in lines)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def page(report: Line) -> str:
    """All tables and the roofline as one HTML file that loads nothing, in the style of dkmeans's pages."""
    assets = resources.files("dkmeans.report") / "assets"
    light, dark = ((assets / name).read_text("utf-8") for name in ("page.css", "dark.css"))
    sections = {
        "Asked and measured": html_table("targets", report["targets"]),
        "Roofline": f"<p>{_ROOFLINE}</p>{roofline(report)}",
    }
    for part in (part for part in PARTS if part in report):
        tables = [name for name in COLUMNS if name in report[part]]
        sections[part] = "".join(f"<h3>{name}</h3>{html_table(name, report[part][name])}" for name in tables)
    sections["Columns"] = f"<p>{html.escape((__doc__ or '').partition('Columns: ')[2])}</p>"
    body = "".join(f"<section><h2>{name}</h2>{text}</section>" for name, text in sections.items())
    facts = "<br>".join(map(html.escape, fact_lines(report["facts"])))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dkmeans on a GPU</title>
<style>{light}{_STYLE}</style>
<style media="screen and (prefers-color-scheme: dark)">{dark}</style></head>
<body><header><h1>dkmeans on a GPU</h1><p class="soft">{facts}</p></header><main>{body}</main></body></html>
"""


# The whole


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--data", help="IDX file of images, .gz or not; default: digits drawn from the seed")
    made.add_argument("--k", type=int, nargs="+", default=[100, 1000, 10_000], help="clusters of patches")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    made.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), help="default: all")
    for name, default, text in (
        ("--n", ROWS, "rows of patches and fit"),
        ("--iterations", 10, "of ours; at least 2"),
        ("--rounds", 3, "times that each library is measured, in turn"),
        ("--pixels", PIXELS, "colors of part pixels"),
        ("--wide-n", 10_000_000, "rows of part wide"),
        ("--wide-k", 4096, "clusters of part wide"),
        ("--fit-k", 1000, "clusters of the fit"),
        ("--seed", 0, "of all that is drawn"),
    ):
        made.add_argument(name, type=int, default=default, help=f"{text}; default: {default:,}")
    made.add_argument("--json", metavar="FILE", help="write all numbers to a file")
    made.add_argument("--page", metavar="FILE", help="write them as a page")
    made.add_argument("--small", action="store_true", help="compare on few rows, and end")
    made.add_argument("--profile", action="store_true", help="take the iterations of the largest K, and end")
    return made


def known(options: argparse.Namespace, argv: list[str]) -> Line:
    """The machine, the versions and the command."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    cuda, info = cupy.cuda.runtime.driverGetVersion(), Path("/proc/cpuinfo")
    cpu = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    found = versions()
    return {
        "command": shlex.join(["bench_gpu.py", *argv]),
        "device": properties["name"].decode(),
        "memory GiB": round(properties["totalGlobalMem"] / 2**30, 1),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        **{"cpu": cpu[1] if cpu else platform.machine(), "cores": os.cpu_count()},
        "load": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version(), "numpy": np.__version__, **found},
        "missing": [name for name in options.peers if name not in found],
        **{"data": options.data, "rows": 0, "pixels": options.pixels},
    }


def fact_lines(facts: Line) -> list[str]:
    """The facts for people."""
    return [
        facts["command"],
        f"{facts['device']}, {facts['memory GiB']} GiB, CUDA {facts['cuda']} of the driver; {facts['cpu']}, "
        f"{facts['cores']} cores, load {facts['load']} before",
        ", ".join(f"{name}: {version}" for name, version in facts["versions"].items()),
        *([f"not installed: {', '.join(facts['missing'])}"] if facts["missing"] else []),
        f"{facts['rows']:,} patches of {facts['data'] or 'drawn digits'}",
    ]


def make_rows(options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Read or draw what the parts that were asked for need."""
    parts, made = set(options.parts), dict[str, np.ndarray]()
    if parts & {"patches", "fit"}:
        made["digits"] = digit_rows(options.data, options.n, options.seed)
    if parts & {"pixels", "wide"}:
        most = max(options.pixels if "pixels" in parts else 0, options.wide_n if "wide" in parts else 0)
        made["photos"] = photos(min(_PHOTOS, -(-most // 500_000)), _PHOTO_SIDE, options.seed)
    if "wide" in parts:
        made["wide"] = photo_patches(made["photos"], options.wide_n, options.seed)
    return made


def save(report: Line, options: argparse.Namespace) -> None:
    """Write what there is so far where it was asked for."""
    report |= {"slowest": slowest(report), "targets": verdicts(report)}
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    if options.page:
        Path(options.page).write_text(page(report), "utf-8")


def profile(options: argparse.Namespace) -> None:
    """Take the iterations of the largest K."""
    rows = digit_rows(options.data, options.n, options.seed)
    iterations(load(rows, "gpu"), seeds(rows, max(options.k), options.seed), options.iterations)


def whole(options: argparse.Namespace, argv: list[str]) -> Line:
    """Make the rows, compare, measure the parts one after the other; JSON and page grow with them."""
    report: Line = {"facts": known(options, argv)}
    say("rows")
    made = make_rows(options)
    report["facts"]["rows"] = len(made.get("digits", ()))
    print("\n".join(fact_lines(report["facts"])))
    say("is it exact?")
    check_all(made, options)
    say("what the device can do")
    report["ceilings"] = most = ceilings()
    free()
    print("  ".join(f"{value / 1e12:.2f} T{name}" for name, value in most.items()), flush=True)
    names = [name for name in options.peers if name not in report["facts"]["missing"]]
    parts: dict[str, Callable[[], Line]] = {
        "patches": lambda: lloyd_part(made["digits"], options.k, names, most, options),
        "pixels": lambda: pixels_part(made["photos"], most, options),
        "wide": lambda: lloyd_part(made["wide"], [options.wide_k], names, most, options),
        "fit": lambda: fit_part(made["digits"], options),
    }
    for part in (part for part in PARTS if part in options.parts):
        say(part)
        report[part] = parts[part]()
        free()
        save(report, options)
    say("asked and measured")
    show("targets", report["targets"])
    return report


def main(argv: list[str] | None = None) -> Line:
    """Do what the options ask for."""
    options = parser().parse_args(argv)
    if problem := gpu_problem():
        print(f"bench_gpu: no usable GPU: {' '.join(problem.split())}", file=sys.stderr)
        raise SystemExit(_NO_GPU)
    if options.small:
        check_small(options.seed)
    elif options.profile:
        profile(options)
    else:
        return whole(options, sys.argv[1:] if argv is None else argv)
    return {}


if __name__ == "__main__":
    main()
