"""What a fit says of itself is true: labels are those of its centers, and inertia is that of its labels."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import scipy.sparse
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from dkmeans import KMeans

INITS = ["k-means||", "k-means++", "random", "far", "callable"]
STOPS = [  # what ends the fit: the first iteration, one of the first, one that gains little, or none
    {"max_iter": 1},
    {"max_iter": 2},
    {"tol": 0.1},
    {"tol": 0, "min_gain": 0.05},
    {"tol": 0, "min_gain": 0, "relaxation": 1.0},
]


def draw_rows(kind, dtype, seed):
    """Rows of one kind: apart, few distinct ones, far from zero, or the colors of many pixels."""
    rng = np.random.default_rng(seed)
    n_rows = {"pixels": 20_000}.get(kind, int(rng.integers(8, 300)))
    n_features = {"pixels": 3}.get(kind, int(rng.integers(1, 12)))
    rows = rng.normal(100, 30, (n_rows, n_features)).clip(0, 255)
    if kind == "few":
        rows = rows[rng.integers(0, 4, n_rows)]
    if kind == "far" and np.dtype(dtype).kind == "f":
        rows += 1e5
    if kind == "pixels":
        rows //= 32
    return rows.astype(dtype)


def held(rows, how):
    """The same rows as they may be given."""
    size = -(-len(rows) // 3)
    if how == "sparse":
        return scipy.sparse.csc_array(rows)
    if how == "dask":
        return da.from_array(rows, (size, -1))
    return zarr.array(rows, chunks=(size, rows.shape[1])) if how == "zarr" else rows


def first_centers(init, rows):
    if init == "far":  # of which some get no rows at first
        return np.concatenate([rows[:2].astype(float), 1e4 * np.ones((3, rows.shape[1]))])
    if init == "callable":
        return lambda X, n_clusters, random_state: rows[random_state.choice(len(rows), n_clusters)]
    return init


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["apart", "few", "far", "pixels"]),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64]),
    how=st.sampled_from(["numpy", "sparse", "dask", "zarr"]),
    weighted=st.sampled_from([None, "whole", "float"]),
    init=st.sampled_from(INITS),
    n_init=st.sampled_from([1, 3]),
    stop=st.sampled_from(STOPS),
    seed=st.integers(0, 1000),
)
def test_labels_and_inertia_belong_to_the_centers(kind, dtype, how, weighted, init, n_init, stop, seed):
    plain = draw_rows(kind, dtype, seed)
    rows, times = held(plain, how), np.random.default_rng(seed).integers(0, 4, len(plain))
    times[:5] += 1
    weights = {"whole": times, "float": times / 7}.get(weighted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Explicit initial center", RuntimeWarning)
        model = KMeans(5, init=first_centers(init, plain), n_init=n_init, random_state=seed, **stop)
        model.fit(rows, sample_weight=weights)
    labels, centers = np.asarray(model.labels_), model.cluster_centers_.astype(np.longdouble)
    np.testing.assert_array_equal(labels, np.asarray(model.predict(rows)))
    np.testing.assert_array_equal(labels, model.predict(plain))
    gaps = ((plain.astype(np.longdouble)[:, None] - centers) ** 2).sum(axis=2)
    of_own = gaps[np.arange(len(plain)), labels]
    slack = 1e-12 * (gaps.max(axis=1) + of_own)
    assert (of_own <= gaps.min(axis=1) + slack).all()
    expected = float((of_own * (1 if weights is None else weights)).sum())
    assert model.inertia_ == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert -model.score(rows, sample_weight=weights) == pytest.approx(model.inertia_, rel=1e-12, abs=1e-12)
    assert 1 <= model.n_iter_ <= model.max_iter


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_the_best_start_is_taken_whole(dtype):
    """Centers, labels, inertia and iterations are those of one start, the best."""
    rows = draw_rows("apart", dtype, 7)
    told = []
    model = KMeans(5, init="random", n_init=6, random_state=3, callback=lambda *each: told.append(each)).fit(
        rows
    )
    begins = [at for at, (iteration, *_) in enumerate(told) if not iteration]
    lengths = np.diff([*begins, len(told)])
    assert len(begins) == 6
    assert model.n_iter_ in lengths
    ends = [told[end][1] for end in [*np.array(begins[1:]) - 1, -1]]
    assert model.inertia_ <= min(ends) * (1 + 1e-9)
