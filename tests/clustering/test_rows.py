"""Rows in blocks: taken by their positions, held by workers or read anew."""

from __future__ import annotations

import numpy as np
import pytest

from dkmeans import plan
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.rows import load_given_rows, load_stored_rows
from dkmeans.compute.executor import IMPORTED_BYTES
from dkmeans.compute.in_process import InProcess
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

HERE = InProcess()


class Small(InProcess):
    """A cluster with so little memory that it holds no rows."""

    def memory_bytes(self):
        return 1000


def store(url, values):
    width = values.shape[1]
    array = arrays.create_array(
        Store(str(url)),
        "rows",
        shape=values.shape,
        dtype=values.dtype,
        chunks=(100, width),
        shards=(200, width),
    )
    array[:] = values
    return Store(str(url))


@pytest.fixture
def values():
    return np.random.default_rng(0).integers(0, 256, (1000, 3)).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_rows_are_taken_from_all_blocks(values, dtype):
    parts = np.split(values.astype(dtype), [1, 400, 999])
    rows = load_given_rows(parts, [len(part) for part in parts], 3, np.dtype(dtype), HERE)
    assert (rows.n_rows, rows.cuts) == (1000, [(0, 1), (1, 400), (400, 999), (999, 1000)])
    for positions in ([0], [399, 400], [0, 1, 998, 999], range(1000)):
        found = rows.take(np.array(positions))
        np.testing.assert_array_equal(found, values[positions])
        assert found.dtype == dtype


def test_stored_rows_are_held_if_memory_suffices(tmp_path, values):
    url = store(tmp_path / "a", values)
    held, streamed = (load_stored_rows(url, "rows", cluster, 5) for cluster in (HERE, Small()))
    assert (held.resident, streamed.resident) == (True, False)
    results = []
    for rows in (held, streamed):
        np.testing.assert_array_equal(rows.take(np.arange(1000)), values)
        results.append(lloyd(rows, State(values[:5].astype(np.float32)), max_iter=20, tol=0))
    np.testing.assert_array_equal(results[0].centers, results[1].centers)
    assert results[0].inertia == results[1].inertia


@pytest.mark.parametrize(
    ("memory", "n_blocks"), [(None, 2), (30_000, 2), (27_000, 3), (23_000, 5), (21_000, 10)]
)
def test_blocks_are_as_large_as_memory_allows(tmp_path, values, monkeypatch, memory, n_blocks):
    """By hand: 1,000 rows take 11 kB, one in work 22 bytes, sums 160; a block has 800, 400, 200 or 100."""
    monkeypatch.setattr(plan, "_FIT_BLOCK_ROWS", 100)

    class Sized(InProcess):
        def memory_bytes(self):
            return memory

    rows = load_stored_rows(store(tmp_path / "a", values), "rows", Sized(), 5)
    assert len(rows.cuts) == n_blocks


def test_blocks_are_no_larger_than_the_smallest_worker_holds(tmp_path, values, monkeypatch):
    """By hand: a block of 500, 300 or 200 rows takes 11,160, 6,760 or 4,560 bytes."""
    monkeypatch.setattr(plan, "_FIT_BLOCK_ROWS", 100)

    class Uneven(InProcess):
        def limits(self):
            return [(1 << 40, 1), (IMPORTED_BYTES + 5_000, 1)]

    rows = load_stored_rows(store(tmp_path / "a", values), "rows", Uneven(), 5)
    assert {stop - start for start, stop in rows.cuts} == {200}


def test_the_memory_of_a_block_is_asked_for(tmp_path, values):
    asked = []

    class Asked(InProcess):
        def check_memory(self, task, what, remedy):
            asked.append((task, what, remedy))

    load_stored_rows(store(tmp_path / "a", values), "rows", Asked(), 5)
    ((task, what, remedy),) = asked
    assert task > values.nbytes
    assert (what, remedy) == ("a block of the fit", "ingest with a smaller --shard-mib")
