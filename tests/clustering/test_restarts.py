"""Several starts: the best is taken, more are never worse, one is what a single start always was."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import zarr
from clustering.fits import assert_same_fit, blobs

from dkmeans import KMeans
from dkmeans.clustering.parameters import choose_n_init, spawn_seeds
from dkmeans.features import histogram

FIRST = np.arange(24.0).reshape(6, 4)


def test_seeds_of_more_starts_begin_alike():
    few, many = spawn_seeds(7, 3), spawn_seeds(7, 12)
    assert many[:3] == few
    assert few[0] == 7
    assert few[1:] == [int(each.generate_state(1)[0]) for each in np.random.SeedSequence(7).spawn(2)]
    assert len(set(many)) == 12


@pytest.mark.parametrize("init", ["k-means||", "random"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_the_best_start_is_taken(init, dtype):
    rows = blobs(n_middles=12, n_rows=400).astype(dtype)
    single = [KMeans(12, init=init, n_init=1, random_state=seed).fit(rows) for seed in spawn_seeds(3, 4)]
    best = min(single, key=lambda model: model.inertia_)
    assert len({model.inertia_ for model in single}) > 1
    found = KMeans(12, init=init, n_init=4, random_state=3).fit(rows)
    assert_same_fit(found, best)
    np.testing.assert_array_equal(found.labels_, found.predict(rows))


def test_starts_of_weighted_and_of_lazy_rows(values):
    options = {"n_clusters": 9, "init": "random", "max_iter": 2}
    weights = np.arange(900) % 3
    lazy = da.from_array(values, (250, 4))
    single = [
        KMeans(n_init=1, random_state=seed, **options).fit(values, sample_weight=weights)
        for seed in spawn_seeds(0, 3)
    ]
    best = min(single, key=lambda model: model.inertia_)
    for rows in (values, lazy):
        found = KMeans(n_init=3, random_state=0, **options).fit(rows, sample_weight=weights)
        assert_same_fit(found, best)


def test_starts_of_pixels_that_are_counted(monkeypatch):
    """Their samples are drawn before the rows are read, all of them at once."""
    pixels = blobs(30_000, 3).astype(np.uint8)
    options = {"n_clusters": 9, "init": "random", "max_iter": 2, "random_state": 0}
    expected = KMeans(n_init=3, **options).fit(pixels)
    assert expected.inertia_ < KMeans(n_init=1, **options).fit(pixels).inertia_
    monkeypatch.setattr(histogram, "COUNTED", 200)
    assert_same_fit(KMeans(n_init=3, **options).fit(pixels), expected)


def first_rows(X, n_clusters, random_state):
    return X[:n_clusters]


FEW, MANY = np.zeros((2**13, 32)), np.zeros((2**13, 64))
"""Of 8 clusters the one is worked on in no time, the other is just above."""
PIXELS = np.zeros((900, 3), np.uint8)


@pytest.mark.parametrize(
    ("init", "n_init", "rows", "expected"),
    [
        ("k-means||", "auto", FEW, 10),
        ("k-means||", "auto", MANY, 1),
        ("k-means||", "auto", PIXELS, 1),
        ("k-means||", "auto", PIXELS.astype(float), 10),
        ("k-means||", "auto", FEW.astype(np.uint8), 10),
        ("k-means||-cached", "auto", FEW, 1),
        ("k-means++", "auto", FEW, 1),
        ("random", "auto", FEW, 10),
        ("random", "auto", MANY, 10),
        (first_rows, "auto", MANY, 10),
        (first_rows, 2, MANY, 2),
        (FIRST, "auto", FEW, 1),
        (FIRST.tolist(), 1, FEW, 1),
        ("k-means||", 3, MANY, 3),
        ("k-means||", 1, FEW, 1),
        ("random", np.int64(2), FEW, 2),
    ],
    ids=lambda value: getattr(value, "__name__", str(getattr(value, "shape", value))),
)
def test_how_many_starts(init, n_init, rows, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_n_init(KMeans(8, init=init, n_init=n_init), rows) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_starts_that_auto_adds_are_drawn_by_k_means_plus_plus(dtype):
    rows = blobs(n_middles=12, n_rows=400, n_features=5).astype(dtype)
    first, *others = spawn_seeds(3, 10)
    single = [KMeans(12, n_init=1, random_state=first).fit(rows)]
    single += [KMeans(12, init="k-means++", n_init=1, random_state=seed).fit(rows) for seed in others]
    assert len({model.inertia_ for model in single}) > 1
    assert_same_fit(KMeans(12, random_state=3).fit(rows), min(single, key=lambda model: model.inertia_))


def test_given_centers_are_one_start(values):
    with pytest.warns(RuntimeWarning, match="performing only one init in KMeans instead of n_init=4") as told:
        found = KMeans(6, init=FIRST, n_init=4).fit(values)
    assert told[0].filename == __file__
    assert_same_fit(found, KMeans(6, init=FIRST).fit(values))


# A callable


def draw(X, n_clusters, random_state):
    return np.asarray(X[np.sort(random_state.choice(len(X), n_clusters, replace=False))])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_centers_that_a_callable_makes(dtype):
    rows = blobs().astype(dtype)
    seen = []

    def init(X, n_clusters, random_state):
        seen.append((type(X), X.shape, X.dtype, n_clusters, type(random_state)))
        return draw(X, n_clusters, random_state)

    stored = zarr.create_array(
        zarr.storage.MemoryStore(), shape=rows.shape, dtype=rows.dtype, chunks=(900, 4)
    )
    stored[:] = rows
    given = [rows, da.from_array(rows, (900, 4)), stored]
    found = [KMeans(6, init=init, n_init=1, random_state=2).fit(each) for each in given]
    state = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(2)))
    expected = KMeans(6, init=draw(rows, 6, state)).fit(rows)
    for model in found:
        assert_same_fit(model, expected)
    kinds = [np.ndarray, da.Array, da.Array]
    assert seen == [(kind, (900, 4), dtype, 6, np.random.RandomState) for kind in kinds]


def test_a_callable_is_called_for_each_start():
    rows = blobs(n_middles=12, n_rows=400)
    options = {"n_clusters": 12, "init": draw, "max_iter": 2}
    single = [KMeans(n_init=1, random_state=seed, **options).fit(rows) for seed in spawn_seeds(1, 10)]
    assert len({model.inertia_ for model in single}) == 10
    best = min(single, key=lambda model: model.inertia_)
    assert_same_fit(KMeans(random_state=1, **options).fit(rows), best)


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (np.ones((5, 4)), r"initial centers \(5, 4\) does not match the number of clusters 6"),
        (np.ones((6, 3)), r"initial centers \(6, 3\) does not match the number of features of the data 4"),
        (np.full((6, 4), np.nan), "init contains NaN"),
        (None, "Expected 2D array"),
    ],
)
def test_what_a_callable_makes_is_checked(values, made, match):
    with pytest.raises(ValueError, match=match):
        KMeans(6, init=lambda X, n_clusters, random_state: made).fit(values)
