"""Sparse rows of SciPy: what the dense array of the same numbers gives, bit for bit."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from clustering.fits import assert_same_fit, blobs

from dkmeans import KMeans
from dkmeans.clustering import parts
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.sparse import SparseRows
from dkmeans.compute.in_process import InProcess

FORMATS = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]
DTYPES = [np.uint8, np.uint16, np.int32, np.float32, np.float64]


def numbers(dtype, n_rows=900, n_features=5):
    """Rows of which most numbers are zero."""
    rows = blobs(n_rows, n_features).clip(0)
    rows[np.random.default_rng(1).random(rows.shape) < 0.7] = 0
    return rows.astype(dtype)


def assert_the_same(sparse, dense, weights=None, **options):
    """All that the estimator gives is the same, of the same dtypes."""
    ours, expected = (
        KMeans(6, random_state=0, **options).fit(rows, sample_weight=weights) for rows in (sparse, dense)
    )
    assert_same_fit(ours, expected)
    assert ours.cluster_centers_.dtype == expected.cluster_centers_.dtype
    assert ours.score(sparse, sample_weight=weights) == expected.score(dense, sample_weight=weights)
    np.testing.assert_array_equal(ours.predict(sparse), expected.predict(dense))
    found, distances = ours.transform(sparse), expected.transform(dense)
    np.testing.assert_array_equal(found, distances)
    assert found.dtype == distances.dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights", [None, "whole", "float"])
def test_every_dtype(dtype, weights):
    dense = numbers(dtype)
    times = np.random.default_rng(2).integers(0, 4, len(dense))
    given = {"whole": times, "float": times / 7}.get(weights)
    assert_the_same(scipy.sparse.csr_array(dense), dense, given)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_format(name, kind):
    dense = numbers(np.float64, 80)  # few, as dia has a diagonal for each
    assert_the_same(getattr(scipy.sparse, f"{name}_{kind}")(dense), dense, n_init=2, init="k-means++")


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_every_index_and_numbers_given_twice(index):
    dense = numbers(np.float32)
    csr = scipy.sparse.csr_array(dense)
    twice = scipy.sparse.csr_array(
        (
            np.repeat(csr.data / 2, 2),
            np.repeat(csr.indices, 2).astype(index),
            (2 * csr.indptr).astype(index),
        ),
        dense.shape,
    )
    before = twice.data.copy(), twice.indices.copy(), twice.indptr.copy()
    assert not twice.has_canonical_format
    assert_the_same(twice, dense, copy_x=False)
    for now, was in zip((twice.data, twice.indices, twice.indptr), before, strict=True):
        np.testing.assert_array_equal(now, was)


def test_many_pixels_are_colors_with_counts():
    dense = numbers(np.uint8, 40_000, 3)
    dense //= 16
    assert_the_same(scipy.sparse.csr_array(dense), dense, max_iter=5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_memory_does_not_hold_dense(dtype, weighted, threads):
    """Each step makes its blocks dense anew, with the same bits."""
    dense = numbers(dtype, 20_000, 40)
    weights = np.random.default_rng(3).integers(0, 3, len(dense)) if weighted else None
    large, small = InProcess(threads), InProcess(threads, memory=1 << 18)
    options = {"max_iter": 8, "tol": 0, "relaxation": 1.9}
    first = dense[:7].astype(np.float32 if dtype == np.uint8 else np.float64)
    results = []
    for array, cluster in [(dense, large), (SparseRows(scipy.sparse.csr_array(dense)), small)]:
        rows = parts.load_array_rows(array, weights, cluster)
        assert rows.resident == (cluster is large)
        results.append(lloyd(rows, State(first), **options))
    expected, found = results
    np.testing.assert_array_equal(found.centers, expected.centers)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.inertia == expected.inertia
    assert [step.moved for step in found.history] == [step.moved for step in expected.history]


def test_memory_of_rows_that_are_never_dense_at_once(monkeypatch):
    """60 MiB if they were dense."""
    sparse = scipy.sparse.random_array((40_000, 200), density=0.002, rng=np.random.default_rng(4))
    monkeypatch.setattr(SparseRows, "stay", lambda self, cluster, itemsize: False)
    model = KMeans(3, init=np.eye(3, 200), max_iter=3, n_jobs=1)
    model.fit(sparse)  # loads what is loaded once
    tracemalloc.start()
    try:
        model.fit(sparse)
        model.predict(sparse)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 25 << 20


def test_a_callable_is_given_the_matrix():
    dense = numbers(np.float64)

    def first(rows, n_clusters, random_state):
        assert scipy.sparse.issparse(rows)
        return rows[:n_clusters].toarray()

    found = KMeans(6, init=first, n_init=1).fit(scipy.sparse.csc_array(dense))
    assert_same_fit(found, KMeans(6, init=dense[:6]).fit(dense))


def test_what_is_refused():
    dense = numbers(np.float64)
    dense[3, 1] = np.nan
    model = KMeans(2, random_state=0)
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit(scipy.sparse.csr_array(dense))
    with pytest.raises(ValueError, match=r"at most 2\*\*53"):
        model.fit(scipy.sparse.csr_array([[1 << 60, 0], [0, 1]]))
    with pytest.raises(ValueError, match=r"at most 1e\+100"):
        model.fit(scipy.sparse.csr_array([[1e200, 0], [0, 1]]))
    with pytest.raises(ValueError, match="1e-100, or zeros alone"):
        model.fit(scipy.sparse.csr_array([[1e-200, 0], [0, 1e-190]]))
    with pytest.raises(ValueError, match="Reshape your data"):
        model.fit(scipy.sparse.coo_array(np.ones(5)))
    model.fit(np.ones((4, 2)) * np.arange(4)[:, None])
    with pytest.raises(ValueError, match="X has 3 features, but KMeans is expecting 2"):
        model.predict(scipy.sparse.csr_array(np.ones((4, 3))))
