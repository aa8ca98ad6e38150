"""The rows of the benchmarks, and the libraries that cluster them: dkmeans and its peers.

What each peer needs for a fair run: float32 rows (from uint8 some make float64, some truncate centers), no
tolerance, one start from given centers, no sampling of the rows. What it does besides is its own affair.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np

from dkmeans.features.patches import extract, find_kept
from dkmeans.images.decode import SkippedImage, convert_color
from dkmeans.images.sources import open_source
from dkmeans.kernels.exact import snap

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
_STACK = 64
_MOST_PIXELS = 1 << 28


# Rows


def add_row_options(parser: argparse.ArgumentParser, n: int) -> None:
    """Which rows to take; `n` is the default of how many."""
    parser.add_argument("--patch", type=int, default=5, help="side of the patches in pixels; 0: whole images")
    parser.add_argument("--n", type=int, default=n, help="rows, drawn from all; 0: all")
    parser.set_defaults(color="gray")


def draw_rows(data: str | None, color: str, patch: int, n: int, seed: int) -> np.ndarray:
    """`n` rows of `data`, or all, in their order: patches that are not blank, or rows of an .npy file."""
    rng = np.random.default_rng(seed)
    if data and data.endswith(".npy"):
        rows = np.load(data, mmap_mode="r")
        if rows.ndim == 2:
            return np.ascontiguousarray(rows[_draw(len(rows), n, rng)])
    stacks = list(_stacks(_images(data, color)))
    sizes = [(patch, patch) if patch else stack.shape[1:3] for stack in stacks]
    masks = [find_kept(stack, size, (1, 1), 0.0) for stack, size in zip(stacks, sizes, strict=True)]
    chosen = np.zeros(sum(int(mask.sum()) for mask in masks), bool)
    chosen[_draw(len(chosen), n, rng)] = True
    parts, start = [], 0
    for stack, size, mask in zip(stacks, sizes, masks, strict=True):
        count = int(mask.sum())
        mask[mask] = chosen[start : start + count]
        parts.append(extract(stack, mask, size, (1, 1)))
        start += count
    return np.concatenate(parts)


def _draw(total: int, n: int, rng: np.random.Generator) -> np.ndarray:
    if not 0 < n < total:
        return np.arange(total)
    return np.sort(rng.choice(total, n, replace=False, shuffle=False))


def _images(data: str | None, color: str) -> Iterator[np.ndarray]:
    if data is None:
        from skimage import data as photos

        yield from (convert_color(getattr(photos, name)(), color) for name in PHOTOS)
        return
    for image in open_source(data).read(color, max_pixels=_MOST_PIXELS):
        if isinstance(image, SkippedImage):
            raise SystemExit(f"{image.key}: {image.reason}")
        yield image.pixels


def _stacks(images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Neighbors of one shape together, a few at a time."""
    for _, group in groupby(images, key=lambda image: image.shape):
        while part := list(islice(group, _STACK)):
            yield np.stack(part)


def first_centers(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """`k` distinct rows, each moved by less than 1/4, so that no row is as near to one as to another.

    Only off the grid of integers do peers that round differently agree about nearly all labels.
    """
    rng = np.random.default_rng(seed)
    shuffled, size = rng.permutation(len(rows)), 0
    first = np.empty(0, int)
    while len(first) < k and size < len(rows):
        size = min(len(rows), max(2 * k, 2 * size))
        sample = rows[np.sort(shuffled[:size])]
        _, first = np.unique(sample, axis=0, return_index=True)
    if len(first) < k:
        raise SystemExit(f"the data holds {len(first)} distinct rows, fewer than the {k} clusters asked for")
    centers = sample[np.sort(rng.permutation(first)[:k])].astype(np.float64)
    inwards = np.where(centers < 128, 1, -1)
    return snap(centers + inwards * rng.random(centers.shape) / (4 * centers.shape[1] ** 0.5), rows.dtype)


def exact_inertia(rows: np.ndarray, centers: np.ndarray) -> float:
    """The sum of squared distances in float64, whoever made the centers."""
    from sklearn.metrics import pairwise_distances_argmin_min

    total, step = 0.0, 1 << 16
    for start in range(0, len(rows), step):
        part = rows[start : start + step].astype(np.float64)
        _, squares = pairwise_distances_argmin_min(part, centers.astype(np.float64), metric="sqeuclidean")
        total += float(squares.sum())
    return total


# Peers


class Fit(NamedTuple):
    """Centers after `n_iter` updates and, where the library tells, of each iteration its seconds and inertia.

    That inertia belongs to the centers that the iteration began with.
    """

    centers: np.ndarray
    n_iter: int
    seconds: list[float] | None = None
    inertias: list[float] | None = None


@dataclass(frozen=True)
class Peer:
    """A library.

    Attributes
    ----------
    package : str
        Its name for pip.
    fit : callable
        ``fit(data, centers, n_iter, threads)``: iterate from `centers`.
    prepare : callable
        ``prepare(rows, threads)``: uint8 rows as the library wants them, not timed.
    seeds : callable
        ``seeds(data, k, seed, threads)``: the centers that its own way of seeding gives.
    own_threads : bool
        Whether it runs tasks in threads: then the libraries below get one thread each.
    tells : bool
        Whether its `Fit` has the seconds and inertia of each iteration.
    exact : bool
        Whether it is Lloyd's algorithm on all rows.
    """

    package: str
    fit: Callable[..., Fit]
    prepare: Callable[..., Any]
    seeds: Callable[..., Any]
    own_threads: bool = False
    tells: bool = False
    exact: bool = True


def _as_float(rows: np.ndarray, threads: int) -> np.ndarray:
    return rows.astype(np.float32)


def _our_rows(rows: np.ndarray, threads: int) -> Any:
    from dkmeans.clustering.rows import load_given_rows
    from dkmeans.compute.in_process import InProcess

    parts = np.array_split(rows, threads)
    cluster = InProcess(threads)
    return load_given_rows(parts, [len(part) for part in parts], rows.shape[1], rows.dtype, cluster)


def _our_fit(data: Any, centers: np.ndarray, n_iter: int, threads: int) -> Fit:
    from dkmeans.clustering.lloyd import lloyd
    from dkmeans.clustering.loop import State

    # The steps of the others: plain ones, as many as they are told to.
    plain = {"max_iter": n_iter, "tol": 0.0, "relaxation": 1.0, "min_gain": 0.0}
    found = lloyd(data, State(centers), **plain, on_iteration=lambda step: None)
    seconds, inertias = zip(*((step.seconds, step.inertia) for step in found.history), strict=True)
    return Fit(found.centers, len(seconds), list(seconds), list(inertias))


def _our_seeds(data: Any, k: int, seed: int, threads: int) -> np.ndarray:
    from dkmeans.clustering.seeding import seed_centers

    return seed_centers(data, k, "k-means||", seed)


def _scikit_learn_fit(data: np.ndarray, centers: np.ndarray, n_iter: int, threads: int) -> Fit:
    from sklearn.cluster import KMeans

    found = KMeans(len(centers), init=centers, n_init=1, max_iter=n_iter, tol=0, algorithm="lloyd").fit(data)
    return Fit(found.cluster_centers_, found.n_iter_)


def _plus_plus(data: np.ndarray, k: int, seed: int, threads: int) -> np.ndarray:
    from sklearn.cluster import kmeans_plusplus

    return kmeans_plusplus(data, k, random_state=seed)[0]


def _intelex_fit(data: np.ndarray, centers: np.ndarray, n_iter: int, threads: int) -> Fit:
    import daal4py
    from sklearnex.cluster import KMeans

    daal4py.daalinit(threads)
    found = KMeans(len(centers), init=centers, n_init=1, max_iter=n_iter, tol=0).fit(data)
    if not hasattr(found, "_onedal_estimator"):
        raise RuntimeError("scikit-learn-intelex left the work to scikit-learn")
    return Fit(found.cluster_centers_, int(found.n_iter_))


def _faiss_fit(data: np.ndarray, centers: np.ndarray, n_iter: int, threads: int) -> Fit:
    import faiss

    faiss.omp_set_num_threads(threads)
    k, features = centers.shape
    # By default it takes 256 rows a cluster, and warns below 39.
    points = {"max_points_per_centroid": len(data) // k + 1, "min_points_per_centroid": 1}
    found = faiss.Kmeans(features, k, niter=n_iter, **points)
    found.train(data, init_centroids=np.ascontiguousarray(centers, np.float32))
    ends = [step["time"] for step in found.iteration_stats]
    return Fit(found.centroids, len(ends), np.diff(ends, prepend=0.0).tolist(), found.obj.tolist())


def _random_rows(data: np.ndarray, k: int, seed: int, threads: int) -> np.ndarray:
    return data[np.random.default_rng(seed).choice(len(data), k, replace=False)]


def _dask_rows(rows: np.ndarray, threads: int) -> Any:
    import dask.array as da

    return da.from_array(rows.astype(np.float32), chunks=(-(-len(rows) // (4 * threads)), -1), name=False)


def _dask_ml_fit(data: Any, centers: np.ndarray, n_iter: int, threads: int) -> Fit:
    import dask
    from dask_ml.cluster import KMeans

    with dask.config.set(scheduler="threads", num_workers=threads):
        found = KMeans(len(centers), init=centers, max_iter=n_iter, tol=0).fit(data)
    return Fit(found.cluster_centers_, found.n_iter_)


def _dask_ml_seeds(data: Any, k: int, seed: int, threads: int) -> np.ndarray:
    import dask
    import dask.array as da
    from dask_ml.cluster.k_means import k_init

    with dask.config.set(scheduler="threads", num_workers=threads):
        return k_init(data, k, random_state=da.random.RandomState(seed))


def _mini_batch_fit(data: np.ndarray, start: tuple[int, int], n_iter: int, threads: int) -> Fit:
    from sklearn.cluster import MiniBatchKMeans

    k, seed = start
    found = MiniBatchKMeans(k, n_init=1, max_iter=n_iter, random_state=seed).fit(data)
    return Fit(found.cluster_centers_, found.n_iter_)


def _seeds_in_fit(data: np.ndarray, k: int, seed: int, threads: int) -> tuple[int, int]:
    return k, seed


def _super_fit(data: np.ndarray, start: tuple[int, int], n_iter: int, threads: int) -> Fit:
    from superkmeans import SuperKMeans

    k, seed = start
    all_rows = {"hierarchical": False, "sampling_fraction": 1.0, "max_points_per_cluster": len(data)}
    found = SuperKMeans(
        k,
        data.shape[1],
        iters=n_iter,
        early_termination=False,
        n_threads=threads,
        seed=seed,
        full_precision_final_centroids=True,
        **all_rows,
    )
    centers = found.train(data)
    return Fit(centers, len(found.iteration_stats))


OURS = "dkmeans"
PEERS = {
    OURS: Peer("dkmeans", _our_fit, _our_rows, _our_seeds, tells=True),
    "scikit-learn": Peer("scikit-learn", _scikit_learn_fit, _as_float, _plus_plus),
    "scikit-learn-intelex": Peer("scikit-learn-intelex", _intelex_fit, _as_float, _plus_plus),
    "faiss": Peer("faiss-cpu", _faiss_fit, _as_float, _random_rows, tells=True),
    "dask-ml": Peer("dask-ml", _dask_ml_fit, _dask_rows, _dask_ml_seeds, own_threads=True),
    # It prunes by a random rotation, with the nearest center only probably found, and takes no first centers.
    "superkmeans": Peer("superkmeans", _super_fit, _as_float, _seeds_in_fit, exact=False),
    "mini-batch": Peer("scikit-learn", _mini_batch_fit, _as_float, _seeds_in_fit, exact=False),
}
