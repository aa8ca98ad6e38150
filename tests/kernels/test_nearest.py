"""The proof behind the search of nearest centers, its vector code, and its rare paths on many rows."""

from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from products import nearest
from skimage import data

from dkmeans.kernels import bytewise, cpu, reference, rounded, scoring, vector
from dkmeans.kernels.exact import MAX_FEATURES, fraction_bits, grid_integers, snap, update_centers
from dkmeans.kernels.scoring import GROUP
from dkmeans.kernels.workspace import _home
from dkmeans.kernels.writer import BEST, ERROR, LANES, LIMIT, NORM, SECOND, SQUARE, STATES, THIRD

U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)
DTYPES = [U8, U16]


def gamma_of(n_features):
    return np.float32((n_features + 2) * 2.0**-24)


# The bounds of the proof


def one_after_the_other(start, products, rng):
    for product in products:
        start = np.float32(start + product)
    return start


def backwards(start, products, rng):
    return one_after_the_other(start, products[::-1], rng)


def start_last(start, products, rng):
    return one_after_the_other(np.float32(0), [*products, start], rng)


def in_pairs(start, products, rng):
    terms = np.array([start, *products], np.float32)
    while len(terms) > 1:
        if len(terms) % 2:
            terms = np.append(terms, np.float32(0))
        terms = terms[::2] + terms[1::2]
    return terms[0]


def any_two(start, products, rng):
    terms = [start, *products]
    while len(terms) > 1:
        one, other = (terms.pop(int(rng.integers(len(terms)))) for _ in range(2))
        terms.append(np.float32(one + other))
    return terms[0]


ORDERS = [one_after_the_other, backwards, start_last, in_pairs, any_two]


def fused(start, x, g):
    """The products enter unrounded: two float32 have an exact product in float64."""
    for a, b in zip(x.astype(np.float64), g.astype(np.float64), strict=True):
        start = np.float32(np.float64(start) + a * b)
    return start


def exact(values):
    return [Fraction(value) for value in np.asarray(values, np.float64).tolist()]


def dot(one, other):
    return sum((a * b for a, b in zip(one, other, strict=True)), Fraction(0))


@st.composite
def gaps(draw):
    """A row and a center less their pivot: x' of integers, g on the grid; of kinds that round badly."""
    dtype = draw(st.sampled_from(DTYPES))
    n_features = draw(st.one_of(st.integers(1, 6), st.sampled_from([25, 75, 130, 300])))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    top, unit = int(np.iinfo(dtype).max), 1 << fraction_bits(dtype)
    x = rng.integers(-top, top, n_features, endpoint=True)
    m = rng.integers(-top * unit, top * unit, n_features, endpoint=True)
    kind = draw(st.sampled_from(["any", "opposite", "same signs", "odd", "small", "one large"]))
    if kind == "opposite":  # of a score that is almost all cancelled
        m = -x * unit + rng.integers(-3, 4, n_features)
    elif kind == "same signs":
        x, m = np.abs(x), np.abs(m)
    elif kind == "odd":  # the most bits a product can have
        x, m = x | 1, m | 1
    elif kind == "small":
        x, m = x % 3, m % 5
    elif kind == "one large":
        x[1:], m[1:] = 1, 1
    return x.astype(np.float32), (np.clip(m, -top * unit, top * unit) / unit).astype(np.float32), rng


@settings(max_examples=300, deadline=None, derandomize=True)
@given(gaps())
def test_the_error_of_a_score_is_below_its_bound(case):
    """|error of s| <= gamma |g| (|g| + |x'|), in any order of summation, fused or not."""
    x, g, rng = case
    gamma = Fraction(float(gamma_of(len(x))))
    xs, gs = exact(x), exact(g)
    g_square, x_square = dot(gs, gs), dot(xs, xs)
    score = g_square / 2 + dot(xs, gs)
    squares = g * g
    biases = [np.float32(0.5) * order(np.float32(0), squares, rng) for order in ORDERS]
    biases.append(np.float32(0.5) * fused(np.float32(0), g, g))
    found = [order(bias, x * g, rng) for order in ORDERS for bias in biases]
    found += [fused(bias, x, g) for bias in biases]
    for value in found:
        # |g| |x'| is a root: what is left of the error without |g|^2 is compared in squares.
        rest = abs(Fraction(float(value)) - score) / gamma - g_square
        assert rest <= 0 or rest * rest <= g_square * x_square


def test_half_the_bound_is_reached():
    """After one large product all small ones are rounded away, so that the bound has little to spare."""
    x = np.ones(1000, np.float32)
    x[0] = 4096
    norm = dot(exact(x), exact(x))
    found = one_after_the_other(np.float32(norm / 2), x * x, None)
    bound = Fraction(float(gamma_of(1000))) * 2 * norm
    assert bound * 49 / 100 < abs(Fraction(float(found)) - norm * 3 / 2) <= bound


@pytest.mark.parametrize("n_features", [1, 2, 3, 25, 784, 1 << 12, MAX_FEATURES])
def test_the_margin_covers_the_errors_of_two_scores(n_features):
    """4 gamma (|x'| + D)^2, the two errors, is below 8 gamma (|x'| + b)^2 of computed |x'| and b.

    For |x'| + D = 1 and every D; b is as small as the errors of 2 s and of |x'|^2 can make it. The margin
    also covers what b^2 is below D^2: with it the limit of a row is not too small.
    """
    gamma = float(gamma_of(n_features))
    assert gamma == (n_features + 2) / (1 << 24)
    distance = np.concatenate([np.linspace(0, 1, 100_001), np.geomspace(1e-9, 1, 10_001)])
    norm = 1 - distance
    least = distance**2 - 2 * gamma * (1 + norm) - gamma * norm**2
    computed = norm * np.sqrt(1 - gamma) + np.sqrt(np.maximum(least, 0))
    rounding = 2.0**-20  # of the few operations on these numbers themselves
    margin = 8 * gamma * computed**2 * (1 - rounding)
    assert (4 * gamma < margin).all()
    assert (distance**2 < np.maximum(least, 0) + margin).all()


# The vector code


@numba.njit
def describe_row(row, bytes_, words):
    rounded.describe_row(row, bytes_, words)


@numba.njit
def squared_distances(tiles, at, values, start, width, out, to):
    vector.squared_distances(tiles, at, values, start, width, out, to)


@numba.njit
def in_range(values, at, low, high):
    return vector.in_range(values, at, low, high)


@numba.njit
def lowest_bit(bits):
    return vector.lowest_bit(bits)


@numba.njit
def search_group_by_group(
    given, home, candidates, biases, width, gamma, margin, tile, state, found, improved
):
    """All candidates against sixteen rows; bits of the near ties, of limits at least 1.

    `given` has the rows and the pivot, `candidates` gaps, planes and members.
    """
    tiles, origin = given
    gaps, planes, members = candidates
    n_features = origin.size
    scoring.load_tile(tiles, 0, origin, 0, n_features, width, home, tile, state)
    scoring.reset(tile, state, found)
    for group in range(improved.size):
        at = group * GROUP
        improved[group] = scoring.score_group(
            tile, gaps, planes, members, biases, at, n_features, width, state, found
        )
        vector.lower_limits(state, gamma, margin)
    ties = vector.near_ties(state, SECOND, margin), vector.near_ties(state, THIRD, margin)
    return ties, vector.within_limits(state, np.float32(1))


def lanes_of(bits):
    return [lane for lane in range(LANES) if bits >> lane & 1]


def widths(n_features):
    """As a number, and as the type for which the loop is written out."""
    return [n_features, (None,) * n_features] if n_features < 100 else [n_features]


def run_search(rows, pivot, centers, width):
    """Sixteen rows against the centers; the state, what was found, the bits and the scores."""
    n_features = rows.shape[1]
    gaps = (pivot - centers).astype(np.float32)
    biases = (0.5 * (gaps.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
    tile, state = np.empty(LANES * n_features, np.float32), np.empty((STATES, LANES), np.float32)
    found, improved = np.empty(2 * LANES, np.int32), np.empty(len(centers) // GROUP, np.bool_)
    tiles = np.ascontiguousarray(rows.T).reshape(-1)
    gamma = gamma_of(n_features)
    none = np.empty(0, np.int32)
    (ties, all_ties), far = search_group_by_group(
        (tiles, pivot),
        none,
        (gaps.reshape(-1), none, none),
        biases,
        width,
        gamma,
        gamma,
        tile,
        state,
        found,
        improved,
    )
    assert all_ties == (1 << LANES) - 1  # floats keep no third best: all near ties are resolved
    np.testing.assert_array_equal(tile.reshape(n_features, LANES), (rows.astype(np.float32) - pivot).T)
    return state, found[:LANES], improved, lanes_of(ties), lanes_of(far)


def run_search_of_bytes(rows, pivot, centers, width):
    """The same on rows of uint8 as bytes; the bits of near ties of the second and of the third best."""
    n_features, n_clusters = rows.shape[1], len(centers)
    home = _home(n_features)
    home[:n_features] = (pivot.astype(np.int64) - 128).astype(np.int8).view(np.uint8)
    home.view(np.int32)[-1] = int((pivot.astype(np.int64) ** 2).sum())
    n_words = -(-n_features // bytewise.WORD)
    tile, state = np.empty(64 * n_words, np.uint8), np.empty((STATES, LANES), np.float32)
    found, improved = np.empty(2 * LANES, np.int32), np.empty(n_clusters // GROUP, np.bool_)
    tiles = np.full(64 * n_words, 77, np.uint8)  # what lies behind the last feature does not matter
    tiles[: LANES * n_features] = np.ascontiguousarray(rows.T).reshape(-1)
    planes = bytewise.words_of_centers(grid_integers(centers, rows.dtype), fraction_bits(rows.dtype))
    members = np.arange(n_clusters, dtype=np.int32)
    halves = (0.5 * (centers.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
    (ties, all_ties), _ = search_group_by_group(
        (tiles, pivot),
        home.view(np.int32),
        (np.empty(0, np.float32), planes, members),
        halves,
        width,
        gamma_of(n_features),
        np.float32(0),
        tile,
        state,
        found,
        improved,
    )
    return state, found.reshape(2, LANES), lanes_of(ties), lanes_of(all_ties)


def exact_distances(rows, centers):
    """In units of 2^-2F, int64; shape (n_rows, n_clusters)."""
    scaled = rows.astype(np.int64) << fraction_bits(rows.dtype)
    return ((scaled[:, None] - grid_integers(centers, rows.dtype)) ** 2).sum(axis=2)


@pytest.mark.parametrize("n_features", [1, 3, 25, 130])
def test_squared_distances_of_sixteen_columns(n_features):
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 100, (2, n_features, LANES)).astype(np.float32)
    values = rng.integers(0, 100, n_features + 5).astype(np.float32)
    for width in widths(n_features):
        out = np.full(3 * LANES, -1, np.float32)
        squared_distances(tiles.reshape(-1), n_features * LANES, values, 5, width, out, LANES)
        right = ((tiles[1] - values[5:, None]) ** 2).sum(axis=0)  # integers: no rounding
        np.testing.assert_array_equal(out, [*[-1] * LANES, *right, *[-1] * LANES])


@pytest.mark.parametrize("n_features", [1, 3, 4, 25, 130, 1 << 14])
@pytest.mark.parametrize("bright", [False, True])
def test_squared_distances_of_sixteen_columns_of_bytes(n_features, bright):
    """Exact in int32, up to the largest there are: white rows and black centers, and the reverse."""
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 255, (2 * LANES, n_features), endpoint=True).astype(np.float32)
    whole[-1], whole[-2] = 0, 255
    row = rng.integers(0, 255, n_features, endpoint=True).astype(np.float32)
    row[1:] = 255 * bright
    bytes_ = np.zeros(rounded.words_per_row(n_features) * bytewise.WORD, np.uint8)
    describe_row(row, bytes_, bytes_.view(np.int32))
    right = ((whole[LANES:].astype(np.int64) - row.astype(np.int64)) ** 2).sum(axis=1)
    tiles = rounded.tiles_of_words(whole)
    for width in widths(n_features) if n_features < 200 else [n_features]:
        out = np.full(2 * LANES, -1, np.float32)
        squared_distances(tiles, tiles.size // 2, bytes_.view(np.int32), 0, width, out, LANES)
        np.testing.assert_array_equal(out, [*[-1] * LANES, *right.astype(np.float32)])


def test_in_range_takes_the_upper_end_only():
    values = np.arange(3 * LANES, dtype=np.float32)
    assert lanes_of(in_range(values, LANES, np.float32(18), np.float32(21))) == [3, 4, 5]
    assert lanes_of(in_range(values, 0, np.float32(-1), np.float32(0))) == [0]
    assert lanes_of(in_range(values, 1, np.float32(-1), np.float32(1e30))) == list(range(LANES))
    values[:] = np.nan
    assert in_range(values, 0, np.float32(-1), np.float32(1e30)) == 0


def test_lowest_bit():
    for bits in range(1, 1 << LANES):
        if bits < 1000 or bits % 1024 == 0:
            assert lowest_bit(np.int32(bits)) == (bits & -bits).bit_length() - 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", [3, 130])
def test_best_second_and_bounds_of_sixteen_rows(dtype, n_features):
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    rows = rng.integers(0, top, (LANES, n_features), endpoint=True).astype(dtype)
    pivot = np.rint(rng.uniform(0, top, n_features)).astype(np.float32)
    centers = snap(rng.uniform(0, top, (6 * GROUP, n_features)), dtype)
    distances = exact_distances(rows, centers) / 4.0 ** fraction_bits(dtype)
    order = np.sort(distances, axis=1)
    norms = np.linalg.norm(rows - pivot.astype(np.float64), axis=1)
    for width in widths(n_features):
        state, found, improved, ties, far = run_search(rows, pivot, centers, width)
        np.testing.assert_array_equal(found, distances.argmin(axis=1))
        np.testing.assert_allclose(state[NORM], norms, rtol=1e-5)
        np.testing.assert_allclose(state[SQUARE], norms**2, rtol=1e-5)
        for row, nth in ((BEST, 0), (SECOND, 1)):
            np.testing.assert_allclose(2 * state[row] + state[SQUARE], order[:, nth], rtol=1e-4)
        firsts = distances.argmin(axis=1) // GROUP
        assert improved[firsts].all()
        least = np.minimum.accumulate(distances.reshape(LANES, -1, GROUP).min(axis=2), axis=1)
        np.testing.assert_array_equal(improved[1:], (least[:, 1:] < least[:, :-1]).any(axis=0))
        np.testing.assert_allclose(state[LIMIT], norms + np.sqrt(order[:, 0]), rtol=1e-2)
        assert (state[LIMIT] > norms + np.sqrt(order[:, 0])).all()  # never too small
        margin = 8 * gamma_of(n_features) * (norms + np.sqrt(order[:, 0])) ** 2
        apart = (order[:, 1] - order[:, 0]) / 2
        assert set(np.flatnonzero(apart < 0.99 * margin)) <= set(ties)
        assert set(ties) <= set(np.flatnonzero(apart < 1.01 * margin))
        assert far == list(range(LANES))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(DTYPES),
    st.sampled_from([1, 2, 3, 25, 130, 1000]),
    st.integers(0, 1 << 32),
    st.sampled_from([0, 1, 3, 40]),
    st.sampled_from([2, 4, 64]),
)
def test_a_wrong_winner_is_always_flagged(dtype, n_features, seed, steps, part):
    """Centers about equally far from a row, up to some steps of the grid: a score alone may mislead."""
    rng = np.random.default_rng(seed)
    top = int(np.iinfo(dtype).max)
    rows = rng.integers(0, top, (LANES, n_features), endpoint=True).astype(dtype)
    pivot = np.rint(rng.uniform(0, top, n_features)).astype(np.float32)
    around = rows[rng.integers(LANES)].astype(np.float64)
    signs = rng.choice([-1, 1], (2 * GROUP, n_features))
    centers = around + signs * (top // part)
    centers = centers + rng.integers(-steps, steps, signs.shape, endpoint=True) * 2.0 ** -fraction_bits(dtype)
    centers = snap(centers, dtype)
    distances = exact_distances(rows, centers)
    ordered = np.sort(distances, axis=1)
    for width in widths(n_features)[: 1 + (n_features == 3)]:
        _, found, _, ties, _ = run_search(rows, pivot, centers, width)
        wrong = np.flatnonzero(found != distances.argmin(axis=1))
        assert set(wrong) <= set(ties)
        assert set(np.flatnonzero(ordered[:, 0] == ordered[:, 1])) <= set(ties)


# Bytes


def planes_of(centers, n_features):
    """The two bytes of each feature again, from the words; int64 of shape (2, n, n_features)."""
    n_words = -(-n_features // bytewise.WORD)
    words = bytewise.words_of_centers(grid_integers(centers, U8), fraction_bits(U8))
    planes = words.view(np.int8).reshape(len(centers) + 1, n_words, 2, bytewise.WORD)
    planes = planes.transpose(2, 0, 1, 3).reshape(2, len(centers) + 1, -1).astype(np.int64)
    assert not planes[:, -1].any()
    assert not planes[:, :, n_features:].any()
    return planes[:, :-1, :n_features]


@pytest.mark.parametrize("n_features", [1, 4, 25])
def test_two_bytes_are_a_center_within_a_512th(n_features):
    rng = np.random.default_rng(0)
    edges = np.array([0, 2**-15, 127.998, 128, 128 + 2**-9, 254.998, 255 - 2**-15, 255])
    centers = snap(np.concatenate([rng.uniform(0, 255, 100 * n_features), edges.repeat(n_features)]), U8)
    centers = centers.reshape(-1, n_features)
    high, low = planes_of(centers, n_features)
    assert np.abs(128 + high + low / 256 - centers).max() <= 2.0**-9


def check_bytes(rows, pivot, centers, width):
    """State, winner and near ties against exact distances."""
    distances = exact_distances(rows, centers) / 4.0 ** fraction_bits(rows.dtype)
    order = np.sort(distances, axis=1)
    state, (first, second), ties, of_third = run_search_of_bytes(rows, pivot, centers, width)
    norms = np.linalg.norm(rows - pivot.astype(np.float64), axis=1)
    np.testing.assert_allclose(state[NORM], norms, rtol=1e-6)
    lanes = np.arange(LANES)
    error = state[ERROR]
    for row, nth in ((BEST, 0), (SECOND, 1), (THIRD, 2)):
        found = 2 * state[row].astype(np.float64) + state[SQUARE]
        assert (np.abs(found - order[:, nth]) <= error).all()
    for number, row in ((first, BEST), (second, SECOND)):
        found = 2 * state[row].astype(np.float64) + state[SQUARE]
        assert (np.abs(found - distances[lanes, number]) <= error).all()
    assert (state[LIMIT] >= norms + np.sqrt(order[:, 0])).all()
    wrong = np.flatnonzero(first != distances.argmin(axis=1))
    assert set(wrong) <= set(ties)
    assert set(np.flatnonzero(order[:, 0] == order[:, 1])) <= set(ties)
    pairs = np.stack([first, second])
    missing = np.flatnonzero((pairs != distances.argmin(axis=1)).all(axis=0))
    assert set(missing) <= set(of_third)  # if it is neither of the two, the third best is a near tie, too
    assert set(of_third) <= set(ties)
    return ties


def check_scores_of_bytes(n_features, as_types):
    rng = np.random.default_rng(0)
    for top in (3, 255):
        rows = rng.integers(0, top, (LANES, n_features), endpoint=True).astype(np.uint8)
        pivot = np.rint(rng.uniform(0, top, n_features)).astype(np.float32)
        centers = snap(rng.uniform(0, top, (6 * GROUP, n_features)), U8)
        check_bytes(rows, pivot, centers, (None,) * n_features if as_types else n_features)


@pytest.mark.parametrize("n_features", [1, 3, 4, 25, 64, 130, 784])
def test_scores_of_bytes_are_within_their_error(n_features):
    check_scores_of_bytes(n_features, as_types=n_features == 25)


def test_scores_of_bytes_without_the_instruction(monkeypatch):
    """What machines do that have none, if bytes are asked for: there the other tests do it, too."""
    monkeypatch.setattr(bytewise, "has_byte_products", lambda: False)
    search_group_by_group.recompile()
    for n_features in (1, 25, 130):
        check_scores_of_bytes(n_features, as_types=False)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.sampled_from([1, 2, 3, 25, 130, 1000]),
    st.integers(0, 1 << 32),
    st.sampled_from([0, 1, 64, 4000]),
    st.sampled_from([2, 4, 64]),
    st.booleans(),
)
def test_a_wrong_winner_of_bytes_is_always_flagged(n_features, seed, steps, part, bright):
    """Centers about equally far from a row, up to some steps of the grid; bright rows have larger errors."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(250 if bright else 0, 255, (LANES, n_features), endpoint=True).astype(np.uint8)
    pivot = np.rint(rng.uniform(0, 255, n_features)).astype(np.float32)
    around = rows[rng.integers(LANES)].astype(np.float64)
    signs = rng.choice([-1, 1], (2 * GROUP, n_features))
    centers = around + signs * (255 // part)
    centers = centers + rng.integers(-steps, steps, signs.shape, endpoint=True) * 2.0 ** -fraction_bits(U8)
    check_bytes(rows, pivot, snap(centers, U8), n_features)


def test_rows_as_bytes_and_as_floats_have_the_same_labels(monkeypatch):
    """Forced both ways, whole steps with ties; words that are not filled, widths that are not written out.

    There are more centers than a list has: rows between 17 and 31 features wide are resolved as bytes alone.
    """
    rng = np.random.default_rng(0)
    for n_features in (17, 25, 33, 49, 130):
        rows = rng.integers(0, 255, (3000, n_features), endpoint=True).astype(np.uint8)
        rows[::3] //= 64
        centers = snap(rng.uniform(0, 255, (450, n_features)), U8)
        centers[400:] = centers[:50]
        after = snap(centers + rng.uniform(-3, 3, centers.shape), U8)
        found = []
        for in_bytes in (True, False):
            monkeypatch.setattr(cpu, "has_byte_products", lambda chosen=in_bytes: chosen)
            block = cpu.Block(rows)
            assert (block._traits.margin == 0) == (in_bytes and n_features > 31)
            assert block._coarse == in_bytes
            block.lloyd(centers)
            first = block.labels(centers)
            stats = block.lloyd(after, centers)
            found.append((first, block.labels(after), stats.sums, stats.counts, stats.moved))
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(found[0][0], nearest(rows, centers))
        np.testing.assert_array_equal(found[0][1], nearest(rows, after))


# Many rows


def by_products(rows, centers, before=None):
    """Labels, sums, counts and moved by matrix products."""
    labels = nearest(rows, centers)
    columns = [np.bincount(labels, column, len(centers)) for column in rows.T.astype(np.float64)]
    sums = np.stack(columns, axis=1).astype(np.int64)
    moved = len(rows) if before is None else int((labels != before).sum())
    return labels, sums, np.bincount(labels, minlength=len(centers)), moved


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", [1, 128, 129, 784])
@pytest.mark.parametrize("spread", [2, 65535])
def test_matrix_products_are_an_oracle(dtype, n_features, spread):
    rng = np.random.default_rng(0)
    top = min(spread, int(np.iinfo(dtype).max))
    rows = rng.integers(0, top, (40, n_features), endpoint=True).astype(dtype)
    centers = snap(rng.uniform(0, top, (17, n_features)), dtype)
    centers[9] = centers[3]
    np.testing.assert_array_equal(nearest(rows, centers), reference.assign(rows, centers))


def check_steps(rows, centers, n_steps):
    """Steps from the start on, and one after a jump; against the matrix products."""
    rng = np.random.default_rng(1)
    block, before, previous = cpu.Block(rows), None, None
    for step in range(n_steps):
        stats = block.lloyd(centers, previous)
        labels, sums, counts, moved = by_products(rows, centers, before)
        np.testing.assert_array_equal(stats.sums, sums)
        np.testing.assert_array_equal(stats.counts, counts)
        assert stats.moved == moved
        before, previous = labels, centers
        centers = update_centers(stats, centers, rows.dtype)
        if step == n_steps - 2:
            centers = centers[rng.permutation(len(centers))]
    np.testing.assert_array_equal(block.labels(previous), labels)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_hundred_thousand_rows_are_those_of_a_loop(dtype):
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    rows = rng.integers(0, top, (100_003, 5), endpoint=True, dtype=dtype)
    rows[1000:2000] = rows[:1000]
    centers = snap(rng.uniform(0, top, (33, 5)), dtype)
    scaled = rows.astype(np.int64) << fraction_bits(dtype)
    least = np.full(len(rows), np.iinfo(np.int64).max)
    labels = np.full(len(rows), -1, np.int32)
    for cluster, center in enumerate(grid_integers(centers, dtype)):
        distances = ((scaled - center) ** 2).sum(axis=1)
        labels[distances < least] = cluster
        least = np.minimum(least, distances)
    np.testing.assert_array_equal(cpu.Block(rows).labels(centers), labels)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ten_thousand_wide_rows(dtype):
    """Shades of a few patterns, so that there are clusters to find."""
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    patterns = rng.uniform(0, top * 0.7, (12, 100)).astype(np.float32)
    rows = patterns[rng.integers(0, 12, 10_003)]
    rows += rng.uniform(0, top * 0.3, rows.shape).astype(np.float32)
    check_steps(rows.astype(dtype), snap(patterns[rng.integers(0, 12, 20)] + top * 0.1, dtype), 3)


def patches(dtype):
    """100,000 of 5x5 pixels of a photo: flat ones in plenty, many of them equal."""
    windows = np.lib.stride_tricks.sliding_window_view(data.camera(), (5, 5)).reshape(-1, 25)
    rows = windows[np.random.default_rng(0).choice(len(windows), 100_000, replace=False)]
    return rows if dtype == U8 else rows.astype(U16) * 257


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_patches_of_a_photo(dtype):
    """More clusters than a list of candidates has: the start goes by way of groups, lists are closed."""
    rows = patches(dtype)
    check_steps(rows, snap(rows[np.random.default_rng(1).integers(0, len(rows), 600)], dtype), 4)


def test_pixels_of_a_photo():
    rows = data.astronaut().reshape(-1, 3)[::2]
    check_steps(rows, snap(rows[np.random.default_rng(1).integers(0, len(rows), 500)], U8), 4)


@pytest.mark.parametrize("listed", [1, 8, 40])
@pytest.mark.parametrize("reassigned", [0.0, 2.0])
def test_rare_paths_of_the_search(monkeypatch, listed, reassigned):
    """Lists so short that most rows are resolved in integers; sorted after every step, or never."""
    monkeypatch.setattr(cpu, "_CAPACITY", listed)
    monkeypatch.setattr(cpu, "_CAPACITY_BYTES", 0)
    monkeypatch.setattr(cpu, "_REASSIGNED", reassigned)
    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        rows = patches(dtype)[:4001]
        check_steps(rows, snap(rows[rng.integers(0, len(rows), 100)], dtype), 4)
        check_steps(rows[:, :3], snap(rows[:2000, :3], dtype), 3)
        wide = np.repeat(rows[:1001], 5, axis=1)
        check_steps(wide, snap(wide[rng.integers(0, len(wide), 150)], dtype), 3)
        same = np.repeat(rows[:1, :4], 203, axis=0)
        check_steps(same, snap(rng.choice(same[:9], 60), dtype), 3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_as_many_clusters_as_rows(dtype):
    rows = patches(dtype)[:1001]
    check_steps(rows, snap(rows, dtype), 3)
    check_steps(rows[:1], snap(rows[:1], dtype), 2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_widest_rows(dtype):
    """At 2^17 features the margin is widest, and a squared distance fills int64."""
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    rows = rng.choice(np.array([0, top], dtype), (5, MAX_FEATURES))
    rows[:2] = [[0], [top]]
    centers = rng.choice([0.0, float(top)], (6, MAX_FEATURES))
    centers[:4] = [[top], [top], [0], [0]]
    check_steps(rows, snap(centers, dtype), 2)
