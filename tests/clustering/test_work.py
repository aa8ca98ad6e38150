"""What a step tells a process: the same centers arrive, whatever is sent of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans import kernels
from dkmeans.clustering.work import StepWork, Teller
from dkmeans.errors import ClusterError
from dkmeans.kernels import exact

UINT8 = np.dtype(np.uint8)


def sent(message):
    """As it comes over a network: a copy that cannot be written to."""
    found = pickle.loads(pickle.dumps(message))
    for array in (found.centers, found.changed, found.previous):
        if array is not None:
            array.flags.writeable = False
    return found


CHANGED = {"all": 1.0, "few": 0.3, "none": 0.0, "new": 0.5, "gap": 0.5}
"""Kinds of steps, and the share of the centers that change in them."""


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 1 << 32), st.integers(1, 12), st.lists(st.sampled_from(sorted(CHANGED)), max_size=9))
def test_the_centers_of_each_step_arrive(seed, n_clusters, kinds):
    rng = np.random.default_rng(seed)
    centers, previous = rng.integers(0, 9, (n_clusters, 2)).astype(np.float32), None
    teller, work = Teller(), StepWork(UINT8)
    for kind in ["all", *kinds]:
        message = teller.step(centers, previous)(kind == "new")
        now, before = work.begin(sent(message))
        np.testing.assert_array_equal(now, centers)
        assert now.flags.writeable
        assert (before is None) == (previous is None)
        if previous is not None:
            np.testing.assert_array_equal(before, previous)
        if kind == "gap":  # a step of which this process is not told
            previous, centers = centers, centers + 1
            teller.step(centers, previous)
            message = teller.step(centers, centers)(False)
            with pytest.raises(ClusterError, match="expected"):
                work.begin(sent(message))
            work = StepWork(UINT8)
            work.begin(sent(teller.step(centers, centers)(True)))
        moved = rng.random(n_clusters) < CHANGED[kind]
        previous, centers = centers, centers + moved[:, None].astype(np.float32)


def test_only_centers_that_changed_are_sent():
    centers = np.zeros((100, 25), np.float32)
    teller = Teller()
    assert teller.step(centers, None)(False).centers is centers
    after = centers.copy()
    after[[3, 70]] = 1
    message = teller.step(after, centers)(False)
    assert message.changed.tolist() == [3, 70]
    assert message.centers.shape == (2, 25)
    assert message.previous is None
    assert message.follows
    again = Teller()
    again.step(centers, None)
    assert again.step(after, centers)(True).centers is after  # to those that know nothing
    third = teller.step(np.ones_like(centers), after)(False)
    assert third.changed is None
    assert third.previous is None  # which they know
    other = teller.step(centers, after)(False)  # not the centers of the step before
    assert not other.follows
    assert other.previous is after


def test_integers_are_added_up_and_floats_kept_apart():
    rng = np.random.default_rng(0)
    for dtype in (np.uint8, np.float64):
        rows = rng.integers(0, 256, (90, 3)).astype(dtype)
        numbers = kernels.arithmetic(np.dtype(dtype))
        centers = numbers.snap(rows[:4].astype(float), np.dtype(dtype))
        work, blocks = StepWork(np.dtype(dtype)), [kernels.load(part) for part in np.split(rows, 3)]
        begun = work.begin(Teller().step(centers, None)(True))
        results = [work.do(number, block, begun) for number, block in enumerate(blocks)]
        alone = [kernels.load(part).lloyd(centers) for part in np.split(rows, 3)]
        merged = work.merge([results[2], work.merge(results[:2])])
        if dtype is np.uint8:
            whole = exact.merge(alone)
            np.testing.assert_array_equal(merged.sums, whole.sums)
            assert merged.squares == whole.squares
        else:
            assert sorted(merged) == [0, 1, 2]
            for number in range(3):
                np.testing.assert_array_equal(merged[number].sums, alone[number].sums)
