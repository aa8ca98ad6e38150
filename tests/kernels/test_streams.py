"""What streams of a GPU owe each other: on one that is emulated, whose streams come to their turns by chance.

Each seed is another order; what is not said by an event, and memory that is freed too early, gives other
numbers in most of them.
"""

import importlib
import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from emulation import host_cupy
from gpu_checks import assert_same_array, fit_digest, make

from dkmeans.kernels import cpu, reference

SEEDS = range(8)


@pytest.fixture
def cuda(emulated):
    return importlib.import_module("dkmeans.kernels.cuda")


def in_pieces(cuda, monkeypatch, memory):
    """Pieces of few rows; `memory` of the device beside what is kept free."""
    monkeypatch.setattr(cuda.block, "_PIECE_BYTES", 2000)
    sys.modules["cupy"].memory = cuda.block._RESERVE + memory


@pytest.mark.parametrize(("n_features", "seed"), [*((3, seed) for seed in SEEDS), (40, 0), (40, 1)])
@pytest.mark.parametrize("memory", [0, 1 << 30], ids=["streamed", "resident"])
def test_any_order_of_the_streams_gives_the_same_bits(cuda, emulated, monkeypatch, n_features, memory, seed):
    in_pieces(cuda, monkeypatch, memory)
    emulated.machine.reseed(seed)
    rows, centers = make(np.uint8, 700 if n_features < 33 else 200, n_features, 20, 255)
    block = cuda.Block(rows)
    assert len(block._pieces) > 3
    assert fit_digest(block, centers, 4) == fit_digest(cpu.Block(rows), centers, 4)
    for found, right in zip(block.farthest(centers, 5), reference.farthest(rows, centers, 5), strict=True):
        assert_same_array(found, right)
    assert_same_array(block.rows(), rows)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("streams", ["null", "of the caller"])
def test_blocks_in_turn_share_streams_and_lists(cuda, emulated, monkeypatch, streams, seed):
    """Lists that one block has made are read by another, and freed by the first while that one may read."""
    in_pieces(cuda, monkeypatch, 1 << 30)
    emulated.machine.reseed(seed)
    rows, centers = make(np.uint8, 600, 3, 20, 255)
    halves = [rows[:350], rows[350:]]
    stream = nullcontext() if streams == "null" else emulated.cuda.Stream()
    found = [None, None]
    with stream:
        blocks = [cuda.Block(half) for half in halves]
        for block in blocks:
            block.lloyd(centers)

        def work(number):
            found[number] = fit_digest(blocks[number], centers, 4)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [fit_digest(cpu.Block(half), centers, 4) for half in halves]


def test_many_blocks_have_no_more_streams_than_one(cuda, emulated):
    rows, centers = make(np.uint8, 100, 3, 5, 255)
    cuda.Block(rows).lloyd(centers)
    n_streams = len(emulated.machine.streams)
    for _ in range(5):
        cuda.Block(rows).lloyd(centers)
    assert len(emulated.machine.streams) == n_streams


def test_pinned_memory_holds_no_more_than_the_rows(cuda, emulated, monkeypatch):
    """Sorted for other clusters, arrays are of other sizes: what they had before goes back to the system."""
    in_pieces(cuda, monkeypatch, 0)
    rows, _ = make(np.uint8, 900, 3, 1, 255)
    pool = emulated.get_default_pinned_memory_pool()
    block = cuda.Block(rows)
    staged = pool.total() - sum(piece.nbytes for piece in block._pieces)
    most = 0
    for n_clusters in (3, 90, 7, 60):
        centers = make(np.uint8, 900, 3, n_clusters, 255)[1]
        block.lloyd(centers)
        block.lloyd(centers, centers)
        most = max(most, pool.total() - staged - sum(piece.nbytes for piece in block._pieces))
    assert most == 0
    del block
    cuda.Block(rows[:500])
    assert pool.total() - staged < 500 * 20


def test_a_block_stays_on_its_device(cuda, emulated):
    """Made while the second device is the current one, used by threads of which it is not."""
    rows, centers = make(np.uint8, 300, 3, 9, 255)
    cuda.Block(rows).lloyd(centers)
    with emulated.cuda.Device(1):
        block = cuda.Block(rows)
    assert fit_digest(block, centers) == fit_digest(cpu.Block(rows), centers)
    assert {array.memory.device for piece in block._pieces for array in piece._on_device.values()} == {1}


def test_arrays_go_to_the_device_and_back_by_parts(cuda, emulated, monkeypatch):
    """More than both buffers hold, not contiguous, and changed as soon as it was given."""
    monkeypatch.setattr(cuda.streams, "_STAGED_BYTES", 64)
    streams = cuda.streams.Streams()
    values = np.arange(600, dtype=np.int32).reshape(100, 6)[::2, 1:]
    given = values.copy()
    with streams.main:
        array = streams.upload(given)
        given[...] = 0
        assert_same_array(streams.download(array), values)
        assert streams.download(streams.upload(values[:0])).shape == (0, 5)


def test_an_order_that_no_event_asks_for_is_not_kept(emulated):
    """What is shown here depends on it: the emulated streams do overtake each other."""
    cupy = sys.modules["cupy"]
    ends = set()
    for seed in range(20):
        emulated.machine.reseed(seed)
        with cupy.cuda.Stream():
            array = cupy.zeros(3, np.int32)
        with cupy.cuda.Stream():
            array += 1
        emulated.machine.finish()
        ends.add(int(host_cupy.raw(array)[0]))
    assert ends == {0, 1}
