"""The bend of a curve of errors."""

import numpy as np

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


def test_few_or_equal_points_have_none():
    assert find_elbow([1, 2, 3], [9.0, 1.0, 0.0]) is None
    assert find_elbow([1, 2, 3, 4, 5], [1.0] * 5) is None
