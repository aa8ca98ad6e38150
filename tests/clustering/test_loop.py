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
from dkmeans.clustering.loop import State, gain_left, goes_beyond, iterate
from dkmeans.kernels import arithmetic, exact, reference

UINT8 = np.dtype(np.uint8)


def run(values, centers, *, max_iter=50, tol=0.0, **options):
    """Iterate over a block of `values` from `centers`, which are put on the grid."""
    block = kernels.load(values)
    first = State(arithmetic(values.dtype).snap(np.asarray(centers), values.dtype))
    return iterate(block, first, max_iter=max_iter, tol=tol, **options)


def draw_blobs(n_rows):
    rng = np.random.default_rng(5)
    middles = rng.integers(30, 226, (6, 3))
    values = middles[rng.integers(6, size=n_rows)] + rng.integers(-25, 26, (n_rows, 3))
    return values.astype(np.uint8)


@pytest.fixture
def blobs():
    return draw_blobs(500)


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
@pytest.mark.parametrize("relaxation", [1, 1.9])
def test_from_any_state_it_goes_on_to_the_same_end(dtype, relaxation):
    """Before, while and after steps go beyond the means, and whatever ends it."""
    values, seen = draw_blobs(4000).astype(dtype), []
    options = {"max_iter": 60, "relaxation": relaxation, "min_gain": 1e-9}
    whole = run(values, values[:12], **options, on_iteration=seen.append)
    moved = [step.moved for step in whole.history]
    beyond = [goes_beyond(moved[:n], relaxation) for n in range(1, len(moved) + 1)]
    assert [beyond[0], any(beyond), beyond[-1]] == [False, relaxation > 1, False]
    for state in [*seen[:5], *seen[5::6], seen[-1]]:
        rest = iterate(kernels.load(values), state, tol=0, **options)
        np.testing.assert_array_equal(rest.centers, whole.centers)
        np.testing.assert_array_equal(rest.counts, whole.counts)
        assert rest.inertia == whole.inertia
        assert [step.moved for step in rest.history] == moved


def test_steps_go_beyond_the_means_after_two_and_until_few_rows_move():
    assert [goes_beyond([9000, 4000, 800, 9][:n], 1.9) for n in range(5)] == [False] * 3 + [True] * 2
    assert not goes_beyond([9000, 4000, 800, 9], 1)
    assert not goes_beyond([9000, 4000, 4, 800], 1.9)  # 4.5 are few, and it stays so


def test_a_relaxed_step_by_hand():
    seen = []
    values = np.arange(40, dtype=np.uint8)[:, None]
    run(values, [[0], [1]], max_iter=5, relaxation=1.5, on_iteration=seen.append)
    # {0}, {1..39} -> 0, 20 -> {0..10}, {11..39} -> 5, 25 -> {0..15}, {16..39} -> 7.5, 27.5, and half as far
    # beyond: 8.75, 28.75 -> {0..18}, {19..39} -> 9, 29, beyond: 9.125, 29.125 -> {0..19}, {20..39}: the last
    # step is plain.
    found = [state.centers.ravel().tolist() for state in seen]
    assert found == [[0, 20], [5, 25], [8.75, 28.75], [9.125, 29.125], [9.5, 29.5]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("n_rows", [300, 4000])
def test_relaxed_steps_end_where_plain_steps_do_not_move(dtype, n_rows):
    """And where these have ended no relaxed one moves: both have the same fixed points."""
    values = draw_blobs(n_rows).astype(dtype)
    relaxed = run(values, values[:12], max_iter=200, relaxation=1.9)
    again = run(values, relaxed.centers)
    plain = run(values, values[:12], max_iter=200)
    for first, end in [(relaxed, again), (plain, run(values, plain.centers, relaxation=1.9))]:
        assert first.converged
        assert [step.center_shift for step in end.history] == pytest.approx([0] * len(end.history), abs=1e-20)
        assert dtype == np.float64 or len(end.history) == 1
        np.testing.assert_allclose(end.centers, first.centers, rtol=1e-14)
        assert end.inertia == pytest.approx(first.inertia, rel=1e-14)
    assert relaxed.history != plain.history


@pytest.mark.parametrize("ending", [{"max_iter": 4}, {"tol": 0.01}, {"min_gain": 0.01}])
def test_the_last_centers_are_means_whatever_ends_it(ending):
    values, seen = draw_blobs(3000), []
    result = run(values, values[:12], relaxation=1.9, on_iteration=seen.append, **ending)
    moved = [step.moved for step in result.history]
    assert goes_beyond(moved, 1.9)  # so it ended while steps went beyond the means
    assert result.history[-1].center_shift > 0
    stats, _ = reference.lloyd_chunk(values, seen[-1].previous)
    np.testing.assert_array_equal(result.centers, exact.update_centers(stats, seen[-1].previous, UINT8))


def test_gain_by_hand():
    assert gain_left([100, 90, 85, 84, 83]) == np.inf
    assert gain_left([100, 90, 85, 84, 83, 80]) == pytest.approx(0.2 / 5)
    assert gain_left([100, 90, 85, 84, 83, 80, 45]) == pytest.approx(0.5 / 5)
    assert gain_left([80.0] * 6) == gain_left([0.0] * 6) == gain_left([3, 3, 3, 3, 3, 3.0000001]) == 0


def test_it_ends_where_little_is_gained():
    values = draw_blobs(3000)
    whole = run(values, values[:12], max_iter=200)
    inertias = [step.inertia for step in whole.history]
    gains = [gain_left(inertias[:n]) for n in range(1, len(inertias) + 1)]
    stopped = run(values, values[:12], max_iter=200, min_gain=1e-3)
    assert stopped.converged
    assert len(stopped.history) == next(n for n, gain in enumerate(gains, 1) if gain < 1e-3) > 6
    assert stopped.gain_left == gains[len(stopped.history) - 1]
    assert run(values, values[:12], max_iter=5).gain_left is None
    same = zip(stopped.history, whole.history, strict=False)  # as far as it goes
    assert all((one.inertia, one.moved) == (other.inertia, other.moved) for one, other in same)


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


def test_plain_steps_are_means_of_the_nearest_rows(blobs):
    rows, centers = blobs.astype(float), blobs[:6].astype(float)
    result = run(rows, centers, max_iter=3)
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
    st.sampled_from([2, 3, 256, 65_536]),
    st.sampled_from([1, 1.01, 1.5, 1.9, 1.99]),
    st.sampled_from([0, 1e-9, 1]),
    st.integers(0, 1 << 32),
)
def test_inertia_never_rises(dtype, n_rows, n_features, n_clusters, n_values, relaxation, spread, seed):
    """Not by the rounding of the centers to the grid, nor beyond the means, nor by empty clusters that move.

    With weights, and from rows, of which there may be equal ones, or from centers beside one row or few units
    of the grid from it.
    """
    rng = np.random.default_rng(seed)
    values = rng.integers(0, min(n_values, np.iinfo(dtype).max + 1), (n_rows, n_features)).astype(dtype)
    first = rng.permutation(values)[:n_clusters] + spread * rng.normal(0, 4, (n_clusters, n_features))
    block = kernels.load(values, "cpu", rng.integers(1, 5, n_rows))
    start = State(exact.snap(first, np.dtype(dtype)))
    result = iterate(block, start, max_iter=10, tol=0, relaxation=relaxation)
    inertias = [*(step.inertia for step in result.history), result.inertia]
    assert inertias == sorted(inertias, reverse=True)
