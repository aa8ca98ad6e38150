"""Lloyd iterations on the device, ours and the peers', and a whole fit; tables that grow line by line."""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import Any

import gpu_clock
import gpu_rows
import harness
import numpy as np
from gpu_clock import timed
from gpu_peers import OURS, PEERS, Data

from dkmeans import kernels
from dkmeans.kernels import exact

_AT = 4  # the iteration whose centers the peers get, counted from 0
_ITERATIONS = {"K": ",", "iteration": "", "ms": ".3f", "wall ms": ".3f", "update ms": ".3f", "moved": ".2%"}
_STEPS = {
    "K": ",",
    "library": "",
    "assign ms": ".3f",
    "update ms": ".3f",
    "ms": ".3f",
    "wall ms": ".3f",
    "x ours": ".2f",
    "assign x ours": ".2f",
    "labels off": ".2e",
}
_MEANS = {
    "K": ",",
    "mean ms": ".3f",
    "bytes ms": ".3f",
    "x bytes": ".1f",
    "fp32 ms": ".1f",
    "fp16 ms": ".1f",
}


class Table:
    """A table printed line by line, as the numbers come."""

    def __init__(self, columns: dict[str, str]) -> None:
        self._columns, self.lines = columns, list[dict[str, Any]]()
        self._print(columns)

    def add(self, line: dict[str, Any]) -> None:
        values = [(line.get(name), form) for name, form in self._columns.items()]
        self._print("-" if value is None else format(value, form) for value, form in values)
        self.lines.append(line)

    def _print(self, cells: Any) -> None:
        widths = (max(len(name), 12) for name in self._columns)
        print("  ".join(map(str.rjust, cells, widths)), flush=True)


# One K: our iterations, then the peers'


def iterate(block: Any, centers: np.ndarray, n_iter: int, table: Table) -> list[np.ndarray]:
    """Our iterations, a line for each; the centers that each began with."""
    begun, previous = [], None
    for number in range(1, n_iter + 1):
        begun.append(centers)
        step = timed(lambda _, now=centers, before=previous: block.lloyd(now, before))
        began = time.perf_counter()
        previous, centers = centers, exact.update_centers(step.result, centers, block.dtype)
        update = 1e3 * (time.perf_counter() - began)
        moved = step.result.moved / block.n_rows
        line = {"K": len(centers), "iteration": number, "ms": step.ms[0], "wall ms": step.wall_ms}
        table.add({**line, "update ms": update, "moved": moved})
    return begun


def our_step(block: Any, begun: list[np.ndarray]) -> dict[str, float]:
    """The last of some iterations; those before are repeated, so that the block knows what it did then."""
    *earlier, centers = begun
    previous = None
    for old in earlier:
        block.lloyd(old, previous)
        previous = old
    step = timed(
        lambda _: block.lloyd(centers, previous),
        lambda stats: exact.update_centers(stats, centers, block.dtype),
    )
    return {"ms": sum(step.ms), "wall ms": step.wall_ms}


def first_run(name: str, rows: Any, centers: np.ndarray, own: Any) -> tuple[Data, float]:
    """A peer's data, and the share of its labels that are not the exact ones; compiles what it needs."""
    import cupy

    peer = PEERS[name]
    data = peer.prepare(rows, centers)
    labels = peer.assign(data)
    peer.update(data, labels)
    return data, float((cupy.asarray(labels).ravel() != own).mean())


def peer_step(name: str, data: Data) -> dict[str, float]:
    """One iteration of a peer."""
    step = timed(lambda _: PEERS[name].assign(data), partial(PEERS[name].update, data))
    return {"assign ms": step.ms[0], "update ms": step.ms[1], "ms": sum(step.ms), "wall ms": step.wall_ms}


def beside(
    block: Any, rows: np.ndarray, begun: list[np.ndarray], names: list[str], rounds: int, table: Table
) -> dict[str, list[dict]]:
    """Our iteration and the peers', in turn; a line for each, and all rounds.

    What a peer raises, out of memory or from its compiler, is told, and the peer left out.
    """
    import cupy

    centers = begun[-1]
    on_device, own = cupy.asarray(rows), cupy.asarray(block.labels(centers))
    ready: dict[str, tuple[Data, float]] = {}
    for name in names:
        try:
            ready[name] = first_run(name, on_device, centers, own)
        except Exception as error:  # of many types, of libraries that may not be there
            print(f"{name} left out at K = {len(centers):,}: {type(error).__name__}: {error}", flush=True)
    del on_device, own

    def measure(name: str, number: int) -> dict[str, Any]:
        return our_step(block, begun) if name == OURS else peer_step(name, ready[name][0])

    found = harness.interleaved([OURS, *ready], rounds, measure)
    off = {name: share for name, (_, share) in ready.items()}
    for line in compared([step_line(name, found[name], len(centers), off.get(name)) for name in found]):
        table.add(line)
    return found


def step_line(name: str, rounds: list[dict], k: int, off: float | None) -> dict[str, Any]:
    """The medians of one library over the rounds."""
    keys = [key for key in ("assign ms", "update ms", "ms", "wall ms") if key in rounds[0]]
    return {"K": k, "library": name, "labels off": off, **{key: harness.median(rounds, key) for key in keys}}


def compared(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add how many times as long as the first line the others take, with and without their update."""
    harness.compare(lines, "ms", "x ours")
    for line in lines:
        if line.get("assign ms"):
            line["assign x ours"] = line["assign ms"] / lines[0]["ms"]
    return lines


def mean_line(
    iterations: list[dict], k: int, shape: tuple[int, int], most: dict[str, float]
) -> dict[str, Any]:
    """The mean of the iterations after the first, beside what the hardware allows."""
    mean = statistics.fmean(line["ms"] for line in iterations if line["K"] == k and line["iteration"] > 1)
    floors = gpu_clock.floors(*shape, k, most)
    return {"K": k, "mean ms": mean, **floors, "x bytes": mean / floors["bytes ms"]}


def compare(
    rows: np.ndarray, ks: list[int], names: list[str], most: dict[str, float], options: argparse.Namespace
) -> dict[str, Any]:
    """Iterations for each K, peers for each K, and the means."""
    iterations = Table(_ITERATIONS)
    block = kernels.load(rows, "gpu")
    begun = {
        k: iterate(block, gpu_rows.seeds(rows, k, options.seed), options.iterations, iterations) for k in ks
    }
    print(flush=True)
    means = Table(_MEANS)
    for k in ks:
        means.add(mean_line(iterations.lines, k, rows.shape, most))
    print(flush=True)
    steps, rounds = Table(_STEPS), {}
    for k in ks:
        rounds[k] = beside(block, rows, begun[k][: _AT + 1], names, options.rounds, steps)
        gpu_clock.free()
    return {"iterations": iterations.lines, "means": means.lines, "steps": steps.lines, "rounds": rounds}


# A whole fit


def fit(rows: np.ndarray, k: int, max_iter: int, tol: float, seed: int) -> dict[str, Any]:
    """A whole fit by the rules of `dkmeans.clustering.lloyd`, rows and centers in the host's memory."""
    began = time.perf_counter()
    centers, dtype = gpu_rows.seeds(rows, k, seed), rows.dtype
    load = timed(lambda _: kernels.load(rows, "gpu"))
    block = load.result
    previous, shift, n_iter, converged = None, 0.0, 0, False
    while not converged and n_iter < max_iter:
        stats = block.lloyd(centers, previous)
        new = exact.update_centers(stats, centers, dtype)
        empty = np.flatnonzero(stats.counts == 0)
        if len(empty):
            far = block.farthest(centers, len(empty))[1]
            new[empty[: len(far)]] = exact.snap(far, dtype)
        shift = exact.center_shift(centers, new, dtype)
        converged = shift == 0 or (shift <= tol * exact.mean_variance(stats) and not len(empty))
        previous, centers, n_iter = centers, new, n_iter + 1
    if shift:
        stats = block.lloyd(centers, previous)  # labels that belong to the last centers
    seconds = time.perf_counter() - began
    return {
        "K": k,
        "rows": len(rows),
        "iterations": n_iter,
        "seconds": seconds,
        "load s": load.wall_ms / 1e3,
        "inertia": exact.inertia(stats, centers, dtype),
        "converged": converged,
    }
