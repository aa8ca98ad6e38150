"""Blocks of the CPU, the matrix products and the dispatch, against the oracle `reference`."""

import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from gpu_checks import check_halfway
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans import kernels
from dkmeans.errors import DeviceError
from dkmeans.kernels import cpu, reference
from dkmeans.kernels.exact import fraction_bits, merge, snap, update_centers

U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)
DTYPES = [U8, U16]
FEATURES = [1, 2, 3, 4, 25, 48, 64, 75, 128, 129, 192, 300, 784]
CLUSTERS = [1, 2, 15, 16, 17, 100, 500, 1000]
ROWS = [0, 1, 2, 5, 15, 16, 17, 203]
KINDS = ["uniform", "few", "equal", "extreme", "duplicate centers", "rows as centers", "halfway"]
ACTIONS = [
    "update",
    "jump",
    "nudge",
    "same",
    "fresh",
    "labels",
    "farthest",
    "rows",
    "anew",
    "adopt",
    "pickle",
]


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
    elif kind == "halfway":  # from some rows all centers are about equally far, up to a step of the grid
        middle = rng.integers(top // 4, 3 * top // 4, n_features).astype(dtype)
        rows[: n_rows // 2] = middle
        centers = middle + rng.choice([-1, 1], centers.shape) * (top // 4)
        centers = centers + rng.integers(-1, 2, centers.shape) * 2.0 ** -fraction_bits(dtype)
    return rows, snap(centers, dtype)


def make_weights(kind, n_rows, dtype, seed=0):
    """How often each row counts; as heavy as the sums of squares in int64 allow."""
    heaviest = {"zero": 0, "some": 3, "heavy": 1 << (46 - 16 * dtype.itemsize)}[kind]
    return np.random.default_rng(seed).integers(0, heaviest, n_rows, endpoint=True)


def assert_same_stats(stats, right):
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


def check_step(block, rows, centers, previous=None, weights=None):
    """One step of `block` against the reference; the statistics."""
    hint = None if previous is None else reference.assign(rows, previous)
    expected, labels = reference.lloyd_chunk(rows, centers, hint, weights)
    assert_same_stats(block.lloyd(centers, previous), expected)
    found = block.labels(centers)
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == np.int32
    return expected


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
        moved = sum(w for w, a, b in zip(times, labels, hint.tolist(), strict=True) if a != b)
        assert stats.moved == moved
        assert reference.lloyd_chunk(rows, centers, None, given_weights)[0].moved == sum(times)
    far = sorted({(-min(line), tuple(row)) for line, row in zip(distances, rows.tolist(), strict=True)})
    found_distances, found_rows = reference.farthest(rows, centers, 5)
    assert found_distances.tolist() == [-negative for negative, _ in far[:5]]
    assert found_rows.tolist() == [list(row) for _, row in far[:5]]


# Blocks against the oracle


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", FEATURES)
@pytest.mark.parametrize("n_clusters", CLUSTERS)
def test_every_shape_gives_the_bits_of_the_reference(dtype, n_features, n_clusters):
    """The step from nothing, and the one after it."""
    work = n_features * n_clusters
    for n_rows in ROWS if work < 10_000 else (1, 5, 40):
        for kind in KINDS if n_rows in (5, 203) and work < 10_000 else ["uniform", "halfway"]:
            rows, centers = make(kind, n_rows, n_features, n_clusters, dtype)
            block = cpu.Block(rows)
            assert (block.n_rows, block.n_features, block.dtype) == (n_rows, n_features, dtype)
            stats = check_step(block, rows, centers)
            check_step(block, rows, update_centers(stats, centers, dtype), centers)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.sampled_from(KINDS),
    st.one_of(st.integers(0, 20), st.sampled_from([31, 32, 33, 100])),
    st.sampled_from([1, 2, 3, 4, 5, 25, 64, 75, 79, 81, 127, 129, 192, 257]),
    st.integers(1, 40),
    st.sampled_from(DTYPES),
    st.integers(0, 1 << 32),
    st.sampled_from([None, "zero", "some", "heavy"]),
    st.lists(st.sampled_from(ACTIONS), max_size=8),
    st.sampled_from([(384, 0.3), (384, 0.0), (384, 2.0), (8, 0.3), (1, 0.0), (5, 2.0)]),
)
def test_no_sequence_of_calls_changes_a_result(
    kind, n_rows, n_features, n_clusters, dtype, seed, heavy, actions, limits
):
    """Whatever a block knows or forgot; also where its lists are short and it sorts always, or never."""
    rows, centers = make(kind, n_rows, n_features, n_clusters, dtype, seed)
    rng = np.random.default_rng(seed)
    weights = None if heavy is None else make_weights(heavy, n_rows, dtype, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "_CAPACITY", limits[0])
        patch.setattr(cpu, "_CAPACITY_BYTES", 0)
        patch.setattr(cpu, "_REASSIGNED", limits[1])
        block = cpu.Block(rows, weights)
        stats = check_step(block, rows, centers, None, weights)
        for action in actions:
            _, others = make("uniform", n_rows, n_features, int(rng.integers(1, 40)), dtype, seed + 1)
            if action == "anew":
                block = cpu.Block(rows, weights)
            elif action == "pickle":
                block = pickle.loads(pickle.dumps(block))
            elif action == "adopt":
                labels = block.labels(centers)
                if rng.random() < 0.5:
                    block = cpu.Block(rows, weights)
                else:  # one in another order, of other centers
                    block.lloyd(others)
                block.adopt(labels, centers)
            elif action == "labels":
                np.testing.assert_array_equal(block.labels(others), reference.assign(rows, others))
            elif action == "farthest":
                assert_same_pair(block.farthest(others, 3), reference.farthest(rows, others, 3))
            elif action == "rows":
                np.testing.assert_array_equal(block.rows(), rows)
            else:
                before, previous = centers, None if action == "fresh" else centers
                if action == "update":
                    centers = update_centers(stats, centers, dtype)
                elif action == "jump":
                    _, centers = make("uniform", n_rows, n_features, n_clusters, dtype, int(rng.integers(99)))
                elif action == "nudge":
                    centers = before.copy()
                    centers[rng.integers(n_clusters)] += 2.0 ** -int(rng.integers(1, fraction_bits(dtype)))
                    centers = snap(centers, dtype)
                stats = check_step(block, rows, centers, previous, weights)


def test_moved_counts_from_any_previous_centers():
    """Those of the last step, some that the block never saw, or those of the step itself."""
    rows, first = make("uniform", 203, 4, 17, U8)
    weights = make_weights("some", 203, U8)
    _, second = make("uniform", 203, 4, 17, U8, seed=1)
    _, unseen = make("uniform", 203, 4, 17, U8, seed=2)
    block = cpu.Block(rows, weights)
    assert check_step(block, rows, first, None, weights).moved == weights.sum()
    for _ in range(2):  # the second time the block is already at the new centers
        assert 0 < check_step(block, rows, second, first, weights).moved < weights.sum()
    check_step(block, rows, first, unseen, weights)
    assert check_step(block, rows, first, first, weights).moved == 0
    assert check_step(block, rows, first, None, weights).moved == weights.sum()


def test_statistics_are_not_changed_by_the_next_step():
    rows, first = make("uniform", 203, 4, 17, U8)
    _, second = make("uniform", 203, 4, 17, U8, seed=1)
    block = cpu.Block(rows)
    stats = block.lloyd(first)
    block.lloyd(second, first)
    assert_same_stats(stats, reference.lloyd_chunk(rows, first)[0])
    labels = block.labels(first)
    block.labels(second)
    np.testing.assert_array_equal(labels, reference.assign(rows, first))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", [3, 130])
def test_neither_the_order_of_rows_nor_cuts_change_the_sums(dtype, n_features):
    rows, first = make("uniform", 203, n_features, 17, dtype)
    weights = make_weights("heavy", 203, dtype)
    whole = cpu.Block(rows, weights)
    second = update_centers(whole.lloyd(first), first, dtype)
    expected = whole.lloyd(second, first)
    order = np.random.default_rng(0).permutation(203)
    shuffled = cpu.Block(rows[order], weights[order])
    shuffled.lloyd(first)
    assert_same_stats(shuffled.lloyd(second, first), expected)
    np.testing.assert_array_equal(shuffled.labels(second), whole.labels(second)[order])
    parts = [cpu.Block(rows[a:b], weights[a:b]) for a, b in pairwise([0, 1, 17, 17, 150, 203])]
    assert_same_stats(merge([part.lloyd(second, first) for part in parts[::-1]]), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_features", [3, 128, 129])
@pytest.mark.parametrize("n_clusters", [2, 17, 40])
def test_a_row_halfway_goes_to_the_lowest_index(dtype, n_features, n_clusters):
    check_halfway(cpu, dtype, n_features, n_clusters)


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
        check_step(cpu.Block(view), plain, centers)
    frozen = rows.copy()
    frozen.flags.writeable = False  # as an array from storage may be
    check_step(cpu.Block(frozen), rows, centers)


def test_a_block_does_not_follow_the_array_it_was_made_of():
    rows, centers = make("uniform", 203, 4, 17, U8)
    weights = make_weights("some", 203, U8)
    changed, changed_weights = rows.copy(), weights.copy()
    block = cpu.Block(changed, changed_weights)
    changed[:], changed_weights[:] = 0, 0
    check_step(block, rows, centers, None, weights)
    block.rows()[:] = 0
    block.labels(centers)[:] = 0
    check_step(block, rows, centers, centers, weights)


def test_a_block_does_not_follow_the_centers_it_was_given():
    """Centers that the caller changed in place are new ones."""
    rows, first = make("uniform", 203, 4, 17, U8)
    _, second = make("uniform", 203, 4, 17, U8, seed=1)
    block, centers = cpu.Block(rows), first.copy()
    block.lloyd(centers)
    centers[:] = second
    np.testing.assert_array_equal(block.labels(centers), reference.assign(rows, second))
    block.adopt(reference.assign(rows, second), centers)
    centers[:] = first
    assert block.lloyd(first, centers).moved == 0


def test_an_interrupted_step_leaves_nothing_behind(monkeypatch):
    """As by Ctrl-C in a notebook, after labels and sums have moved on."""
    rows, first = make("uniform", 203, 4, 17, U8)
    _, second = make("uniform", 203, 4, 17, U8, seed=1)
    block = cpu.Block(rows)
    block.lloyd(first)
    search = cpu.search

    def interrupted(*given):
        search(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cpu, "search", interrupted)
        with pytest.raises(KeyboardInterrupt):
            block.lloyd(second, first)
    check_step(block, rows, second, first, None)


@pytest.mark.parametrize("n_features", [3, 129])
def test_no_rows_are_a_block_too(n_features):
    rows, centers = make("uniform", 0, n_features, 4, U8)
    block = kernels.load(rows)
    for stats in (block.lloyd(centers), block.lloyd(centers + 1, centers)):
        assert stats.sums.shape == (4, n_features)
        assert not stats.sums.any()
        assert stats.counts.tolist() == [0, 0, 0, 0]
        assert (stats.squares, stats.moved) == (0, 0)
    block.adopt(np.empty(0, np.int32), centers)
    assert block.labels(centers).shape == (0,)
    assert block.rows().shape == (0, n_features)
    distances, found = block.farthest(centers, 3)
    assert distances.shape == (0,)
    assert found.shape == (0, n_features)


# The farthest rows


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
    assert_same_pair(cpu.Block(rows).farthest(centers, n), expected)
    assert_same_pair(cpu.Block(rows[::-1]).farthest(centers, n), expected)
    after_a_step = cpu.Block(rows)
    after_a_step.lloyd(centers)
    assert_same_pair(after_a_step.farthest(centers, n), expected)


def test_farthest_looks_behind_many_duplicates_and_breaks_ties_by_the_row():
    centers = np.array([[10.0, 10.0]], np.float32)
    block = cpu.Block(np.array([[30, 10]] * 50 + [[10, 30]] * 50 + [[10, 11], [11, 10], [10, 10]], np.uint8))
    distances, found = block.farthest(centers, 4)
    assert found.tolist() == [[10, 30], [30, 10], [10, 11], [11, 10]]
    assert (distances >> 30).tolist() == [400, 400, 1, 1]
    assert block.farthest(centers, 2)[1].tolist() == [[10, 30], [30, 10]]
    assert block.farthest(centers, 99)[1].tolist() == [*found.tolist(), [10, 10]]


# What a block holds, and how it travels


@pytest.mark.parametrize("n_features", [1, 3, 130])
def test_rows_come_back_in_their_order(n_features):
    rows, centers = make("uniform", 203, n_features, 17, U16)
    block = cpu.Block(rows)
    for _ in range(2):
        found = block.rows()
        np.testing.assert_array_equal(found, rows)
        assert found.dtype == U16
        for positions in ([], [202], [7, 7, 0, 202, 16, 15]):
            np.testing.assert_array_equal(block.rows(np.array(positions, np.int64)), rows[positions])
        block.lloyd(centers)  # sorts the rows


def test_a_block_travels_with_its_rows_and_weights_and_nothing_else():
    rows, centers = make("uniform", 203, 3, 17, U8)
    for weights in (None, make_weights("some", 203, U8)):
        block = cpu.Block(rows, weights)
        new = pickle.dumps(block)
        block.lloyd(centers)
        assert pickle.dumps(block) == new
        copy = pickle.loads(new)
        np.testing.assert_array_equal(copy.rows(), rows)
        check_step(copy, rows, centers, centers, weights)
        assert_same_stats(copy.lloyd(centers), block.lloyd(centers))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_size_of_a_block_covers_its_rows(dtype):
    """What the scheduler and the memory limit of a worker go by."""
    rows, centers = make("uniform", 1003, 25, 17, dtype)
    block = cpu.Block(rows)
    assert rows.nbytes <= sys.getsizeof(block) <= 2 * rows.nbytes
    block.lloyd(centers)
    assert rows.nbytes <= sys.getsizeof(block) <= 2 * rows.nbytes
    assert sys.getsizeof(cpu.Block(rows, np.ones(1003, np.int64))) >= rows.nbytes + 8 * 1003


def test_adopted_labels_are_the_step_before():
    """A new block that adopts counts `moved` as the one that knew; wrong labels show that it does."""
    rows, first = make("uniform", 203, 4, 17, U8)
    _, second = make("uniform", 203, 4, 17, U8, seed=1)
    labels = reference.assign(rows, first)
    block = cpu.Block(rows)
    block.adopt(labels, first)
    np.testing.assert_array_equal(block.labels(first), labels)
    check_step(block, rows, second, first)
    block = cpu.Block(rows)
    block.adopt((labels + 1) % 17, first)
    assert block.lloyd(first, first).moved == 203
    block.adopt(labels, first)  # also on a block that is somewhere else
    check_step(block, rows, second, first)


def test_steps_of_several_threads_do_not_mix():
    rows, _ = make("uniform", 5003, 3, 1, U8)
    centers = [make("uniform", 5003, 3, 17, U8, seed)[1] for seed in range(4)]
    expected = [reference.lloyd_chunk(rows, one, reference.assign(rows, centers[0])) for one in centers]
    block = cpu.Block(rows)

    def step(number):
        labels = block.labels(centers[number % 4])
        return number % 4, block.lloyd(centers[number % 4], centers[0]), labels

    with ThreadPoolExecutor(4) as pool:
        for number, stats, labels in pool.map(step, range(80)):
            assert_same_stats(stats, expected[number][0])
            np.testing.assert_array_equal(labels, expected[number][1])


def test_rows_can_be_read_while_a_step_sorts_them(monkeypatch):
    """As when a worker sends a block away that one of its threads works on."""
    monkeypatch.setattr(cpu, "_REASSIGNED", 0.0)
    rows, first = make("uniform", 100_003, 3, 50, U8)
    _, second = make("uniform", 100_003, 3, 50, U8, seed=1)
    block = cpu.Block(rows)
    block.lloyd(first)
    done = threading.Event()

    def sort_all_the_time():
        while not done.is_set():
            block.lloyd(second, first)
            block.lloyd(first, second)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(1) as pool:
            sorting = pool.submit(sort_all_the_time)
            try:
                for _ in range(100):
                    np.testing.assert_array_equal(block.rows(), rows)
            finally:
                done.set()
            sorting.result()
    finally:
        sys.setswitchinterval(interval)


# The dispatch


@pytest.fixture
def stub(monkeypatch):
    """A module in place of `dkmeans.kernels.cuda`, with one device."""
    module = SimpleNamespace(Block=lambda *given: ("on the GPU", *given), device_count=lambda: 1)
    monkeypatch.setitem(sys.modules, "dkmeans.kernels.cuda", module)
    return module


def test_the_device_picks_the_block(stub):
    rows, weights = np.zeros((2, 3), np.uint8), np.ones(2, np.int64)
    for device in ("auto", "gpu"):
        assert kernels.load(rows, device) == ("on the GPU", rows, None)
        assert kernels.load(rows, device, weights) == ("on the GPU", rows, weights)
    for block in (kernels.load(rows), kernels.load(rows, "cpu", weights)):
        assert type(block) is cpu.Block
    stub.device_count = lambda: 0
    assert type(kernels.load(rows, "auto")) is cpu.Block
    with pytest.raises(DeviceError, match="--device gpu: no usable GPU: CUDA finds no device"):
        kernels.load(rows, "gpu")
