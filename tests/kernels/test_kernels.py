"""The kernels of the CPU, the matrix products and the dispatch, against the oracle `reference`."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans import kernels
from dkmeans.kernels import cpu, gemm, reference
from dkmeans.kernels.exact import fraction_bits, grid_integers, snap

U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)
DTYPES = [U8, U16]
FEATURES = [1, 2, 3, 4, 25, 64, 75, 128, 129, 192, 300, 784]
CLUSTERS = [1, 2, 15, 16, 17, 100]
ROWS = [0, 1, 2, 3, 4, 5, 203]
KINDS = ["uniform", "few", "equal", "extreme", "duplicate centers", "rows as centers"]


def make(kind, n_rows, n_features, n_clusters, dtype, seed=0):
    """Rows and centers on the grid; each kind is hard in its own way."""
    rng = np.random.default_rng((seed, n_rows, n_features, n_clusters, KINDS.index(kind)))
    top = int(np.iinfo(dtype).max)
    rows = rng.integers(0, top, (n_rows, n_features), endpoint=True, dtype=dtype)
    centers = rng.uniform(0, top, (n_clusters, n_features))
    if kind == "few":  # many equal distances
        rows = rng.integers(0, 3, (n_rows, n_features), dtype=dtype)
        centers = rng.integers(0, 5, (n_clusters, n_features)) / 2
    elif kind == "equal":
        rows[:] = rng.integers(0, top, n_features, endpoint=True)
    elif kind == "extreme":
        rows = rng.choice(np.array([0, top], dtype), (n_rows, n_features))
        centers = rng.choice([0.0, float(top)], (n_clusters, n_features))
    elif kind == "duplicate centers":
        centers = centers[rng.integers(0, -(-n_clusters // 3), n_clusters)]
    elif kind == "rows as centers" and n_rows:
        centers = rows[rng.integers(0, n_rows, n_clusters)].astype(np.float64)
    return rows, snap(centers, dtype)


def assert_same_stats(found, expected):
    (stats, hint), (right, labels) = found, expected
    np.testing.assert_array_equal(hint, labels)
    assert hint.dtype == np.int32
    np.testing.assert_array_equal(stats.sums, right.sums)
    np.testing.assert_array_equal(stats.counts, right.counts)
    assert stats.sums.dtype == stats.counts.dtype == np.int64
    assert (stats.squares, stats.moved) == (right.squares, right.moved)
    assert type(stats.squares) is type(stats.moved) is int


def assert_same_pair(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
        assert one.shape == other.shape


def distances_in_python(rows, centers):
    """Squared distances in units of 2^-2F, in Python's integers."""
    bits = fraction_bits(rows.dtype)
    integers = [[int(value * (1 << bits)) for value in center] for center in centers.tolist()]
    return [
        [sum(((x << bits) - m) ** 2 for x, m in zip(row, center, strict=True)) for center in integers]
        for row in rows.tolist()
    ]


# The oracle itself


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_reference_is_a_loop_over_integers(kind, dtype):
    rows, centers = make(kind, 23, 3, 7, dtype)
    weights = np.random.default_rng(1).integers(0, 9, 23)
    distances = distances_in_python(rows, centers)
    labels = [line.index(min(line)) for line in distances]  # the first of equal ones
    hint = np.random.default_rng(2).integers(0, 7, 23).astype(np.int32)
    assert reference.assign(rows, centers).tolist() == labels
    for times, given_weights in (([1] * 23, None), (weights.tolist(), weights)):
        stats, found = reference.lloyd_chunk(rows, centers, hint, given_weights)
        assert found.tolist() == labels
        sums = [[0] * 3 for _ in range(7)]
        for row, label, weight in zip(rows.tolist(), labels, times, strict=True):
            sums[label] = [total + weight * x for total, x in zip(sums[label], row, strict=True)]
        assert stats.sums.tolist() == sums
        assert stats.counts.tolist() == [
            sum(w for w, label in zip(times, labels, strict=True) if label == k) for k in range(7)
        ]
        squares = [w * x * x for w, row in zip(times, rows.tolist(), strict=True) for x in row]
        assert stats.squares == sum(squares)
        assert stats.moved == sum(a != b for a, b in zip(labels, hint.tolist(), strict=True))
    far = sorted({(-min(line), tuple(row)) for line, row in zip(distances, rows.tolist(), strict=True)})
    found_distances, found_rows = reference.farthest(rows, centers, 5)
    assert found_distances.tolist() == [-negative for negative, _ in far[:5]]
    assert found_rows.tolist() == [list(row) for _, row in far[:5]]


# Kernels against the oracle


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", FEATURES)
@pytest.mark.parametrize("n_clusters", CLUSTERS)
def test_every_shape_gives_the_bits_of_the_reference(dtype, n_features, n_clusters):
    for n_rows in ROWS if n_features * n_clusters < 20_000 else (1, 5, 40):
        for kind in KINDS if n_rows in (5, 203) else KINDS[:1]:
            rows, centers = make(kind, n_rows, n_features, n_clusters, dtype)
            integers = grid_integers(centers, dtype)
            expected = reference.lloyd_chunk(rows, centers)
            labels = expected[1]
            np.testing.assert_array_equal(cpu.assign(rows, centers), labels)
            assert_same_stats(cpu.lloyd_chunk(rows, centers), expected)
            nearest, distances = gemm.nearest(np, rows, integers)
            np.testing.assert_array_equal(nearest, labels)
            own = (rows.astype(np.int64) << fraction_bits(dtype)) - integers[labels]
            np.testing.assert_array_equal(distances, (own * own).sum(axis=1))
            assert (nearest.dtype, distances.dtype) == (np.int32, np.int64)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(KINDS),
    st.integers(0, 40),
    st.one_of(st.integers(1, 12), st.sampled_from([127, 128, 129, 255, 256, 257])),
    st.integers(1, 40),
    st.sampled_from(DTYPES),
    st.integers(0, 1 << 32),
    st.sampled_from([None, 1, 1 << 16]),
    st.booleans(),
)
def test_random_cases_with_weights_and_hints(
    kind, n_rows, n_features, n_clusters, dtype, seed, heavy, hinted
):
    rows, centers = make(kind, n_rows, n_features, n_clusters, dtype, seed)
    rng = np.random.default_rng(seed)
    weights = None if heavy is None else rng.integers(0, heavy, n_rows, endpoint=True)
    hint = rng.integers(0, n_clusters, n_rows).astype(np.int32) if hinted else None
    expected = reference.lloyd_chunk(rows, centers, hint, weights)
    assert_same_stats(cpu.lloyd_chunk(rows, centers, hint, weights), expected)
    assert_same_stats(kernels.lloyd_chunk(rows, centers, hint, weights), expected)
    np.testing.assert_array_equal(kernels.assign(rows, centers), expected[1])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from(KINDS),
    st.integers(1, 60),
    st.sampled_from([1, 2, 3, 25, 130]),
    st.integers(1, 20),
    st.sampled_from(DTYPES),
    st.integers(0, 1 << 32),
    st.integers(1, 70),
)
def test_farthest_rows_are_those_of_the_reference(kind, n_rows, n_features, n_clusters, dtype, seed, n):
    rows, centers = make(kind, n_rows, n_features, n_clusters, dtype, seed)
    rows = rows[np.random.default_rng(seed).integers(0, n_rows, n_rows)]  # duplicates in any order
    expected = reference.farthest(rows, centers, n)
    assert_same_pair(cpu.farthest(rows, centers, n), expected)
    assert_same_pair(kernels.farthest(rows, centers, n), expected)
    assert_same_pair(cpu.farthest(rows[::-1], centers, n), expected)


def test_farthest_looks_behind_many_duplicates_and_breaks_ties_by_the_row():
    centers = np.array([[10.0, 10.0]], np.float32)
    rows = np.array([[30, 10]] * 50 + [[10, 30]] * 50 + [[10, 11], [11, 10], [10, 10]], np.uint8)
    distances, found = cpu.farthest(rows, centers, 4)
    assert found.tolist() == [[10, 30], [30, 10], [10, 11], [11, 10]]
    assert (distances >> 30).tolist() == [400, 400, 1, 1]
    assert cpu.farthest(rows, centers, 2)[1].tolist() == [[10, 30], [30, 10]]
    assert cpu.farthest(rows, centers, 99)[1].tolist() == [*found.tolist(), [10, 10]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", [3, 128, 129])
@pytest.mark.parametrize("n_clusters", [2, 17, 40])
def test_a_row_halfway_goes_to_the_lowest_index(dtype, n_features, n_clusters):
    """All centers lie at one distance from the first row; the tie is exact, so is its end."""
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    rows = rng.integers(top // 4, top // 2, (6, n_features)).astype(dtype)
    step = 2.0 ** -fraction_bits(dtype)
    signs = rng.choice([-1, 1], (n_clusters, n_features))
    centers = snap(rows[0] + signs * (top // 4), dtype)
    for labels in (cpu.assign(rows, centers), gemm.nearest(np, rows, grid_integers(centers, dtype))[0]):
        assert labels[0] == 0
        np.testing.assert_array_equal(labels, reference.assign(rows, centers))
    # One step of the grid decides: the last center, moved nearer in one feature, is chosen.
    centers[-1, -1] -= signs[-1, -1] * step
    for labels in (cpu.assign(rows, centers), gemm.nearest(np, rows, grid_integers(centers, dtype))[0]):
        assert labels[0] == n_clusters - 1
        np.testing.assert_array_equal(labels, reference.assign(rows, centers))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", [784, 3000])
def test_scores_beyond_2_to_53_are_still_exact(dtype, n_features):
    """White rows and dark centers, all permutations of one: an exact tie of numbers too long for float64."""
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    rows = np.full((5, n_features), top, dtype)
    dark = rng.uniform(0, top / 50, n_features)
    centers = snap(np.array([rng.permutation(dark) for _ in range(20)]), dtype)
    integers = grid_integers(centers, dtype)
    labels, distances = gemm.nearest(np, rows, integers)
    assert labels.tolist() == cpu.assign(rows, centers).tolist() == [0] * 5
    exact = sum(((top << fraction_bits(dtype)) - m) ** 2 for m in integers[0].tolist())
    assert exact > 1 << 54
    assert distances.tolist() == [exact] * 5


@pytest.mark.parametrize("n_features", [3, 129])
def test_a_hint_changes_only_what_moved(n_features):
    rows, centers = make("uniform", 203, n_features, 17, U8)
    fresh, labels = cpu.lloyd_chunk(rows, centers)
    assert fresh.moved == len(rows)  # without a hint, all
    wrong = (labels + 1) % 17
    some = labels.copy()
    some[::10] = wrong[::10]
    for hint, moved in ((labels, 0), (wrong, 203), (some, 21), (np.full(203, -1, np.int32), 203)):
        before = hint.copy()
        stats, again = cpu.lloyd_chunk(rows, centers, hint)
        assert stats.moved == moved
        np.testing.assert_array_equal(again, labels)
        np.testing.assert_array_equal(stats.sums, fresh.sums)
        np.testing.assert_array_equal(stats.counts, fresh.counts)
        np.testing.assert_array_equal(hint, before)  # the caller's array is left alone


@pytest.mark.parametrize("n_features", [1, 4, 140])
def test_rows_need_not_be_contiguous(n_features):
    rows, centers = make("uniform", 203, n_features, 17, U16)
    views = {
        "every other row": (np.repeat(rows, 2, axis=0)[::2], rows),
        "backwards": (rows[::-1], rows[::-1].copy()),
        "columns first": (np.asfortranarray(rows), rows),
        "columns of wider rows": (np.repeat(rows, 3, axis=1)[:, ::3], rows),
    }
    for view, plain in views.values():
        assert_same_stats(cpu.lloyd_chunk(view, centers), reference.lloyd_chunk(plain, centers))
        assert_same_pair(cpu.farthest(view, centers, 5), reference.farthest(plain, centers, 5))
    frozen = rows.copy()
    frozen.flags.writeable = False  # as an array from storage may be
    assert_same_stats(cpu.lloyd_chunk(frozen, centers), reference.lloyd_chunk(rows, centers))


@pytest.mark.parametrize("n_features", [3, 129])
def test_no_rows_are_a_chunk_too(n_features):
    rows, centers = make("uniform", 0, n_features, 4, U8)
    stats, labels = kernels.lloyd_chunk(rows, centers)
    assert labels.shape == (0,)
    assert stats.sums.shape == (4, n_features)
    assert not stats.sums.any()
    assert stats.counts.tolist() == [0, 0, 0, 0]
    assert (stats.squares, stats.moved) == (0, 0)
    distances, found = kernels.farthest(rows, centers, 3)
    assert distances.shape == (0,)
    assert found.shape == (0, n_features)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_hundred_thousand_rows(dtype):
    rows, centers = make("uniform", 100_003, 5, 33, dtype)
    rows[1000:2000] = rows[:1000]
    scaled = rows.astype(np.int64) << fraction_bits(dtype)
    least = np.full(len(rows), np.iinfo(np.int64).max)
    labels = np.full(len(rows), -1, np.int32)
    for cluster, center in enumerate(grid_integers(centers, dtype)):
        distances = ((scaled - center) ** 2).sum(axis=1)
        labels[distances < least] = cluster
        least = np.minimum(least, distances)
    np.testing.assert_array_equal(cpu.assign(rows, centers), labels)


@pytest.mark.parametrize("n_features", [5, 300])
def test_tiles_do_not_show(monkeypatch, n_features):
    rows, centers = make("uniform", 203, n_features, 9, U8)
    whole = gemm.nearest(np, rows, grid_integers(centers, U8))
    monkeypatch.setattr(gemm, "_TILE_BYTES", 8 * max(centers.shape) * 7)  # seven rows
    assert_same_pair(gemm.nearest(np, rows, grid_integers(centers, U8)), whole)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scores_of_a_slab_stay_below_2_to_53(dtype):
    """The bound that makes float64 exact, at its worst: all values at the ends of the range."""
    top = int(np.iinfo(dtype).max)
    rows = np.array([[0] * gemm.SLAB, [top] * gemm.SLAB], dtype)
    integers = grid_integers(np.array([[0.0] * gemm.SLAB, [top] * gemm.SLAB], np.float32), dtype)
    shifted = [[int(m) for m in center] for center in gemm.shifted_centers(np, integers, dtype)]
    middle = 1 << (8 * dtype.itemsize - 1)
    for row in rows.tolist():
        for center in shifted:
            size = sum(m * m for m in center)
            size += sum(
                abs(2 * ((x - middle) << fraction_bits(dtype)) * m) for x, m in zip(row, center, strict=True)
            )
            assert size < 1 << 53


# The dispatch


def test_the_type_of_the_rows_picks_the_kernels(monkeypatch):
    class OnGpu:
        pass

    calls = []
    stub = SimpleNamespace(
        assign=lambda *given: calls.append(("assign", *given)) or 1,
        lloyd_chunk=lambda *given: calls.append(("lloyd_chunk", *given)) or 2,
        farthest=lambda *given: calls.append(("farthest", *given)) or 3,
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(ndarray=OnGpu))
    monkeypatch.setitem(sys.modules, "dkmeans.kernels.cuda", stub)
    on_gpu = OnGpu()
    assert kernels.assign(on_gpu, "c") == 1
    assert kernels.lloyd_chunk(on_gpu, "c", "h", "w") == 2
    assert kernels.farthest(on_gpu, "c", 7) == 3
    assert calls == [
        ("assign", on_gpu, "c"),
        ("lloyd_chunk", on_gpu, "c", "h", "w"),
        ("farthest", on_gpu, "c", 7),
    ]
    rows, centers = make("uniform", 9, 3, 4, U8)  # NumPy rows stay on the CPU all the same
    np.testing.assert_array_equal(kernels.assign(rows, centers), reference.assign(rows, centers))
    assert len(calls) == 3
