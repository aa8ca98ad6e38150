"""Iterations and seconds of relaxed steps until the inertia is that of plain ones.

    python tests/benchmarks/bench_relaxation.py --data train-images-idx3-ubyte.gz --n 300000 --k 1000
    python tests/benchmarks/bench_relaxation.py --data PHOTOS --colors --k 256

Rows that are drawn once and k-means|| seeds, other ones in every round; with --colors the colors of one image
after another and the starts of its palette. From the same centers plain and relaxed steps are taken, without
a tolerance, and last those of a fit as it is by default.

Columns: iterations until the inertia that plain steps have after 20, 40 and as many as there may be, and
their part of the CPU seconds of these, means of the rounds that get there; the others are counted behind
``-``. `end` is the mean inertia after as many iterations, as a part of the plain one, `worst` that of the
worst round, `iterations` how many were taken, and `rises` rounds in which inertia rose: none.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from statistics import fmean
from typing import Any, NamedTuple

import harness
import numpy as np
from peers import add_row_options, draw_rows

from dkmeans import kernels
from dkmeans.clustering.loop import State, iterate
from dkmeans.clustering.rows import load_given_rows
from dkmeans.clustering.seeding import seed_centers
from dkmeans.clustering.starts import find_starts
from dkmeans.compute.in_process import InProcess
from dkmeans.config.stages import LearningConfig
from dkmeans.features.histogram import Histogram
from dkmeans.images.sources import open_source

_TARGETS = (20, 40)
_RELAXATIONS = (1.5, 1.7, 1.8, 1.9, 1.95)
_MOST_PIXELS = 1 << 28


class Start(NamedTuple):
    """Rows, how often each counts, and first centers."""

    rows: np.ndarray
    counts: np.ndarray | None
    centers: np.ndarray


class Course(NamedTuple):
    """Inertia after each iteration, the first centers' before all, and CPU seconds until then."""

    inertias: np.ndarray
    seconds: np.ndarray


def starts_of_rows(options: argparse.Namespace) -> Iterator[Start]:
    """The same rows in each round, from other seeds."""
    rows = draw_rows(options.data, options.color, options.patch, options.n, options.seed)
    given = load_given_rows([rows], [len(rows)], rows.shape[1], rows.dtype, InProcess(1))
    for seed in range(options.seed, options.seed + options.rounds):
        yield Start(rows, None, seed_centers(given, options.k, "k-means||", seed))


def starts_of_colors(options: argparse.Namespace) -> Iterator[Start]:
    """The colors of an image in each round."""
    images = open_source(options.data).read("rgb", max_pixels=_MOST_PIXELS)
    for image, _ in zip(images, range(options.rounds), strict=False):
        found = Histogram.of(image.pixels.reshape(-1, 3), "cpu")
        first = find_starts(found.colors, found.counts, options.k, options.seed, int(found.counts.sum()))[0]
        yield Start(found.colors, found.counts, first)


def run(start: Start, pace: dict[str, Any]) -> Course:
    """The iterations from a start."""
    block, seconds = kernels.load(start.rows, "cpu", start.counts), [time.process_time()]
    found = iterate(
        block,
        State(start.centers),
        on_iteration=lambda _: seconds.append(time.process_time()),
        **pace,
    )
    inertias = [*(step.inertia for step in found.history), found.inertia]
    return Course(np.array(inertias), np.array(seconds) - seconds[0])


def line(name: str, plain: list[Course], courses: list[Course], n_iter: int) -> dict[str, Any]:
    """What the table says of one way to take steps."""
    pairs = list(zip(plain, courses, strict=True))
    ends = [course.inertias[-1] / before.inertias[-1] for before, course in pairs]
    found: dict[str, Any] = {
        "steps": name,
        "end": fmean(ends),
        "worst": max(ends),
        "iterations": fmean(len(course.inertias) - 1 for course in courses),
        "rises": sum(bool((np.diff(course.inertias) > 0).any()) for course in courses),
    }
    for target in (*_TARGETS, n_iter):
        among = [pair for pair in pairs if len(pair[0].inertias) > target]
        reached = [(pair, np.flatnonzero(pair[1].inertias <= pair[0].inertias[target])) for pair in among]
        there = [(before, course, at[0]) for (before, course), at in reached if len(at)]
        if there:
            steps = fmean(at for _, _, at in there)
            part = fmean(course.seconds[at] / before.seconds[target] for before, course, at in there)
            missed = f" -{len(among) - len(there)}" if len(there) < len(among) else ""
            found[f"to {target}"] = f"{steps:.1f} {part:.2f}{missed}"
    return found


def main(argv: list[str] | None = None) -> dict:
    """Take plain and relaxed steps from the same starts, and print a table."""
    parser = harness.parser(__doc__, k=1000, rounds=5)
    add_row_options(parser, n=300_000)
    parser.add_argument("--colors", action="store_true", help="palettes of the single images of --data")
    parser.add_argument("--iterations", type=int, default=100, help="the most of them")
    options = parser.parse_args(argv)
    if options.colors and not options.data:
        parser.error("--colors needs --data")
    n_iter = options.iterations
    plain = {"max_iter": n_iter, "tol": 0}
    ways: dict[str, dict[str, float]] = {
        "plain": plain,
        **{f"relaxed {factor}": {**plain, "relaxation": factor} for factor in _RELAXATIONS},
        "default": {**LearningConfig().pace, "max_iter": n_iter},
    }
    courses: dict[str, list[Course]] = {name: [] for name in ways}
    for start in (starts_of_colors if options.colors else starts_of_rows)(options):
        for name, pace in ways.items():
            courses[name].append(run(start, pace))
    facts = {**harness.facts(options), "missing": []}
    print(harness.heading("Relaxed steps", facts))
    lines = [line(name, courses["plain"], found, n_iter) for name, found in courses.items()]
    columns = {"steps": "", **{f"to {target}": "" for target in (*_TARGETS, n_iter)}}
    columns |= {"end": ".5f", "worst": ".5f", "iterations": ".0f", "rises": ""}
    print(harness.table(lines, columns))
    return harness.finish({"facts": facts, "table": lines}, options.json)


if __name__ == "__main__":
    main()
