"""Arrays as rows of a fit: integers stay integers where they can, and functions go over any array."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from dkmeans.clustering.counted import CountedRows
from dkmeans.clustering.parts import compute_distances, find_nearest, load_array_rows, map_rows
from dkmeans.clustering.rows import Rows
from dkmeans.clustering.stored import StoredRows
from dkmeans.clustering.weighted import WeightedRows
from dkmeans.compute.in_process import InProcess
from dkmeans.features.histogram import COUNTED

HERE = InProcess()
BYTES = np.random.default_rng(0).integers(0, 256, (900, 4)).astype(np.uint8)


def arrays_of(values):
    """The same values as arrays of NumPy, Dask and Zarr, the latter two in chunks."""
    stored = zarr.create_array({}, data=values, chunks=(100, values.shape[1]))
    return values, da.from_array(values, (250, values.shape[1])), StoredRows(stored, "X")


@pytest.mark.parametrize(
    ("dtype", "weights", "centers", "expected"),
    [
        (np.uint8, None, None, np.uint8),
        (">u2", None, None, np.uint16),
        (np.int16, None, None, np.float64),
        (np.float32, None, None, np.float64),
        (np.uint8, 2, None, np.uint8),
        (np.uint8, 0.5, None, np.float64),
        (np.uint8, None, 1.5, np.uint8),
        (np.uint8, None, 1 / 3, np.float64),  # no center of the exact grid
    ],
)
def test_integers_stay_integers_where_they_can(dtype, weights, centers, expected):
    values = BYTES.astype(dtype)
    for array in arrays_of(values):
        given = None if weights is None else np.full(900, weights)
        beside = None if centers is None else np.full((1, 4), centers)
        rows = load_array_rows(array, given, HERE, centers=beside)
        assert rows.dtype == np.dtype(expected)
        assert type(rows) is (Rows if weights is None else WeightedRows)
        if weights is None:
            np.testing.assert_array_equal(rows.take(np.arange(900)), values)


def test_many_pixels_are_counted():
    pixels = np.resize(BYTES[:, :3], (COUNTED, 3))
    positions = np.array([0, 5, COUNTED - 1])
    rows = load_array_rows(pixels, None, HERE, positions)
    assert type(rows) is CountedRows
    assert rows.n_rows == COUNTED
    np.testing.assert_array_equal(rows.take(positions), pixels[positions])
    assert type(load_array_rows(pixels[1:], None, HERE, positions[:2])) is Rows


def test_nearest_by_hand():
    rows = np.array([[0], [5], [10]], np.uint8)
    assert find_nearest(rows, np.array([[0.0], [10.0]]), "cpu").tolist() == [0, 0, 1]  # 5 lies between
    assert find_nearest(rows, np.array([[1 / 3], [10.0]]), "cpu").tolist() == [0, 0, 1]
    assert find_nearest(rows[:0], np.array([[0.0]]), "cpu").shape == (0,)


def test_distances_by_hand():
    rows, centers = np.array([[0, 0], [3, 4]], np.uint8), np.array([[0.0, 0.0], [3.0, 0.0]])
    found = compute_distances(rows, centers, np.dtype(np.float32))
    assert found.tolist() == [[0, 3], [5, 4]]
    assert found.dtype == np.float32
    with pytest.raises(ValueError, match="float32 holds"):
        compute_distances(np.array([[1e39]]), np.array([[0.0]]), np.dtype(np.float32))


@pytest.mark.parametrize("width", [None, 2])
def test_functions_go_over_any_array(width):
    def double(rows):
        sums = rows.sum(axis=1, dtype=np.int64) * 2
        return sums if width is None else np.stack([sums, -sums], axis=1)

    expected = double(BYTES)
    for array, kind in zip(arrays_of(BYTES), (np.ndarray, da.Array, da.Array), strict=True):
        found = map_rows(double, array, HERE, np.dtype(np.int64), width)
        assert isinstance(found, kind)
        np.testing.assert_array_equal(np.asarray(found), expected)
        assert found.shape == expected.shape
