"""What Dask costs: the loop of a fit beside the same kernels called by a plain loop of Python threads.

    python tests/benchmarks/bench_overhead.py --data train-images-idx3-ubyte.gz --n 2000000 --k 100

The same rows in the same blocks, the same first centers and number of iterations, in turn, warm: a pool of
threads, the fit on Dask's threads in this process, and on a local cluster of one worker with as many threads.
Seconds of an iteration are the mean from the second on, the sums and new centers included.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from statistics import fmean
from typing import Any

import harness
import numpy as np
from peers import add_row_options, draw_rows, first_centers

from dkmeans import ClusterConfig, kernels
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.rows import load_given_rows
from dkmeans.compute.connecting import connect
from dkmeans.compute.distributed import Distributed
from dkmeans.compute.executor import Executor
from dkmeans.compute.in_process import InProcess
from dkmeans.events.reporter import SILENT
from dkmeans.kernels import exact

_PLAIN = "threads"
_COLUMNS = {
    "loop": "",
    "s/iteration": ".5f",
    "ms more": ".2f",
    f"x {_PLAIN}": ".3f",
    "inertia": ".10g",
}


def plain_loop(parts: list[np.ndarray], centers: np.ndarray, n_iter: int, threads: int) -> dict:
    """Lloyd's iterations by a pool of threads and nothing else."""
    blocks = [kernels.load(part) for part in parts]
    previous, seconds = None, []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(n_iter):
            began = time.perf_counter()
            step = partial(_step, centers=centers, previous=previous)
            stats = exact.merge(list(pool.map(step, blocks)))
            inertia = exact.inertia(stats, centers, parts[0].dtype)
            previous, centers = centers, exact.update_centers(stats, centers, parts[0].dtype)
            exact.center_shift(previous, centers, parts[0].dtype)
            seconds.append(time.perf_counter() - began)
    return {"seconds": fmean(seconds[1:]), "inertia": inertia}


def _step(block: kernels.Block, centers: np.ndarray, previous: np.ndarray | None) -> Any:
    return block.lloyd(centers, previous)


def dask_loop(parts: list[np.ndarray], centers: np.ndarray, n_iter: int, cluster: Executor) -> dict:
    """The same through the loop of a fit."""
    values = cluster.client.scatter(parts) if isinstance(cluster, Distributed) else parts
    rows = load_given_rows(values, [len(part) for part in parts], parts[0].shape[1], parts[0].dtype, cluster)
    history = lloyd(rows, State(centers), max_iter=n_iter, tol=0.0, on_iteration=lambda step: None).history
    return {"seconds": fmean(step.seconds for step in history[1:]), "inertia": history[-1].inertia}


def measure_all(parts: list[np.ndarray], centers: np.ndarray, options: argparse.Namespace) -> dict:
    """All three loops, round by round, after a short warm one of each."""
    config = ClusterConfig(workers=1, threads_per_worker=options.threads, device="cpu")
    with ExitStack() as stack:
        clusters = {
            "Dask threads": InProcess(options.threads, device="cpu"),
            "Dask worker": stack.enter_context(connect(config, SILENT)),
        }

        def measure(name: str, number: int, n_iter: int = options.iterations) -> dict:
            if name == _PLAIN:
                return plain_loop(parts, centers, n_iter, options.threads)
            return dask_loop(parts, centers, n_iter, clusters[name])

        names = [_PLAIN, *clusters]
        harness.interleaved(names, 1, partial(measure, n_iter=2))
        return harness.interleaved(names, options.rounds, measure)


def main(argv: list[str] | None = None) -> dict:
    """Draw the rows, measure the loops in turn and print a table."""
    parser = harness.parser(__doc__, k=100)
    add_row_options(parser, n=200_000)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--blocks", type=int, default=16)
    options = parser.parse_args(argv)
    rows = draw_rows(options.data, options.color, options.patch, options.n, options.seed)
    centers = first_centers(rows, options.k, options.seed)
    facts = {**harness.facts(options), "n": len(rows), "d": rows.shape[1], "missing": []}
    print(harness.heading("Dask's own cost", facts))
    measured = measure_all(np.array_split(rows, options.blocks), centers, options)
    lines = []
    for name, rounds in measured.items():
        seconds, inertia = harness.median(rounds, "seconds"), rounds[0]["inertia"]
        lines.append({"loop": name, "s/iteration": seconds, "inertia": inertia})
        lines[-1]["ms more"] = 1e3 * (seconds - lines[0]["s/iteration"])
    harness.compare(lines, "s/iteration", f"x {_PLAIN}")
    print(harness.table(lines, _COLUMNS))
    return harness.finish({"facts": facts, "table": lines, "rounds": measured}, options.json)


if __name__ == "__main__":
    main()
