"""The loop across workers: the same as on one block, whatever the blocks, the workers and what is lost."""

from __future__ import annotations

import pickle
from typing import ClassVar

import numpy as np
import pytest
from dask.delayed import delayed

from dkmeans import kernels, plan
from dkmeans.clustering import lloyd as module
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State, iterate
from dkmeans.clustering.rows import Rows
from dkmeans.compute.in_process import InProcess
from dkmeans.kernels import exact

UINT8 = np.dtype(np.uint8)
HERE = InProcess()


def make_rows(values, cluster=HERE, *, block_rows=100, resident=True, load=kernels.load):
    """Rows in blocks of `block_rows`, held by the workers or loaded anew by each task."""
    cuts = plan.cuts(len(values), block_rows)
    blocks = [delayed(load)(values[start:stop], "cpu") for start, stop in cuts]
    held = cluster.persist(blocks) if resident else blocks
    return Rows(held, cuts, values.shape[1], values.dtype, cluster, resident)


def run(values, centers, cluster=HERE, *, max_iter=50, on_iteration=None, relaxation=1.9, **options):
    rows = make_rows(values, cluster, **options)
    pace = {"max_iter": max_iter, "tol": 0, "relaxation": relaxation}
    return lloyd(rows, State(centers), **pace, on_iteration=on_iteration)


def assert_same(one, other):
    np.testing.assert_array_equal(one.centers, other.centers)
    np.testing.assert_array_equal(one.counts, other.counts)
    assert one.inertia == other.inertia
    assert [step.moved for step in one.history] == [step.moved for step in other.history]


@pytest.fixture
def values():
    return np.random.default_rng(5).integers(0, 256, (500, 3)).astype(np.uint8)


@pytest.fixture
def first(values):
    return exact.snap(values[:6], UINT8)


@pytest.fixture
def alone(values, first):
    """The end of the loop on one block, with steps that go beyond the means."""
    found = iterate(kernels.load(values), State(first), max_iter=50, tol=0, relaxation=1.9)
    assert 8 < len(found.history) < 50
    return found


@pytest.mark.parametrize("block_rows", [7, 100, 500])
def test_blocks_do_not_change_a_bit(values, first, alone, block_rows):
    seen = []
    found = run(values, first, block_rows=block_rows, on_iteration=seen.append)
    assert_same(found, alone)
    assert [state.history[-1] for state in seen] == found.history


@pytest.mark.parametrize("resident", [True, False])
def test_workers_do_not_change_a_bit(values, first, alone, workers, resident):
    """And labels lie beside the graph while a fit streams its rows, and then no more."""

    def count_hints():
        return len(__import__("dkmeans.clustering.lloyd").clustering.lloyd._HINTS)

    kept = []
    found = run(
        values,
        first,
        workers,
        block_rows=60,
        resident=resident,
        on_iteration=lambda _: kept.append(sum(workers.client.run(count_hints).values())),
    )
    assert_same(found, alone)
    assert all(9 <= n <= 18 for n in kept) if not resident else set(kept) == {0}  # of 9 blocks, on 2 workers
    assert set(workers.client.run(count_hints).values()) == {0}


class Watched:
    """A block that writes down what it is told of the labels of a step before."""

    adopted: ClassVar[list[int]] = []

    def __init__(self, rows, device):
        self._block = kernels.load(rows, device)

    def __getattr__(self, name):
        return getattr(self._block, name)

    def adopt(self, labels, centers):
        self.adopted.append(len(labels))
        self._block.adopt(labels, centers)


def test_streamed_rows_keep_their_labels_between_the_steps(values, first, alone):
    Watched.adopted.clear()
    streamed = run(values, first, resident=False, load=Watched)
    assert_same(streamed, alone)
    assert Watched.adopted == [100] * 5 * (len(streamed.history) - 1)  # in all steps but one


class Moving(Watched):
    """A block that is now and then another worker's copy of itself, which knows nothing."""

    def __init__(self, rows, device):
        super().__init__(rows, device)
        self._random = np.random.default_rng(int(rows.sum()))

    def lloyd(self, centers, previous=None):
        if self._random.random() < 0.5:
            self._block = pickle.loads(pickle.dumps(self._block))
        return self._block.lloyd(centers, previous)


class Forgetful(InProcess):
    """A cluster whose worker is another one before each second step."""

    n_runs = 0

    def run(self, tasks, advance=None, check=None):
        self.n_runs += 1
        if self.n_runs % 2:
            module._HINTS.clear()
        return super().run(tasks, advance, check)


@pytest.mark.parametrize("resident", [True, False])
def test_lost_labels_do_not_change_a_bit(values, first, alone, resident):
    cluster = Forgetful()
    assert_same(run(values, first, cluster, resident=resident, load=Moving), alone)
    assert resident or cluster.n_runs >= len(alone.history)


class Repeating(InProcess):
    """A cluster that does everything twice, as after the loss of a result."""

    def run(self, tasks, advance=None, check=None):
        super().run(tasks)
        return super().run(tasks, advance, check)


@pytest.mark.parametrize("resident", [True, False])
def test_a_repeated_step_does_not_take_its_own_labels(values, first, alone, resident):
    assert_same(run(values, first, Repeating(), resident=resident), alone)


@pytest.mark.parametrize("block_rows", [1, 5, 60])
def test_relocation_does_not_depend_on_the_order_of_rows(block_rows):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 256, (60, 2)).astype(np.uint8)
    centers = exact.snap(np.repeat(values[:1], 5, axis=0), UINT8)
    expected = iterate(kernels.load(values), State(centers), max_iter=5, tol=0, relaxation=1.9)
    for seed in range(3):
        permuted = np.random.default_rng(seed).permutation(values)
        found = run(permuted, centers, block_rows=block_rows, max_iter=5)
        np.testing.assert_array_equal(found.centers, expected.centers)


def test_plain_and_relaxed_steps_go_other_ways(values, first, alone):
    plain = run(values, first, relaxation=1)
    assert [step.moved for step in plain.history] != [step.moved for step in alone.history]


def test_far_rows_in_several_blocks_count_once():
    values = np.array([[0], [0], [9], [9], [9], [5]], np.uint8)
    found = run(values, exact.snap(np.zeros((3, 1)), UINT8), block_rows=2, max_iter=1)
    assert found.centers[1:].tolist() == [[9], [5]]
