"""The loop on one block: hand-computed where it can be, and as scikit-learn's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from dkmeans import kernels
from dkmeans.clustering.loop import State, iterate
from dkmeans.kernels import arithmetic, exact, reference

UINT8 = np.dtype(np.uint8)


def run(values, centers, *, max_iter=50, tol=0.0, **options):
    """Iterate over a block of `values` from `centers`, which are put on the grid."""
    block = kernels.load(values)
    first = State(arithmetic(values.dtype).snap(np.asarray(centers), values.dtype))
    return iterate(block, first, max_iter=max_iter, tol=tol, **options)


@pytest.fixture
def blobs():
    rng = np.random.default_rng(5)
    middles = rng.integers(30, 226, (6, 3))
    values = middles[rng.integers(6, size=500)] + rng.integers(-25, 26, (500, 3))
    return values.astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_four_points_by_hand(dtype):
    seen = []
    values = np.array([[0], [2], [10], [13]], dtype)
    result = run(values, [[0], [2]], on_iteration=seen.append)
    # {0}, {2, 10, 13} -> 0, 25/3 -> {0, 2}, {10, 13} -> 1, 11.5
    np.testing.assert_array_equal(result.centers, [[1], [11.5]])
    np.testing.assert_array_equal(result.counts, [2, 2])
    assert result.inertia == 1 + 1 + 2 * 1.5**2
    assert result.converged
    assert [step.moved for step in result.history] == [4, 1, 0]
    assert result.history[0].inertia == 64 + 121
    assert result.history[-1].center_shift == 0
    assert [state.history[-1] for state in seen] == result.history
    assert [state.converged for state in seen] == [False, False, True]


def test_inertia_is_that_of_scikit_learn_from_the_same_centers(blobs):
    first = exact.snap(blobs[:6], UINT8)
    ours = run(blobs, first, max_iter=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = KMeans(6, init=first.astype(float), n_init=1, max_iter=4, tol=0).fit(blobs.astype(float))
    assert len(ours.history) == theirs.n_iter_ == 4
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-6)
    np.testing.assert_allclose(ours.centers, theirs.cluster_centers_, atol=1e-3)


def test_counts_and_inertia_belong_to_the_last_centers(blobs):
    result = run(blobs, blobs[:6], max_iter=2)
    stats, _ = reference.lloyd_chunk(blobs, result.centers)
    np.testing.assert_array_equal(result.counts, stats.counts)
    assert result.inertia == exact.inertia(stats, result.centers, UINT8)
    assert not result.converged


def test_no_iteration_gives_the_counts_and_the_inertia_of_the_first_centers(blobs):
    first = exact.snap(blobs[:6], UINT8)
    result = run(blobs, first, max_iter=0)
    stats, _ = reference.lloyd_chunk(blobs, first)
    np.testing.assert_array_equal(result.centers, first)
    np.testing.assert_array_equal(result.counts, stats.counts)
    assert (result.inertia, result.history) == (exact.inertia(stats, first, UINT8), [])


def test_tol_is_relative_to_the_mean_variance(blobs):
    shifts = [step.center_shift for step in run(blobs, blobs[:6]).history]
    variance = blobs.astype(float).var(axis=0).mean()
    stopped = run(blobs, blobs[:6], tol=shifts[1] / variance * 1.0001)
    assert stopped.converged
    assert len(stopped.history) == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("at", [0, 1, -2, -1])
def test_from_any_state_it_goes_on_to_the_same_end(blobs, dtype, at):
    values, seen = blobs.astype(dtype), []
    whole = run(values, values[:6], on_iteration=seen.append)
    rest = iterate(kernels.load(values), seen[at], max_iter=50, tol=0)
    np.testing.assert_array_equal(rest.centers, whole.centers)
    np.testing.assert_array_equal(rest.counts, whole.counts)
    assert rest.inertia == whole.inertia
    assert [step.moved for step in rest.history] == [step.moved for step in whole.history]


def test_empty_clusters_move_to_the_farthest_rows():
    values = np.array([[0], [1], [2], [100], [180], [180]], np.uint8)
    # Three centers on one place: the first takes all rows, the others none.
    result = run(values, [[0], [0], [0]], max_iter=1)
    # The mean of all, then the farthest distinct rows: 180 and 100.
    np.testing.assert_array_equal(result.centers[1:], [[180], [100]])
    assert run(values, [[0], [0], [0]]).counts.tolist() == [3, 2, 1]


def test_more_empty_clusters_than_distinct_rows():
    result = run(np.array([[7], [7], [9]], np.uint8), [[3], [3], [3], [3]])
    # One takes all; 9 and 7 are the farthest rows, and the fourth center finds none.
    assert sorted(result.counts.tolist()) == [0, 0, 1, 2]
    assert (result.inertia, result.converged) == (0, True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_plain_steps_leave_empty_clusters_where_they_are(dtype):
    values = np.array([[0], [4], [10]], dtype)
    # All rows are nearest to the first two, of which the lower index takes them; then 0 is nearer to 1.
    one = run(values, [[1], [1], [200]], max_iter=1, plain=True)
    np.testing.assert_allclose(one.centers, [[14 / 3], [1], [200]], atol=2**-16)
    end = run(values, [[1], [1], [200]], plain=True)
    np.testing.assert_array_equal(end.centers, [[7], [0], [200]])
    assert (end.counts.tolist(), end.converged) == ([2, 1, 0], True)
    assert run(values, [[1], [1], [200]]).counts.tolist() == [1, 1, 1]


def test_plain_steps_are_means_of_the_nearest_rows(blobs):
    rows, centers = blobs.astype(float), blobs[:6].astype(float)
    result = run(rows, centers, max_iter=3, plain=True)
    for _ in range(3):
        labels = ((rows[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
        centers = np.array([rows[labels == number].mean(axis=0) for number in range(6)])
    np.testing.assert_allclose(result.centers, centers, rtol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from([np.uint8, np.uint16]),
    st.integers(20, 400),
    st.integers(1, 30),
    st.integers(1, 20),
    st.integers(1, 256),
    st.integers(0, 1 << 32),
)
def test_inertia_never_rises(dtype, n_rows, n_features, n_clusters, n_values, seed):
    """Not even by the rounding of the centers to the grid, as long as no empty cluster is moved."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, n_values, (n_rows, n_features)).astype(dtype)
    result = run(values, rng.permutation(values)[:n_clusters], max_iter=6, plain=True)
    inertias = [*(step.inertia for step in result.history), result.inertia]
    assert inertias == sorted(inertias, reverse=True)
