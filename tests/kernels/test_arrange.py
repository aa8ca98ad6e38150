"""Where rows and centers lie: round trips of the tiles, the two orders, the tiles of centers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from dkmeans.kernels import arrange
from dkmeans.kernels.exact import grid_integers, snap
from dkmeans.kernels.rounded import words_per_row
from dkmeans.kernels.writer import LANES

U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)
DTYPES = [U8, U16]
RAGGED = [0, 1, 2, 15, 16, 17, 31, 32, 33, 203]
FEATURES = [1, 3, 25, 130]


def random_rows(n_rows, n_features, dtype, seed=0):
    rng = np.random.default_rng((n_rows, n_features, seed))
    return rng.integers(0, np.iinfo(dtype).max, (n_rows, n_features), endpoint=True, dtype=dtype)


def columns(tiles, n_features):
    """Flat tiles as one column for each row, padding included; shape (n_padded, n_features)."""
    return tiles.reshape(-1, n_features, LANES).transpose(0, 2, 1).reshape(-1, n_features)


@pytest.mark.parametrize("dtype", [U8, U16, np.dtype(np.float32)], ids=str)
def test_aligned_arrays_begin_at_a_line_of_the_cache(dtype):
    for size in (1, 16, 1000):
        array = arrange.aligned(size, dtype)
        assert (array.size, array.dtype) == (size, dtype)
        assert array.ctypes.data % 64 == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", FEATURES)
def test_rows_go_into_tiles_and_come_out_again(dtype, n_features):
    for n_rows in RAGGED:
        rows = random_rows(n_rows, n_features, dtype)
        tiles = arrange.pack(rows)
        assert tiles.dtype == dtype
        assert tiles.size == arrange.padded(n_rows) * n_features
        lying = columns(tiles, n_features)
        np.testing.assert_array_equal(lying[:n_rows], rows)
        assert not lying[n_rows:].any()
        np.testing.assert_array_equal(arrange.unpack(tiles, np.arange(n_rows), n_features), rows)
        some = np.random.default_rng(0).integers(0, max(n_rows, 1), 9 if n_rows else 0)
        np.testing.assert_array_equal(arrange.unpack(tiles, some, n_features), rows[some])
        order = np.random.default_rng(1).permutation(n_rows).astype(np.int32)
        lying = columns(arrange.reorder(tiles, order, n_features), n_features)
        np.testing.assert_array_equal(lying[:n_rows], rows[order])
        assert not lying[n_rows:].any()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 1 << 32), st.sampled_from([1.0, 1e5, 1e12]))
def test_rows_are_sorted_by_label_then_by_about_their_distance(n_rows, n_labels, seed, scale):
    rng = np.random.default_rng(seed)
    labels = np.full(arrange.padded(n_rows), -1, np.int32)  # those beyond the rows are not looked at
    labels[:n_rows] = rng.integers(0, n_labels, n_rows)
    spread = np.zeros(labels.size, np.float32)
    spread[:n_rows] = np.where(rng.random(n_rows) < 0.1, 0, rng.random(n_rows) ** 4 * scale)
    spread[:n_rows][rng.random(n_rows) < 0.05] = np.inf  # of rows for which nothing was found
    starts = np.full(n_labels + 1, -7, np.int64)
    order = arrange.sort_order(labels, spread, n_rows, starts)
    assert sorted(order.tolist()) == list(range(n_rows))
    assert starts[0] == 0
    np.testing.assert_array_equal(np.diff(starts), np.bincount(labels[:n_rows], minlength=n_labels))
    for label, (first, end) in enumerate(pairwise(starts)):
        run = order[first:end]
        assert (labels[run] == label).all()
        fraction, exponent = np.frexp(spread[run])
        coarse = np.where(np.isinf(fraction), np.inf, np.floor(fraction * 16) * 2.0**exponent)
        assert (coarse[:-1] <= coarse[1:]).all()  # three bits after the first one


@pytest.mark.parametrize("n_rows", [n for n in RAGGED if n] + [1000])
@pytest.mark.parametrize("n_features", FEATURES)
def test_near_order_is_a_permutation(n_rows, n_features):
    for values in (random_rows(n_rows, n_features, U8), np.full((n_rows, n_features), 7)):
        order = arrange.near_order(values.astype(np.float32), LANES)
        assert order.dtype == np.int32
        assert sorted(order.tolist()) == list(range(n_rows))


@pytest.mark.parametrize("side", [1, 3, 5])
def test_runs_of_the_near_order_are_near(side):
    """Compact as no sixteen random ones are: a quarter of their spread at most."""
    windows = np.lib.stride_tricks.sliding_window_view(data.camera(), (side, side)).reshape(-1, side * side)
    rng = np.random.default_rng(0)
    values = windows[rng.choice(len(windows), 1003, replace=False)].astype(np.float32)
    order = arrange.near_order(values, LANES)

    def spread(order):
        return values[order[:992]].reshape(-1, LANES, side * side).var(axis=1).mean()

    assert spread(order) < spread(rng.permutation(1003)) / 4
    # Two groups far from each other share at most the one run that both are cut into.
    far = np.concatenate([values[:100], values[100:160] + 5000])
    runs = np.split(far[arrange.near_order(far, LANES)] > 2500, range(LANES, 160, LANES))
    assert sum(0 < run[:, 0].sum() < LANES for run in runs) <= 1


def whole_numbers(words, n_features):
    """Unpack words as `rounded` lays them out, and compare their squares; shape (n, n_features)."""
    n_words = words_per_row(n_features)
    tiles = words.reshape(-1, n_words, LANES)
    bytes_ = np.ascontiguousarray(tiles[:, :-1].transpose(0, 2, 1)).view(np.int8)
    whole = bytes_.reshape(-1, (n_words - 1) * 4)[:, :n_features].astype(np.float64) + 128
    np.testing.assert_array_equal(tiles[:, -1].reshape(-1), (whole**2).sum(axis=1))
    return whole


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", FEATURES)
@pytest.mark.parametrize("n_clusters", [1, 15, 16, 17, 300])
def test_each_center_lies_in_one_tile_within_the_radius_of_its_mean(dtype, n_features, n_clusters):
    rng = np.random.default_rng(n_clusters)
    centers = snap(rng.uniform(0, np.iinfo(dtype).max, (n_clusters, n_features)), dtype)
    integers = grid_integers(centers, dtype)
    order = arrange.near_order(centers, LANES)
    arranged = arrange.arrange_centers(centers, integers, order)
    np.testing.assert_array_equal(arranged.values.reshape(n_clusters, n_features), centers)
    assert arranged.integers is integers
    members = arranged.members
    assert sorted(members[:n_clusters].tolist()) == list(range(n_clusters))
    assert (members[n_clusters:] == members[n_clusters - 1]).all()
    lying = columns(arranged.tiles, n_features)
    np.testing.assert_array_equal(lying[:n_clusters], centers[members[:n_clusters]])
    squares = np.float32(n_features) * lying[n_clusters:] ** 2
    assert (squares > 1e29).all()  # too far to be listed, and still float32
    assert np.isfinite(squares).all()
    means = columns(arranged.means, n_features).astype(np.float64)
    n_tiles = len(members) // LANES
    assert len(means) == len(arranged.radii) == arrange.padded(n_tiles)
    assert (means[n_tiles:] > 1e14).all()
    for tile in range(n_tiles):
        inside = lying[tile * LANES : min((tile + 1) * LANES, n_clusters)]
        distances = np.linalg.norm(inside - means[tile], axis=1)
        assert distances.max() <= arranged.radii[tile] <= distances.max() * 1.00001


@pytest.mark.parametrize("n_clusters", [1, 17, 300])
def test_rounded_centers_lie_within_the_blur_and_their_balls_hold_the_tiles(n_clusters):
    n_features, rng = 25, np.random.default_rng(n_clusters)
    centers = snap(rng.uniform(0, 255, (n_clusters, n_features)), np.dtype(np.uint8))
    order = arrange.near_order(centers, LANES)
    arranged = arrange.arrange_centers(
        centers, grid_integers(centers, np.dtype(np.uint8)), order, coarse=True
    )
    coarse, members = arranged.coarse, arranged.members
    near, whole = centers[members].astype(np.float64), whole_numbers(coarse.tiles, n_features)
    gaps = np.linalg.norm(near - whole, axis=1)
    assert gaps.max() <= coarse.blur <= gaps.max() * 1.00001
    means = whole_numbers(coarse.means, n_features)
    n_tiles = len(members) // LANES
    assert len(means) == len(coarse.radii) == arrange.padded(n_tiles)
    assert (coarse.radii[n_tiles:] < -1e14).all()  # never near
    far = np.linalg.norm(near.reshape(n_tiles, LANES, -1) - means[:n_tiles, None], axis=2).max(axis=1)
    assert (far <= coarse.radii[:n_tiles]).all()
    assert (coarse.radii[:n_tiles] <= far * 1.00001).all()
    floats = arrange.arrange_centers(centers, grid_integers(centers, np.dtype(np.uint8)), order)
    assert floats.coarse.tiles is floats.tiles
    assert floats.coarse.blur == 0
