"""The bend of a curve of errors."""

import numpy as np
import pytest

from dkmeans.clustering.elbow import find_elbow


def test_two_straight_lines_bend_where_they_meet():
    k = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    errors = [100, 80, 60, 40, 20, 16, 12, 8, 4, 0]
    assert find_elbow(k, errors) == 5


def test_numbers_far_apart_count_by_their_distance():
    """1 / k on 1 to 100: by kneedle's definition, the largest distance below the chord of the unit square."""
    k = np.unique(np.geomspace(1, 100, 25).astype(int))
    errors = 1 / k
    x, y = (k - k.min()) / np.ptp(k), (errors - errors.min()) / np.ptp(errors)
    assert find_elbow(k.tolist(), errors.tolist()) == k[np.argmax(1 - x - y)]


def test_a_straight_line_has_none():
    assert find_elbow(range(1, 11), np.arange(10, 0, -1.0).tolist()) is None


@pytest.mark.parametrize(
    ("n_clusters", "errors", "elbow"),
    [
        ([100, 200, 400, 800], [100, 80, 65, 52], 400),  # 0.3 below the chord, less than a step of a third
        ([100, 300, 500, 700, 900], [100, 70, 50, 35, 25], 500),  # 0.17 below it, less than a fourth
        ([1, 2, 3, 4], [100, 30, 20, 10], 2),
        ([1, 2, 3, 4], [40, 30, 20, 10], None),
        ([1, 2, 3, 4, 5], [50, 39, 30, 20, 10], None),  # 0.025 below it: as good as straight
        ([1, 2, 3, 4, 5], [100, 98, 90, 70, 0], None),  # bends the other way
    ],
)
def test_four_and_five_points(n_clusters, errors, elbow):
    assert find_elbow(n_clusters, errors) == elbow


def test_few_or_equal_points_have_none():
    assert find_elbow([1, 2, 3], [9.0, 1.0, 0.0]) is None
    assert find_elbow([1, 2, 3, 4, 5], [1.0] * 5) is None
