"""Seconds from rows to a good codebook: seeding, and iterations until inertia is within 0.1 % of the best.

    python tests/benchmarks/bench_quality.py --data train-images-idx3-ubyte.gz --n 200000 --k 1000

Every round has another seed and its own best inertia, the lowest that any library found. Each library seeds
in its own way: k-means|| (dkmeans, dask-ml), k-means++ (scikit-learn, also for its Intel edition), rows drawn
at random (faiss); mini-batches seed within their fit, and their iterations are passes over the rows. Where a
library does not tell the inertia of its iterations, it runs from its seeds for 1, 2, 5, 10, ... of them. From
1,000 clusters on dask-ml seeds for minutes; --peers leaves it out.

Columns: `seeding s`; inertia relative to the best at the seeds, after 20 iterations and at last; `in time`
how many rounds came within 0.1 % of the best, and after how many seconds, seeding included; `x dkmeans` how
many times as long as dkmeans that took. Below, seeding beside passes that compare all rows with all centers.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import harness
import numpy as np
from peers import OURS, PEERS, Fit, Peer, add_row_options, draw_rows, exact_inertia

_LADDER = (1, 2, 5, 10, 20, 50, 100, 200)
_AFTER = 20
_NEAR = 1.001
_WARM_ROWS = 5_000
_WARM_CLUSTERS = 10
_COLUMNS = {
    "library": "",
    "seeding s": ".3f",
    "at seeds": ".4f",
    f"after {_AFTER}": ".5f",
    "at last": ".5f",
    "in time": "",
    "to 0.1 % s": ".3f",
    f"x {OURS}": ".2f",
}
_BRUTE = ("scikit-learn", "faiss")


def told_curve(fit: Fit, seeding: float) -> list[tuple[int, float, float]]:
    """Updates done, seconds and inertia after each iteration of a library that tells them."""
    ends = accumulate(fit.seconds, initial=seeding)
    next(ends)
    return list(zip(range(fit.n_iter), ends, fit.inertias, strict=True))


def tried_curve(
    refit: Callable[[int], Fit], n_iter: int, seeding: float, rows: np.ndarray
) -> list[tuple[int, float, float]]:
    """The same from whole runs of more and more iterations."""
    curve = []
    for steps in [step for step in _LADDER if step < n_iter] + [n_iter]:
        with harness.timed() as spent:
            fit = refit(steps)
        curve.append((steps, seeding + spent.seconds, exact_inertia(rows, fit.centers)))
    return curve


def curve(peer: Peer, rows: np.ndarray, k: int, seed: int, n_iter: int, threads: int) -> dict:
    """Seeding and iterations of one library."""
    data = peer.prepare(rows, threads)
    with harness.timed() as spent:
        seeds = peer.seeds(data, k, seed, threads)
    refit = partial(peer.fit, data, seeds, threads=threads)
    if peer.tells:
        return {"seeding": spent.seconds, "curve": told_curve(refit(n_iter), spent.seconds)}
    found = tried_curve(refit, n_iter, spent.seconds, rows)
    if peer.exact:
        found.insert(0, (0, spent.seconds, exact_inertia(rows, seeds)))
    return {"seeding": spent.seconds, "curve": found}


def brute_pass(name: str, rows: np.ndarray, k: int, threads: int) -> dict:
    """Seconds of one pass of a library that compares every row with every center."""
    data, centers = rows.astype(np.float32), rows[:k].astype(np.float32)
    if name == "faiss":
        import faiss

        faiss.omp_set_num_threads(threads)
        compare = partial(faiss.knn, data, centers, 1)
    else:
        from sklearn.metrics import pairwise_distances_argmin

        compare = partial(pairwise_distances_argmin, data, centers)
    compare()
    with harness.timed() as spent:
        compare()
    return {"seconds": spent.seconds}


def child(task: str, name: str, folder: str, k: int, seed: int, n_iter: int, threads: int) -> dict:
    """One measurement in this process."""
    rows = np.load(Path(folder, "rows.npy"))
    if task == "brute":
        return brute_pass(name, rows, k, threads)
    curve(PEERS[name], rows[:_WARM_ROWS], min(k, _WARM_CLUSTERS), seed, 2, threads)
    return curve(PEERS[name], rows, k, seed, n_iter, threads)


def measure(task: str, folder: Path, options: argparse.Namespace, name: str, number: int) -> dict:
    """One measurement of one library, by a child; the number of the round moves the seed."""
    given = {"folder": str(folder), "k": options.k, "seed": options.seed + number, "threads": options.threads}
    inner = 1 if PEERS[name].own_threads else options.threads
    return harness.in_child(__file__, inner, task=task, name=name, n_iter=options.iterations, **given)


def best_of_rounds(measured: dict[str, list[dict]]) -> list[float]:
    """The lowest inertia of each round."""
    rounds = zip(*measured.values(), strict=True)
    return [min(inertia for one in found for _, _, inertia in one["curve"]) for found in rounds]


def line(name: str, rounds: list[dict], best: list[float]) -> dict:
    """What the table says of one library, but how it compares."""
    curves = [one["curve"] for one in rounds]
    early = [[point for point in points if point[0] <= _AFTER][-1] for points in curves]
    reached = [
        next((seconds for _, seconds, inertia in points if inertia <= _NEAR * low), None)
        for points, low in zip(curves, best, strict=True)
    ]
    in_time = [seconds for seconds in reached if seconds is not None]

    def relative(points: list[Any]) -> float:
        return fmean(point[2] / low for point, low in zip(points, best, strict=True))

    return {
        "library": name,
        "seeding s": harness.median(rounds, "seeding"),
        "at seeds": relative([points[0] for points in curves]) if PEERS[name].exact else None,
        f"after {_AFTER}": relative(early),
        "at last": relative([points[-1] for points in curves]),
        "in time": f"{len(in_time)} of {len(rounds)}",
        "to 0.1 % s": fmean(in_time) if in_time else None,
    }


def seeding_words(brute: dict[str, list[dict]], seeding: float) -> list[str]:
    """How long our seeding takes beside passes of brute force."""
    seconds = {name: harness.median(rounds, "seconds") for name, rounds in brute.items() if rounds}
    return [
        f"a pass of {name} takes {one:.3f} s; {OURS} seeds in {seeding / one:.2f} of them"
        for name, one in seconds.items()
    ]


def main(argv: list[str] | None = None) -> dict:
    """Draw the rows, measure all libraries in turn and print a table."""
    parser = harness.parser(__doc__, k=100)
    add_row_options(parser, n=200_000)
    harness.add_peer_option(parser, PEERS)
    parser.add_argument("--iterations", type=int, default=50, help="the most of them")
    options = parser.parse_args(argv)
    names, missing = harness.who_comes(options.peers, PEERS)
    rows = draw_rows(options.data, options.color, options.patch, options.n, options.seed)
    facts = {**harness.facts(options), "n": len(rows), "d": rows.shape[1], "missing": missing}
    print(harness.heading("Time to quality", facts))
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name, "rows.npy"), rows)
        measured = harness.interleaved(names, options.rounds, partial(measure, "curve", Path(name), options))
        brute = harness.interleaved(
            [peer for peer in _BRUTE if harness.version(PEERS[peer].package)],
            1,
            partial(measure, "brute", Path(name), options),
        )
    measured = {name: rounds for name, rounds in measured.items() if len(rounds) == options.rounds}
    best = best_of_rounds(measured)
    lines = [line(name, rounds, best) for name, rounds in measured.items()]
    harness.compare(lines, "to 0.1 % s", f"x {OURS}")
    print(harness.table(lines, _COLUMNS))
    print("\n".join(seeding_words(brute, lines[0]["seeding s"])))
    return harness.finish({"facts": facts, "table": lines, "rounds": measured, "brute": brute}, options.json)


if __name__ == "__main__":
    harness.run(main, child)
