"""Rates of places of storage, and of the start of processes."""

from __future__ import annotations

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
_IMPORTS = """
import time
t = time.perf_counter()
import dkmeans.command.main, dkmeans.stages.ingest, dkmeans.stages.fit, dkmeans.stages.compress
u = time.perf_counter()
import dask.array, dask_ml.cluster.k_means
print(time.perf_counter() - u)
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


def measure_starts() -> dict[str, float]:
    """Seconds of a process that loads the stages, of dask-ml, and of a local cluster of one worker."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True, timeout=120
    )
    whole, seeds = time.perf_counter() - began, float(done.stdout)
    began = time.perf_counter()
    with connect(ClusterConfig(scheduler="local"), SILENT):
        pass
    return {"process": whole - seeds, "cluster": time.perf_counter() - began, "seeds": seeds}
