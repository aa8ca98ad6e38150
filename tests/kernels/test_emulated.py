"""The CUDA kernels and what drives them without a GPU: built for the host, on a CuPy made of NumPy."""

import importlib
import sys

import numpy as np
import pytest
from gpu_checks import (
    assert_same_array,
    check_against_reference,
    check_step,
    fit_digest,
    make,
)

from dkmeans import kernels
from dkmeans.errors import DeviceError
from dkmeans.kernels import cpu, reference
from dkmeans.kernels.exact import snap

SHAPES = [(5, 3, 17), (203, 25, 16), (90, 25, 70), (70, 128, 9), (20, 784, 5)]


@pytest.fixture
def cuda(emulated):
    return importlib.import_module("dkmeans.kernels.cuda")


@pytest.fixture
def no_cupy(monkeypatch, forget_cuda):
    """As on a machine without CuPy, wherever the tests run."""
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.mark.usefixtures("no_cupy")
def test_without_cupy_rows_go_to_the_cpu_unless_a_gpu_is_demanded():
    rows = np.zeros((2, 3), np.uint8)
    assert "CuPy is not installed" in kernels.gpu_problem()
    assert "dkmeans[gpu-cuda12]" in kernels.gpu_problem()
    for device in ("auto", "cpu"):
        assert type(kernels.load(rows, device)) is cpu.Block
    with pytest.raises(
        DeviceError, match=r"--device gpu: no usable GPU: CuPy is not .* --device auto"
    ) as caught:
        kernels.load(rows, "gpu")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("dtype", "shape", "spread"),
    [(np.uint8, shape, 2) for shape in SHAPES]
    + [(np.uint16, shape, 2) for shape in SHAPES[1:4]]
    + [(dtype, shape, 65535) for dtype in (np.uint8, np.uint16) for shape in SHAPES[2:4]],
    ids=str,
)
def test_the_kernels_give_the_bits_of_the_reference(cuda, dtype, shape, spread):
    check_against_reference(cuda, dtype, shape, spread)


@pytest.mark.parametrize(
    ("n_features", "n_clusters"),
    [(1, 2), (4, 100), (128, 100), (25, 300), pytest.param(25, 10_000, marks=pytest.mark.slow)],
)
def test_a_whole_fit_has_the_bits_of_the_cpu(cuda, n_features, n_clusters):
    n_rows = 1031 if n_features < 33 and n_clusters < 1000 else 67
    rows, centers = make(np.uint8, n_rows, n_features, n_clusters, 255)
    assert fit_digest(cuda.Block(rows), centers) == fit_digest(cpu.Block(rows), centers)


def test_rows_without_room_are_streamed_in_pieces(cuda, emulated, monkeypatch):
    rows, centers = make(np.uint8, 1031, 4, 20, 255)
    emulated.memory = cuda.block._RESERVE + rows.nbytes
    monkeypatch.setattr(cuda.block, "_PIECE_BYTES", 4000)
    block = cuda.Block(rows)
    assert not block.resident
    assert len(block._pieces) > 3
    assert fit_digest(block, centers) == fit_digest(cpu.Block(rows), centers)
    assert not any(piece._on_device for piece in block._pieces)
    emulated.memory = cuda.block._RESERVE + 100 * rows.nbytes
    assert cuda.Block(rows).resident


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_streamed_rows_do_all_that_a_block_does(cuda, emulated, monkeypatch, dtype):
    emulated.memory = 0
    monkeypatch.setattr(cuda.block, "_PIECE_BYTES", 1000)
    check_against_reference(cuda, dtype, (203, 3, 7), 65535)


def clustered_lists(cuda, n_pivots, n_clusters, n_features=4):
    rng = np.random.default_rng(3)
    centers = snap(rng.gamma(2.0, 20.0, (n_clusters, n_features)), np.dtype(np.uint8))
    pivots = rng.integers(0, 99, (n_pivots, n_features)).astype(np.float32)
    kernels_ = cuda.block.kernels(np.dtype(np.uint8), n_features)
    lists = cuda.candidates.make_lists(kernels_, pivots, centers)
    gaps = pivots[:, None].astype(np.float64) - centers
    return lists, np.sqrt((gaps * gaps).sum(axis=2))


@pytest.mark.parametrize("listed_bytes", [1 << 29, 4 * 30 * 64])
def test_lists_bound_the_distances_of_what_follows(cuda, emulated, monkeypatch, listed_bytes):
    """All centers or the nearest, each once; `lower_bounds` ascend, a little below what they bound."""
    monkeypatch.setattr(cuda.candidates, "LISTS_BYTES", listed_bytes)
    monkeypatch.setattr(cuda.candidates, "_DISTANCES", 200 * 7)  # seven pivots at a time
    lists, distances = clustered_lists(cuda, 30, 200)
    assert lists.capacity == (200 if listed_bytes > 1 << 20 else 64)
    for pivot, far in enumerate(distances):
        n = int(lists.lengths[pivot])
        members = emulated.asnumpy(lists.members[pivot, :n])
        assert 40 < n <= lists.capacity
        assert len(set(members.tolist())) == n
        lower_bounds = emulated.asnumpy(lists.lower_bounds[pivot, : -(-n // 8)])
        assert (np.diff(lower_bounds) >= 0).all()
        for group, low in enumerate(lower_bounds):
            rest = far[members[8 * group :]].min()
            assert rest - far.max() / 500 < low <= rest
        outside = np.setdiff1d(np.arange(200), members)
        assert (far[outside] >= emulated.asnumpy(lists.radii[pivot])).all()


def test_rows_beyond_a_short_list_look_at_all_centers(cuda, monkeypatch):
    rows, centers = make(np.uint8, 500, 4, 100, 255)
    monkeypatch.setattr(cuda.candidates, "LISTS_BYTES", 4 * 100 * 16)
    kernels_ = cuda.block.kernels(rows.dtype, 4)
    assert cuda.candidates.make_lists(kernels_, np.rint(centers), centers).capacity == 16
    assert fit_digest(cuda.Block(rows), centers) == fit_digest(cpu.Block(rows), centers)


@pytest.mark.parametrize(
    ("dtype", "n_features", "n_clusters"),
    [(np.uint8, 3, 33), (np.uint8, 25, 100), (np.uint16, 40, 70), (np.uint8, 40, 70)],
)
def test_what_a_list_lacks_is_found_beyond_it(cuda, monkeypatch, dtype, n_features, n_clusters):
    """Centers change places, so that the list of a row's pivot seldom has its nearest center."""
    rows, centers = make(dtype, 300, n_features, n_clusters, 65535)
    monkeypatch.setattr(cuda.candidates, "LISTS_BYTES", 4 * n_clusters * 16)
    block = cuda.Block(rows)
    check_step(block, rows, centers, None, None)
    before = block.labels(centers)
    moved = centers[np.random.default_rng(0).permutation(n_clusters)]
    lists = cuda.candidates.near_centers(block._kernels, moved)
    members = sys.modules["cupy"].asnumpy(lists.members)
    after = reference.assign(rows, moved)
    unlisted = sum(new not in members[old, : lists.capacity] for old, new in zip(before, after, strict=True))
    assert lists.capacity == 16
    assert unlisted > 100
    check_step(block, rows, moved, centers, None)


def test_lists_too_short_for_equal_centers_stay_empty(cuda, monkeypatch):
    """Forty centers lie in one place, and a list holds sixteen."""
    rows, _ = make(np.uint8, 200, 3, 1, 255)
    centers = snap(np.repeat(rows[:3].astype(float), 40, axis=0), rows.dtype)
    monkeypatch.setattr(cuda.candidates, "LISTS_BYTES", 4 * 120 * 16)
    assert_same_array(cuda.Block(rows).labels(centers), reference.assign(rows, centers))
    assert fit_digest(cuda.Block(rows), centers) == fit_digest(cpu.Block(rows), centers)


def test_rows_need_not_be_contiguous(cuda):
    rows, centers = make(np.uint8, 200, 25, 5, 255)
    for view in (rows[::2, ::-1], np.asfortranarray(rows), rows[:, 1:5]):
        block = cuda.Block(view)
        assert_same_array(block.rows(), np.ascontiguousarray(view))
        assert_same_array(
            block.labels(centers[:, : view.shape[1]]), reference.assign(view, centers[:, : view.shape[1]])
        )


def test_blocks_with_the_same_centers_share_their_lists(cuda, monkeypatch):
    rows, centers = make(np.uint8, 100, 3, 5, 255)
    made = []
    make_lists = cuda.candidates.make_lists
    monkeypatch.setattr(cuda.candidates, "make_lists", lambda *args: made.append(args) or make_lists(*args))
    one, other = cuda.Block(rows), cuda.Block(rows[::-1].copy())
    for block in (one, other):
        block.lloyd(centers)
        block.lloyd(centers, centers)
    assert len(made) == 1
    one.lloyd(centers[::-1].copy(), centers)
    assert len(made) == 2


def test_adopted_labels_are_taken_as_they_are(cuda):
    """Wrong ones show that they are looked at."""
    rows, centers = make(np.uint8, 203, 3, 5, 255)
    block = cuda.Block(rows)
    block.adopt((reference.assign(rows, centers) + 1) % 5, centers)
    other = centers[::-1].copy()
    right = (reference.assign(rows, centers) + 1) % 5
    assert block.lloyd(other, centers).moved == (reference.assign(rows, other) != right).sum()


def test_rows_that_share_a_label_are_sorted_together(cuda, emulated):
    """One atomic operation for each label of a warp, 32 rows, which stay in order, side by side."""
    rows, centers = make(np.uint8, 203, 3, 5, 255)
    labels = np.random.default_rng(0).integers(0, 5, 203).astype(np.int32)
    block = cuda.Block(rows)
    block.adopt(labels, centers)
    emulated.machine.finish()
    arrays, atomics = block._pieces[0]._on_device, emulated.RawModule.atomics
    order, sorted_labels = emulated.asnumpy(arrays["order"]), emulated.asnumpy(arrays["labels"])
    slots = np.empty(203, np.int64)
    slots[order[order >= 0]] = np.flatnonzero(order >= 0)
    np.testing.assert_array_equal(sorted_labels[slots], labels)
    shared = [
        first + np.flatnonzero(labels[first : first + 32] == label)
        for first in range(0, 203, 32)
        for label in range(5)
    ]
    assert all((np.diff(slots[rows_]) == 1).all() for rows_ in shared)
    assert (
        atomics["count_labels"] == atomics["sort_rows"] == sum(len(rows_) > 0 for rows_ in shared) < 203 / 5
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rows_that_move_together_are_summed_first(cuda, emulated, dtype):
    """A tile leaves one cluster for two: one atomic operation for each sum and count of the three."""
    rng, top = np.random.default_rng(0), int(np.iinfo(dtype).max) // 255
    rows = (rng.integers(1, 50, (64, 3)) + rng.integers(0, 2, (64, 1)) * 100).astype(dtype) * dtype(top)
    weights = rng.integers(1, 1 << 38, 64)
    previous = snap(np.array([[75] * 3, [255] * 3, [254] * 3]) * float(top), rows.dtype)
    centers = snap(np.array([[255] * 3, [25] * 3, [125] * 3]) * float(top), rows.dtype)
    block = cuda.Block(rows, weights)
    check_step(block, rows, previous, None, weights)
    emulated.RawModule.atomics.clear()
    check_step(block, rows, centers, previous, weights)
    assert set(block.labels(centers)) == {1, 2}
    # And how many moved, and how many are not at their pivot.
    assert emulated.RawModule.atomics["search"] == 3 * (3 + 1) + 2


def test_squares_beyond_2_to_53_are_exact(cuda):
    """White 16-bit rows with weights: their squares are odd and too large for float64."""
    rows = np.full((3, 1), 65535, np.uint16)
    stats = cuda.Block(rows, np.array([1 << 22, 1, 0])).lloyd(snap(rows[:1], rows.dtype))
    assert stats.squares == ((1 << 22) + 1) * 65535**2 > 1 << 53
    assert stats.squares % 2 == 1


def test_a_step_that_fails_leaves_a_block_that_begins_anew(cuda, monkeypatch):
    rows, centers = make(np.uint8, 300, 3, 9, 255)
    block = cuda.Block(rows)
    block.lloyd(centers)
    monkeypatch.setattr(cuda.block, "near_centers", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        block.lloyd(centers[::-1].copy(), centers)
    monkeypatch.undo()
    check_step(block, rows, centers, centers[::-1].copy(), None)


def test_the_dispatch_and_the_devices(cuda, emulated):
    rows, centers = make(np.uint8, 50, 3, 4, 255)
    weights = np.full(50, 3)
    assert kernels.gpu_problem() is None
    for device in ("auto", "gpu"):
        block = kernels.load(rows, device, weights)
        assert type(block) is cuda.Block
        check_step(block, rows, centers, None, weights)
    assert type(kernels.load(rows, "cpu")) is cpu.Block
    emulated.devices = 0
    assert kernels.gpu_problem() == "CUDA finds no device"
    assert type(kernels.load(rows, "auto")) is cpu.Block
    with pytest.raises(DeviceError, match="CUDA finds no device"):
        kernels.load(rows, "gpu")


def test_an_error_of_the_driver_is_told(emulated):
    class CUDARuntimeError(Exception):
        pass

    def fail():
        raise CUDARuntimeError("cudaErrorInsufficientDriver")

    emulated.cuda.runtime.getDeviceCount = fail
    assert kernels.gpu_problem() == "CUDARuntimeError: cudaErrorInsufficientDriver"
    with pytest.raises(DeviceError, match="CUDARuntimeError: cudaErrorInsufficientDriver"):
        kernels.load(np.zeros((1, 1), np.uint8), "gpu")
