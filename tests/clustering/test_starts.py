"""The starts of a palette: a coarse grid that holds every pixel."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from dkmeans.clustering import starts
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import FeatureSpace


@pytest.fixture(scope="module")
def histogram():
    return Histogram.of(data.chelsea()[::2, ::2].reshape(-1, 3))


@pytest.mark.parametrize("least", [1, 5, 60, 10_000])
@pytest.mark.parametrize("space", ["rgb", "oklab"])
def test_cells_hold_all_pixels(histogram, least, space):
    rows = FeatureSpace(np.dtype(np.uint8), 3, space=space).to_rows(histogram.colors)
    values, times = starts.coarsen(rows, histogram.counts, least)
    assert values.dtype == rows.dtype
    assert times.sum() == histogram.counts.sum()
    assert len(values) >= min(least, len(rows))
    total, expected = (values.T.astype(float) * times).sum(axis=1), (rows.T * histogram.counts).sum(axis=1)
    np.testing.assert_allclose(total / times.sum(), expected / times.sum(), atol=0.5)


def test_cells_by_hand():
    """Two rows share the upper bit of each feature, the third has another one."""
    rows = np.array([[1, 2], [3, 4], [40_000, 2]], np.uint16)
    values, times = starts.coarsen(rows, np.array([3, 1, 5]), 2)
    assert values.tolist() == [[2, 2], [40_000, 2]]  # 1.5 and 2.5, half to even
    assert times.tolist() == [4, 5]


def test_the_best_start_is_the_first(histogram):
    found = starts.find_starts(histogram.colors, histogram.counts, 8, 0, 10_000)
    assert len(found) == 9  # one for each 1024 pixels
    points, counts = histogram.colors.astype(float), histogram.counts

    def error(centers):
        return (((points[:, None] - centers) ** 2).sum(axis=2).min(axis=1) * counts).sum()

    errors = [error(centers) for centers in found]
    assert errors[0] <= 1.001 * min(errors)  # as they are compared on the grid
