"""Rates of places of storage, and of the start of processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.compute.connecting import connect
from dkmeans.compute.memory import n_cores
from dkmeans.compute.threads import call_all
from dkmeans.config.cluster import ClusterConfig
from dkmeans.events.reporter import SILENT
from dkmeans.images.sources import open_source
from dkmeans.plan.cost import StoreRate
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store
from dkmeans.studies.calibration.timing import seconds_of

__all__ = ["measure_headers", "measure_starts", "measure_store"]

_MIB = 1 << 20
_SHARD_ROWS, _CHUNK_ROWS = 4 * _MIB // 3, _MIB // 3
_SMALL = 1_000
_FIRST_JOB = """
import json, sys, time
import dkmeans.command.main
from dkmeans import ClusterConfig, CompressConfig, FitConfig, IngestConfig, ReconstructConfig
from dkmeans import compress, fit, ingest, reconstruct
found = {"process": time.process_time()}
folder, threads, few = sys.argv[1], ClusterConfig(scheduler="threads"), {"k": 2, "max_iter": 1}
dataset = f"{folder}/d"
places = {"dataset": dataset, "result": f"{folder}/r", "images": f"{folder}/i"}
again = {"dataset": dataset, "result": f"{folder}/s", "images": f"{folder}/j"}
for name, stage, config in (
    ("ingest", ingest, IngestConfig(source=f"{folder}/in", dataset=dataset, patch=5)),
    ("fit", fit, FitConfig(dataset=dataset, codebook=f"{folder}/c", **few)),
    ("seeds", fit, FitConfig(dataset=dataset, codebook=f"{folder}/p", on="patches", **few)),
    ("compress", compress, CompressConfig(codebook=f"{folder}/c", **places)),
    ("reconstruct", reconstruct, ReconstructConfig(codebook=f"{folder}/p", **again)),
):
    began = time.process_time()
    stage(config, threads)
    found[name] = time.process_time() - began
print(json.dumps(found))
"""
"""The stages on next to nothing in a process of its own: what they load, and do however little there is.

In seconds of the processor: what else the machine does is left out.
"""


def measure_store(url: str, pixels: NDArray[np.uint8]) -> StoreRate:
    """Write and read arrays of `pixels`, shape (n, 3), and small objects, at a URL; all is deleted again."""
    store = open_store(url).below(f"dkmeans-calibrate-{uuid.uuid4().hex}")
    threads = n_cores()
    rows = np.resize(pixels, (2 * threads * _SHARD_ROWS, 3))
    starts = range(0, len(rows), _SHARD_ROWS)
    layout: dict[str, Any] = {"chunks": (_CHUNK_ROWS, 3), "shards": (_CHUNK_ROWS * 4, 3)}
    starts = range(0, len(rows), _CHUNK_ROWS * 4)

    def write(start: int) -> None:
        part = rows[start : start + _CHUNK_ROWS * 4]
        arrays.write_rows(store, "rows", start, part)
        sha256(part.tobytes()).digest()  # ingest tells the digest of each chunk

    def read(start: int) -> None:
        arrays.read_rows(store, "rows", start, min(start + _CHUNK_ROWS * 4, len(rows)))

    def small() -> None:
        store.put("small", b"x" * _SMALL)
        store.get("small")

    try:
        arrays.create_array(store, "rows", shape=rows.shape, dtype=rows.dtype, **layout)
        write(0)  # loads what it needs
        writing = _seconds(lambda: call_all([partial(write, start) for start in starts], threads))
        reading = _seconds(lambda: call_all([partial(read, start) for start in starts], threads))
        request = seconds_of(small) / 2
    finally:
        _remove(store)
    mib = rows.nbytes / _MIB
    return StoreRate(open_store(url).url, mib / writing, mib / reading, request)


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _remove(store: Store) -> None:
    store.delete([found.key for found in store.list()])


def measure_headers(url: str, image: bytes, n: int = 24) -> float:
    """Seconds to find an image in a local folder and to read its header; of `n` copies of one."""
    store = open_store(url)
    for number in range(n):
        store.put(f"{number}.png", image)
    return seconds_of(lambda: open_source(url).headers(max_pixels=1 << 30)) / n


def measure_starts(url: str, image: bytes) -> dict[str, float]:
    """Seconds of a process, of what each stage loads, and of a local cluster of one worker.

    ``process`` is what every job begins with, ``seeds`` what "k-means||" loads besides. `image` is a small
    one.
    """
    open_store(f"{url}/in").put("image.png", image)
    command = [sys.executable, "-W", "ignore", "-c", _FIRST_JOB, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    began = time.perf_counter()
    with connect(ClusterConfig(scheduler="local"), SILENT):
        pass
    return {**json.loads(done.stdout), "cluster": time.perf_counter() - began}
