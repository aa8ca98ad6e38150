"""Integer sums over rows in tiles, against NumPy."""

import numpy as np
import pytest

from dkmeans.kernels import arrange, cpu
from dkmeans.kernels.exact import fraction_bits, grid_integers, snap
from dkmeans.kernels.totals import Sums, own_distances, sum_of_squares, sum_up

DTYPES = [np.dtype(np.uint8), np.dtype(np.uint16)]
ROWS = [0, 1, 16, 17, 203]
N_CLUSTERS = 7


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    return request.param


@pytest.fixture(params=[1, 3, 130])
def n_features(request):
    return request.param


def cases(n_features, dtype):
    """Rows and the same in tiles, labels with padding, weights or none."""
    for n_rows in ROWS:
        rng = np.random.default_rng((n_rows, n_features))
        rows = rng.integers(0, np.iinfo(dtype).max, (n_rows, n_features), endpoint=True, dtype=dtype)
        labels = np.full(arrange.padded(n_rows), -1, np.int32)
        labels[:n_rows] = rng.integers(0, N_CLUSTERS, n_rows)
        for weights in (np.empty(0, np.int64), rng.integers(0, 1 << 14, n_rows)):
            yield rows, arrange.pack(rows), labels, weights


def test_sums_of_the_clusters(dtype, n_features):
    for rows, tiles, labels, weights in cases(n_features, dtype):
        times = weights if weights.size else np.ones(len(rows), np.int64)
        sums = Sums(np.zeros((N_CLUSTERS, n_features), np.int64), np.zeros(N_CLUSTERS, np.int64), weights)
        sum_up(tiles, labels, len(rows), sums)
        for cluster in range(N_CLUSTERS):
            own = labels[: len(rows)] == cluster
            np.testing.assert_array_equal(sums.sums[cluster], times[own] @ rows[own].astype(np.int64))
            assert sums.counts[cluster] == times[own].sum()


def test_sum_of_all_squares(dtype, n_features):
    for rows, tiles, _, weights in cases(n_features, dtype):
        squares = (rows.astype(np.int64) ** 2).sum(axis=1)
        total = squares @ weights if weights.size else squares.sum()
        assert sum_of_squares(tiles, n_features, weights) == total


def test_squares_of_a_block_are_summed_in_parts_that_fit(monkeypatch):
    """2^31 white values of 16 bits and more would leave int64 together."""
    assert cpu._SQUARED * 65535**2 < 1 << 62
    sizes = []
    monkeypatch.setattr(cpu, "_SQUARED", 100)
    monkeypatch.setattr(
        cpu, "sum_of_squares", lambda part, *rest: sizes.append(part.size) or sum_of_squares(part, *rest)
    )
    rows = np.full((150, 3), 65535, np.uint16)
    stats = cpu.Block(rows).lloyd(np.zeros((1, 3), np.float32))
    assert stats.squares == rows.size * 65535**2
    assert max(sizes) == 100
    assert len(sizes) > 4


def test_distances_to_the_own_centers(dtype, n_features):
    bits = fraction_bits(dtype)
    top = np.iinfo(dtype).max
    centers = snap(np.random.default_rng(0).uniform(0, top, (N_CLUSTERS, n_features)), dtype)
    integers = grid_integers(centers, dtype)
    for rows, tiles, labels, _ in cases(n_features, dtype):
        own = labels[: len(rows)]
        found = own_distances(tiles, own, integers, bits)
        gaps = (rows.astype(np.int64) << bits) - integers[own]
        np.testing.assert_array_equal(found, (gaps * gaps).sum(axis=1))
        assert found.dtype == np.int64
