"""The rows of the GPU benchmark: patches of digits and of photos, from a file or drawn from a seed.

Needs NumPy and threadpoolctl. What is drawn is fitted to what it stands for by the numbers of `MNIST` and
`KODAK`: what a Lloyd step costs depends on how the rows are spread, not on what they show. Each batch of
images has a generator of its own, so the rows are the same for any number of threads.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from dkmeans.features.patches import extract, find_kept, windows
from dkmeans.kernels.exact import snap

_MADE = TypeVar("_MADE")

DIGIT_SIDE = 28
PATCH = (5, 5)
BLOCK = (8, 8)
_STRIDE = (1, 1)

MNIST = {"blank": 0.419, "|x|²": 423_046, "4 dims": 0.765, "8 dims": 0.910, "12 dims": 0.957}
"""Of the 5x5 patches of the 60,000 training images: blank ones of all, and of the others the mean squared
norm and the share of the variance in the first principal components."""
KODAK = {"|x|²": 2_841_000, "4 dims": 0.903, "8 dims": 0.944, "12 dims": 0.959}
"""The same of the 8x8 patches of 24 photos, the Kodak set."""

_BATCH = 128
_POINTS = 96
_DRAWN = 19  # pixels that a digit is high or wide
_PER_DIGIT = 320  # patches that are not blank, a little fewer than there are


def _in_threads(make: Callable[[Any], _MADE], items: Iterable[Any]) -> list[_MADE]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(make, items))


# Digits


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
    time = np.linspace(0, 1, _POINTS)[:, None]
    waves = 2 * np.pi * (rng.random(n) + rng.uniform(0.3, 1, n) * time)
    heading = rng.uniform(0, 2 * np.pi, n) + rng.normal(0, 7, n) * time
    heading += rng.normal(0, 1.3, n) * np.sin(waves)
    heading += (time > rng.random(n)) * rng.normal(0, 1.5, n)
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


def digits_for(n_rows: int, seed: int) -> np.ndarray:
    """Drawn images enough for `n_rows` patches."""
    return digits(_BATCH * -(-n_rows // (_BATCH * _PER_DIGIT)), seed)


def digit_patches(images: np.ndarray) -> np.ndarray:
    """All 5x5 patches that are not blank, image by image; shape (n, 25), uint8."""

    def cut(start: int) -> np.ndarray:
        stack = images[start : start + _BATCH, :, :, None]
        return extract(stack, find_kept(stack, PATCH, _STRIDE, 0.0), PATCH, _STRIDE)

    return np.concatenate(_in_threads(cut, range(0, len(images), _BATCH)))


# Photos


def _stretch(size: int, coarse: int) -> np.ndarray:
    """Weights of linear interpolation from `coarse` points to `size`; shape (size, coarse), float32."""
    at = np.linspace(0, coarse - 1, size)
    low = np.minimum(at.astype(int), coarse - 2)
    weights = np.zeros((size, coarse), np.float32)
    weights[np.arange(size), low] = low + 1 - at
    weights[np.arange(size), low + 1] = at - low
    return weights


def _draw_photo(size: int, rng: np.random.Generator) -> np.ndarray:
    """Brightness and a little color at all scales, the finer the fainter, and the grain of a sensor."""
    image = 105 + rng.normal(0, 25) + rng.normal(0, 20, (3, 1, 1)).astype(np.float32)
    coarse = 4
    while coarse < size:
        noise = rng.standard_normal((4, coarse, coarse), np.float32)
        weights = _stretch(size, coarse)
        level = weights @ (noise[:1] + np.float32(0.15) * noise[1:]) @ weights.T
        image = image + np.float32(33 * (coarse / 4) ** -0.12) * level
        coarse *= 2
    image += 2 * rng.standard_normal((size, size), np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def photos(n: int, size: int, seed: int) -> np.ndarray:
    """Drawn images smooth like photos; shape (n, size, size, 3), uint8."""
    with threadpool_limits(1, "blas"):  # the images are drawn in threads
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


# Both


def seeds(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """`k` distinct rows by chance as first centers; shape (k, n_features), float32."""
    rng = np.random.default_rng(seed)
    sample = rows[rng.choice(len(rows), min(len(rows), 4 * k), replace=False)]
    distinct = np.unique(sample, axis=0)
    if len(distinct) < k:
        raise SystemExit(
            f"{len(distinct)} distinct rows in {len(sample)}, expected {k}: ask for fewer clusters"
        )
    return snap(rng.permutation(distinct)[:k], rows.dtype)


def statistics(rows: np.ndarray) -> dict[str, float]:
    """How the rows are spread: what `MNIST` and `KODAK` say of theirs."""
    values = rows.astype(np.float64)
    variances = np.linalg.eigvalsh(np.cov(values.T))[::-1]
    shares = np.cumsum(variances) / variances.sum()
    squares = float(np.einsum("nd,nd->n", values, values).mean())
    return {"|x|²": squares, **{f"{dims} dims": float(shares[dims - 1]) for dims in (4, 8, 12)}}


def digit_statistics(images: np.ndarray) -> dict[str, float]:
    """The same of the patches of digits, with the share of those that are blank."""
    rows = digit_patches(images)
    places = len(images) * (images.shape[1] - PATCH[0] + 1) * (images.shape[2] - PATCH[1] + 1)
    return {"blank": 1 - len(rows) / places, **statistics(rows)}
