"""The facts of the study of patches: every number of its page, and the arrays that its pictures show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from skimage.metrics import mean_squared_error

from dkmeans import kernels, plan
from dkmeans.artefacts.codebook import Codebook
from dkmeans.artefacts.dataset import Dataset
from dkmeans.artefacts.sweep import Sweep
from dkmeans.config.studies import DictionaryConfig
from dkmeans.features import patches
from dkmeans.images.measures import psnr
from dkmeans.kernels.exact import grid_integers
from dkmeans.storage import arrays

__all__ = ["DIRECTIONS", "Made", "Tried", "gather"]

_SAMPLE = 100_000
"""Patches in which the coverage is measured."""
_WITHIN = (8, 16, 32)
"""Root mean square errors, in 255ths of the range, within which a patch counts as covered."""
_NEAR, _MOST = 16, 0.9
"""The one of these that the advice takes, and the part of the patches that it wants covered."""
_SHOWN = (100, 400, 1000, 2000, 5000, 10_000)
_N_RANDOM = 5
DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
"""Where a patch becomes brighter, by eighths of a turn; rows count downwards."""
_FLAT = 0.02
"""Of the range: a patch whose brightness rises by less from one pixel to the next has no direction."""
_INKS = 5


@dataclass(frozen=True)
class Tried:
    """One image, and what every codebook makes of it; arrays of shape (height, width, channels)."""

    name: str
    original: NDArray[Any]
    results: tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Made:
    """All that the page shows.

    Attributes
    ----------
    facts : dict
        Numbers, see `dkmeans.report.study.Study`.
    noun : str
        What the images are.
    sweep : Sweep
    patch : (int, int, int)
        Height, width and channels.
    limit : int
        Largest value.
    random : ndarray of shape (5, n_features)
        Patches drawn at random.
    books : dict of int to Codebook
        Those shown, by their number of clusters.
    tried : tuple of Tried
        An image that was learned from, and one that was not, if there is one.
    """

    facts: dict[str, Any]
    noun: str
    sweep: Sweep
    patch: tuple[int, int, int]
    limit: int
    random: NDArray[Any]
    books: dict[int, Codebook]
    tried: tuple[Tried, ...]


def gather(config: DictionaryConfig, dataset: Dataset, test: Dataset, sweep: Sweep, noun: str) -> Made:
    """Measure a sweep on the dataset that it was learned from, and on another one if `test` is that."""
    assert dataset.patch is not None
    limit = int(np.iinfo(dataset.dtype).max)
    sample = _sample(dataset, config.seed)
    datasets = [dataset] if test.url == dataset.url else [dataset, test]
    originals = [each.image(0) for each in datasets]
    names = [
        f"{word} {each.index.names[0]}"
        for word, each in zip(("training image", "test image"), datasets, strict=False)
    ]
    results: list[list[NDArray[Any]]] = [[] for _ in datasets]
    rows = []
    for place, k in enumerate(sweep.n_clusters):
        book = sweep.codebook(k)
        found = _curve(sweep, place, limit)
        found |= _coverage(sample, book, limit) | _spread(book)
        found["tried"] = []
        for image, made in zip(originals, results, strict=True):
            result, numbers = _rebuild(image, dataset, book)
            made.append(result)
            found["tried"].append(numbers)
        rows.append(found)
    books = {k: sweep.codebook(k) for k in _shown(sweep.n_clusters)}
    facts = {
        "dataset": _about(dataset, sample),
        "elbow": None if sweep.elbow is None else rows[sweep.n_clusters.index(sweep.elbow)],
        "n_groups": sweep.n_groups,
        "near": _NEAR,
        "most": _MOST,
        "enough": next((row for row in rows if row["coverage"][str(_NEAR)] >= _MOST), None),
        "by_k": rows,
        "shown": {str(k): _kinds(book, dataset) for k, book in books.items()},
        "tried": names,
    }
    tried = tuple(
        Tried(name, image, tuple(made)) for name, image, made in zip(names, originals, results, strict=True)
    )
    size = (*dataset.patch, dataset.channels)
    return Made(facts, noun, sweep, size, limit, _random(sample, config.seed), books, tried)


def _about(dataset: Dataset, sample: NDArray[Any]) -> dict[str, Any]:
    assert dataset.patch is not None
    return {
        "n_images": dataset.n_images,
        "n_patches": dataset.manifest.n_patches,
        "n_features": int(dataset.patches.shape[1]),
        "height": dataset.patch[0],
        "width": dataset.patch[1],
        "n_sample": len(sample),
    }


def _sample(dataset: Dataset, seed: int) -> NDArray[Any]:
    """Some patches drawn at random, in the order of the dataset."""
    array = dataset.patches
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(6)[4])
    n_rows = array.shape[0]
    positions = np.sort(rng.choice(n_rows, min(_SAMPLE, n_rows), replace=False, shuffle=False))
    cuts = plan.cuts(n_rows, arrays.row_layout(array).shard_rows)
    local = zip(cuts, plan.in_cuts(positions, cuts), strict=True)
    return np.concatenate([arrays.read_rows(dataset.store, "patches", *cut)[chosen] for cut, chosen in local])


def _random(sample: NDArray[Any], seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(6)[5])
    return sample[rng.choice(len(sample), min(_N_RANDOM, len(sample)), replace=False)]


def _shown(n_clusters: list[int]) -> list[int]:
    """The usual numbers of clusters that were fit; of other sweeps at most six, from first to last."""
    usual = [k for k in _SHOWN if k in n_clusters]
    if len(usual) >= 3:
        return usual
    places = np.rint(np.linspace(0, len(n_clusters) - 1, min(6, len(n_clusters)))).astype(int)
    return [n_clusters[place] for place in places]


def _curve(sweep: Sweep, place: int, limit: int) -> dict[str, Any]:
    values: dict[str, Any] = {name: array[place].item() for name, array in sweep.curves.items()}
    rmse = math.sqrt(values["mse"]) * (255 / limit)
    return {**values, "rmse": rmse, "psnr": psnr(values["mse"], limit)}


def _coverage(sample: NDArray[Any], book: Codebook, limit: int) -> dict[str, Any]:
    """Share of the patches whose root mean square error is within some bounds."""
    labels = kernels.load(sample).labels(book.centers)
    errors = np.sqrt(np.mean((sample - book.centers[labels].astype(np.float64)) ** 2, axis=1)) * (255 / limit)
    return {"coverage": {str(bound): float(np.mean(errors <= bound)) for bound in _WITHIN}}


def _spread(book: Codebook) -> dict[str, Any]:
    """How far a center is from the next one, and how many patches it stands for."""
    nearest = (
        KDTree(book.centers)
        .query(book.centers, k=min(2, len(book.centers)))[0]
        .reshape(len(book.centers), -1)
    )
    gaps = nearest[:, -1] / math.sqrt(book.centers.shape[1])
    return {
        "median_gap": float(np.median(gaps)),
        "median_count": float(np.median(book.counts)),
        "largest_share": float(book.counts.max() / book.counts.sum()),
    }


def _rebuild(image: NDArray[Any], dataset: Dataset, book: Codebook) -> tuple[NDArray[Any], dict[str, Any]]:
    """An image put together from the nearest centers of its patches, and what it is made of."""
    assert dataset.patch is not None
    stack = image[np.newaxis]
    mask = patches.find_kept(stack, dataset.patch, dataset.stride, dataset.manifest.blank_threshold)
    rows = patches.extract(stack, mask, dataset.patch, dataset.stride)
    codes = kernels.load(np.ascontiguousarray(rows)).labels(book.centers)
    integers = grid_integers(book.centers, dataset.dtype).reshape(-1, *dataset.patch, dataset.channels)
    whole = patches.overlap_add(codes, mask, integers, stack.shape[1:], dataset.stride, dataset.dtype)[0]
    times = np.sort(np.bincount(codes))[::-1] if len(codes) else np.zeros(1, np.int64)
    error = float(mean_squared_error(image, whole))
    numbers = {
        "psnr": psnr(error, int(np.iinfo(dataset.dtype).max)),
        "n_patches": len(codes),
        "n_codes": int((times > 0).sum()),
        "top_share": float(times[:_N_RANDOM].sum() / max(1, len(codes))),
    }
    return whole, numbers


def _kinds(book: Codebook, dataset: Dataset) -> dict[str, Any]:
    """Shares of the centers by their ink, and by the direction in which they become brighter."""
    assert dataset.patch is not None
    limit = int(np.iinfo(dataset.dtype).max)
    tiles = book.centers.reshape(-1, *dataset.patch, dataset.channels).mean(axis=3) / limit
    ink = np.histogram(tiles.mean(axis=(1, 2)), bins=_INKS, range=(0, 1))[0] / len(tiles)
    down, across = (
        np.gradient(tiles, axis=axis).mean(axis=(1, 2)) if tiles.shape[axis] > 1 else np.zeros(len(tiles))
        for axis in (1, 2)
    )
    eighth = np.rint(np.arctan2(down, across) / (math.pi / 4)).astype(int) % 8
    steep = np.hypot(down, across) >= _FLAT
    turned = np.bincount(eighth[steep], minlength=8) / len(tiles)
    return {
        "n_clusters": len(tiles),
        "ink": ink.tolist(),
        "directions": dict(zip(DIRECTIONS, turned.tolist(), strict=True)),
        "flat": float(np.mean(~steep)),
    }
