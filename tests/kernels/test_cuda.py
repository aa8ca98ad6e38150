"""The CUDA kernels on a GPU against the oracle and the CPU; what is quick on the emulated one too."""

import importlib

import numpy as np
import pytest
from gpu_checks import (
    assert_same_array,
    assert_same_stats,
    check_against_reference,
    check_edge,
    check_halfway,
    check_no_rows,
    check_small_terms,
    fit_digest,
    make,
)

from dkmeans import kernels
from dkmeans.kernels import cpu, reference
from dkmeans.kernels.exact import snap, update_centers

SHAPES = [(1, 1, 1), (5, 3, 17), (203, 25, 16), (203, 128, 100), (203, 129, 15), (60, 784, 33)]
WIDTHS = (1, 3, 4, 25, 64, 192, 784)
CLUSTERS = (1, 2, 100, 1000, 10000)


GPU = pytest.param("gpu", marks=pytest.mark.gpu)


def on_gpu():
    pytest.importorskip("cupy")
    problem = kernels.gpu_problem()
    assert problem is None, problem
    return importlib.import_module("dkmeans.kernels.cuda")


@pytest.fixture(params=[GPU])
def cuda(request):
    return on_gpu()


@pytest.fixture(params=["emulated", GPU])
def either(request):
    if request.param == "gpu":
        return on_gpu()
    request.getfixturevalue("emulated")
    return importlib.import_module("dkmeans.kernels.cuda")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spread", [2, 65535])
def test_the_gpu_gives_the_bits_of_the_reference(cuda, dtype, shape, spread):
    check_against_reference(cuda, dtype, shape, spread)


@pytest.mark.parametrize("n_clusters", CLUSTERS)
@pytest.mark.parametrize("n_features", WIDTHS)
def test_every_width_and_number_of_clusters(cuda, n_features, n_clusters):
    """Rows that are no whole number of tiles, with duplicates; two centers are equal."""
    n_rows = 20_011 if n_features < 192 else 4_001
    rows, centers = make(np.uint8, n_rows, n_features, n_clusters, 255)
    sample = slice(0, max(1, 200_000_000 // (n_clusters * n_features * 16)))
    on_gpu, on_cpu = cuda.Block(rows), cpu.Block(rows)
    np.testing.assert_array_equal(on_gpu.labels(centers)[sample], reference.assign(rows[sample], centers))
    previous = None
    for _ in range(4):
        stats = on_cpu.lloyd(centers, previous)
        assert_same_stats(on_gpu.lloyd(centers, previous), stats)
        assert_same_array(on_gpu.labels(centers), on_cpu.labels(centers))
        previous, centers = centers, update_centers(stats, centers, rows.dtype)
    for found, right in zip(on_gpu.farthest(centers, 5), on_cpu.farthest(centers, 5), strict=True):
        assert_same_array(found, right)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("n_features", "n_clusters"), [(3, 257), (25, 1000), (192, 300)])
def test_a_whole_fit_has_the_bits_of_the_cpu(cuda, dtype, n_features, n_clusters):
    rows, centers = make(dtype, 1 << 19 if n_features < 100 else 1 << 15, n_features, n_clusters, 65535)
    assert fit_digest(cuda.Block(rows), centers, 12) == fit_digest(cpu.Block(rows), centers, 12)


def test_streamed_rows_give_the_same_bits(cuda, monkeypatch):
    """As if the device had no room for them; in pieces, which two streams take in turns."""
    rows, centers = make(np.uint8, 300_007, 25, 200, 255)
    monkeypatch.setattr(cuda.block, "_PIECE_BYTES", 1 << 20)
    monkeypatch.setattr(cuda.block, "_RESERVE", 1 << 60)
    block = cuda.Block(rows)
    assert not block.resident
    assert fit_digest(block, centers, 12) == fit_digest(cpu.Block(rows), centers, 12)


def test_short_lists_give_the_same_bits(cuda, monkeypatch):
    """As with 100,000 clusters, whose lists hold only the nearest."""
    rows, centers = make(np.uint8, 50_000, 4, 2000, 255)
    monkeypatch.setattr(cuda.candidates, "LISTS_BYTES", 4 * 2000 * 16)
    assert fit_digest(cuda.Block(rows), centers) == fit_digest(cpu.Block(rows), centers)


def test_centers_that_are_many_times_the_same(cuda):
    rows, _ = make(np.uint8, 30_000, 25, 1, 255)
    centers = snap(np.repeat(rows[:40].astype(float), 50, axis=0), rows.dtype)
    assert_same_array(cuda.Block(rows).labels(centers), cpu.Block(rows).labels(centers))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("n_features", [3, 128])
@pytest.mark.parametrize("n_clusters", [2, 17, 40])
def test_a_row_halfway_goes_to_the_lowest_index(either, dtype, n_features, n_clusters):
    check_halfway(either, dtype, n_features, n_clusters)


@pytest.mark.parametrize("n_features", [2, 40])
def test_the_nearest_may_lie_as_far_from_the_pivot_as_can_be(either, n_features):
    check_edge(either, n_features)


def test_many_small_terms_of_a_score_count(either):
    check_small_terms(either)


def test_no_rows_are_a_block_there_too(either):
    check_no_rows(either)


def test_load_takes_the_gpu_where_there_is_one(cuda):
    rows = np.zeros((2, 3), np.uint8)
    for device in ("auto", "gpu"):
        assert type(kernels.load(rows, device)) is cuda.Block
    assert type(kernels.load(rows, "cpu")) is cpu.Block
