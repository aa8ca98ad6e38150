"""How many groups there are: blobs of a known number, and rows without groups."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import silhouette_score

from dkmeans.clustering.elbow import find_elbow
from dkmeans.clustering.groups import draw_group_sample, find_groups
from dkmeans.clustering.seeding import draw_positions

SIZES = range(1, 11)


def as_bytes(rows):
    return np.rint((rows - rows.min()) * (255 / np.ptp(rows))).astype(np.uint8)


@pytest.mark.parametrize("n_groups", [2, 3, 5, 8])
def test_groups_that_lie_apart(n_groups):
    corners = np.array(np.meshgrid([0, 120, 240], [0, 120, 240], [0, 240])).reshape(3, -1).T[:n_groups]
    rows, _ = make_blobs(400, centers=corners, cluster_std=8, random_state=0)
    assert find_groups(as_bytes(rows), SIZES, seed=0) == n_groups


def test_as_many_colors_as_there_are():
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (4, 3), dtype=np.uint8)
    assert find_groups(colors[rng.integers(0, 4, 400)], [2, 4, 6], seed=0) == 4


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["uniform", "normal", "along a line"])
def test_rows_without_groups(kind, seed):
    rng = np.random.default_rng(seed)
    rows = {
        "uniform": rng.uniform(size=(400, 3)),
        "normal": rng.normal(size=(400, 3)),
        "along a line": rng.normal(size=(400, 1)) + 0.2 * rng.normal(size=(400, 3)),
    }[kind]
    assert find_groups(as_bytes(rows), [2, 3, 4, 6], seed) is None


@pytest.mark.slow
def test_the_gap_is_right_more_often_than_elbow_and_silhouette():
    """Blobs of 2 to 12 groups in 2, 3 and 8 dimensions, which may overlap; sizes 1 to 15.

    Right of 33: the gap 23, the mean silhouette 16, the elbow 8. With a box along the axes of the data the
    gap is right about as often, but finds groups in rows that only vary together, as colors do.
    """
    sizes, right = list(range(1, 16)), dict.fromkeys(("gap", "silhouette", "elbow"), 0)
    for n_groups, (number, n_features) in itertools.product(range(2, 13), enumerate((2, 3, 8))):
        rows, _ = make_blobs(400, n_features, centers=n_groups, random_state=10 * n_groups + number)
        rows = as_bytes(rows)
        fits = [KMeans(k, n_init=3, random_state=0).fit(rows.astype(float)) for k in sizes]
        scores = [silhouette_score(rows.astype(float), fit.labels_) for fit in fits[1:]]
        right["gap"] += find_groups(rows, sizes, seed=0) == n_groups
        right["silhouette"] += sizes[1 + int(np.argmax(scores))] == n_groups
        right["elbow"] += find_elbow(sizes, [fit.inertia_ for fit in fits]) == n_groups
    assert right["gap"] >= 22
    assert right["gap"] > max(right["silhouette"], right["elbow"]) + 3


def test_too_few_rows_or_sizes_say_nothing():
    rows = np.repeat(np.array([[0, 0], [255, 255]], np.uint8), 30, axis=0)
    assert find_groups(rows, [2, 3], seed=0) == 2
    assert find_groups(rows, [2], seed=0) is None  # there is no next one to compare with
    assert find_groups(rows, [4, 8], seed=0) is None  # of 60 rows at most 3
    assert find_groups(rows[:30], SIZES, seed=0) is None  # all the same


def test_the_sample_is_of_the_rows_that_seeds_are_drawn_from():
    """Which is all that counted rows keep."""
    positions = draw_group_sample(100_000, 3, 16, seed=5)
    assert len(positions) == 1000
    assert (np.diff(positions) > 0).all()
    assert np.isin(positions, draw_positions(100_000, 16, 5)).all()
    assert len(draw_group_sample(100_000, 1 << 17, 16, seed=5)) == 32
    assert draw_group_sample(7, 3, 2, seed=5).tolist() == list(range(7))
