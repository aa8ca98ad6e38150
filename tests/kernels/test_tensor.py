"""Rows of bytes on tensor cores, emulated: four warps share a tile, scores are integers."""

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from gpu_checks import assert_same_array, check_halfway, check_step, fit_digest, make

from dkmeans.kernels import cpu, reference
from dkmeans.kernels.exact import grid_integers, snap

UINT8 = np.dtype(np.uint8)
LAST = 1 << 15  # features that tensor cores are used for


@pytest.fixture
def cuda(emulated):
    return importlib.import_module("dkmeans.kernels.cuda")


@pytest.mark.parametrize(
    ("n_features", "n_clusters"),
    [
        *[(33, 1), (36, 15), (48, 33), (192, 65), (512, 9), (1100, 40)],
        *(pytest.param(*shape, marks=pytest.mark.slow) for shape in [(784, 100), (4100, 70)]),
    ],
)
def test_rows_of_a_part_of_a_step_or_of_many_chunks(cuda, n_features, n_clusters):
    """Steps are of 32 features, chunks of at most 512; a round is of 32 centers."""
    rows, centers = make(np.uint8, 70, n_features, n_clusters, 255)
    _, other = make(np.uint8, 69, n_features, n_clusters, 255)
    block = cuda.Block(rows)
    assert_same_array(block.labels(centers), reference.assign(rows, centers))
    check_step(block, rows, other, centers, None)
    check_step(block, rows, centers, other, None)


@pytest.mark.parametrize(("n_features", "n_clusters"), [(40, 9), (48, 33), (784, 100)])
def test_ties_and_near_ties_of_centers_of_several_warps(cuda, n_features, n_clusters):
    check_halfway(cuda, UINT8, n_features, n_clusters)


@pytest.mark.parametrize("n_features", [33, 600])
def test_centers_that_differ_by_less_than_a_step_of_a_score(cuda, n_features):
    """A few points of the grid apart: what the scores cut off decides, were it not for the margin."""
    rng = np.random.default_rng(n_features)
    rows = rng.integers(122, 129, (128, n_features), dtype=np.uint8)
    middle = rng.uniform(122, 128, n_features)
    centers = snap(middle + rng.integers(-2, 3, (40, n_features)) * 2.0**-15, UINT8)
    assert_same_array(cuda.Block(rows).labels(centers), reference.assign(rows, centers))


def test_lists_that_end_early(cuda, monkeypatch):
    """Of eight centers, so that most rows look at all of them, from where the warps have to begin anew."""
    rows, centers = make(np.uint8, 150, 40, 100, 255)
    monkeypatch.setattr(cuda.candidates, "LISTS_BYTES", 0)
    kernels_ = cuda.block.kernels(rows.dtype, 40)
    assert cuda.candidates.make_lists(kernels_, np.rint(centers), centers).capacity == 8
    assert fit_digest(cuda.Block(rows), centers, 3) == fit_digest(cpu.Block(rows), centers, 3)


def test_lists_too_short_for_equal_centers_stay_empty(cuda, monkeypatch):
    rows, _ = make(np.uint8, 100, 40, 1, 255)
    centers = snap(np.repeat(rows[:3].astype(float), 40, axis=0), rows.dtype)
    monkeypatch.setattr(cuda.candidates, "LISTS_BYTES", 0)
    assert_same_array(cuda.Block(rows).labels(centers), reference.assign(rows, centers))


@pytest.mark.parametrize("n_features", [33, 512, 513, LAST])
def test_the_largest_sums_and_scores(cuda, n_features):
    """White and black rows, half of them with the pivot at the other end; centers of the largest bytes."""
    rows = np.repeat(np.array([[255], [0]], np.uint8), 8, axis=0).repeat(n_features, axis=1)
    below = 255 - 2.0**-15
    centers = snap(np.array([[0], [below], [255], [2.0**-15], [128]]).repeat(n_features, axis=1), UINT8)
    block = cuda.Block(rows)
    block.adopt(np.arange(16, dtype=np.int32) % 2, centers)
    moved = centers.copy()
    moved[1] = 254
    block.lloyd(moved, centers)
    assert_same_array(block.labels(moved), reference.assign(rows, moved))


def test_centers_are_bytes_of_32_features_after_each_other(cuda):
    _, centers = make(np.uint8, 5, 70, 9, 255)
    centers[0], centers[1, ::2] = 255 - 2.0**-15, 255
    pivots = cuda.candidates.padded(np.rint(centers), 72)
    words, digits, norms = map(
        sys.modules["cupy"].asnumpy, cuda.candidates._for_tensor_cores(pivots, centers)
    )
    np.testing.assert_array_equal(words.view(np.uint8)[:, :70], np.rint(centers))
    steps = digits.view(np.uint8).reshape(9, 3, 3, 32).astype(np.int64)
    integers = (steps[:, :, 0] + (steps[:, :, 1] << 8) + (steps[:, :, 2] << 16)).reshape(9, 96)
    right = grid_integers(centers, UINT8)
    np.testing.assert_array_equal(integers[:, :70], right)
    assert not integers[:, 70:].any()
    np.testing.assert_array_equal(norms, (right * right).sum(axis=1))


@pytest.mark.parametrize(
    ("dtype", "n_features", "tensor"),
    [("u1", 32, False), ("u1", 33, True), ("u1", LAST, True), ("u1", LAST + 1, False), ("u2", 64, False)],
)
def test_which_rows_tensor_cores_are_used_for(cuda, emulated, monkeypatch, dtype, n_features, tensor):
    monkeypatch.setattr(emulated, "RawModule", lambda **_: SimpleNamespace(get_function=None))
    made = importlib.import_module("dkmeans.kernels.cuda.compiled").Kernels(np.dtype(dtype), n_features)
    assert made.tensor is tensor


def test_rows_too_wide_for_tensor_cores(cuda):
    rows, centers = make(np.uint8, 3, LAST + 1, 2, 255)
    assert_same_array(cuda.Block(rows).labels(centers), reference.assign(rows, centers))
