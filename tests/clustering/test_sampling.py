"""The sample of seeds: distinct rows in order, the same counts and centers from any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from dkmeans.clustering.sampling import Sample, count_distinct


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("n_features", [1, 3, 8, 25, 64, 70])
@pytest.mark.parametrize("top", [1, 255, 65_535])
def test_distinct_rows_are_those_of_numpy(dtype, n_features, top):
    values = np.random.default_rng(0).integers(0, top, (500, n_features), endpoint=True).astype(dtype)
    values[200:300] = values[100:200]
    values[400:, 1:] = values[0, 1:]
    for rows in (values, np.asfortranarray(values), values[:0], values[:1]):
        found, times = count_distinct(rows)
        expected, counts = np.unique(rows, axis=0, return_counts=True)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(times, counts)
        assert found.dtype == rows.dtype


def sample_of(dtype, threads):
    rng = np.random.default_rng(1)
    values = np.unique(rng.integers(0, 256, (70_000, 3)).astype(dtype), axis=0)
    return Sample(values, rng.integers(1, 9, len(values)), threads)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("threads", [2, 3, 64])
def test_threads_change_nothing(dtype, threads):
    one, many = sample_of(dtype, 1), sample_of(dtype, threads)
    centers = one.rows[::5000]
    np.testing.assert_array_equal(one.weigh(centers), many.weigh(centers))
    np.testing.assert_array_equal(one.move(centers, 3), many.move(centers, 3))


def test_a_center_moves_to_the_mean_of_its_rows():
    sample = Sample(np.array([[0], [1], [11], [20]], np.uint8), np.array([3, 1, 1, 1]))
    rows = np.array([[0], [20], [255]], np.uint8)
    assert sample.weigh(rows).tolist() == [4, 2, 0]
    np.testing.assert_array_equal(sample.move(rows, 1)[:, 0], [0.25, 15.5, 255])
