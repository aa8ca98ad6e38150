"""The CUDA kernels against the oracle on a GPU; and without one, their logic on a stub of CuPy."""

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest

from dkmeans import kernels
from dkmeans.errors import DeviceError
from dkmeans.kernels import reference
from dkmeans.kernels.exact import snap

SHAPES = [(1, 1, 1), (5, 3, 17), (203, 25, 16), (203, 128, 100), (203, 129, 15), (60, 784, 33)]


def make(dtype, n_rows, n_features, n_clusters, spread):
    """Rows in random order with duplicates, and centers on the grid of which two are equal."""
    rng = np.random.default_rng((n_rows, n_features, n_clusters, spread))
    top = min(spread, int(np.iinfo(dtype).max))
    rows = rng.integers(0, top, (n_rows, n_features), endpoint=True, dtype=dtype)
    centers = snap(rng.uniform(0, top, (n_clusters, n_features)), np.dtype(dtype))
    centers[-1] = centers[n_clusters // 2]
    return rows[rng.integers(0, n_rows, n_rows)], centers


def assert_same_chunk(found, expected, to_host):
    (stats, hint), (right, labels) = found, expected
    np.testing.assert_array_equal(to_host(hint), labels)
    for name in ("sums", "counts"):
        assert type(getattr(stats, name)) is np.ndarray  # on the host, to travel
        np.testing.assert_array_equal(getattr(stats, name), getattr(right, name))
        assert getattr(stats, name).dtype == np.int64
    assert (stats.squares, stats.moved) == (right.squares, right.moved)
    assert type(stats.squares) is type(stats.moved) is int


def check_against_reference(cuda, to_host, dtype, shape, spread):
    rows, centers = make(dtype, *shape, spread)
    rng = np.random.default_rng(0)
    hint = rng.integers(0, len(centers), len(rows)).astype(np.int32)
    weights = rng.integers(0, 1 << 14, len(rows))
    on_device = cuda.to_device(rows)
    hint_there = cuda.to_device(hint)
    np.testing.assert_array_equal(cuda.assign(on_device, centers), reference.assign(rows, centers))
    for use_hint in (False, True):
        for times in (None, weights):
            assert_same_chunk(
                cuda.lloyd_chunk(on_device, centers, hint_there if use_hint else None, times),
                reference.lloyd_chunk(rows, centers, hint if use_hint else None, times),
                to_host,
            )
    for n in (1, 3, 2 * len(rows)):
        for one, other in zip(
            cuda.farthest(on_device, centers, n), reference.farthest(rows, centers, n), strict=True
        ):
            np.testing.assert_array_equal(one, other)


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
    cupy = importlib.import_module("cupy")
    check_against_reference(cuda, cupy.asnumpy, dtype, shape, spread)


@pytest.mark.gpu
def test_a_large_chunk_gives_the_bits_of_the_cpu(cuda):
    rows, centers = make(np.uint16, 1 << 20, 3, 257, 65535)
    from_gpu, labels = kernels.lloyd_chunk(kernels.to_device(rows, "gpu"), centers)
    from_cpu, expected = kernels.lloyd_chunk(rows, centers)
    np.testing.assert_array_equal(labels.get(), expected)
    np.testing.assert_array_equal(from_gpu.sums, from_cpu.sums)
    np.testing.assert_array_equal(from_gpu.counts, from_cpu.counts)
    assert (from_gpu.squares, from_gpu.moved) == (from_cpu.squares, from_cpu.moved)


@pytest.mark.gpu
def test_the_dispatch_takes_the_gpu_where_there_is_one(cuda):
    cupy = importlib.import_module("cupy")
    rows, centers = make(np.uint8, 50, 3, 4, 255)
    for device in ("auto", "gpu"):
        there = kernels.to_device(rows, device)
        assert isinstance(there, cupy.ndarray)
        np.testing.assert_array_equal(kernels.assign(there, centers), reference.assign(rows, centers))
    assert kernels.to_device(rows, "cpu") is rows


# Without a GPU


@pytest.fixture
def no_cupy(monkeypatch, forget_cuda):
    """As on a machine without CuPy, wherever the tests run."""
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.mark.usefixtures("no_cupy")
def test_without_cupy_rows_stay_where_they_are_unless_a_gpu_is_demanded():
    rows = np.zeros((2, 3), np.uint8)
    assert "CuPy is not installed" in kernels.gpu_problem()
    assert "dkmeans[gpu-cuda12]" in kernels.gpu_problem()
    assert kernels.to_device(rows, "auto") is rows
    assert kernels.to_device(rows, "cpu") is rows
    with pytest.raises(
        DeviceError, match=r"--device gpu: no usable GPU: CuPy is not .* --device auto"
    ) as caught:
        kernels.to_device(rows, "gpu")
    assert caught.value.exit_code == 5


class StubArray(np.ndarray):
    """What the stub calls an array on the GPU: as in CuPy, it takes no part in plain NumPy by accident."""

    def get(self):
        return np.array(self)


@pytest.fixture
def stub(monkeypatch, forget_cuda):
    """CuPy's functions made of NumPy's. It shows that our code is right, not that CuPy or a GPU is."""
    module = ModuleType("cupy")
    for name in ("argmin", "bincount", "count_nonzero", "empty", "ones", "stack", "take_along_axis"):
        setattr(module, name, getattr(np, name))
    for name in ("float64", "int32", "int64"):
        setattr(module, name, getattr(np, name))
    module.ndarray = StubArray
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
    cuda = importlib.import_module("dkmeans.kernels.cuda")
    check_against_reference(cuda, stub.asnumpy, dtype, shape, spread)


def test_squares_beyond_2_to_53_are_exact(stub):
    """White 16-bit rows with weights: their squares are odd and too large for float64."""
    cuda = importlib.import_module("dkmeans.kernels.cuda")
    rows = np.full((3, 1), 65535, np.uint16)
    weights = np.array([1 << 22, 1, 0])
    stats, _ = cuda.lloyd_chunk(cuda.to_device(rows), snap(rows[:1], rows.dtype), None, weights)
    assert stats.squares == ((1 << 22) + 1) * 65535**2 > 1 << 53
    assert stats.squares % 2 == 1


def test_the_dispatch_and_the_devices(stub):
    rows, centers = make(np.uint8, 50, 3, 4, 255)
    assert kernels.gpu_problem() is None
    for device in ("auto", "gpu"):
        there = kernels.to_device(rows, device)
        assert type(there) is StubArray
        np.testing.assert_array_equal(kernels.assign(there, centers), reference.assign(rows, centers))
    assert kernels.to_device(rows, "cpu") is rows
    stub.devices = 0
    assert kernels.gpu_problem() == "CUDA finds no device"
    assert kernels.to_device(rows, "auto") is rows
    with pytest.raises(DeviceError, match="CUDA finds no device"):
        kernels.to_device(rows, "gpu")


def test_an_error_of_the_driver_is_told(stub):
    class CUDARuntimeError(Exception):
        pass

    def fail():
        raise CUDARuntimeError("cudaErrorInsufficientDriver")

    stub.cuda.runtime.getDeviceCount = fail
    assert kernels.gpu_problem() == "CUDARuntimeError: cudaErrorInsufficientDriver"
    with pytest.raises(DeviceError, match="CUDARuntimeError: cudaErrorInsufficientDriver"):
        kernels.to_device(np.zeros((1, 1), np.uint8), "gpu")
