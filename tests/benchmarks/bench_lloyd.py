"""Seconds of a Lloyd iteration, and memory: dkmeans beside other libraries on the same rows.

    python tests/benchmarks/bench_lloyd.py --data train-images-idx3-ubyte.gz --n 2000000 --k 1000

The same rows, first centers, number of iterations and threads for all, in turn, each in a process of its own
that is warm. Seconds of an iteration are the mean from the second on. Where a library does not tell them,
they are the difference of a run of all iterations and a run of one.

Columns: `fit s` is the whole call, with the first iteration and what the library does before and after;
`cores` how many it kept busy; `base MiB` the process with its libraries and the uint8 rows, `peak MiB` the
most it ever held; `x dkmeans` how many times as long as dkmeans an iteration takes.

Measure on an idle machine. Where `cores` is well below the threads, there was other work; OpenMP's threads,
which wait for each other by spinning, then make it worse: faiss takes four times as long on one free core.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
from peers import OURS, PEERS, Peer, add_row_options, draw_rows, exact_inertia, first_centers

_COLUMNS = {
    "library": "",
    "version": "",
    "s/iteration": ".4f",
    "pairs/s": ".3g",
    "fit s": ".2f",
    "cores": ".2f",
    "base MiB": ".0f",
    "peak MiB": ".0f",
    "inertia": ".8g",
    f"x {OURS}": ".2f",
}
_WARM_ROWS = 20_000


def seconds_per_iteration(peer: Peer, data: Any, centers: np.ndarray, n_iter: int, threads: int) -> dict:
    """One measurement of a peer, and the centers that it ends with."""
    with harness.timed() as whole:
        fit = peer.fit(data, centers, n_iter, threads)
    peak = harness.peak_mib()
    if peer.tells:
        later = sum(fit.seconds[1:])
    else:
        with harness.timed() as single:
            peer.fit(data, centers, 1, threads)
        later = whole.seconds - single.seconds
    return {
        "seconds": later / (fit.n_iter - 1),
        "fit": whole.seconds,
        "cores": whole.cores,
        "peak": peak,
        "n_iter": fit.n_iter,
        "centers": fit.centers,
    }


def warm_up(peer: Peer, path: Path, centers: np.ndarray, threads: int) -> None:
    """Two iterations on the first rows: code is loaded or compiled, threads are started."""
    rows = np.load(path, mmap_mode="r")[: max(_WARM_ROWS, 2 * len(centers))]
    peer.fit(peer.prepare(rows, threads), centers[: len(rows) // 2], 2, threads)


def child(name: str, folder: str, n_iter: int, threads: int) -> dict:
    """Measure one library in this process; its centers go to a file."""
    peer, centers = PEERS[name], np.load(Path(folder, "centers.npy"))
    warm_up(peer, Path(folder, "rows.npy"), centers, threads)
    rows = np.load(Path(folder, "rows.npy"))
    base = harness.resident_mib()
    data = peer.prepare(rows, threads)
    del rows
    found = seconds_per_iteration(peer, data, centers, n_iter, threads)
    np.save(Path(folder, f"{name}.npy"), found.pop("centers"))
    return {**found, "base": base, "threads": harness.library_threads()}


def measure(folder: Path, options: argparse.Namespace, name: str, number: int) -> dict:
    """One measurement of one library, by a child."""
    threads = 1 if PEERS[name].own_threads else options.threads
    given = {"folder": str(folder), "n_iter": options.iterations, "threads": options.threads}
    return harness.in_child(__file__, threads, name=name, **given)


def line(name: str, rounds: list[dict], folder: Path, rows: np.ndarray, k: int) -> dict:
    """What the table says of one library, but how it compares."""
    known = {"library": name, "version": harness.version(PEERS[name].package)}
    if not rounds:
        return known
    seconds = harness.median(rounds, "seconds")
    return {
        **known,
        "s/iteration": seconds,
        "pairs/s": len(rows) * k / seconds,
        "fit s": harness.median(rounds, "fit"),
        "cores": harness.median(rounds, "cores"),
        "base MiB": harness.median(rounds, "base"),
        "peak MiB": max(one["peak"] for one in rounds),
        "inertia": exact_inertia(rows, np.load(folder / f"{name}.npy")),
    }


def main(argv: list[str] | None = None) -> dict:
    """Draw the rows, measure all libraries in turn and print a table."""
    parser = harness.parser(__doc__, k=100)
    add_row_options(parser, n=200_000)
    harness.add_peer_option(parser, PEERS)
    parser.add_argument("--iterations", type=int, default=10)
    options = parser.parse_args(argv)
    names, missing = harness.who_comes([name for name in options.peers if PEERS[name].exact], PEERS)
    rows = draw_rows(options.data, options.color, options.patch, options.n, options.seed)
    facts = {**harness.facts(options), "n": len(rows), "d": rows.shape[1], "missing": missing}
    print(harness.heading("Lloyd iterations", facts))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "rows.npy", rows)
        np.save(folder / "centers.npy", first_centers(rows, options.k, options.seed))
        measured = harness.interleaved(names, options.rounds, partial(measure, folder, options))
        lines = [line(name, rounds, folder, rows, options.k) for name, rounds in measured.items()]
    harness.compare(lines, "s/iteration", f"x {OURS}")
    print(harness.table(lines, _COLUMNS))
    return harness.finish({"facts": facts, "table": lines, "rounds": measured}, options.json)


if __name__ == "__main__":
    harness.run(main, child)
