"""The CUDA kernels against the oracle on a GPU; and without one, their logic on a stub of CuPy."""

import importlib
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest

from dkmeans import kernels
from dkmeans.errors import DeviceError
from dkmeans.kernels import cpu, reference
from dkmeans.kernels.exact import snap, update_centers

SHAPES = [(1, 1, 1), (5, 3, 17), (203, 25, 16), (203, 128, 100), (203, 129, 15), (60, 784, 33)]


def make(dtype, n_rows, n_features, n_clusters, spread):
    """Rows in random order with duplicates, and centers on the grid of which two are equal."""
    rng = np.random.default_rng((n_rows, n_features, n_clusters, spread))
    top = min(spread, int(np.iinfo(dtype).max))
    rows = rng.integers(0, top, (n_rows, n_features), endpoint=True, dtype=dtype)
    centers = snap(rng.uniform(0, top, (n_clusters, n_features)), np.dtype(dtype))
    centers[-1] = centers[n_clusters // 2]
    return rows[rng.integers(0, n_rows, n_rows)], centers


def assert_same_stats(stats, right):
    for name in ("sums", "counts"):
        assert type(getattr(stats, name)) is np.ndarray  # on the host, to travel
        np.testing.assert_array_equal(getattr(stats, name), getattr(right, name))
        assert getattr(stats, name).dtype == np.int64
    assert (stats.squares, stats.moved) == (right.squares, right.moved)
    assert type(stats.squares) is type(stats.moved) is int


def assert_same_array(found, expected):
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


def check_step(block, rows, centers, previous, weights):
    hint = None if previous is None else reference.assign(rows, previous)
    expected, labels = reference.lloyd_chunk(rows, centers, hint, weights)
    assert_same_stats(block.lloyd(centers, previous), expected)
    assert_same_array(block.labels(centers), labels)
    return expected


def check_against_reference(cuda, dtype, shape, spread):
    """All that a block can do, as `test_kernels` has it for the CPU."""
    rows, centers = make(dtype, *shape, spread)
    n_rows, n_features, n_clusters = shape
    rng = np.random.default_rng(0)
    for weights in (None, rng.integers(0, 1 << 14, n_rows)):
        block = cuda.Block(rows, weights)
        assert (block.n_rows, block.n_features, block.dtype) == (n_rows, n_features, dtype)
        previous, current = None, centers
        for _ in range(3):
            stats = check_step(block, rows, current, previous, weights)
            previous, current = current, update_centers(stats, current, rows.dtype)
        check_step(block, rows, current, current, weights)  # nothing moves
        _, unseen = make(dtype, n_rows, n_features, n_clusters + 1, spread)
        check_step(block, rows, centers, unseen[1:], weights)
        check_step(cuda.Block(rows, weights), rows, centers, unseen[1:], weights)
        assert_same_array(block.labels(unseen), reference.assign(rows, unseen))
        check_step(block, rows, current, centers, weights)
        adopting = cuda.Block(rows, weights)
        adopting.adopt(block.labels(current), current)
        check_step(adopting, rows, centers, current, weights)
        copy = pickle.loads(pickle.dumps(block))
        check_step(copy, rows, centers, None, weights)
        for one in (block, copy):
            assert_same_array(one.rows(), rows)
            assert_same_array(one.rows(np.array([n_rows - 1, 0, 0])), rows[[n_rows - 1, 0, 0]])
            assert sys.getsizeof(one) >= rows.nbytes
            for n in (1, 3, 2 * n_rows):
                expected = reference.farthest(rows, centers, n)
                for found, right in zip(one.farthest(centers, n), expected, strict=True):
                    assert_same_array(found, right)


def check_no_rows(cuda):
    block = cuda.Block(np.empty((0, 3), np.uint8))
    centers = np.zeros((4, 3), np.float32)
    for previous in (None, centers):
        stats = block.lloyd(centers, previous)
        assert not stats.sums.any()
        assert (stats.sums.shape, stats.counts.tolist()) == ((4, 3), [0, 0, 0, 0])
        assert (stats.squares, stats.moved) == (0, 0)
    assert block.labels(centers).shape == (0,)
    assert block.farthest(centers, 3)[1].shape == (0, 3)


@pytest.fixture
def forget_cuda(monkeypatch):
    """`dkmeans.kernels.cuda` is imported anew by the test, and forgotten after it."""
    monkeypatch.delitem(sys.modules, "dkmeans.kernels.cuda", raising=False)
    monkeypatch.delattr(kernels, "cuda", raising=False)
    yield
    sys.modules.pop("dkmeans.kernels.cuda", None)
    if hasattr(kernels, "cuda"):
        del kernels.cuda


# On a GPU


@pytest.fixture(scope="module")
def cuda():
    pytest.importorskip("cupy")
    problem = kernels.gpu_problem()
    assert problem is None, problem
    return importlib.import_module("dkmeans.kernels.cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spread", [2, 65535])
def test_the_gpu_gives_the_bits_of_the_reference(cuda, dtype, shape, spread):
    check_against_reference(cuda, dtype, shape, spread)


@pytest.mark.gpu
def test_a_large_block_gives_the_bits_of_the_cpu(cuda):
    rows, centers = make(np.uint16, 1 << 20, 3, 257, 65535)
    on_gpu, on_cpu, previous = cuda.Block(rows), cpu.Block(rows), None
    for _ in range(3):
        stats = on_cpu.lloyd(centers, previous)
        assert_same_stats(on_gpu.lloyd(centers, previous), stats)
        assert_same_array(on_gpu.labels(centers), on_cpu.labels(centers))
        previous, centers = centers, update_centers(stats, centers, rows.dtype)


@pytest.mark.gpu
def test_no_rows_are_a_block_there_too(cuda):
    check_no_rows(cuda)


@pytest.mark.gpu
def test_load_takes_the_gpu_where_there_is_one(cuda):
    rows = np.zeros((2, 3), np.uint8)
    for device in ("auto", "gpu"):
        assert type(kernels.load(rows, device)) is cuda.Block
    assert type(kernels.load(rows, "cpu")) is cpu.Block


# Without a GPU


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


class StubArray(np.ndarray):
    """What the stub calls an array on the GPU: as in CuPy, it takes no part in plain NumPy by accident."""

    def get(self):
        return np.array(self)


def stub_bincount(values, weights, minlength):
    """As in CuPy, not of nothing, which has no maximum."""
    return np.bincount(values, weights, max(minlength, int(values.max()) + 1))


@pytest.fixture
def stub(monkeypatch, forget_cuda):
    """CuPy's functions made of NumPy's. It shows that our code is right, not that CuPy or a GPU is."""
    module = ModuleType("cupy")
    for name in ("argmin", "empty", "stack", "take_along_axis"):
        setattr(module, name, getattr(np, name))
    for name in ("float64", "int32", "int64"):
        setattr(module, name, getattr(np, name))
    module.ndarray = StubArray
    module.bincount = stub_bincount
    module.asarray = lambda values, dtype=None: np.asarray(values, dtype=dtype).view(StubArray)
    module.asnumpy = lambda values: np.array(values)
    module.devices = 1
    runtime = ModuleType("cupy.cuda.runtime")
    runtime.getDeviceCount = lambda: module.devices
    module.cuda = ModuleType("cupy.cuda")
    module.cuda.runtime = runtime
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spread", [2, 65535])
def test_the_logic_gives_the_bits_of_the_reference(stub, dtype, shape, spread):
    check_against_reference(importlib.import_module("dkmeans.kernels.cuda"), dtype, shape, spread)


def test_no_rows_are_a_block_too(stub):
    check_no_rows(importlib.import_module("dkmeans.kernels.cuda"))


def test_adopted_labels_are_taken_as_they_are(stub):
    """Wrong ones show that they are looked at."""
    cuda = importlib.import_module("dkmeans.kernels.cuda")
    rows, centers = make(np.uint8, 203, 3, 5, 255)
    block = cuda.Block(rows)
    block.adopt((reference.assign(rows, centers) + 1) % 5, centers)
    other = centers[::-1].copy()
    right = (reference.assign(rows, centers) + 1) % 5
    assert block.lloyd(other, centers).moved == (reference.assign(rows, other) != right).sum()


def test_squares_beyond_2_to_53_are_exact(stub):
    """White 16-bit rows with weights: their squares are odd and too large for float64."""
    cuda = importlib.import_module("dkmeans.kernels.cuda")
    rows = np.full((3, 1), 65535, np.uint16)
    stats = cuda.Block(rows, np.array([1 << 22, 1, 0])).lloyd(snap(rows[:1], rows.dtype))
    assert stats.squares == ((1 << 22) + 1) * 65535**2 > 1 << 53
    assert stats.squares % 2 == 1


def test_the_dispatch_and_the_devices(stub):
    rows, centers = make(np.uint8, 50, 3, 4, 255)
    weights = np.full(50, 3)
    assert kernels.gpu_problem() is None
    cuda = importlib.import_module("dkmeans.kernels.cuda")
    for device in ("auto", "gpu"):
        block = kernels.load(rows, device, weights)
        assert type(block) is cuda.Block
        check_step(block, rows, centers, None, weights)
    assert type(kernels.load(rows, "cpu")) is cpu.Block
    stub.devices = 0
    assert kernels.gpu_problem() == "CUDA finds no device"
    assert type(kernels.load(rows, "auto")) is cpu.Block
    with pytest.raises(DeviceError, match="CUDA finds no device"):
        kernels.load(rows, "gpu")


def test_an_error_of_the_driver_is_told(stub):
    class CUDARuntimeError(Exception):
        pass

    def fail():
        raise CUDARuntimeError("cudaErrorInsufficientDriver")

    stub.cuda.runtime.getDeviceCount = fail
    assert kernels.gpu_problem() == "CUDARuntimeError: cudaErrorInsufficientDriver"
    with pytest.raises(DeviceError, match="CUDARuntimeError: cudaErrorInsufficientDriver"):
        kernels.load(np.zeros((1, 1), np.uint8), "gpu")
