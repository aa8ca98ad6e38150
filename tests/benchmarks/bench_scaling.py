"""What an iteration costs the scheduler and the driver, by the number of tasks in it.

    python tests/benchmarks/bench_scaling.py --tasks 16 256 4096

Each task steps over a block of a few rows, so that what remains is the way there and back: as many tasks as
a fit of rows in memory has on so many threads, or one that reads its rows anew has blocks. The scheduler runs
in the driver's process here, so that its CPU seconds are those of both.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from statistics import median

import harness
import numpy as np

from dkmeans import ClusterConfig
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.rows import Rows, load_given_rows
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.events.reporter import SILENT

_COLUMNS = {"tasks": "", "ms/iteration": ".1f", "us/task": ".0f", "CPU ms of driver and scheduler": ".1f"}


@dataclass(frozen=True)
class _OneByOne(Rows):
    """Rows of which every block is a task of its own."""

    def shares(self) -> list[list[int]]:
        return [[number] for number in range(len(self.blocks))]


def measure(n_tasks: int, options: argparse.Namespace, cluster: Executor) -> dict:
    """Median over iterations of their seconds, and of the CPU seconds of this process."""
    rng = np.random.default_rng(options.seed)
    parts = [rng.integers(0, 256, (options.rows, 25), np.uint8) for _ in range(n_tasks)]
    given = load_given_rows(
        cluster.client.scatter(parts), [options.rows] * n_tasks, 25, parts[0].dtype, cluster
    )
    rows = _OneByOne(given.blocks, given.cuts, 25, parts[0].dtype, cluster, True)
    centers = np.ascontiguousarray(parts[0][: options.k], np.float32)
    clocks = [time.process_time()]
    result = lloyd(
        rows,
        State(centers),
        max_iter=options.iterations,
        tol=0.0,
        on_iteration=lambda state: clocks.append(time.process_time()),
    )
    seconds = median(step.seconds for step in result.history[1:])
    return {
        "tasks": str(n_tasks),
        "ms/iteration": 1e3 * seconds,
        "us/task": 1e6 * seconds / n_tasks,
        "CPU ms of driver and scheduler": 1e3 * median(np.diff(clocks)[1:].tolist()),
    }


def main(argv: list[str] | None = None) -> dict:
    """Measure each number of tasks and print a table."""
    parser = harness.parser(__doc__, k=16)
    parser.add_argument("--tasks", type=int, nargs="+", default=[16, 256, 4096])
    parser.add_argument("--rows", type=int, default=64, help="of a block")
    parser.add_argument("--iterations", type=int, default=8)
    options = parser.parse_args(argv)
    facts = {**harness.facts(options), "missing": []}
    print(harness.heading("Tasks of an iteration", facts))
    config = ClusterConfig(workers=1, threads_per_worker=options.threads, device="cpu")
    with connect(config, SILENT) as cluster:
        lines = [measure(n_tasks, options, cluster) for n_tasks in options.tasks]
    print(harness.table(lines, _COLUMNS))
    return harness.finish({"facts": facts, "table": lines}, options.json)


if __name__ == "__main__":
    main()
