"""Inertia of one start, and of the best of several, beside scikit-learn's.

    python tests/benchmarks/bench_starts.py --rounds 20

Blobs, and the tables that come with scikit-learn; a round is another `random_state`. Columns: the median and
the worst inertia of the rounds, as a part of the lowest that any found.
"""

from __future__ import annotations

from statistics import median

import harness
import numpy as np
import sklearn.cluster
from sklearn.datasets import load_digits, load_iris, load_wine, make_blobs
from sklearn.preprocessing import scale

from dkmeans import KMeans

_STARTS = (1, 5, 10)
_COLUMNS = {
    **{"rows": "", "k": "", "n_init": "", "dkmeans": ".4f", "worst": ".4f"},
    **{"scikit-learn": ".4f", "its worst": ".4f"},
}


def tables() -> list[tuple[str, np.ndarray, int]]:
    """Names, rows, numbers of clusters."""
    blobs = [(f"blobs of {k}", make_blobs(3000, 2, centers=k, random_state=k)[0], k) for k in (3, 5, 8, 12)]
    iris, wine = load_iris().data, scale(load_wine().data)
    return [
        *blobs,
        ("iris", iris, 3),
        ("iris", iris, 8),
        ("wine", wine, 3),
        ("digits", load_digits().data, 10),
    ]


def measure(rows: np.ndarray, k: int, seeds: range) -> list[dict]:
    """A line for each number of starts."""
    ours, theirs = (
        {n: [model(k, n_init=n, random_state=seed).fit(rows).inertia_ for seed in seeds] for n in _STARTS}
        for model in (KMeans, sklearn.cluster.KMeans)
    )
    best = min(min(found) for one in (ours, theirs) for found in one.values())
    return [
        {
            "n_init": n,
            "dkmeans": median(ours[n]) / best,
            "worst": max(ours[n]) / best,
            "scikit-learn": median(theirs[n]) / best,
            "its worst": max(theirs[n]) / best,
        }
        for n in _STARTS
    ]


def main(argv: list[str] | None = None) -> dict:
    """Fit all tables and print what was found."""
    parser = harness.parser(__doc__, rounds=20)
    options = parser.parse_args(argv)
    facts = {**harness.facts(options), "missing": []}
    print(harness.heading("Starts", facts))
    lines = []
    for name, rows, k in tables():
        seeds = range(options.seed, options.seed + options.rounds)
        lines += [{"rows": name, "k": k, **line} for line in measure(rows, k, seeds)]
    print(harness.table(lines, _COLUMNS))
    return harness.finish({"facts": facts, "table": lines}, options.json)


if __name__ == "__main__":
    main()
