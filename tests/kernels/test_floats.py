"""Float64 rows: labels that no rounding of the search changes, and sums that lose nothing to a large mean."""

from __future__ import annotations

import math
import pickle
import sys
from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans import kernels
from dkmeans.errors import DeviceError
from dkmeans.kernels import exact, floats, nearest_floats, reference

U8 = np.dtype(np.uint8)
FLOAT = np.dtype(np.float64)
FEATURES = [1, 2, 3, 4, 5, 7, 8, 25, 64, 128]
CLUSTERS = [1, 2, 3, 17, 100]
ROWS = [1, 2, 3, 4, 5, 203]


def brute_force(rows, centers):
    """The argmin, lowest index on ties, of the distances that are promised: four partial sums."""
    labels = []
    whole = rows.shape[1] // 4 * 4
    for row in rows:
        squares = (row - centers) ** 2
        sums = np.zeros((len(centers), 4))
        for first in range(0, whole, 4):
            sums += squares[:, first : first + 4]
        for feature in range(whole, rows.shape[1]):
            sums[:, 0] += squares[:, feature]
        labels.append(((sums[:, 0] + sums[:, 1]) + (sums[:, 2] + sums[:, 3])).argmin())
    return np.array(labels, np.int32)


def integer_case(n_rows, n_features, n_clusters, seed=0):
    """Rows and centers of few values: many ties, and every distance is exact in float64."""
    rng = np.random.default_rng((seed, n_rows, n_features, n_clusters))
    rows = rng.integers(0, 4, (n_rows, n_features)).astype(np.uint8)
    return rows, exact.snap(rng.integers(0, 7, (n_clusters, n_features)) / 2, U8)


@pytest.mark.parametrize("n_features", FEATURES)
@pytest.mark.parametrize("n_clusters", CLUSTERS)
def test_on_integers_labels_are_those_of_the_exact_reference(n_features, n_clusters):
    for n_rows in ROWS:
        rows, centers = integer_case(n_rows, n_features, n_clusters)
        stats, labels = reference.lloyd_chunk(rows, centers)
        block, as_floats = floats.Block(rows.astype(float)), centers.astype(float)
        found = block.labels(as_floats)
        np.testing.assert_array_equal(found, labels)
        assert found.dtype == np.int32
        ours = block.lloyd(as_floats)
        np.testing.assert_array_equal(ours.counts, stats.counts)
        assert ours.inertia == exact.inertia(stats, centers, U8)
        sums = stats.sums - stats.counts[:, None] * as_floats
        np.testing.assert_allclose(ours.sums, sums, atol=1e-9)


@pytest.mark.parametrize("n", [1, 3, 9])
def test_farthest_is_that_of_the_reference(n):
    rows, centers = integer_case(40, 3, 5)
    distances, far = floats.Block(rows.astype(float)).farthest(centers.astype(float), n)
    right, right_rows = reference.farthest(rows, centers, n)
    np.testing.assert_array_equal(far, right_rows)
    np.testing.assert_array_equal(distances * 4.0 ** exact.fraction_bits(U8), right)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(1, 30),
    st.one_of(st.integers(1, 12), st.sampled_from([64, 129])),
    st.integers(1, 40),
    st.sampled_from([0.0, 1.0, -1e8, 1e15]),
    st.sampled_from([1.0, 1e-3, 1e-150, 1e-160, 1e-170, 1e-300, 1e150, 1e155, 1e200, 1e290]),
    st.integers(0, 1 << 32),
)
def test_no_scale_and_no_offset_misleads_the_search(n_rows, n_features, n_clusters, offset, scale, seed):
    rng = np.random.default_rng(seed)
    rows = (offset + rng.normal(size=(n_rows, n_features))) * scale
    centers = (offset + rng.normal(size=(n_clusters, n_features))) * scale
    near = rng.integers(n_clusters, size=n_clusters // 2)  # copies of centers, moved by a last bit
    centers[: len(near)] = np.nextafter(centers[near], np.inf)
    rows[: n_rows // 2] = rows[: n_rows // 2] * 1e-3 if offset == 0 else rows[: n_rows // 2]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.testing.assert_array_equal(nearest_floats.nearest(rows, centers), brute_force(rows, centers))


@pytest.mark.parametrize("n_features", [3, 130])
def test_rows_between_two_centers(n_features):
    """Distances that differ by less than float32 can tell."""
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(20, n_features))
    one, other = rng.integers(20, size=(2, 500))
    middle = (centers[one] + centers[other]) / 2
    rows = middle + rng.normal(size=(500, 1)) * 1e-14 * (centers[one] - centers[other])
    np.testing.assert_array_equal(nearest_floats.nearest(rows, centers), brute_force(rows, centers))


def near_ties(n_rows, n_features, n_clusters, dtype, seed=0):
    """Rows of `dtype` between centers of which many are the same, or the same but for a last bit."""
    rng = np.random.default_rng((seed, n_rows, n_features, n_clusters))
    centers = rng.normal(size=(n_clusters, n_features))
    centers[rng.integers(n_clusters, size=n_clusters // 3)] = centers[0]
    centers[rng.integers(n_clusters, size=n_clusters // 3)] = np.nextafter(centers[-1], np.inf)
    one, other = rng.integers(n_clusters, size=(2, n_rows))
    rows = ((centers[one] + centers[other]) / 2).astype(dtype)
    return np.where(rng.random((n_rows, 1)) < 0.5, rows, rng.normal(size=rows.shape).astype(dtype)), centers


SHAPES = [
    *((1, 5, 3), (48, 2, 1), (49, 1, 2), (15, 15, 6), (16, 16, 7), (17, 17, 8), (31, 63, 9), (32, 64, 12)),
    *(
        (33, 65, 13),
        (47, 127, 16),
        (95, 128, 17),
        (96, 129, 25),
        (97, 31, 100),
        (300, 784, 10),
        (300, 3, 1000),
    ),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_size_of_panel_group_and_span_on_near_ties(shape, dtype):
    rows, centers = near_ties(*shape, dtype)
    np.testing.assert_array_equal(nearest_floats.nearest(rows, centers), brute_force(rows, centers))


@pytest.mark.parametrize("far", [1e3, 1e6, 1e30, 1e150])
@pytest.mark.parametrize("n_features", [3, 70])
def test_a_center_far_away_misleads_nobody(n_features, far):
    """It makes the first margin of every row too wide, and float32 too coarse for the others."""
    rows, centers = near_ties(200, n_features, 30, np.float64)
    centers[7] = far
    rows[::50] = far * rows[::50]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(nearest_floats.nearest(rows, centers), brute_force(rows, centers))


@pytest.mark.parametrize("far", [1e6, 1e10, 1e13, 1e16, 1e18])
def test_rows_far_from_all_centers(far):
    """The distances that decide are rounded by more than what the centers differ by, and scores are not."""
    rng = np.random.default_rng(11)
    rows, centers = rng.normal(size=(300, 5)) * far, rng.normal(size=(20, 5))
    np.testing.assert_array_equal(nearest_floats.nearest(rows, centers), brute_force(rows, centers))


@pytest.mark.parametrize("gap", [1e-100, 1e-160, 1e-200])
def test_centers_that_hardly_differ(gap):
    rows = np.random.default_rng(12).normal(size=(60, 3))
    centers = np.array([[0, 0, gap], [0, 0, 0], [gap, 0, 0]])
    np.testing.assert_array_equal(nearest_floats.nearest(rows, centers), brute_force(rows, centers))
    rows *= gap
    np.testing.assert_array_equal(nearest_floats.nearest(rows, centers), brute_force(rows, centers))


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1e-20, 1.0, 1e20, 3e37])
def test_rows_of_float32_of_any_size(scale):
    rng = np.random.default_rng(8)
    rows = (rng.normal(size=(100, 20)) * scale).astype(np.float32)
    centers = rows[:11] + rng.normal(size=(11, 20)) * scale * 1e-7
    np.testing.assert_array_equal(
        nearest_floats.nearest(rows, centers), brute_force(rows.astype(float), centers)
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_features", [1, 3, 4, 21, 128])
def test_rows_of_float32_give_the_bits_of_the_same_numbers_in_float64(n_features, weighted):
    rng = np.random.default_rng((9, n_features))
    rows = rng.normal(size=(500, n_features)).astype(np.float32)
    weights = rng.uniform(1, 2, 500) if weighted else None
    centers = rows[:9] + rng.normal(size=(9, n_features)) * 1e-3
    narrow, wide = floats.Block(rows, weights), floats.Block(rows.astype(float), weights)
    one, other = narrow.lloyd(centers), wide.lloyd(centers)
    for field in fields(floats.ChunkStats):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    for ours, theirs in zip(narrow.farthest(centers, 5), wide.farthest(centers, 5), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype == FLOAT
    assert narrow.rows().dtype == narrow.dtype == FLOAT
    np.testing.assert_array_equal(narrow.rows(), wide.rows())
    assert sys.getsizeof(narrow) < sys.getsizeof(wide) - 3 * rows.nbytes // 4
    np.testing.assert_array_equal(
        floats.distances(rows, centers), floats.distances(rows.astype(float), centers)
    )


def test_sums_are_added_row_by_row():
    rng = np.random.default_rng(10)
    rows, weights = rng.normal(size=(300, 23)), rng.uniform(1, 2, 300)
    centers = rows[:4] + 0.5
    stats, labels = floats.Block(rows, weights).lloyd(centers), brute_force(rows, centers)
    sums, counts = np.zeros((4, 23)), np.zeros(4)
    for row, weight, label in zip(rows, weights, labels, strict=True):
        sums[label] += weight * (row - centers[label])
        counts[label] += weight
    np.testing.assert_array_equal(stats.sums, sums)
    np.testing.assert_array_equal(stats.counts, counts)


def test_the_label_is_the_true_nearest_up_to_rounding():
    rng = np.random.default_rng(2)
    rows, centers = rng.normal(size=(50, 6)), rng.normal(size=(9, 6))
    for row, label in zip(rows.tolist(), nearest_floats.nearest(rows, centers), strict=True):
        true = [
            sum((Fraction(x) - Fraction(c)) ** 2 for x, c in zip(row, center, strict=True))
            for center in centers.tolist()
        ]
        assert true[label] <= min(true) * (1 + Fraction(10, 1 << 52))


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_inertia_and_variance_with_a_large_mean(weighted):
    rng = np.random.default_rng(3)
    rows = 1e9 + rng.normal(size=(1000, 4))
    centers = rows[:5].copy()
    weights = rng.uniform(0.1, 5, 1000) if weighted else np.ones(1000)
    block = floats.Block(rows, weights if weighted else None)
    stats, labels = block.lloyd(centers), block.labels(centers)
    own = rows - centers[labels]
    assert stats.inertia == pytest.approx(math.fsum((weights[:, None] * own**2).ravel()), rel=1e-13)
    for cluster in range(5):
        mine = labels == cluster
        assert stats.counts[cluster] == pytest.approx(math.fsum(weights[mine]), rel=1e-13)
        for feature in range(4):
            total = math.fsum(weights[mine] * own[mine, feature])
            assert stats.sums[cluster, feature] == pytest.approx(total, rel=1e-10, abs=1e-10)
    new = floats.update_centers(stats, centers, FLOAT)
    mean = np.average((rows - 1e9)[labels == 0], axis=0, weights=weights[labels == 0])
    np.testing.assert_allclose(new[0] - 1e9, mean, atol=3e-7)  # half a unit in the last place at 1e9 is 6e-8
    spread = np.average(
        (rows - 1e9 - np.average(rows - 1e9, axis=0, weights=weights)) ** 2, axis=0, weights=weights
    )
    assert floats.mean_variance(stats) == pytest.approx(spread.mean(), rel=1e-6)


def test_four_numbers_by_hand():
    block = floats.Block(np.array([[0.0], [2.0], [10.0], [13.0]]), np.array([1.0, 0.5, 2.0, 2.0]))
    centers = np.array([[1.0], [11.0], [99.0]])
    stats = block.lloyd(centers)
    assert stats.counts.tolist() == [1.5, 4.0, 0.0]
    assert stats.sums.tolist() == [[-1 + 0.5], [2 * -1 + 2 * 2], [0.0]]
    assert stats.inertia == 1 + 0.5 + 2 + 8
    assert floats.inertia(stats, centers, FLOAT) == stats.inertia
    new = floats.update_centers(stats, centers, FLOAT)
    assert new.tolist() == [[1 - 0.5 / 1.5], [11.5], [99.0]]
    assert floats.center_shift(centers, new, FLOAT) == pytest.approx((0.5 / 1.5) ** 2 + 0.25)
    mean = (0.5 * 2 + 20 + 26) / 5.5
    squares = mean**2 + 0.5 * (2 - mean) ** 2 + 2 * (10 - mean) ** 2 + 2 * (13 - mean) ** 2
    assert floats.mean_variance(stats) == pytest.approx(squares / 5.5)
    assert (stats.moved, block.lloyd(centers, np.array([[5.0], [11.0], [99.0]])).moved) == (5.5, 0)
    assert block.lloyd(centers, np.array([[11.0], [1.0], [99.0]])).moved == 5.5
    assert block.lloyd(centers, np.array([[2.0], [2.0], [99.0]])).moved == 4  # the last two


def test_blocks_together_are_the_whole():
    rng = np.random.default_rng(4)
    rows, centers = rng.normal(5, 1, (300, 3)), rng.normal(5, 1, (6, 3))
    weights = rng.uniform(0.5, 2, 300)
    whole = floats.Block(rows, weights).lloyd(centers)
    cuts = [(0, 1), (1, 120), (120, 300)]
    parts = [floats.Block(rows[a:b], weights[a:b]).lloyd(centers) for a, b in cuts]
    merged = floats.merge(parts)
    np.testing.assert_allclose(merged.sums, whole.sums, atol=1e-11)
    np.testing.assert_allclose(merged.counts, whole.counts)
    assert merged.inertia == pytest.approx(whole.inertia)
    assert merged.moved == pytest.approx(weights.sum())
    assert whole.moved == pytest.approx(weights.sum())
    assert floats.mean_variance(merged) == pytest.approx(floats.mean_variance(whole))
    again = floats.merge(parts)
    np.testing.assert_array_equal(merged.sums, again.sums)
    assert floats.merge(parts[:1]) is parts[0]


def test_a_label_depends_on_its_row_alone():
    rng = np.random.default_rng(5)
    rows, centers = rng.normal(size=(101, 5)), rng.normal(size=(30, 5))
    labels = floats.Block(rows).labels(centers)
    alone = np.concatenate([floats.Block(row[None]).labels(centers) for row in rows])
    np.testing.assert_array_equal(labels, alone)


def test_what_is_known_stays_where_it_is_and_changes_nothing():
    rng = np.random.default_rng(6)
    rows, weights = rng.normal(size=(200, 3)), rng.uniform(1, 2, 200)
    before, centers = rows[:7].copy(), rows[7:14].copy()
    block = floats.Block(rows, weights)
    first = block.lloyd(before)
    second = block.lloyd(centers, before)
    copy = pickle.loads(pickle.dumps(block))
    adopting = floats.Block(rows, weights)
    adopting.adopt(block.labels(before), before)
    for other in (copy, adopting):
        stats = other.lloyd(centers, before)
        assert (stats.moved, stats.inertia) == (second.moved, second.inertia)
        np.testing.assert_array_equal(stats.sums, second.sums)
    assert copy.lloyd(before).inertia == first.inertia
    np.testing.assert_array_equal(copy.rows(), rows)
    np.testing.assert_array_equal(copy.rows(np.array([5, 5, 9])), rows[[5, 5, 9]])


def test_rows_in_any_layout():
    rng = np.random.default_rng(7)
    rows, centers = rng.normal(size=(50, 6)), rng.normal(size=(4, 6))
    expected = floats.Block(rows).lloyd(centers)
    read_only = rows.copy()
    read_only.flags.writeable = False
    strided = np.repeat(rows, 2, axis=1)[:, ::2]
    for given_rows in (np.asfortranarray(rows), read_only, strided):
        stats = floats.Block(given_rows).lloyd(centers)
        np.testing.assert_array_equal(stats.sums, expected.sums)


def test_distances():
    rows, centers = np.array([[0.0, 0], [3, 4]]), np.array([[0.0, 0], [0, 4], [3, 0]])
    assert floats.distances(rows, centers).tolist() == [[0, 4, 3], [5, 3, 4]]


def test_the_arithmetic_is_picked_by_the_dtype():
    assert kernels.arithmetic(U8) is kernels.arithmetic(np.dtype(np.uint16)) is exact.EXACT
    assert kernels.arithmetic(FLOAT) is floats.FLOATS
    for field in fields(kernels.Arithmetic):  # each function in the place of its name
        assert getattr(exact.EXACT, field.name) is getattr(exact, field.name)
        assert getattr(floats.FLOATS, field.name) is getattr(floats, field.name)
    assert isinstance(kernels.load(np.zeros((3, 2)), "auto"), floats.Block)
    with pytest.raises(DeviceError, match="uint8 and uint16, found float64"):
        kernels.load(np.zeros((3, 2)), "gpu")
