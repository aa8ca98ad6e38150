"""Lloyd iterations on an NVIDIA GPU: exact first, then their time beside other libraries and the floor.

    python tests/benchmarks/bench_gpu.py --data train-images-idx3-ubyte.gz --json gpu.json

Needs CuPy, NumPy, Numba, SciPy, psutil and threadpoolctl; PyTorch and flash_kmeans where they are installed.
No Dask, no Zarr, no download: without --data the rows are drawn from the seed.

Parts: ``patches`` are 5x5 patches of digits (d = 25), ``pixels`` colors counted and looked up (d = 3),
``wide`` 8x8 RGB patches (d = 192), ``fit`` a whole fit from the host's memory. Before them every number of
the GPU is compared with the CPU's on samples; where one differs, the script says which and ends with 1.
Without a usable GPU it ends with 5.

Columns: `ms` is the time of a step between two events on the device, `wall ms` the same by the host's clock,
`update ms` the new centers from the sums, for us on the host. Peers do one iteration from the centers of our
fifth: `assign ms` and `update ms` are its halves, `x ours` both over both of ours, `assign x ours` their
assignment alone over our whole iteration, `labels off` the share of labels that are not the exact ones. Of
the floors, `bytes ms` reads the rows and writes labels at the speed of a copy, and `x bytes` is `mean ms`,
ours from the second iteration on, over that; `fp32 ms` and `fp16 ms` multiply every row with every center at
the measured rates.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if importlib.util.find_spec("dkmeans") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import gpu_clock
import gpu_exact
import gpu_lloyd
import gpu_rows
import harness
from gpu_clock import timed
from gpu_lloyd import Table
from gpu_peers import OURS, PEERS

from dkmeans import kernels

PARTS = ("patches", "pixels", "wide", "fit")
_NO_GPU = 5
_SMALL, _MIDDLE, _MIDDLE_WIDE = 20_000, 200_000, 50_000  # rows on which the GPU is compared with the CPU
_SMALL_K = 100
_PHOTOS, _PHOTO_SIDE = 48, 1024
_TABLES = {np.uint8: 256, np.uint16: 4096, np.int32: 100_000}  # type of the labels: number of colors
_WIDE_PEERS = ("cupy", "flash-kmeans")  # of those chosen

_ROWS = {"rows": "", "blank": ".3f", "|x|²": ",.0f", "4 dims": ".3f", "8 dims": ".3f", "12 dims": ".3f"}
_PIXELS = {"work": "", "pixels": ",", "ms": ".2f", "Gpx/s": ".1f", "GB/s": ".0f", "of a copy": ".1%"}
_FIT = {
    "K": ",",
    "rows": ",",
    "iterations": "",
    "seconds": ".3f",
    "load s": ".3f",
    "inertia": ".8g",
    "converged": "",
}


class Said:
    """Headings with the seconds since the start, and what ends the script."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def __call__(self, text: str) -> None:
        print(f"\n[{time.perf_counter() - self._began:.0f} s] {text}", flush=True)

    def stop_if(self, wrong: list[str], where: str) -> None:
        """End with 1 where the GPU's numbers are not those expected."""
        if wrong:
            print("\n".join([f"differs from {where}:", *wrong]), flush=True)
            raise SystemExit(1)
        print(f"equal to {where}", flush=True)


# Rows, and whether the GPU is right about them


def digit_rows(options: argparse.Namespace) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The 5x5 patches, and how they are spread beside MNIST's."""
    drawn = options.data is None
    images = gpu_rows.digits_for(options.n, options.seed) if drawn else gpu_rows.read_idx(options.data)
    rows = np.ascontiguousarray(gpu_rows.digit_patches(images)[: options.n])
    print(f"{len(rows):,} rows of {rows.shape[1]}, {options.n:,} asked for", flush=True)
    table = Table(_ROWS)
    table.add({"rows": "drawn" if drawn else "given", **gpu_rows.digit_statistics(images[:2000])})
    table.add({"rows": "MNIST", **gpu_rows.MNIST})
    return rows, table.lines


def photo_rows(images: np.ndarray, options: argparse.Namespace) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The 8x8 RGB patches, and how they are spread beside those of photos."""
    rows = gpu_rows.photo_patches(images, options.wide_n, options.seed)
    print(f"{len(rows):,} rows of {rows.shape[1]}", flush=True)
    table = Table(_ROWS)
    few = gpu_exact.sample(rows, _MIDDLE_WIDE, options.seed)
    table.add({"rows": "drawn", **gpu_rows.statistics(few)})
    table.add({"rows": "Kodak", **gpu_rows.KODAK})
    return rows, table.lines


def check(rows: np.ndarray, ks: list[int], n: int, seed: int, say: Said) -> None:
    """Compare the GPU with the reference on few rows, and with the CPU on `n`."""
    d = rows.shape[1]
    small = gpu_exact.sample(rows, _SMALL, seed)
    k = min(_SMALL_K, *ks)
    where = f"the reference on {len(small):,} rows, d = {d}, K = {k}, two iterations"
    say.stop_if(gpu_exact.check(small, k, "reference", seed), where)
    middle = gpu_exact.sample(rows, n, seed)
    for k in ks:
        where = f"the CPU on {len(middle):,} rows, d = {d}, K = {k:,}, two iterations"
        say.stop_if(gpu_exact.check(middle, k, "cpu", seed), where)


# Pixels


def color_tables(seed: int) -> list[np.ndarray]:
    """For each type of labels one for every color."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, n_labels, 1 << 24).astype(dtype) for dtype, n_labels in _TABLES.items()]


def check_pixels(images: np.ndarray, seed: int, say: Said) -> None:
    """Compare the GPU with NumPy on a million pixels."""
    from dkmeans.kernels import cuda

    few = gpu_exact.sample(images.reshape(-1, 3), 1 << 20, seed)
    say.stop_if(gpu_exact.check_colors(cuda, few, color_tables(seed)), f"NumPy on {len(few):,} pixels")


def pixels_part(
    images: np.ndarray, most: dict[str, float], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Histogram and look-up of colors: pixels on the device, as many times round as were asked for."""
    import cupy

    from dkmeans.kernels import cuda

    pixels = cupy.asarray(images.reshape(-1, 3))
    times = -(-options.pixels // len(pixels))
    counts = cuda.count_colors(pixels)
    n_colors = int((counts > 0).sum())
    works = {"histogram": (partial(cuda.count_colors, pixels, counts), 3)}
    for table in color_tables(options.seed):
        look_up = partial(cuda.look_up, pixels, cupy.asarray(table))
        works[f"to {table.dtype}"] = (look_up, 3 + table.itemsize)
    print(f"{times} times {len(pixels):,} pixels of {n_colors:,} colors", flush=True)
    lines, n = Table(_PIXELS), times * len(pixels)
    for name, (work, n_bytes) in works.items():
        work()
        rounds = [
            sum(timed(lambda _, work=work: work()).ms[0] for _ in range(times)) for _ in range(options.rounds)
        ]
        rate = gpu_clock.rate(n, n_bytes * n, statistics.median(rounds), most)
        lines.add({"work": name, "pixels": n, **rate, "rounds": rounds})
    return lines.lines


# The whole


def fit_part(rows: np.ndarray, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The fit, as often as was asked for."""
    table = Table(_FIT)
    for _ in range(options.rounds):
        table.add(gpu_lloyd.fit(rows, options.fit_k, options.max_iter, options.tol, options.seed))
        gpu_clock.free()
    return table.lines


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--data", help="IDX file of images, .gz or not; default: digits drawn from the seed")
    made.add_argument("--n", type=int, default=20_074_704, help="rows of patches and fit")
    made.add_argument("--k", type=int, nargs="+", default=[100, 1000, 10_000], help="clusters of patches")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    made.add_argument("--iterations", type=int, default=10, help="of ours; at least 2")
    made.add_argument("--rounds", type=int, default=3, help="times that each peer is measured, in turn")
    made.add_argument("--pixels", type=int, default=1_000_000_000, help="colors of part pixels")
    made.add_argument("--wide-n", type=int, default=10_000_000, help="rows of part wide")
    made.add_argument("--wide-k", type=int, default=4096, help="clusters of part wide")
    made.add_argument("--fit-k", type=int, default=1000, help="clusters of the fit")
    made.add_argument("--max-iter", type=int, default=100, help="of the fit")
    made.add_argument("--tol", type=float, default=1e-4, help="of the fit")
    made.add_argument(
        "--tensor-features", type=int, help="features from which tensor cores score; default: as built"
    )
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--json", metavar="FILE", help="also write all numbers to a file")
    harness.add_peer_option(made, {OURS: None, **PEERS}, list(PEERS))
    return made


def known(options: argparse.Namespace, argv: list[str]) -> dict[str, Any]:
    """The machine, the versions and the command, printed."""
    missing = [name for name in options.peers if name in PEERS and not PEERS[name].installed]
    versions = {name: peer.version for name, peer in PEERS.items() if peer.installed}
    found = {**harness.facts(options), **gpu_clock.device_facts()}
    found["command"] = shlex.join(["bench_gpu.py", *argv])
    lines = [
        found["command"],
        f"{found['device']}, {found['memory_gib']} GiB, driver {found['driver']}, CUDA {found['cuda']}; "
        f"{found['cpu']}, {found['cores']} cores, load {found['load']} before",
        "  ".join(f"{name} {version}" for name, version in versions.items()),
        *([f"not installed: {', '.join(missing)}"] if missing else []),
    ]
    print("\n".join(lines), flush=True)
    return {**found, "versions": versions, "missing": missing}


def make_rows(options: argparse.Namespace, say: Said) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What the parts that were asked for need, and how it is spread."""
    parts, made, spread = set(options.parts), {}, {}
    if parts & {"patches", "fit"}:
        say("patches of digits")
        made["digits"], spread["digits"] = digit_rows(options)
    if parts & {"pixels", "wide"}:
        say("photos")
        made["photos"] = gpu_rows.photos(_PHOTOS, _PHOTO_SIDE, options.seed)
        print(f"{made['photos'].size // 3:,} pixels", flush=True)
    if "wide" in parts:
        made["wide"], spread["wide"] = photo_rows(made["photos"], options)
    return made, spread


def check_all(made: dict[str, np.ndarray], options: argparse.Namespace, say: Said) -> None:
    """Compare the GPU with the CPU for all parts that were asked for."""
    say("is it exact?")
    wanted = {"patches": options.k, "fit": [options.fit_k]}
    ks = {k for part in options.parts for k in wanted.get(part, [])}
    if ks:
        check(made["digits"], sorted(ks), _MIDDLE, options.seed, say)
    if "wide" in made:
        check(made["wide"], [options.wide_k], _MIDDLE_WIDE, options.seed, say)
    if "pixels" in options.parts:
        check_pixels(made["photos"], options.seed, say)
    gpu_clock.free()


def measure(
    part: str,
    made: dict[str, np.ndarray],
    names: list[str],
    most: dict[str, float],
    options: argparse.Namespace,
) -> Any:
    """The numbers of one part."""
    if part == "patches":
        return gpu_lloyd.compare(made["digits"], options.k, names, most, options)
    if part == "wide":
        fewer = [name for name in names if name in _WIDE_PEERS]
        return gpu_lloyd.compare(made["wide"], [options.wide_k], fewer, most, options)
    if part == "fit":
        return fit_part(made["digits"], options)
    return pixels_part(made["photos"], most, options)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Make the rows, compare, measure the parts one after the other; the JSON grows with them."""
    options = parser().parse_args(argv)
    if problem := kernels.gpu_problem():
        print(f"bench_gpu: no usable GPU: {' '.join(problem.split())}", file=sys.stderr)
        raise SystemExit(_NO_GPU)
    if options.tensor_features is not None:
        from dkmeans.kernels.cuda import compiled

        compiled.TENSOR_FEATURES = options.tensor_features
    report: dict[str, Any] = {"facts": known(options, sys.argv[1:] if argv is None else argv)}
    names = [name for name in options.peers if name in PEERS and PEERS[name].installed]
    say = Said()
    made, report["rows"] = make_rows(options, say)
    check_all(made, options, say)
    say("what the device can do")
    report["ceilings"] = most = gpu_clock.ceilings()
    print("  ".join(f"{value / 1e12:.2f} T{name}" for name, value in most.items()), flush=True)
    for part in [part for part in PARTS if part in options.parts]:
        say(part)
        report[part] = measure(part, made, names, most, options)
        gpu_clock.free()
        harness.finish(report, options.json)
    say("done")
    return report


if __name__ == "__main__":
    main()
