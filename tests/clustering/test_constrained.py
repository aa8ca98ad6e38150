"""Lloyd's iterations under constraints: by hand, and never worse from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from dkmeans import kernels
from dkmeans.clustering.constrained import (
    Group,
    group_by_alpha,
    iterate_constrained,
    label_groups,
    sum_groups,
)
from dkmeans.clustering.loop import State, iterate
from dkmeans.features.space import FeatureSpace
from dkmeans.kernels import exact


@dataclass(frozen=True)
class Watched(Group):
    """A group that writes down the centers of each step."""

    seen: list = field(default_factory=list)

    def lloyd(self, centers, previous=None):
        self.seen.append(centers)
        return super().lloyd(centers, previous)


def group(rows, allowed, counts=None):
    rows = np.asarray(rows, np.uint8)
    return Watched(np.ones(len(rows), bool), kernels.load(rows, "cpu", counts), np.array(allowed))


def test_rows_nearest_to_a_fixed_center_do_not_move_it():
    rows = np.array([[0], [10], [100], [110]], np.uint8)
    centers, fixed = np.array([[20], [90]], np.float32), np.array([[True], [False]])
    found = iterate_constrained([group(rows, [True, True])], centers, fixed, max_iter=9, tol=0)
    assert found.centers.tolist() == [[20], [105]]
    assert found.counts.tolist() == [2, 2]
    assert found.inertia == 20**2 + 10**2 + 2 * 5**2
    assert found.converged


def test_rows_take_only_what_they_may():
    """All rows are nearest to the first center, which the second group may not take."""
    groups = [group([[10], [12]], [True, True]), group([[11], [13]], [False, True])]
    centers, fixed = np.array([[11], [200]], np.float32), np.zeros((2, 1), bool)
    found = iterate_constrained(groups, centers, fixed, max_iter=1, tol=0)
    assert found.centers.tolist() == [[11], [12]]
    assert found.counts.tolist() == [1, 3]  # 12 has gone to the second


def test_a_coordinate_is_fixed():
    """The other one is the mean, and the inertia has the distance to the fixed one."""
    rows = group([[10, 0], [20, 4]], [True])
    found = iterate_constrained(
        [rows], np.array([[0, 9]], np.float32), np.array([[False, True]]), max_iter=5, tol=0
    )
    assert found.centers.tolist() == [[15, 9]]
    assert found.inertia == 2 * 5**2 + 9**2 + 5**2


def test_an_empty_center_takes_the_farthest_row_that_it_may():
    groups = [group([[0], [60]], [True, False, True]), group([[255]], [False, True, False])]
    centers = np.array([[0], [200], [90]], np.float32)
    centers[2] = 250  # nearest to no row of the first group but 60, which is nearer to 0
    found = iterate_constrained(groups, centers, np.zeros((3, 1), bool), max_iter=9, tol=0)
    assert found.centers.tolist() == [[0], [255], [60]]
    assert found.inertia == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pace", [{}, {"relaxation": 1.9}, {"relaxation": 1.9, "min_gain": 1e-3}])
def test_without_constraints_it_is_the_plain_loop(seed, pace):
    rng = np.random.default_rng(seed)
    rows, counts = rng.integers(0, 65_026, (500, 4)).astype(np.uint16), rng.integers(1, 9, 500)
    start = exact.snap(rows[:7], rows.dtype)
    every = Group(np.ones(500, bool), kernels.load(rows, "cpu", counts), np.ones(7, bool))
    found = iterate_constrained([every], start, np.zeros(start.shape, bool), max_iter=100, tol=0, **pace)
    plain = iterate(kernels.load(rows, "cpu", counts), State(start), max_iter=100, tol=0, **pace)
    np.testing.assert_array_equal(found.centers, plain.centers)
    assert (found.inertia, found.converged) == (plain.inertia, plain.converged)
    assert found.n_iter == len(plain.history) > 6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("relaxation", [1, 1.5, 1.9])
def test_no_step_is_worse(seed, relaxation):
    rng = np.random.default_rng(seed)
    groups = [group(rng.integers(0, 256, (200, 3)), rng.random(6) < 0.6) for _ in range(3)]
    groups = [each for each in groups if each.allowed.any()]
    centers = exact.snap(rng.integers(0, 256, (6, 3)), np.dtype(np.uint8))
    fixed = rng.random((6, 3)) < 0.3
    found = iterate_constrained(groups, centers, fixed, max_iter=10, tol=0, relaxation=relaxation)
    steps = list(groups[0].seen)
    errors = [exact.inertia(sum_groups(groups, step), step, np.dtype(np.uint8)) for step in steps]
    assert len(errors) == found.n_iter + 1 > 5
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == found.inertia
    np.testing.assert_array_equal(found.centers[fixed], centers[fixed])


def test_groups_of_alpha():
    space = FeatureSpace(np.dtype(np.uint8), 2)
    rows = space.to_rows(np.array([[[7, 0], [50, 255], [50, 254], [50, 3]]], np.uint8))
    centers = space.to_rows(np.array([[[0, 0], [50, 254], [90, 255]]], np.uint8)).astype(np.float32)
    groups = group_by_alpha(rows, None, centers, space)
    assert [each.chosen.tolist() for each in groups] == [
        [True, False, False, False],
        [False, True, False, False],
        [False, False, True, True],
    ]
    assert label_groups(groups, centers).tolist() == [0, 2, 1, 0]
    stats = sum_groups(groups, centers)
    assert stats.counts.tolist() == [2, 1, 1]
    assert stats.sums[1].tolist() == [50 * 254, 254 * 255]
    weighted = sum_groups(group_by_alpha(rows, np.array([1, 5, 2, 3]), centers, space), centers)
    assert weighted.counts.tolist() == [4, 2, 5]
