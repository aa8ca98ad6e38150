"""Rows in blocks: taken by their positions, held by workers or read anew."""

from __future__ import annotations

import numpy as np
import pytest
from dask.delayed import delayed

from dkmeans import plan
from dkmeans.clustering.counted import count_part, load_counted_rows
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.rows import cut_rows, load_given_rows, load_stored_rows
from dkmeans.compute.executor import IMPORTED_BYTES
from dkmeans.compute.in_process import InProcess
from dkmeans.errors import ClusterError
from dkmeans.plan import RowLayout
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
        def check_memory(self, task, what, remedy, n_tasks=None):
            asked.append((task, what, remedy))

    load_stored_rows(store(tmp_path / "a", values), "rows", Asked(), 5)
    ((task, what, remedy),) = asked
    assert task > values.nbytes
    assert (what, remedy) == ("a block of the fit", "ingest with a smaller --shard-mib")


class Gpus(InProcess):
    """Workers of `threads` threads, each with a GPU; their memory is that of all, or has no limit."""

    def __init__(self, n_workers, threads, memory=None, limit=0):
        super().__init__(device="gpu")
        self.workers = [(limit, threads)] * n_workers
        self.all_memory = memory

    def limits(self):
        return self.workers

    def memory_bytes(self):
        return self.all_memory

    def n_gpus(self):
        return len(self.workers)


def n_blocks_of(cluster, dtype=np.uint8):
    cut = cut_rows(1000, 3, np.dtype(dtype), RowLayout(1, 1), 5, cluster)
    assert cut.resident
    assert (cut.cuts[0][0], cut.cuts[-1][1]) == (0, 1000)
    return len(cut.cuts)


@pytest.mark.parametrize(("n_workers", "threads", "n_of_256"), [(1, 1, 4), (1, 8, 4), (3, 2, 6), (8, 1, 8)])
def test_each_gpu_has_one_block_whatever_the_threads(monkeypatch, n_workers, threads, n_of_256):
    """But of 1,000 rows as many as are no larger than a block may be."""
    monkeypatch.setattr(plan, "_FIT_BLOCK_ROWS", 16)  # up to 128 for a CPU, 1,024 for a GPU
    assert n_blocks_of(Gpus(n_workers, threads)) == n_workers
    assert n_blocks_of(Gpus(n_workers, threads), np.float64) >= 8  # which no GPU takes
    monkeypatch.setattr(plan, "_FIT_BLOCK_ROWS", 4)
    assert n_blocks_of(Gpus(n_workers, threads)) == n_of_256


@pytest.mark.parametrize(("memory", "n_blocks"), [(44_300, 1), (44_200, 4), (29_800, 4), (29_700, 8)])
def test_the_block_of_a_gpu_is_as_large_as_the_host_can_load(monkeypatch, memory, n_blocks):
    """By hand: 1,000 rows take 11 kB, one in work 22 bytes, sums 160; two threads load two blocks at once.

    In three quarters of the memory fit 11,000 + 22,160, or 11,000 + 2 * 5,660 of four blocks; two blocks at
    once take as much as one of twice the size.
    """
    monkeypatch.setattr(plan, "_FIT_BLOCK_ROWS", 16)
    assert n_blocks_of(Gpus(1, 2, memory)) == n_blocks


@pytest.mark.parametrize(("room", "n_blocks"), [(11_160, 2), (11_159, 16), (6_184, 16), (6_183, 32)])
def test_a_worker_loads_no_more_blocks_at_once_than_it_has(monkeypatch, room, n_blocks):
    """By hand: two workers of four threads; a block of 500 rows takes 11,160 bytes, four of 63 1,546 each."""
    monkeypatch.setattr(plan, "_FIT_BLOCK_ROWS", 16)
    assert n_blocks_of(Gpus(2, 4, 1 << 30, IMPORTED_BYTES + room)) == n_blocks


def test_a_block_that_no_worker_holds_is_refused_on_gpus_too(tmp_path, values):
    with pytest.raises(ClusterError, match="a block of the fit takes"):
        load_stored_rows(store(tmp_path / "a", values), "rows", Gpus(1, 1, 1 << 30, IMPORTED_BYTES), 5)


def test_stored_rows_on_a_gpu_are_one_block(tmp_path, values, monkeypatch, gpu):
    monkeypatch.setattr(plan, "_FIT_BLOCK_ROWS", 16)
    first = State(values[:5].astype(np.float32))
    results = []
    for device, n_blocks in (("gpu", 1), ("cpu", 5)):
        cluster = InProcess(3, device=device, memory=0)
        rows = load_stored_rows(store(tmp_path / device, values), "rows", cluster, 5)
        assert len(rows.cuts) == n_blocks
        found = lloyd(rows, first, max_iter=6, tol=0)
        results.append((found.centers.tobytes(), found.inertia, [step.moved for step in found.history]))
    assert results[0] == results[1]
    assert gpu["lloyd"] == 7


def test_few_colors_are_one_block_and_many_one_a_gpu(monkeypatch):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (900, 3)).astype(np.uint8)

    def n_blocks(cluster):
        cluster.device = "cpu"
        counted = [delayed(count_part)(pixels, np.empty(0, np.int64), "cpu")]
        return len(load_counted_rows(counted, 900, 3, pixels.dtype, cluster, np.empty(0, np.int64)).cuts)

    assert [n_blocks(Gpus(workers, 8)) for workers in (1, 4)] == [1, 1]
    monkeypatch.setattr("dkmeans.clustering.counted._LEAST_COLORS", 100)
    assert [n_blocks(Gpus(workers, 8)) for workers in (1, 4)] == [1, 4]
