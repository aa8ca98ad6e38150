"""What the store allows: small images read, and arrays in chunks and shards of several sizes.

    python tests/benchmarks/bench_storage.py --objects 10000
    python tests/benchmarks/bench_storage.py --arrays

An S3 server of its own is started: Ceph's where it is installed, else moto's, which is slow. The first puts
small PNG files there and ingests them, beside a bare loop of as many threads that gets and decodes each; in
turn, on workers that are there already. The second writes and reads an array of 256 MiB of noise by tasks on
threads. All in one machine: server and client share its cores.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import harness
import numpy as np
import obstore
import zarr
from PIL import Image
from skimage import data

sys.path.insert(0, str(Path(__file__).parents[1]))
from object_store.server import Server, object_store

from dkmeans import ClusterConfig, IngestConfig, ingest, plan
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.events.reporter import SILENT
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

_IMAGES = {"loop": "", "s": ".2f", "objects/s": ".0f", "rate": ".2f"}
_ARRAYS = {
    "chunk MiB": "",
    "shard MiB": "",
    "at a time": "",
    "write MiB/s": ".0f",
    "read MiB/s": ".0f",
    "one chunk ms": ".2f",
}


@contextmanager
def server() -> Iterator[Server]:
    """An S3 server that this process and those that it starts find in their environment."""
    with tempfile.TemporaryDirectory() as folder, object_store(Path(folder)) as found:
        os.environ.update(found.environment())
        yield found


def put_images(url: str, n: int, side: int) -> None:
    """`n` PNG files cut from photos, in folders of a thousand."""
    rng = np.random.default_rng(0)
    photos = [data.astronaut(), data.coffee()]

    def put(number: int, top: int, left: int) -> None:
        file = io.BytesIO()
        pixels = photos[number % 2][top : top + side, left : left + side]
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
        Store(url).put(f"{number // 1000:03d}/{number:06d}.png", file.getvalue())

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(n), *rng.integers(0, 400 - side, (2, n)).tolist()))


def bare_loop(url: str, threads: int) -> float:
    """Seconds to list, get and decode all images by a pool of threads and nothing else."""
    began = time.perf_counter()
    store = Store(url).backend()
    keys = [meta["path"] for page in obstore.list(store) for meta in page]

    def read(key: str) -> Any:
        with Image.open(io.BytesIO(bytes(obstore.get(store, key).bytes()))) as image:
            return np.asarray(image)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, keys))
    return time.perf_counter() - began


def ingest_all(source: str, dataset: str, cluster: Executor) -> float:
    """Seconds of the whole stage."""
    began = time.perf_counter()
    ingest(IngestConfig(source=source, dataset=dataset), cluster)
    return time.perf_counter() - began


def compare_images(options: argparse.Namespace, url: str) -> list[dict]:
    """A row for the bare loop and one for ingest."""
    put_images(f"{url}/images", options.objects, options.side)
    config = ClusterConfig(workers=1, threads_per_worker=options.threads)
    seconds: dict[str, list[float]] = {"bare loop": [], "ingest": []}
    with connect(config, SILENT) as cluster:
        for number in range(options.rounds):
            seconds["bare loop"].append(bare_loop(f"{url}/images", options.threads))
            seconds["ingest"].append(ingest_all(f"{url}/images", f"{url}/dataset{number}", cluster))
    bare = median(seconds["bare loop"])
    return [
        {"loop": name, "s": s, "objects/s": options.objects / s, "rate": bare / s}
        for name, s in ((name, median(took)) for name, took in seconds.items())
    ]


def compare_arrays(options: argparse.Namespace, url: str) -> list[dict]:
    """A row for each size of chunk and shard, and number of requests at a time."""
    rng = np.random.default_rng(0)
    row_bytes = 64
    found = []
    for chunk_mib, shard_mib, at_a_time in itertools.product(options.chunk, options.shard, options.at_a_time):
        if chunk_mib > shard_mib:
            continue
        zarr.config.set({"async.concurrency": at_a_time})  # of all that follows in this process
        chunk_rows, shard_rows = (
            int(chunk_mib * plan.MIB) // row_bytes,
            int(shard_mib * plan.MIB) // row_bytes,
        )
        n_rows = options.mib * plan.MIB // row_bytes
        name = f"c{chunk_mib}-s{shard_mib}-{at_a_time}".replace(".", "_")
        layout = {"chunks": (chunk_rows, row_bytes), "shards": (shard_rows, row_bytes)}
        arrays.create_array(Store(url), name, shape=(n_rows, row_bytes), dtype=np.uint8, **layout)
        rows = rng.integers(0, 32, (shard_rows, row_bytes), np.uint8)  # compresses by about 1.6
        cuts = plan.cuts(n_rows, shard_rows)

        def write(cut: tuple[int, int], name: str = name, rows: np.ndarray = rows) -> None:
            arrays.write_rows(Store(url), name, cut[0], rows[: cut[1] - cut[0]])

        def read(cut: tuple[int, int], name: str = name) -> None:
            arrays.read_rows(Store(url), name, *cut)

        parts = [(start, start + chunk_rows) for start in range(0, n_rows, 8 * chunk_rows)]
        found.append(
            {
                "chunk MiB": f"{chunk_mib:g}",
                "shard MiB": f"{shard_mib:g}",
                "at a time": str(at_a_time),
                "write MiB/s": _rate(write, cuts, options.threads, options.mib),
                "read MiB/s": _rate(read, cuts, options.threads, options.mib),
                "one chunk ms": 1000 * _seconds(read, parts, 1) / len(parts),
            }
        )
    return found


def _seconds(task: Callable[[tuple[int, int]], None], cuts: list[tuple[int, int]], threads: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, cuts))
    return time.perf_counter() - began


def _rate(task: Callable[[tuple[int, int]], None], cuts: list[Any], threads: int, mib: int) -> float:
    return mib / min(_seconds(task, cuts, threads) for _ in range(2))


def main(argv: list[str] | None = None) -> dict:
    """Measure as the options say, and print a table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--objects", type=int, default=10_000, help="PNG files")
    parser.add_argument("--side", type=int, default=64, help="of a PNG file, in pixels")
    parser.add_argument("--arrays", action="store_true", help="measure arrays instead")
    parser.add_argument("--mib", type=int, default=256, help="of an array")
    parser.add_argument("--chunk", type=float, nargs="+", default=[0.25, 1, 4, 16], help="MiB")
    parser.add_argument("--shard", type=float, nargs="+", default=[16, 64], help="MiB")
    parser.add_argument("--at-a-time", type=int, nargs="+", default=[10, 64], help="zarr's async.concurrency")
    parser.add_argument("--local", action="store_true", help="arrays in a local folder instead of the server")
    options = parser.parse_args(argv)
    with server() as found, tempfile.TemporaryDirectory() as folder:
        facts = {**harness.facts(options), "server": found.kind, "missing": []}
        print(harness.heading("Arrays" if options.arrays else "Small images", facts))
        url = folder if options.local else f"s3://{found.bucket}/bench"
        lines = compare_arrays(options, url) if options.arrays else compare_images(options, url)
    print(harness.table(lines, _ARRAYS if options.arrays else _IMAGES))
    return harness.finish({"facts": facts, "table": lines}, options.json)


if __name__ == "__main__":
    main()
