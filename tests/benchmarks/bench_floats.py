"""Whole fits of float rows: `KMeans.fit` of dkmeans beside that of scikit-learn, for a table of shapes.

    python tests/benchmarks/bench_floats.py --features 128 --clusters 256 --dtypes float32

The same rows (Gauss clusters, as many as K, that overlap), first centers, number of iterations, dtype and
threads for both, in turn, each in a process of its own that is warm: `tol` is 0, and dkmeans takes plain
steps. `s` is the wall clock of the call, `cpu s` the time of all its threads, which other work on the machine
disturbs less; `x` and `cpu x` say how many times as long scikit-learn takes.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import numpy as np

OURS, THEIRS = "dkmeans", "scikit-learn"
_COLUMNS = {
    "shape": "",
    "dtype": "",
    "iterations": "",
    f"{OURS} s": ".3f",
    "cpu s": ".3f",
    f"{THEIRS} s": ".3f",
    "its cpu s": ".3f",
    "x": ".2f",
    "cpu x": ".2f",
    "inertia x": ".6f",
}
_MOST_NUMBERS = 1 << 24
"""Wide rows are fewer: so many numbers at most."""
_WARM_ROWS = 5000


def draw(n: int, d: int, k: int, dtype: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows around `k` means, and some of them as the first centers."""
    rng = np.random.default_rng((seed, d, k))
    means = rng.normal(size=(k, d))
    rows = (means[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)
    return rows, rows[rng.choice(n, k, replace=False)]


def model(library: str, centers: np.ndarray, iterations: int, threads: int) -> Any:
    """An estimator that has its first centers, and stops where nothing moves or after `iterations`."""
    k, given = len(centers), {"init": centers, "max_iter": iterations, "tol": 0}
    if library == OURS:
        from dkmeans import KMeans

        return KMeans(k, relaxation=1, min_gain=0, n_jobs=threads, device="cpu", **given)
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=1, algorithm="lloyd", **given)


def child(
    *, library: str, d: int, clusters: list[int], dtype: str, n: int, iterations: int, threads: int, seed: int
) -> dict:
    """Fit rows of `d` features with one library, for each number of clusters."""
    found = {}
    for k in clusters:
        rows, centers = draw(n, d, k, dtype, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            model(library, centers, 2, threads).fit(rows[: max(_WARM_ROWS, 2 * k)])
            began, busy = time.perf_counter(), time.process_time()
            fitted = model(library, centers, iterations, threads).fit(rows)
        found[str(k)] = {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - busy,
            "n_iter": int(fitted.n_iter_),
            "inertia": float(fitted.inertia_),
        }
    return found


def measure(options: argparse.Namespace, d: int, dtype: str, n: int, library: str, _: int) -> dict:
    """What `child` finds, in a process of its own."""
    given = {"clusters": options.clusters, "iterations": options.iterations, "seed": options.seed}
    inner = 1 if library == OURS else options.threads
    return harness.in_child(
        __file__, inner, library=library, d=d, dtype=dtype, n=n, threads=options.threads, **given
    )


def line(n: int, d: int, k: int, dtype: str, ours: list[dict], theirs: list[dict]) -> dict:
    """A row of the table, of medians."""
    values = {name: [harness.median(each, name) for each in (ours, theirs)] for name in ("seconds", "cpu")}
    (seconds, their_seconds), (cpu, their_cpu) = values["seconds"], values["cpu"]
    return {
        "shape": f"{n} x {d}, K = {k}",
        "dtype": dtype,
        "iterations": f"{ours[0]['n_iter']}/{theirs[0]['n_iter']}",
        f"{OURS} s": seconds,
        "cpu s": cpu,
        f"{THEIRS} s": their_seconds,
        "its cpu s": their_cpu,
        "x": their_seconds / seconds,
        "cpu x": their_cpu / cpu,
        "inertia x": theirs[0]["inertia"] / ours[0]["inertia"],
    }


def main(argv: list[str] | None = None) -> dict:
    """Print the table, and return it with all numbers."""

    def listed(kind: Callable[[str], Any]) -> Callable[[str], list]:
        return lambda text: [kind(part) for part in text.split(",")]

    parser = harness.parser(__doc__)
    parser.add_argument("--n", type=int, default=100_000, help="rows, fewer where they are wide")
    parser.add_argument("--features", type=listed(int), default=[3, 16, 64, 128, 784])
    parser.add_argument("--clusters", type=listed(int), default=[8, 100, 256, 1000])
    parser.add_argument("--dtypes", type=listed(str), default=["float32", "float64"])
    parser.add_argument("--iterations", type=int, default=10, help="most of a fit")
    options = parser.parse_args(argv)
    facts = {**harness.facts(options), "missing": [], "versions": [harness.version(THEIRS)]}
    print(harness.heading("Fits of float rows", facts))
    lines, rounds = [], {}
    for d in options.features:
        n = min(options.n, _MOST_NUMBERS // d)
        for dtype in options.dtypes:
            found = harness.interleaved(
                [OURS, THEIRS], options.rounds, partial(measure, options, d, dtype, n)
            )
            rounds[f"{d} {dtype}"] = found
            for k in options.clusters:
                ours, theirs = ([one[str(k)] for one in found[name]] for name in (OURS, THEIRS))
                lines.append(line(n, d, k, dtype, ours, theirs))
    print(harness.table(lines, _COLUMNS))
    return harness.finish({"facts": facts, "table": lines, "rounds": rounds}, options.json)


if __name__ == "__main__":
    harness.run(main, child)
