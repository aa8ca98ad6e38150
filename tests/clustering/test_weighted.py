"""Rows that count more or less than once: integer weights are repetitions, others take the float path."""

from __future__ import annotations

from typing import get_args

import dask.array as da
import numpy as np
import pytest
import sklearn.cluster
from clustering.fits import assert_same_fit, blobs
from dask.delayed import delayed

import dkmeans
from dkmeans import KMeans
from dkmeans.clustering.weighted import choose_unit, load_weighted_rows, sums_fit, weigh
from dkmeans.compute.in_process import InProcess

INITS = get_args(dkmeans.FitConfig.model_fields["init"].annotation)  # the estimator has those of the job
HERE = InProcess()


def weigh_parts(*parts):
    return weigh([np.array(part) for part in parts], HERE)


def unit_of(*parts):
    arrays = [np.array(part) for part in parts]
    return choose_unit(arrays, weigh(arrays, HERE), HERE)


def test_facts_of_weights_by_hand():
    one, two, none = weigh_parts([0, 1.5], [2, 2, 4], [0])
    assert one == (0, 1.5, 1.5, 1.5, 1, False, 0)
    assert two == (2, 2, 4, 8, 3, True, 2)
    assert none == (0, np.inf, 0, 0, 0, True, 0)


def test_units_of_weights_by_hand():
    assert unit_of([4, 6], [0, 10]) == 2
    assert unit_of([4.0, 6], [9]) == 1
    assert unit_of([0] * 3, [7]) == 7
    assert unit_of([0, 1.5], [1, 2]) == 0.5
    assert unit_of([0.2], [0.30000000000000004]) == 0.1
    assert unit_of(np.float32([0.2, 0.3])) == pytest.approx(0.1)
    assert unit_of([0.25], [2.0**40]) == 0.25
    # The mean weight of the two rows that have one, in 1,024 parts: no common unit, or too small a one.
    assert unit_of([0, 1], [np.sqrt(2)]) == (1 + np.sqrt(2)) / 2 / 1024
    assert unit_of([0.25], [2.0**60]) == 2.0**59 / 1024
    assert unit_of([0, 5e-324], [1e50]) == 1e50 / 2 / 1024
    many = 1 + np.arange(5000) / 8192
    assert unit_of(many) == many.mean() / 1024


def test_sums_that_int64_holds():
    u16 = np.dtype(np.uint16)
    assert sums_fit(weigh_parts([1, 2]), u16, 3)
    assert not sums_fit(weigh_parts([1, 2.5]), u16, 3)
    assert sums_fit(weigh_parts([1 << 29]), u16, 3)
    assert not sums_fit(weigh_parts([1 << 30]), u16, 3)  # 2^30 times 3 squares of nearly 2^32


def test_positions_are_those_of_the_repeated_rows():
    parts = [np.array([[10], [20]], np.uint8), np.array([[30], [40], [50]], np.uint8)]
    weights = [np.array([2, 1]), np.array([1, 3, 2])]
    rows = load_weighted_rows([delayed(part) for part in parts], weights, 1.0, 1, np.dtype(np.uint8), HERE)
    repeated = np.concatenate(
        [np.repeat(part, times, axis=0) for part, times in zip(parts, weights, strict=True)]
    )
    assert rows.n_rows == len(repeated) == 9
    np.testing.assert_array_equal(rows.take(np.arange(9)), repeated)
    np.testing.assert_array_equal(rows.take(np.array([1, 2, 7])), repeated[[1, 2, 7]])


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, float])
def test_integer_weights_are_repetitions(init, dtype):
    rows = blobs(11_000).astype(np.uint8).astype(dtype)
    weights = np.random.default_rng(3).integers(0, 5, len(rows))
    assert weights.sum() > 20_000  # more than the seeds are drawn from
    repeated = KMeans(6, init=init, random_state=4).fit(np.repeat(rows, weights, axis=0))
    for given in (weights, weights.astype(float)):
        weighted = KMeans(6, init=init, random_state=4).fit(rows, sample_weight=given)
        np.testing.assert_allclose(weighted.cluster_centers_, repeated.cluster_centers_, rtol=1e-12)
        assert weighted.inertia_ == pytest.approx(repeated.inertia_, rel=1e-12)
        assert weighted.n_iter_ == repeated.n_iter_
        np.testing.assert_array_equal(weighted.labels_, repeated.predict(rows))
        assert weighted.score(rows, sample_weight=given) == pytest.approx(-weighted.inertia_, rel=1e-12)
        if dtype == np.uint8:
            assert_same_fit(weighted, repeated, labels=False)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize(
    ("dtype", "factor"),
    [(np.uint8, 3), (np.uint8, 12.0), (float, 3), (float, 12.0), (float, 0.5), (float, 0.1), (float, 1e-3)],
)
def test_weights_times_a_constant_give_the_same_centers(init, dtype, factor):
    rows = blobs(9000, n_middles=12).astype(np.uint8).astype(dtype)
    weights = np.random.default_rng(3).integers(0, 6, len(rows))
    options = {"n_clusters": 12, "init": init, "n_init": 1, "random_state": 4}
    expected = KMeans(**options).fit(rows, sample_weight=weights)
    found = KMeans(**options).fit(rows, sample_weight=factor * weights)
    rounding = 0 if dtype == np.uint8 else 1e-10
    np.testing.assert_allclose(found.cluster_centers_, expected.cluster_centers_, rtol=rounding)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    assert found.inertia_ == pytest.approx(factor * expected.inertia_, rel=1e-12)
    other = KMeans(**options | {"random_state": 5}).fit(rows, sample_weight=weights)
    assert np.abs(other.cluster_centers_ - expected.cluster_centers_).max() > 1


@pytest.mark.parametrize("weight", [2, 0.37])
@pytest.mark.parametrize("init", INITS)
def test_equal_weights_are_none(init, weight):
    rows = blobs(9000, n_middles=12)
    options = {"n_clusters": 12, "init": init, "n_init": 1, "random_state": 4}
    expected = KMeans(**options).fit(rows)
    found = KMeans(**options).fit(rows, sample_weight=np.full(len(rows), weight))
    np.testing.assert_allclose(found.cluster_centers_, expected.cluster_centers_, rtol=1e-10)
    np.testing.assert_array_equal(found.labels_, expected.labels_)


@pytest.mark.parametrize("chunks", [900, 200, (1, 0, 899)], ids=str)
def test_weights_of_dask(values, chunks):
    weights = np.arange(900) % 4
    lazy = da.from_array(values, (300, 4))
    expected = KMeans(6, random_state=1).fit(values, sample_weight=weights)
    for given in (da.from_array(weights, (chunks,)), weights):
        assert_same_fit(KMeans(6, random_state=1).fit(lazy, sample_weight=given), expected)
    assert expected.score(lazy, sample_weight=da.from_array(weights)) == -expected.inertia_


def test_weights_of_whole_blocks_of_zero(values):
    weights = np.zeros(900, int)
    weights[350:380] = 2
    lazy = da.from_array(values, (100, 4))
    expected = KMeans(3, random_state=1).fit(values[350:380])
    found = KMeans(3, random_state=1, init=expected.cluster_centers_).fit(lazy, sample_weight=weights)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    assert found.inertia_ == 2 * expected.inertia_
    np.testing.assert_array_equal(found.labels_.compute(), expected.predict(values))


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("weight", [1, 0.37])
def test_rows_of_weight_zero_take_part_in_nothing(init, weight):
    rng = np.random.default_rng(6)
    rows = np.concatenate([rng.integers(0, 50, (60, 2)), rng.integers(200, 256, (60, 2))]).astype(np.uint8)
    weights = np.repeat([weight, 0], 60)
    model = KMeans(5, init=init, random_state=0).fit(rows, sample_weight=weights)
    assert (model.cluster_centers_ < 50).all()
    assert model.labels_.shape == (120,)
    np.testing.assert_array_equal(model.labels_, model.predict(rows))


def test_float_weights_take_the_float_path():
    rows = blobs(seed=13).astype(np.uint8)
    weights = np.random.default_rng(7).uniform(0, 3, len(rows))
    ours = KMeans(6, init=rows[:6], tol=0, min_gain=0, relaxation=1).fit(rows, sample_weight=weights)
    theirs = sklearn.cluster.KMeans(6, init=rows[:6].astype(float), n_init=1, tol=0)
    theirs.fit(rows.astype(float), sample_weight=weights)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_)
    assert ours.score(rows, sample_weight=weights) == pytest.approx(-ours.inertia_)
    assert ours.cluster_centers_.dtype == np.float64


def test_heavy_rows_draw_the_seeds():
    rows = np.arange(100.0)[:, None]
    weights = np.where(np.arange(100) < 4, 1e6, 1e-6)
    model = KMeans(4, init="random", random_state=0, max_iter=1).fit(rows, sample_weight=weights)
    assert sorted(model.labels_[:4]) == [0, 1, 2, 3]


def test_weights_too_large_for_int64_take_the_float_path():
    rows = np.random.default_rng(8).integers(0, 1 << 16, (50, 3)).astype(np.uint16)
    small = KMeans(4, init=rows[:4]).fit(rows, sample_weight=np.full(50, 2))
    large = KMeans(4, init=rows[:4]).fit(rows, sample_weight=np.full(50, 1 << 40))
    assert (small.cluster_centers_.dtype, large.cluster_centers_.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(small.cluster_centers_, large.cluster_centers_, atol=2**-7)
    assert large.inertia_ == pytest.approx(small.inertia_ * 2**39, rel=1e-6)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ([1, 2, -1], "negative"),
        ([1, 2, np.nan], "NaN"),
        ([0, 0, 0], "all weights are zero"),
        ([1, 2], "one number for each of 3 rows"),
        ([[1], [2], [3]], "one number for each of 3 rows"),
    ],
)
def test_weights_that_cannot_be_used(weights, match):
    rows = np.arange(6.0).reshape(3, 2)
    for given in (weights, da.asarray(weights)):
        with pytest.raises(ValueError, match=match):
            KMeans(2).fit(rows, sample_weight=given)


def test_one_weight_for_all(values):
    one, all_of_them = (KMeans(6, random_state=0).fit(values, sample_weight=w) for w in (2, np.full(900, 2)))
    assert_same_fit(one, all_of_them)
