"""What the checksums of stored arrays cost ingest, and a step over rows that are read anew for it.

    python tests/benchmarks/bench_checksums.py --data FOLDER --rounds 9

With and without them in turn, in this process, with files in a temporary folder: seconds of the processor, in
which other programs hardly count, and of the clock. Without means: none is computed, written or compared. The
ratios are those of the medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np
from zarr.codecs import ZstdCodec

from dkmeans import ClusterConfig, IngestConfig, ingest
from dkmeans.clustering import rows as rows_module
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.rows import load_stored_rows
from dkmeans.compute.in_process import InProcess
from dkmeans.kernels import exact
from dkmeans.storage import arrays, checksums, nodes
from dkmeans.storage.store import Store
from dkmeans.studies.embedded import write_photos

SYNC = ClusterConfig(scheduler="sync")


@contextmanager
def without_checksums() -> Iterator[None]:
    """Meanwhile nothing is computed and compared."""

    def none(values: np.ndarray, chunk_rows: int) -> np.ndarray:
        return np.zeros(-(-len(values) // chunk_rows), np.uint32)

    with (
        mock.patch.object(checksums, "of_chunks", none),
        mock.patch.object(arrays, "table_of", return_value=None),
        mock.patch.object(nodes, "codecs", lambda level: (ZstdCodec(level=level),)),
    ):
        yield


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - clock


def compare(
    name: str, rounds: int, with_them: Callable[[int], object], without: Callable[[int], object]
) -> dict:
    """Both in turn, the first round of each not counted."""
    found: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
    for number in range(rounds + 1):
        found["with"].append(timed(partial(with_them, 2 * number)))
        with without_checksums():
            found["without"].append(timed(partial(without, 2 * number + 1)))
    cpu, clock = (
        {which: median(pair[at] for pair in pairs[1:]) for which, pairs in found.items()} for at in (0, 1)
    )
    line = {
        "what": name,
        "cpu_with": cpu["with"],
        "cpu_without": cpu["without"],
        "cpu_ratio": cpu["with"] / cpu["without"],
        "clock_ratio": clock["with"] / clock["without"],
    }
    print(
        "  ".join(f"{key} {value:.4g}" if isinstance(value, float) else value for key, value in line.items())
    )
    return line


def main(argv: list[str] | None = None) -> list[dict]:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", help="folder of images; those of scikit-image without it")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--patch", type=int, default=5, help="side of the patches that a step reads")
    parser.add_argument("--k", type=int, default=100)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as place:
        photos = options.data or str(Path(place, "photos"))
        if not options.data:
            write_photos(photos)

        def store(number: int, patch: int | None = None) -> str:
            url = str(Path(place, f"dataset{number}"))
            ingest(IngestConfig(source=photos, dataset=url, patch=patch, overwrite=True), SYNC)
            return url

        lines = [compare("ingest", options.rounds, lambda n: store(n % 2), lambda n: store(n % 2))]
        checked = store(2, options.patch)
        with without_checksums():
            unchecked = store(3, options.patch)

        def step(url: str, _: int) -> None:
            with mock.patch.object(rows_module, "_SHARE_FOR_ROWS", 0):
                rows = load_stored_rows(Store(url), "patches", InProcess(), options.k)
            assert not rows.resident
            first = rows.take(np.linspace(0, rows.n_rows - 1, options.k).astype(np.int64))
            state = State(exact.snap(first, rows.dtype))
            lloyd(rows, state, max_iter=3, tol=0)

        lines.append(
            compare("3 streamed steps", options.rounds, partial(step, checked), partial(step, unchecked))
        )
    return lines


if __name__ == "__main__":
    main()
