"""Seconds of each part of seeding, and what the seeds are worth, beside scikit-learn's k-means++.

    python tests/benchmarks/bench_seeds.py --data train-images-idx3-ubyte.gz --n 200000 --k 1000

Every round has another seed; inertia of all rows at the seeds and after 20 iterations is relative to that of
the first line, in the mean. scikit-learn chooses among the rows that dkmeans samples; from 10,000 clusters on
that takes minutes, and --inits leaves it out. Below, the seconds of the parts, wall and CPU, medians of all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import fmean, median

import harness
import numpy as np
from peers import PEERS, add_row_options, draw_rows

from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.seeding import draw_positions, seed_centers
from dkmeans.kernels.exact import snap

_AFTER = 20
_OURS = ("k-means||", "k-means||-cached", "k-means++", "random")
_THEIRS = "scikit-learn"
_COLUMNS = {"seeds": "", "seconds": ".3f", "CPU s": ".3f", "at seeds": ".4f", f"after {_AFTER}": ".5f"}
_PARTS = {"seeds": "", "part": "", "seconds": ".3f", "CPU s": ".3f"}


class _Clock:
    """Seconds between what seeding says, by its first word."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, float, float]] = []

    def __call__(self, note: str) -> None:
        part = note.split(maxsplit=1)[0].strip(",")
        if not self.marks or self.marks[-1][0] != part:
            self.marks.append((part, time.perf_counter(), time.process_time()))

    def parts(self) -> dict[str, tuple[float, float]]:
        """Wall and CPU seconds of each part."""
        pairs = zip(self.marks, self.marks[1:], strict=False)
        return {part: (wall - began, cpu - busy) for (part, began, busy), (_, wall, cpu) in pairs}


def _scikit_learn(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    from sklearn.cluster import kmeans_plusplus

    sample = rows[draw_positions(len(rows), k, seed)].astype(np.float64)
    return snap(kmeans_plusplus(sample, k, random_state=seed)[0], rows.dtype)


def child(name: str, folder: str, k: int, seed: int, threads: int) -> dict:
    """One measurement in this process."""
    rows = np.load(Path(folder, "rows.npy"))
    data = PEERS["dkmeans"].prepare(rows, threads)
    if name in _OURS:
        seed_centers(data, 2, name, seed)  # compiles
    clock = _Clock()
    clock("begin")
    centers = _scikit_learn(rows, k, seed) if name == _THEIRS else seed_centers(data, k, name, seed, clock)
    clock("end")
    history = lloyd(data, State(centers), max_iter=_AFTER + 1, tol=0).history
    return {"parts": clock.parts(), "inertia": [history[0].inertia, history[-1].inertia]}


def measure(folder: Path, options: argparse.Namespace, name: str, number: int) -> dict:
    """One measurement by a child; the number of the round moves the seed."""
    given = {"folder": str(folder), "k": options.k, "seed": options.seed + number, "threads": options.threads}
    return harness.in_child(__file__, options.threads, name=name, **given)


def lines_of(measured: dict[str, list[dict]]) -> tuple[list[dict], list[dict]]:
    """The lines of both tables."""
    first = next(iter(measured.values()))
    lines, parts = [], []
    for name, rounds in measured.items():
        totals = [np.sum(list(one["parts"].values()), axis=0) for one in rounds]
        values = zip(rounds, first, strict=True)
        ratios = [np.divide(one["inertia"], base["inertia"]) for one, base in values]
        line = {"seeds": name, "seconds": median(t[0] for t in totals), "CPU s": median(t[1] for t in totals)}
        for column, at in (("at seeds", 0), (f"after {_AFTER}", 1)):
            line[column] = fmean(ratio[at] for ratio in ratios)
        lines.append(line)
        for part in rounds[0]["parts"] if name != _THEIRS else ():
            wall, cpu = (median(one["parts"].get(part, (0, 0))[at] for one in rounds) for at in (0, 1))
            parts.append({"seeds": name, "part": part, "seconds": wall, "CPU s": cpu})
    return lines, parts


def main(argv: list[str] | None = None) -> dict:
    """Draw the rows, measure all ways of seeding in turn and print two tables."""
    parser = harness.parser(__doc__, k=100)
    add_row_options(parser, n=200_000)
    parser.add_argument("--inits", default=",".join((*_OURS, _THEIRS)), help="which ones, by commas")
    options = parser.parse_args(argv)
    rows = draw_rows(options.data, options.color, options.patch, options.n, options.seed)
    facts = {**harness.facts(options), "n": len(rows), "d": rows.shape[1], "missing": []}
    print(harness.heading("Seeds", facts))
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name, "rows.npy"), rows)
        names = options.inits.split(",")
        measured = harness.interleaved(names, options.rounds, partial(measure, Path(name), options))
    measured = {name: rounds for name, rounds in measured.items() if len(rounds) == options.rounds}
    lines, parts = lines_of(measured)
    print(harness.table(lines, _COLUMNS))
    print(harness.table(parts, _PARTS))
    return harness.finish({"facts": facts, "table": lines, "parts": parts, "rounds": measured}, options.json)


if __name__ == "__main__":
    harness.run(main, child)
