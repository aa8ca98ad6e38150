"""What an iteration costs beside the kernels: by the number of workers, of blocks and of clusters.

    python tests/benchmarks/bench_scaling.py --workers 2 10 50 200 --clusters 100 10000

The scheduler and the driver run in this process, workers in others, several in each: real ones with the real
protocol, over TCP on this machine. A block holds a few rows, so that what remains is the way there and back.
CPU seconds are those of this process, scheduler and driver together; the clock also shows the workers, which
have to share this machine's cores, so that of more workers than cores it is an upper bound. `ms by tasks` is
the same step by a task for each block.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import distributed
import harness
import numpy as np
from dask.delayed import delayed

from dkmeans.clustering.rows import load_given_rows
from dkmeans.clustering.work import StepWork, Teller
from dkmeans.compute.distributed import Distributed
from dkmeans.compute.rounds import Rounds
from dkmeans.compute.tree import reduced
from dkmeans.kernels import Block, Stats, arithmetic

_COLUMNS = {
    "workers": "d",
    "blocks": "d",
    "k": "d",
    "ms/iteration": ".2f",
    "CPU ms of driver and scheduler": ".2f",
    "ms by tasks": ".1f",
}
_PER_PROCESS = 25
"""Workers in one process, at most."""
_FEATURES = 25


async def _serve(address: str, n_workers: int) -> None:
    """Run workers of one thread in this process until the scheduler goes."""
    workers = [distributed.Worker(address, nthreads=1, memory_limit=0) for _ in range(n_workers)]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))


@contextmanager
def started(n_workers: int) -> Iterator[Distributed]:
    """Start a scheduler here and workers in processes of their own."""
    with (
        distributed.LocalCluster(n_workers=0, protocol="tcp://", dashboard_address="127.0.0.1:0") as local,
        distributed.Client(local) as client,
    ):
        n_processes = max(min(2, n_workers), -(-n_workers // _PER_PROCESS))
        sizes = [len(part) for part in np.array_split(range(n_workers), n_processes)]
        command = [sys.executable, __file__, "--serve", local.scheduler_address]
        processes = [subprocess.Popen([*command, str(size)]) for size in sizes]
        try:
            client.wait_for_workers(n_workers, timeout=120)
            yield Distributed(client, device="cpu")
        finally:
            client.retire_workers()
            for process in processes:
                process.terminate()
                process.wait()


def by_rounds(rounds: Rounds, steps: list[np.ndarray]) -> list[tuple[float, float]]:
    """Seconds and CPU seconds of each step."""
    teller, measured, previous = Teller(), [], None
    for centers in steps:
        began, worked = time.perf_counter(), time.process_time()
        _, left = rounds.call(teller.step(centers, previous))
        measured.append((time.perf_counter() - began, time.process_time() - worked))
        previous = centers
        if left:
            raise SystemExit(f"found {len(left)} blocks left to tasks; expected none")
    return measured


def _step(block: Block, centers: np.ndarray, previous: np.ndarray) -> Stats:
    return block.lloyd(centers, previous)


def measure(n_workers: int, k: int, options: argparse.Namespace, cluster: Distributed) -> dict:
    """Median over iterations, of which the first few are not counted."""
    rng = np.random.default_rng(options.seed)
    n_blocks = max(2, n_workers) * options.blocks
    parts = [rng.integers(0, 256, (options.rows, _FEATURES), np.uint8) for _ in range(n_blocks)]
    rows = load_given_rows(
        cluster.client.scatter(parts), [options.rows] * n_blocks, _FEATURES, parts[0].dtype, cluster
    )
    first = rng.integers(0, 256, (k, _FEATURES)).astype(np.float32)
    steps = [first + np.float32(number % 2) / 8 for number in range(options.iterations + 3)]
    rounds = cluster.rounds(StepWork(rows.dtype), rows.blocks)
    measured = by_rounds(rounds, steps)[3:]
    rounds.close()
    tasks = []
    if n_blocks * k <= options.most:
        for number in range(1, 5):
            began = time.perf_counter()
            step = [delayed(_step)(block, steps[number], steps[number - 1]) for block in rows.blocks]
            reduced(cluster, arithmetic(rows.dtype).merge, step)
            tasks.append(time.perf_counter() - began)
    return {
        "workers": n_workers,
        "blocks": n_blocks,
        "k": k,
        "ms/iteration": 1e3 * median(seconds for seconds, _ in measured),
        "CPU ms of driver and scheduler": 1e3 * median(seconds for _, seconds in measured),
        "ms by tasks": 1e3 * median(tasks[1:]) if tasks else None,
    }


def main(argv: list[str] | None = None) -> dict:
    """Measure each number of workers and print a table."""
    parser = harness.parser(__doc__, k=100)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 10, 50, 200])
    parser.add_argument("--clusters", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--blocks", type=int, default=1, help="of a worker")
    parser.add_argument("--rows", type=int, default=16, help="of a block")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument(
        "--most", type=int, default=100_000, help="blocks times clusters up to which tasks are measured, too"
    )
    options = parser.parse_args(argv)
    facts = {**harness.facts(options), "missing": []}
    print(harness.heading("Iterations beside the kernels", facts))
    lines = []
    for n_workers in options.workers:
        with started(n_workers) as cluster:
            lines += [measure(n_workers, k, options, cluster) for k in options.clusters]
    print(harness.table(lines, _COLUMNS))
    return harness.finish({"facts": facts, "table": lines}, options.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(_serve(sys.argv[2], int(sys.argv[3])))
    else:
        main()
