"""The exact arithmetic against cases worked out by hand and against Python's unlimited integers."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans.kernels.exact import (
    MAX_FEATURES,
    ChunkStats,
    center_shift,
    divide_half_even,
    fraction_bits,
    grid_integers,
    inertia,
    mean_variance,
    merge,
    relax,
    snap,
    update_centers,
)
from dkmeans.kernels.reference import lloyd_chunk

U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)
DTYPES = [U8, U16]


def stats_of(sums, counts, squares=0, moved=0):
    return ChunkStats(np.array(sums, np.int64), np.array(counts, np.int64), squares, moved)


def random_case(seed, dtype, n_rows=30, n_features=3, n_clusters=4):
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    rows = rng.integers(0, top, (n_rows, n_features), endpoint=True, dtype=dtype)
    return rows, snap(rng.uniform(0, top, (n_clusters, n_features)), dtype)


def test_the_grid_fits_into_the_23_bits_of_float32():
    assert (fraction_bits(U8), fraction_bits(U16)) == (15, 7)
    for dtype in DTYPES:
        top = (1 << 23) - 1
        ends = np.array([0, 1, top - 1, top], np.int64)
        centers = (ends / (1 << fraction_bits(dtype))).astype(np.float32)
        np.testing.assert_array_equal(grid_integers(centers, dtype), ends)
    assert MAX_FEATURES * ((1 << 23) - 1) ** 2 < 1 << 63


@pytest.mark.parametrize(
    ("dtype", "value", "integer"),
    [
        (U8, 0, 0),
        (U8, 1, 1 << 15),
        (U8, 255, 255 << 15),
        (U8, 1 / 3, 10923),  # 10922.67
        (U8, 2.5 / (1 << 15), 2),  # halfway: to even, down
        (U8, 3.5 / (1 << 15), 4),  # and up
        (U8, -1, 0),  # clipped to the range of the rows
        (U8, 255.5, 255 << 15),
        (U8, 1e30, 255 << 15),
        (U16, 1 / 3, 43),  # 42.67
        (U16, 2.5 / (1 << 7), 2),
        (U16, 3.5 / (1 << 7), 4),
        (U16, 65535, 65535 << 7),
        (U16, 65536, 65535 << 7),
    ],
)
def test_snap_by_hand(dtype, value, integer):
    for kind in (np.float64, np.float32) if value != 1 / 3 else (np.float64,):
        snapped = snap(np.array([[value]], kind), dtype)
        assert snapped.dtype == np.float32
        assert snapped.item() == integer / (1 << fraction_bits(dtype))
        assert grid_integers(snapped, dtype).item() == integer


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_snapping_twice_or_rows_changes_nothing(dtype):
    rows, centers = random_case(0, dtype)
    np.testing.assert_array_equal(snap(centers, dtype), centers)
    np.testing.assert_array_equal(snap(rows, dtype), rows)
    np.testing.assert_array_equal(
        grid_integers(snap(rows, dtype), dtype), rows.astype(np.int64) << fraction_bits(dtype)
    )


@pytest.mark.parametrize(
    ("dtype", "total", "count", "integer"),
    [
        (U8, 6, 3, 2 << 15),
        (U8, 1, 3, 10923),
        (U8, 2, 3, 21845),
        (U8, 0, 7, 0),
        (U8, 255 * 7, 7, 255 << 15),
        # 5 / 2^16 is 2.5 on the grid, 7 / 2^16 is 3.5; both ties go to the even neighbor
        (U8, 5, 1 << 16, 2),
        (U8, 7, 1 << 16, 4),
        (U8, 1, 1 << 16, 0),
        (U8, 3, 1 << 16, 2),
        (U8, 5 * 1000 + 1, 1000 << 16, 3),  # a hair above the tie
        (U8, 7 * 1000 - 1, 1000 << 16, 3),  # and below it
        (U8, (1 << 16) + 5, 1 << 16, (1 << 15) + 2),
        (U16, 5, 1 << 8, 2),
        (U16, 7, 1 << 8, 4),
        (U16, 1, 3, 43),
        (U16, 65535 * 3, 3, 65535 << 7),
    ],
)
def test_update_by_hand(dtype, total, count, integer):
    old = snap(np.array([[9.0], [8.0]]), dtype)
    new = update_centers(stats_of([[total], [4]], [count, 2]), old, dtype)
    assert new.dtype == np.float32
    assert new[0, 0] == integer / (1 << fraction_bits(dtype))
    assert new[1, 0] == 2  # the other cluster has its own mean


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 1 << 61), min_size=1, max_size=9), st.integers(1, (1 << 62) - 1))
def test_quotients_are_rounded_as_python_rounds_fractions(dividends, divisor):
    """Of int64 and of Python's integers; with halves, of which few are drawn by chance."""
    dividends += [divisor // 2, divisor] + [divisor * odd // 2 for odd in (1, 3, 5) if divisor < 1 << 60]
    right = [round(Fraction(dividend, divisor)) for dividend in dividends]
    assert divide_half_even(np.array(dividends, np.int64), divisor).tolist() == right
    large = np.array([dividend << 70 for dividend in dividends], object)
    assert divide_half_even(large, divisor << 70).tolist() == right


def test_an_empty_cluster_keeps_its_center():
    old = snap(np.array([[9.25, 1.5], [8, 7], [6, 5]]), U8)
    new = update_centers(stats_of([[0, 0], [6, 9], [0, 0]], [0, 3, 0]), old, U8)
    assert new.tolist() == [[9.25, 1.5], [2, 3], [6, 5]]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(DTYPES), st.integers(1, 1 << 46), st.data())
def test_update_is_pythons_rounding_of_the_fraction(dtype, count, data):
    """Up to 2^46 rows: sum * 2^F does not fit into int64, sum does."""
    top = int(np.iinfo(dtype).max)
    total = data.draw(st.one_of(st.integers(0, count * top), st.sampled_from([0, count * top])))
    new = update_centers(stats_of([[total]], [count]), np.zeros((1, 1), np.float32), dtype)
    assert grid_integers(new, dtype).item() == round(Fraction(total << fraction_bits(dtype), count))
    assert 0 <= new.item() <= top


@pytest.mark.parametrize(
    ("dtype", "center", "mean", "relaxation", "reached"),
    [
        (U8, 100, 200, 1.5, 250),
        (U8, 100, 200, 1, 200),
        (U8, 100, 200, 1.9, 290),
        (U8, 200, 100, 1.9, 10),
        (U8, 7, 7, 1.9, 7),
        (U8, 100, 101, 1.9, 101),  # 0.9 of a unit beyond is none
        (U8, 100, 102, 1.9, 103),
        (U8, 102, 100, 1.9, 99),
        (U8, 100, 110, 1.99, 119),
        (U8, 90, 1, 1.9, 0),  # -79 is clipped
        (U8, 8_000_000, 8_355_000, 1.9, 255 << 15),
        (U16, 8_000_000, 8_388_000, 1.5, 65_535 << 7),
    ],
)
def test_relaxing_by_hand(dtype, center, mean, relaxation, reached):
    """In units of the grid."""
    on_grid = [np.array([[value / (1 << fraction_bits(dtype))]], np.float32) for value in (center, mean)]
    assert grid_integers(relax(*on_grid, relaxation, dtype), dtype).tolist() == [[reached]]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(DTYPES),
    st.integers(1, 60),
    st.sampled_from([1, 1.01, 1.5, 1.9, 1.95, 1.99]),
    st.one_of(st.integers(-4, 4), st.integers(-(1 << 23), 1 << 23)),
    st.data(),
)
def test_no_relaxed_center_is_farther_from_the_true_mean(dtype, count, relaxation, gap, data):
    """By few units of the grid or by many; and it goes as far as it was told to, to the unit."""
    top = int(np.iinfo(dtype).max)
    total, scale = data.draw(st.integers(0, count * top)), 1 << fraction_bits(dtype)
    true_mean = Fraction(total * scale, count)
    center = min(max(round(true_mean) + gap, 0), top * scale)
    centers = np.array([[center / scale]], np.float32)
    means = update_centers(stats_of([[total]], [count]), centers, dtype)
    reached = int(grid_integers(relax(centers, means, relaxation, dtype), dtype)[0, 0])
    assert 0 <= reached <= top * scale
    assert abs(reached - true_mean) <= abs(center - true_mean)
    way = Fraction(round(100 * relaxation), 100) * (round(true_mean) - center)
    assert abs(reached - center) <= abs(way)  # never farther than asked for
    assert abs(reached - center) > abs(way) - 1 or reached in (0, top * scale)


def inertia_by_hand(rows, weights, labels, centers):
    total = Fraction(0)
    for row, weight, label in zip(rows.tolist(), weights.tolist(), labels.tolist(), strict=True):
        pairs = zip(row, centers[label].tolist(), strict=True)
        total += weight * sum((value - Fraction(center)) ** 2 for value, center in pairs)
    return total


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("largest_weight", [1, 1000, 1 << 25])
def test_inertia_is_the_sum_of_all_fractions(dtype, seed, largest_weight):
    rows, centers = random_case(seed, dtype)
    weights = np.random.default_rng(seed).integers(1, largest_weight, len(rows), endpoint=True)
    stats, labels = lloyd_chunk(rows, centers, None, weights)
    assert inertia(stats, centers, dtype) == float(inertia_by_hand(rows, weights, labels, centers))


def test_inertia_is_zero_when_rows_are_their_centers():
    rows = np.array([[0, 255], [7, 9]], np.uint8)
    stats, _ = lloyd_chunk(rows, snap(rows, U8))
    assert inertia(stats, snap(rows, U8), U8) == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [1, (1 << 40) - 1, 1 << 44])
def test_sums_of_a_million_million_rows_do_not_overflow(dtype, count):
    top, n_features = int(np.iinfo(dtype).max), 15
    values = [top, 0, top - 1] * 5
    twice = [2 * count * value for value in values]
    # Two kinds of rows, `values` and one less each (0 stays), in one cluster; the other one is empty.
    sums = [2 * total - count * (value > 0) for total, value in zip(twice, values, strict=True)]
    squares = sum(2 * count * v * v + count * v * v + count * max(v - 1, 0) ** 2 for v in values)
    stats = stats_of([sums, [0] * n_features], [4 * count, 0], squares)
    centers = snap(np.array([[0.5 + value / 2 for value in values], [1.0] * n_features]), dtype)
    new = update_centers(stats, centers, dtype)
    bits = fraction_bits(dtype)
    assert grid_integers(new, dtype)[0].tolist() == [round(Fraction(s << bits, 4 * count)) for s in sums]
    exact = Fraction(squares)
    for total, center in zip(sums, map(Fraction, centers[0].tolist()), strict=True):
        exact += 4 * count * center * center - 2 * center * total
    assert inertia(stats, centers, dtype) == float(exact)
    variance = Fraction(squares, 4 * count) - sum(Fraction(s, 4 * count) ** 2 for s in sums)
    assert mean_variance(stats) == float(variance / n_features)
    doubled = merge([stats, stats])
    assert doubled.sums[0].tolist() == [2 * total for total in sums]
    assert doubled.counts.tolist() == [8 * count, 0]
    assert doubled.squares == 2 * squares


def test_inertia_of_the_widest_rows_does_not_overflow():
    rows = np.zeros((3, MAX_FEATURES), np.uint8)
    centers = np.full((1, MAX_FEATURES), 255, np.float32)
    stats = stats_of([[0] * MAX_FEATURES], [3])
    assert inertia(stats, centers, U8) == 3 * MAX_FEATURES * 255**2
    assert center_shift(np.zeros_like(centers), centers, U8) == MAX_FEATURES * 255**2
    assert lloyd_chunk(rows, centers)[0].squares == 0


def test_center_shift_by_hand():
    old = np.array([[0, 0], [10, 10], [3, 3]], np.float32)
    new = np.array([[3, 4], [10, 10.5], [3, 3]], np.float32)
    assert center_shift(old, new, U8) == center_shift(new, old, U8) == 25.25
    assert center_shift(old, old, U8) == 0
    step = np.array([[2.0**-15]], np.float32)
    assert center_shift(np.zeros((1, 1), np.float32), step, U8) == 2.0**-30


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_mean_variance_is_that_of_numpy(dtype, seed):
    rows, centers = random_case(seed, dtype, n_rows=97, n_features=5)
    stats, _ = lloyd_chunk(rows, centers)
    assert mean_variance(stats) == pytest.approx(rows.astype(np.float64).var(axis=0).mean(), rel=1e-12)
    # Equal rows: just zero, without the rest that float arithmetic would leave.
    same, _ = lloyd_chunk(np.repeat(rows[:1], 41, axis=0), centers)
    assert mean_variance(same) == 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from(DTYPES), st.integers(0, 1 << 32), st.lists(st.integers(0, 30), max_size=5), st.randoms()
)
def test_merging_depends_on_neither_order_nor_cuts(dtype, seed, borders, random):
    rows, centers = random_case(seed, dtype)
    whole, labels = lloyd_chunk(rows, centers)
    hint = np.roll(labels, 1)
    borders = sorted({0, *borders, len(rows)})
    parts = [lloyd_chunk(rows[start:stop], centers, hint[start:stop])[0] for start, stop in pairwise(borders)]
    random.shuffle(parts)
    nested = merge([merge(parts[:2]), *parts[2:]])
    for merged in (merge(parts), nested):
        np.testing.assert_array_equal(merged.sums, whole.sums)
        np.testing.assert_array_equal(merged.counts, whole.counts)
        assert merged.sums.dtype == merged.counts.dtype == np.int64
        assert merged.squares == whole.squares
        assert merged.moved == (labels != hint).sum()
