"""The loop: exact, hand-computed where it can be, and the same on every cluster."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from dkmeans import kernels, plan
from dkmeans.clustering import lloyd as module
from dkmeans.clustering import rows as rows_module
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.rows import stored_rows
from dkmeans.clustering.state import State
from dkmeans.compute.in_process import InProcess
from dkmeans.kernels import cpu, exact, reference
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

UINT8 = np.dtype(np.uint8)


def store(url, values, chunk, shard):
    width = values.shape[1]
    array = arrays.create_array(
        Store(str(url)),
        "rows",
        shape=values.shape,
        dtype=values.dtype,
        chunks=(chunk, width),
        shards=(shard, width),
    )
    array[:] = values
    return str(url)


def run(url, centers, cluster=None, *, max_iter=50, tol=0.0, block_rows=None, resident=True):
    with pytest.MonkeyPatch.context() as patch:
        if block_rows:
            patch.setattr(plan, "fit_cuts", lambda n_rows, *_: plan.cuts(n_rows, block_rows))
        if not resident:
            patch.setattr(rows_module, "_SHARE_FOR_ROWS", 0)
        rows = stored_rows(Store(url), "rows", cluster or InProcess(device="cpu"), len(centers))
    assert rows.resident == resident
    seen = []
    result = lloyd(rows, State(centers), max_iter=max_iter, tol=tol, on_iteration=seen.append)
    assert [state.history[-1] for state in seen] == result.history
    return result


@pytest.fixture
def blobs():
    rng = np.random.default_rng(5)
    middles = rng.integers(30, 226, (6, 3))
    values = middles[rng.integers(6, size=500)] + rng.integers(-25, 26, (500, 3))
    return values.astype(np.uint8)


def test_four_points_by_hand(tmp_path):
    values = np.array([[0], [2], [10], [13]], np.uint8)
    url = store(tmp_path / "a", values, 2, 2)
    result = run(url, exact.snap(np.array([[0], [2]]), UINT8))
    # {0}, {2, 10, 13} -> 0, 25/3 -> {0, 2}, {10, 13} -> 1, 11.5
    np.testing.assert_array_equal(result.centers, [[1], [11.5]])
    np.testing.assert_array_equal(result.counts, [2, 2])
    assert result.inertia == 1 + 1 + 2 * 1.5**2
    assert result.converged
    assert [step.moved for step in result.history] == [4, 1, 0]
    assert result.history[0].inertia == 64 + 121
    assert result.history[-1].center_shift == 0


def test_inertia_is_that_of_scikit_learn_from_the_same_centers(tmp_path, blobs):
    first = exact.snap(blobs[:6], UINT8)
    ours = run(store(tmp_path / "a", blobs, 50, 100), first, max_iter=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = KMeans(6, init=first.astype(float), n_init=1, max_iter=4, tol=0).fit(blobs.astype(float))
    assert len(ours.history) == theirs.n_iter_ == 4
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-6)
    np.testing.assert_allclose(ours.centers, theirs.cluster_centers_, atol=1e-3)


def test_counts_and_inertia_belong_to_the_stored_centers(tmp_path, blobs):
    result = run(store(tmp_path / "a", blobs, 50, 100), exact.snap(blobs[:6], UINT8), max_iter=2)
    stats, _ = reference.lloyd_chunk(blobs, result.centers)
    np.testing.assert_array_equal(result.counts, stats.counts)
    assert result.inertia == exact.inertia(stats, result.centers, UINT8)
    assert not result.converged


def test_tol_is_relative_to_the_mean_variance(tmp_path, blobs):
    url, first = store(tmp_path / "a", blobs, 50, 100), exact.snap(blobs[:6], UINT8)
    shifts = [step.center_shift for step in run(url, first).history]
    variance = blobs.astype(float).var(axis=0).mean()
    stopped = run(url, first, tol=shifts[1] / variance * 1.0001)
    assert stopped.converged
    assert len(stopped.history) == 2


@pytest.mark.parametrize("block_rows", [1, 7, 100, 500])
def test_blocks_do_not_change_a_bit(tmp_path, blobs, block_rows):
    url, first = store(tmp_path / "a", blobs, 50, 100), exact.snap(blobs[:6], UINT8)
    whole, cut = run(url, first), run(url, first, block_rows=block_rows)
    np.testing.assert_array_equal(whole.centers, cut.centers)
    assert whole.inertia == cut.inertia
    assert [step.moved for step in whole.history] == [step.moved for step in cut.history]


def moved_of(result):
    return [step.moved for step in result.history]


@pytest.mark.parametrize("resident", [True, False])
def test_workers_do_not_change_a_bit(tmp_path, blobs, workers, resident):
    url, first = store(tmp_path / "a", blobs, 50, 100), exact.snap(blobs[:6], UINT8)
    here, there = run(url, first), run(url, first, workers, block_rows=60, resident=resident)
    np.testing.assert_array_equal(here.centers, there.centers)
    assert moved_of(here) == moved_of(there)
    left = workers.client.run(lambda: __import__("dkmeans.clustering.lloyd").clustering.lloyd._HINTS)
    assert all(not hints for hints in left.values())


def test_streamed_rows_keep_their_labels_between_the_steps(tmp_path, blobs, monkeypatch):
    url, first = store(tmp_path / "a", blobs, 50, 100), exact.snap(blobs[:6], UINT8)
    adopted = []
    adopt = cpu.Block.adopt
    monkeypatch.setattr(cpu.Block, "adopt", lambda *given: adopted.append(1) or adopt(*given))
    streamed = run(url, first, block_rows=100, resident=False)
    resident = run(url, first)
    assert moved_of(streamed) == moved_of(resident)
    np.testing.assert_array_equal(streamed.centers, resident.centers)
    assert len(adopted) == 5 * (len(streamed.history) - 1)  # of each block, in each step but the first


@pytest.mark.parametrize("resident", [True, False])
def test_lost_hints_do_not_change_a_bit(tmp_path, blobs, monkeypatch, resident):
    url, first = store(tmp_path / "a", blobs, 50, 100), exact.snap(blobs[:6], UINT8)
    undisturbed = run(url, first)
    rng = np.random.default_rng(0)
    step = module._step

    def forgetful(block, *arguments):
        if rng.random() < 0.5:
            module._HINTS.clear()
            block = pickle.loads(pickle.dumps(block))  # as for a worker that takes over
        return step(block, *arguments)

    monkeypatch.setattr(module, "_step", forgetful)
    disturbed = run(url, first, block_rows=100, resident=resident)
    np.testing.assert_array_equal(undisturbed.centers, disturbed.centers)
    assert moved_of(undisturbed) == moved_of(disturbed)


@pytest.mark.parametrize("resident", [True, False])
def test_a_repeated_step_does_not_take_its_own_labels(tmp_path, blobs, monkeypatch, resident):
    """A task that is run again, as after the loss of its result, counts the same moved rows."""
    url, first = store(tmp_path / "a", blobs, 50, 100), exact.snap(blobs[:6], UINT8)
    undisturbed = run(url, first)
    step = module._step

    def twice(*arguments):
        step(*arguments)
        return step(*arguments)

    monkeypatch.setattr(module, "_step", twice)
    assert moved_of(run(url, first, resident=resident)) == moved_of(undisturbed)


def test_empty_clusters_move_to_the_farthest_rows(tmp_path):
    values = np.array([[0], [1], [2], [100], [180], [180]], np.uint8)
    url = store(tmp_path / "a", values, 2, 2)
    # Three centers on one place: the first takes all rows, the others none.
    result = run(url, exact.snap(np.array([[0], [0], [0]]), UINT8), max_iter=1)
    # The mean of all, then the farthest distinct rows: 180 and 100.
    np.testing.assert_array_equal(result.centers[1:], [[180], [100]])
    assert run(url, exact.snap(np.array([[0], [0], [0]]), UINT8)).counts.tolist() == [3, 2, 1]


def test_relocation_does_not_depend_on_the_order_of_rows(tmp_path):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 256, (60, 2)).astype(np.uint8)
    first = exact.snap(np.repeat(values[:1], 5, axis=0), UINT8)
    results = [
        run(store(tmp_path / str(seed), rng.permutation(values), 5, 10), first, max_iter=3)
        for seed in range(3)
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(results[0].centers, result.centers)


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
    block, previous = kernels.load(values), None
    centers = exact.snap(rng.permutation(values)[:n_clusters], np.dtype(dtype))
    inertias = []
    for _ in range(6):
        stats = block.lloyd(centers, previous)
        inertias.append(exact.inertia(stats, centers, np.dtype(dtype)))
        previous, centers = centers, exact.update_centers(stats, centers, np.dtype(dtype))
    assert inertias == sorted(inertias, reverse=True)
