"""Greedy k-means++ against the same rule written plainly, and against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.cluster import kmeans_plusplus

from dkmeans.kernels.plusplus import choose_greedily

DTYPES = [np.uint8, np.uint16]


def plainly(rows, weights, n_choices, rng, n_trials):
    """All distances, and sums of integers without a limit."""
    chosen = [int(rng.choice(len(rows), p=weights / weights.sum()))]
    draws = rng.random((n_choices - 1, n_trials))
    values, times = rows.astype(np.int64), weights.astype(object)

    def squares(row):
        gaps = values - values[row]
        return (gaps * gaps).sum(axis=1)

    closest = squares(chosen[0])
    shift = max(0, (int(times.sum()) * int(closest.max())).bit_length() - 62)
    for shares in draws:
        ends = np.cumsum(times * (closest >> shift))
        best = None
        for share in shares:
            trial = int(closest.argmax())
            if ends[-1]:
                target = min(max(math.ceil(share * float(ends[-1])), 1), ends[-1])
                trial = int(np.argmax(ends >= target))
            left = (times * (np.minimum(closest, squares(trial)) >> shift)).sum()
            if best is None or left < best[0]:
                best = left, trial
        chosen.append(best[1])
        closest = np.minimum(closest, squares(best[1]))
    return chosen


def compare(rows, weights, n_choices, n_trials=3, seed=0):
    found = choose_greedily(rows, weights, n_choices, np.random.default_rng(seed), n_trials)
    assert found.tolist() == plainly(rows, weights, n_choices, np.random.default_rng(seed), n_trials)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_features", [1, 2, 3, 7, 25, 64, 130, 258, 784])
@pytest.mark.parametrize("top", [2, 9, 255, 65535])
def test_it_chooses_as_the_plain_rule(dtype, n_features, top):
    """With few values there are duplicates and ties; of uint16 and of wide rows float32 is not exact."""
    rng = np.random.default_rng(n_features)
    rows = rng.integers(0, min(top, np.iinfo(dtype).max), (613, n_features), endpoint=True).astype(dtype)
    rows[300:400] = rows[:100]
    weights = rng.integers(0, 4, len(rows)) * rng.choice([1, 1000], len(rows))
    for n_choices, n_trials in ((1, 3), (2, 1), (40, 6)):
        compare(rows, weights, n_choices, n_trials)


@pytest.mark.parametrize("dtype", DTYPES)
def test_near_rows_far_from_the_origin(dtype):
    """Distances about as small as what float32 rounds away, in tiles of which nearly all are skipped."""
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    middles = rng.integers(0, top - 8, (30, 40))
    rows = (middles[rng.integers(30, size=3000)] + rng.integers(0, 8, (3000, 40))).astype(dtype)
    compare(rows, np.ones(len(rows), np.int64), 120, 4)


def test_all_rows_are_chosen_before_any_twice():
    """First those with a weight; then the farthest; then duplicates."""
    rows = np.array([[0], [9], [4], [9], [250]], np.uint8)
    weights = np.array([1, 2, 0, 3, 0])
    for seed in range(20):
        found = rows[compare(rows, weights, 5, 2, seed)][:, 0].tolist()
        assert sorted(found[:2]) == [0, 9]
        assert found[2:4] == [250, 4]
        assert found[4] in (0, 4, 9, 250)


@pytest.mark.parametrize("weight", [1 << 20, 1 << 44])
def test_sums_beyond_int64(weight):
    rng = np.random.default_rng(2)
    rows = rng.choice(np.array([0, 1, 40_000, 65_535], np.uint16), (200, 784))
    found = compare(rows, np.full(len(rows), weight), 50)
    assert len(set(found)) == 50


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_features", [1, 3, 25])
def test_it_chooses_as_scikit_learn_from_the_same_numbers(n_features, weighted):
    """The palettes of photos were made by scikit-learn's choices, and are still those."""
    rng = np.random.default_rng(3)
    rows = np.unique(rng.integers(0, 256, (1500, n_features)).astype(np.uint8), axis=0)
    weights = rng.integers(1, 1000, len(rows)) if weighted else np.ones(len(rows), np.int64)
    for k, trials in ((2, None), (100, None), (64, 10)):
        _, theirs = kmeans_plusplus(
            rows.astype(float),
            k,
            sample_weight=weights.astype(float),
            random_state=k,
            n_local_trials=trials,
        )
        ours = choose_greedily(rows, weights, k, np.random.RandomState(k), trials)
        np.testing.assert_array_equal(ours, theirs)


def test_it_tells_how_far_it_is():
    rows = np.random.default_rng(0).integers(0, 256, (600, 2)).astype(np.uint8)
    told: list[int] = []
    choose_greedily(rows, np.ones(600, np.int64), 300, np.random.default_rng(0), on_choices=told.append)
    assert told == [1, 128, 128, 43]


def test_in_the_mean_it_leaves_as_little_as_scikit_learn():
    """Separate clusters, numbers of their own for both: the sum of squared distances to the choices."""
    rng = np.random.default_rng(4)
    middles = rng.integers(0, 256, (30, 4))
    rows = np.clip(middles[rng.integers(30, size=1500)] + rng.normal(0, 9, (1500, 4)), 0, 255).astype(
        np.uint8
    )
    points, ones = rows.astype(float), np.ones(len(rows), np.int64)

    def left(chosen):
        return ((points[:, None] - points[chosen]) ** 2).sum(axis=2).min(axis=1).sum()

    theirs = [left(kmeans_plusplus(points, 30, random_state=seed)[1]) for seed in range(60)]
    ours = [left(choose_greedily(rows, ones, 30, np.random.default_rng(seed))) for seed in range(60)]
    error = np.hypot(np.std(ours), np.std(theirs)) / 60**0.5
    assert abs(np.mean(ours) - np.mean(theirs)) < 3 * error
