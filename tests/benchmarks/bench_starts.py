"""Inertia of the starts of `KMeans` beside scikit-learn's, as a table in Markdown.

    python tests/benchmarks/bench_starts.py --data train-images-idx3-ubyte.gz

A round is another `random_state`. Each cell has the median and the worst inertia of the rounds, as parts of
the lowest that any of all found, and the milliseconds of the fastest fit. Patches are those of the images of
``--data``, or of scikit-learn's digits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

import bench_gpu
import harness
import numpy as np
import sklearn.cluster
from skimage import data
from sklearn.datasets import load_digits, load_iris, load_wine, make_blobs
from sklearn.preprocessing import scale

from dkmeans import KMeans
from dkmeans.clustering.parameters import choose_n_init

_N_PATCHES = 20_000
_FITS: dict[str, tuple[type, int | str]] = {
    "dkmeans, one start": (KMeans, 1),
    "dkmeans, the default": (KMeans, "auto"),
    "scikit-learn, one start": (sklearn.cluster.KMeans, 1),
    "scikit-learn, best of ten": (sklearn.cluster.KMeans, 10),
}


def tables(images: np.ndarray | None, seed: int) -> Iterator[tuple[str, int, Callable[[], np.ndarray]]]:
    """Names, numbers of clusters, and what makes the rows."""
    for k in (5, 12):
        yield f"blobs of {k}", k, lambda k=k: make_blobs(3000, 2, centers=k, random_state=k)[0]
    yield "iris", 3, lambda: load_iris().data
    yield "iris", 8, lambda: load_iris().data
    yield "wine", 3, lambda: scale(load_wine().data)
    yield "digits", 10, lambda: load_digits().data
    yield "patches", 64, lambda: patches(images, seed)
    for name in ("astronaut", "coffee"):
        yield name, 16, lambda name=name: getattr(data, name)()[::3, ::3].reshape(-1, 3)


def patches(images: np.ndarray | None, seed: int) -> np.ndarray:
    """Draw patches of 5 x 5 that are not blank; shape (n, 25), uint8."""
    if images is None:
        images = load_digits().images.astype(np.uint8) * 15
    windows = np.lib.stride_tricks.sliding_window_view(images, (5, 5), axis=(1, 2))
    rng, drawn = np.random.default_rng(seed), []
    while sum(map(len, drawn)) < _N_PATCHES:
        at = (rng.integers(size, size=_N_PATCHES) for size in windows.shape[:3])
        found = windows[tuple(at)].reshape(-1, 25)
        drawn.append(found[found.any(axis=1)])
    return np.concatenate(drawn)[:_N_PATCHES]


def measure(rows: np.ndarray, k: int, seeds: range) -> dict[str, dict[str, float]]:
    """Median, worst, and milliseconds of each way to fit."""
    found: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for name, (model, n_init) in _FITS.items():
        same = n_init == "auto" and choose_n_init(KMeans(k), rows) == 1
        if same:
            found[name], seconds[name] = (each["dkmeans, one start"] for each in (found, seconds))
            continue
        found[name], seconds[name] = [], np.inf
        for seed in seeds:
            began = time.perf_counter()
            found[name].append(model(k, n_init=n_init, random_state=seed).fit(rows).inertia_)
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    best = min(min(values) for values in found.values())
    return {
        name: {"median": median(values) / best, "worst": max(values) / best, "ms": 1000 * seconds[name]}
        for name, values in found.items()
    }


def markdown(lines: list[dict]) -> str:
    """Draw the table."""
    texts = ["| " + " | ".join(["rows", "clusters", *_FITS]) + " |", "|---|---|" + "---|" * len(_FITS)]
    for line in lines:
        cells = ("{median:.3f}, {worst:.3f}, {ms:.0f} ms".format(**line[name]) for name in _FITS)
        texts.append("| " + " | ".join([line["rows"], str(line["k"]), *cells]) + " |")
    return "\n".join(texts)


def main(argv: list[str] | None = None) -> dict:
    """Fit all tables and print what was found."""
    options = harness.parser(__doc__, rounds=20).parse_args(argv)
    facts = {**harness.facts(options), "missing": []}
    print(harness.heading("Starts", facts))
    images = None if options.data is None else bench_gpu.read_idx(options.data)
    seeds = range(options.seed, options.seed + options.rounds)
    lines = []
    for name, k, make in tables(images, options.seed):
        rows = make()
        lines.append({"rows": f"{name}, {rows.shape}", "k": k, **measure(rows, k, seeds)})
    print(markdown(lines))
    return harness.finish({"facts": facts, "table": lines}, options.json)


if __name__ == "__main__":
    main()
