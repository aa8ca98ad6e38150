"""Mini-batches: the centers are those of scikit-learn to the bit, labels and inertia exact for them."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import sklearn.cluster
from clustering.fits import blobs
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from dkmeans import KMeans, MiniBatchKMeans
from dkmeans.errors import DeviceError

NOT_HERE = {"check_sample_weight_equivalence_on_dense_data": "other batches are drawn of repeated rows"}
"""What scikit-learn does not ask of its own MiniBatchKMeans either."""


@parametrize_with_checks(
    [MiniBatchKMeans(), MiniBatchKMeans(3, batch_size=7, n_jobs=2)], expected_failed_checks=lambda _: NOT_HERE
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def distances(rows, centers):
    return ((rows[:, None].astype(float) - centers.astype(float)) ** 2).sum(axis=2)


def check_exact(model, rows, weights=None):
    squares = distances(rows, model.cluster_centers_)
    np.testing.assert_array_equal(model.labels_, squares.argmin(axis=1))
    assert model.labels_.dtype == np.int32
    assert model.inertia_ == pytest.approx(
        np.average(squares.min(axis=1), weights=weights) * total(rows, weights)
    )
    np.testing.assert_array_equal(model.predict(rows), model.labels_)


def total(rows, weights):
    return len(rows) if weights is None else weights.sum()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"init": "random", "n_init": 4, "batch_size": 100, "init_size": 60},
        {"init": blobs()[:6], "max_no_improvement": None, "max_iter": 3, "reassignment_ratio": 0.3},
        {"tol": 0.01, "batch_size": 50},
    ],
    ids=["default", "starts", "given", "tol"],
)
def test_the_centers_are_those_of_scikit_learn(dtype, options):
    rows = blobs().astype(dtype)
    ours = MiniBatchKMeans(6, random_state=3, **options).fit(rows)
    theirs = sklearn.cluster.MiniBatchKMeans(6, random_state=3, **options).fit(rows)
    np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    assert ours.cluster_centers_.dtype == theirs.cluster_centers_.dtype
    assert (ours.n_iter_, ours.n_steps_) == (theirs.n_iter_, theirs.n_steps_)
    check_exact(ours, rows)


def test_batches_one_after_another():
    rows = blobs()
    weights = np.arange(900) % 3
    ours, theirs = (each(6, random_state=1) for each in (MiniBatchKMeans, sklearn.cluster.MiniBatchKMeans))
    for start in range(0, 900, 300):
        batch, counts = rows[start : start + 300], weights[start : start + 300]
        before = None if not start else ours.cluster_centers_
        kept = None if before is None else before.copy()
        ours.partial_fit(batch, sample_weight=counts)
        theirs.partial_fit(batch, sample_weight=counts)
        np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
        check_exact(ours, batch, counts)
        if before is not None:
            np.testing.assert_array_equal(before, kept)  # centers that were given away stay
    assert ours.n_steps_ == 3
    assert not hasattr(ours, "n_iter_")
    anew = ours.fit(rows)
    assert anew.n_steps_ == MiniBatchKMeans(6, random_state=1).fit(rows).n_steps_


def test_the_order_of_batches_changes_the_centers_but_not_what_is_said_of_them():
    rows = blobs()
    parts = np.array_split(rows, 3)
    one, other = (MiniBatchKMeans(6, init=rows[:6]) for _ in "ab")
    for model, order in ((one, parts), (other, parts[::-1])):
        for part in order:
            model.partial_fit(part)
    assert (one.cluster_centers_ != other.cluster_centers_).any()
    for model in (one, other):
        assert -model.score(rows) == pytest.approx(distances(rows, model.cluster_centers_).min(axis=1).sum())


def test_kmeans_finds_less_inertia(values):
    assert (
        KMeans(6, random_state=0).fit(values).inertia_
        < MiniBatchKMeans(6, random_state=0).fit(values).inertia_
    )


def test_without_labels(values):
    model = MiniBatchKMeans(6, random_state=0, compute_labels=False)
    assert not hasattr(model.partial_fit(values), "inertia_")
    assert not hasattr(model.fit(values), "labels_")
    estimate = sklearn.cluster.MiniBatchKMeans(6, random_state=0, compute_labels=False).fit(values).inertia_
    assert model.inertia_ == estimate
    assert model.inertia_ == pytest.approx(-model.score(values), rel=0.5)


def test_weights_that_cannot_be_used_change_nothing():
    rows = blobs()
    model = MiniBatchKMeans(6, random_state=0).partial_fit(rows)
    before = model.cluster_centers_.copy()
    for weights, match in ((np.full(900, -1), "negative"), (np.zeros(900), "all weights are zero")):
        with pytest.raises(ValueError, match=match):
            model.partial_fit(rows, sample_weight=weights)
    np.testing.assert_array_equal(model.cluster_centers_, before)
    np.testing.assert_array_equal(model._updates.cluster_centers_, before)


def test_rows_of_dask_are_labelled_but_not_learned_from(values):
    lazy = da.from_array(values, (250, 4))
    model = MiniBatchKMeans(6, random_state=0)
    for call in (model.fit, model.partial_fit):
        with pytest.raises(
            ValueError, match=r"found dask\.array\.core\.Array; expected a dense array in memory"
        ):
            call(lazy)
    model.fit(values)
    assert isinstance(model.predict(lazy), da.Array)
    np.testing.assert_array_equal(model.predict(lazy), model.labels_)
    assert model.score(lazy) == pytest.approx(-model.inertia_)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_jobs": 0}, "The 'n_jobs' parameter of MiniBatchKMeans must be an int >= 1, -1 or None. Got 0"),
        ({"device": "tpu"}, "The 'device' parameter of MiniBatchKMeans must be one of auto, cpu, gpu"),
        ({"batch_size": 0}, "The 'batch_size' parameter of MiniBatchKMeans must be"),
        ({"init": "k-means||"}, "The 'init' parameter of MiniBatchKMeans must be"),
        ({"n_clusters": 901}, "n_samples=900 should be >= n_clusters=901"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_parameters_that_mean_nothing(values, options, match):
    with pytest.raises(ValueError, match=match):
        MiniBatchKMeans(**options).fit(values)


def test_floats_are_no_work_for_a_gpu():
    with pytest.raises(DeviceError, match="a GPU takes rows of uint8 and uint16"):
        MiniBatchKMeans(6, device="gpu", random_state=0).fit(blobs())


def test_a_generator_gives_the_seed(values):
    one, again = (MiniBatchKMeans(6, random_state=np.random.default_rng(3)).fit(values) for _ in "ab")
    np.testing.assert_array_equal(one.cluster_centers_, again.cluster_centers_)


def test_to_sklearn_learns_on():
    rows = blobs()
    ours = MiniBatchKMeans(6, random_state=0).fit(rows)
    theirs = ours.to_sklearn()
    assert type(theirs) is sklearn.cluster.MiniBatchKMeans
    np.testing.assert_array_equal(theirs.predict(rows), ours.labels_)
    assert theirs.inertia_ == ours.inertia_
    theirs.partial_fit(rows[:100])
    ours.partial_fit(rows[:100])
    np.testing.assert_array_equal(theirs.cluster_centers_, ours.cluster_centers_)
    with pytest.raises(NotFittedError):
        MiniBatchKMeans().to_sklearn()
