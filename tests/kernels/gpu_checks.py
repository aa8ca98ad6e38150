"""What a block of rows on a GPU has to do, checked against the oracle; the module under test is given."""

import hashlib
import pickle
import sys

import numpy as np

from dkmeans.kernels import reference
from dkmeans.kernels.exact import center_shift, fraction_bits, inertia, snap, update_centers


def make(dtype, n_rows, n_features, n_clusters, spread):
    """Rows in random order with duplicates, and centers on the grid of which two are equal."""
    rng = np.random.default_rng((n_rows, n_features, n_clusters, spread))
    top = min(spread, int(np.iinfo(dtype).max))
    rows = rng.integers(0, top, (n_rows, n_features), endpoint=True, dtype=dtype)
    centers = snap(rng.uniform(0, top, (n_clusters, n_features)), np.dtype(dtype))
    centers[-1] = centers[n_clusters // 2]
    return rows[rng.integers(0, n_rows, n_rows)], centers


def assert_same_stats(stats, right):
    for name in ("sums", "counts"):
        assert type(getattr(stats, name)) is np.ndarray  # on the host, to travel
        np.testing.assert_array_equal(getattr(stats, name), getattr(right, name))
        assert getattr(stats, name).dtype == np.int64
    assert (stats.squares, stats.moved) == (right.squares, right.moved)
    assert type(stats.squares) is type(stats.moved) is int


def assert_same_array(found, expected):
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


def check_step(block, rows, centers, previous, weights):
    hint = None if previous is None else reference.assign(rows, previous)
    expected, labels = reference.lloyd_chunk(rows, centers, hint, weights)
    assert_same_stats(block.lloyd(centers, previous), expected)
    assert_same_array(block.labels(centers), labels)
    return expected


def check_against_reference(cuda, dtype, shape, spread):
    """All that a block can do, as `test_kernels` has it for the CPU."""
    rows, centers = make(dtype, *shape, spread)
    n_rows, n_features, n_clusters = shape
    rng = np.random.default_rng(0)
    for weights in (None, rng.integers(0, 1 << 14, n_rows)):
        block = cuda.Block(rows, weights)
        assert (block.n_rows, block.n_features, block.dtype) == (n_rows, n_features, dtype)
        previous, current = None, centers
        for _ in range(3):
            stats = check_step(block, rows, current, previous, weights)
            previous, current = current, update_centers(stats, current, rows.dtype)
        check_step(block, rows, current, current, weights)  # nothing moves
        _, unseen = make(dtype, n_rows, n_features, n_clusters + 1, spread)
        check_step(block, rows, centers, unseen[1:], weights)
        check_step(cuda.Block(rows, weights), rows, centers, unseen[1:], weights)
        assert_same_array(block.labels(unseen), reference.assign(rows, unseen))
        check_step(block, rows, current, centers, weights)
        adopting = cuda.Block(rows, weights)
        adopting.adopt(block.labels(current), current)
        check_step(adopting, rows, centers, current, weights)
        copy = pickle.loads(pickle.dumps(block))
        check_step(copy, rows, centers, None, weights)
        for one in (block, copy):
            assert_same_array(one.rows(), rows)
            assert_same_array(one.rows(np.array([n_rows - 1, 0, 0])), rows[[n_rows - 1, 0, 0]])
            assert sys.getsizeof(one) >= rows.nbytes
            for n in (1, 3, 2 * n_rows):
                expected = reference.farthest(rows, centers, n)
                for found, right in zip(one.farthest(centers, n), expected, strict=True):
                    assert_same_array(found, right)


def check_no_rows(cuda):
    block = cuda.Block(np.empty((0, 3), np.uint8))
    centers = np.zeros((4, 3), np.float32)
    for previous in (None, centers):
        stats = block.lloyd(centers, previous)
        assert not stats.sums.any()
        assert (stats.sums.shape, stats.counts.tolist()) == ((4, 3), [0, 0, 0, 0])
        assert (stats.squares, stats.moved) == (0, 0)
    assert block.labels(centers).shape == (0,)
    assert block.farthest(centers, 3)[1].shape == (0, 3)


def fit_digest(block, centers, n_iter=6):
    """SHA-256 of the centers of a whole fit, and of what its steps told of themselves."""
    previous, told = None, []
    for _ in range(n_iter):
        stats = block.lloyd(centers, previous)
        told.append((inertia(stats, centers, block.dtype), stats.moved))
        new = update_centers(stats, centers, block.dtype)
        told.append(center_shift(centers, new, block.dtype))
        previous, centers = centers, new
    return hashlib.sha256(centers.tobytes() + repr(told).encode()).hexdigest()


def check_halfway(module, dtype, n_features, n_clusters):
    """All centers lie at one distance from the first row; the tie is exact, so is its end."""
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    rows = rng.integers(top // 4, top // 2, (6, n_features)).astype(dtype)
    block = module.Block(rows)
    step = 2.0 ** -fraction_bits(dtype)
    signs = rng.choice([-1, 1], (n_clusters, n_features))
    centers = snap(rows[0] + signs * (top // 4), dtype)
    labels = block.labels(centers)
    assert labels[0] == 0
    np.testing.assert_array_equal(labels, reference.assign(rows, centers))
    # One step of the grid decides: the last center, moved nearer in one feature, is chosen.
    nearer = centers.copy()
    nearer[-1, -1] -= signs[-1, -1] * step
    labels = block.labels(nearer)
    assert labels[0] == n_clusters - 1
    np.testing.assert_array_equal(labels, reference.assign(rows, nearer))


def check_edge(module, n_features):
    """The winner is as far from the pivot as the rule allows: |o - c| = |x - o| + b.

    Thirty-two others are nearer to the pivot, so that it begins a group of eight or sixteen.
    """

    def at(x, y):
        return [100 + x, 100 + y] + [0] * (n_features - 2)

    aside = [at(*place) for far in range(5, 15) for place in ((0, far), (0, -far), (-far, 0))]
    rows = np.array([at(10, 0)] * 3, np.uint8)
    centers = snap(np.array([at(15, 0), *aside, at(0, 0), at(5, 0), at(99, 99)], float), rows.dtype)
    previous = snap(np.full(centers.shape, 255.0), rows.dtype)
    pivot = len(centers) - 3
    previous[pivot] = rows[0]
    block = module.Block(rows)
    assert block.labels(previous).tolist() == [pivot] * 3
    block.lloyd(centers, previous)
    assert block.labels(centers).tolist() == reference.assign(rows, centers).tolist() == [0] * 3


def check_small_terms(module):
    """Two centers, of which the second is nearer by what a sum in floats may lose.

    With x - pivot = 1 everywhere, the first center whole numbers, the second the first plus d everywhere: d
    is the largest part of a number that is cut off beside the sum of 128 products of about 122.
    """
    row = np.full(128, 251.0)
    gap = np.zeros(128)
    gap[:33], gap[33:64] = 1, -1
    whole = row - gap
    beside = whole + 2.0**-10 - 2.0**-15
    pivot = row - 1
    centers = snap(np.stack([whole, beside, pivot]), np.dtype(np.uint8))
    rows = row[None].astype(np.uint8)
    previous = snap(np.stack([np.zeros(128), np.zeros(128), row]), rows.dtype)
    block = module.Block(rows)
    assert block.labels(previous).tolist() == [2]
    block.lloyd(centers, previous)
    assert block.labels(centers).tolist() == reference.assign(rows, centers).tolist() == [1]
