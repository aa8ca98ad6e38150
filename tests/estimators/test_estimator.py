"""The estimator: scikit-learn's own checks, the bits of the job, lazy labels, weights as repetitions."""

from __future__ import annotations

import pickle
from typing import get_args

import dask
import dask.array as da
import numpy as np
import pytest
import sklearn.cluster
import zarr
from clustering.fits import assert_same_fit, blobs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import dkmeans
from dkmeans import KMeans, kernels
from dkmeans.clustering import parts
from dkmeans.compute.in_process import InProcess
from dkmeans.errors import DeviceError
from dkmeans.features import histogram
from dkmeans.kernels import exact, reference

U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)
INITS = get_args(dkmeans.FitConfig.model_fields["init"].annotation)  # the estimator has those of the job


@parametrize_with_checks([KMeans(n_jobs=1), KMeans(n_clusters=3, init="k-means++", n_jobs=2)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # checks of few distinct rows
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


# The exact path


@pytest.fixture(scope="module")
def dataset(photos, tmp_path_factory):
    url = str(tmp_path_factory.mktemp("estimator") / "photos.zarr")
    config = dkmeans.IngestConfig(source=str(photos), dataset=url, patch=4)
    dkmeans.ingest(config, dkmeans.ClusterConfig(scheduler="sync"))
    return dkmeans.open_dataset(url)


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("on", ["patches", "pixels"])
@pytest.mark.parametrize("init", INITS)
def test_centers_are_those_of_the_job(dataset, tmp_path, on, init):
    config = dkmeans.FitConfig(
        dataset=dataset.url,
        codebook=str(tmp_path / "a"),
        n_clusters=9,
        on=on,
        init=init,
        seed=7,
        max_iter=15,
        tol=1e-4,
    )
    report = dkmeans.fit(config, dkmeans.ClusterConfig(scheduler="sync"))
    rows = getattr(dataset, on)[:]
    model = KMeans(9, init=init, n_init=1, random_state=7, max_iter=15).fit(rows)
    codebook = dkmeans.open_codebook(config.codebook)
    np.testing.assert_array_equal(model.cluster_centers_, codebook.centers)
    assert model.cluster_centers_.dtype == np.float32
    assert (model.inertia_, model.n_iter_) == (report.inertia, report.n_iter)
    np.testing.assert_array_equal(np.bincount(model.labels_, minlength=9), codebook.counts)


@pytest.mark.parametrize("dtype", [U8, U16], ids=str)
def test_labels_and_inertia_are_those_of_the_reference(values, dtype):
    rows = values.astype(dtype) * (257 if dtype == U16 else 1)
    model = KMeans(6, random_state=0).fit(rows)
    stats, labels = reference.lloyd_chunk(rows, model.cluster_centers_)
    np.testing.assert_array_equal(model.labels_, labels)
    np.testing.assert_array_equal(model.predict(rows), labels)
    np.testing.assert_array_equal(KMeans(6, random_state=0).fit_predict(rows), labels)
    assert model.labels_.dtype == model.predict(rows).dtype == np.int32
    assert model.inertia_ == -model.score(rows) == exact.inertia(stats, model.cluster_centers_, dtype)


def test_integers_are_never_copied_to_floats(values, monkeypatch):
    loaded = []
    load = kernels.load

    def seen(rows, *arguments, **options):
        loaded.append(rows)
        return load(rows, *arguments, **options)

    monkeypatch.setattr(kernels, "load", seen)
    KMeans(6, random_state=0).fit(values)
    assert any(np.shares_memory(rows, values) for rows in loaded)
    KMeans(6, random_state=0).fit(values, sample_weight=np.full(900, 3.0)).predict(values)
    assert {rows.dtype for rows in loaded} == {U8}


@pytest.mark.parametrize("chunks", [(900, 4), (100, 4), (77, 3), ((1, 0, 899), 4)], ids=str)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_chunks_and_threads_do_not_change_a_bit(values, chunks, n_jobs):
    model = KMeans(6, random_state=1, n_jobs=n_jobs)
    assert_same_fit(model.fit(da.from_array(values, chunks)), KMeans(6, random_state=1).fit(values))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("init", [*INITS, "array"])
def test_pixels_that_are_counted_give_the_same(monkeypatch, channels, init):
    pixels = np.repeat(blobs(600, channels).astype(np.uint8), 2, axis=0)
    lazy = da.from_array(pixels, (300, channels))
    first = pixels[:5] if init == "array" else init
    expected = KMeans(5, init=first, random_state=3).fit(pixels)
    monkeypatch.setattr(histogram, "COUNTED", 200)
    counted = []
    count = parts.count_part
    monkeypatch.setattr(parts, "count_part", lambda *part: counted.append(1) or count(*part))
    for given in (pixels, lazy):
        assert_same_fit(KMeans(5, init=first, random_state=3).fit(given), expected)
        assert expected.score(given) == -expected.inertia_
        np.testing.assert_array_equal(np.asarray(expected.predict(given)), expected.labels_)
    assert counted
    few = np.repeat(np.array([[7], [9]], np.uint8), [899, 1], axis=0).repeat(channels, axis=1)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\)"):
        assert KMeans(5, init=first, random_state=3).fit(few).inertia_ == 0
    weights = np.ones(len(pixels))
    assert_same_fit(KMeans(5, init=first, random_state=3).fit(pixels, sample_weight=weights), expected)


def test_other_byte_orders_are_the_same_numbers(values):
    rows = values.astype(U16) * 200
    assert_same_fit(KMeans(6, random_state=1).fit(rows.astype(">u2")), KMeans(6, random_state=1).fit(rows))


# Dask and Zarr


def test_dask_gives_lazy_labels_and_distances(values):
    computed = []

    def seen(block):
        computed.append(len(block))
        return block

    lazy = da.from_array(values, (250, 4)).map_blocks(seen, meta=np.empty((0, 0), np.uint8))
    model = KMeans(6, random_state=1).fit(lazy)
    assert sum(computed) == len(values)  # read once: the blocks stay in memory during the fit
    computed.clear()
    results = {"labels": model.labels_, "predict": model.predict(lazy), "transform": model.transform(lazy)}
    assert not computed
    in_memory = KMeans(6, random_state=1).fit(values)
    wanted = {
        "labels": in_memory.labels_,
        "predict": in_memory.labels_,
        "transform": in_memory.transform(values),
    }
    for name, result in results.items():
        assert isinstance(result, da.Array)
        assert result.chunks[0] == lazy.chunks[0]
        found = result.compute()
        np.testing.assert_array_equal(found, wanted[name])
        assert (found.shape, found.dtype) == (result.shape, result.dtype)
    assert model.score(lazy) == in_memory.score(values) == -model.inertia_
    np.testing.assert_array_equal(model.labels_[200:300].compute(), in_memory.labels_[200:300])


def test_dask_of_unknown_chunks(values):
    lazy = da.from_array(values, (250, 4))
    kept = lazy[lazy[:, 0] > 120]
    rows = values[values[:, 0] > 120]
    model = KMeans(4, random_state=1).fit(kept)
    assert_same_fit(model, KMeans(4, random_state=1).fit(rows))
    assert model.labels_.shape == (len(rows),)
    np.testing.assert_array_equal(model.predict(kept).compute(), model.predict(rows))
    assert model.score(kept) == model.score(rows)
    assert np.isnan(kept.shape[0])  # that of the caller stays as it was


@pytest.mark.parametrize("shards", [None, (400, 4)])
def test_zarr(values, shards):
    array = zarr.create_array(
        zarr.storage.MemoryStore(), shape=values.shape, dtype=values.dtype, chunks=(100, 2), shards=shards
    )
    array[:] = values
    model = KMeans(6, random_state=1).fit(array)
    assert isinstance(model.labels_, da.Array)
    assert_same_fit(model, KMeans(6, random_state=1).fit(values))
    assert model.score(array) == model.score(values)
    np.testing.assert_array_equal(model.transform(array).compute(), model.transform(values))


def test_zarr_of_floats(values):
    rows = values[:, :3] + 0.5
    array = zarr.create_array(zarr.storage.MemoryStore(), shape=rows.shape, dtype=float, chunks=(100, 3))
    array[:] = rows
    # Few rows are one block, of NumPy and of Zarr.
    assert_same_fit(KMeans(6, random_state=1).fit(array), KMeans(6, random_state=1).fit(rows))


def test_rows_of_dask_are_worked_on_by_the_active_client(values, workers):
    with workers.client.as_current(), dask.config.set(scheduler=workers.client):
        lazy = da.from_array(values, (250, 4))
        weights = da.from_array(np.arange(900) % 3, 300)
        there = KMeans(6, random_state=1).fit(lazy)
        assert there._cluster(lazy).client is workers.client
        assert isinstance(there._cluster(values), InProcess)
        weighted = KMeans(6, random_state=1).fit(lazy, sample_weight=weights)
        floats = KMeans(6, random_state=1).fit(lazy / 3)
        labels = there.labels_.compute()
    assert_same_fit(there, KMeans(6, random_state=1).fit(values), labels=False)
    np.testing.assert_array_equal(labels, there.predict(values))
    again = KMeans(6, random_state=1).fit(values, sample_weight=np.arange(900) % 3)
    assert_same_fit(weighted, again, labels=False)
    with dask.config.set(scheduler="threads"):
        assert isinstance(there._cluster(lazy), InProcess)
        assert_same_fit(floats, KMeans(6, random_state=1).fit(lazy / 3), labels=False)


def test_dask_that_cannot_be_rows():
    for array in (da.ones(5), da.ones((0, 2)), da.ones((2, 2, 2))):
        with pytest.raises(ValueError, match="Reshape your data"):
            KMeans(2).fit(array)
    for dtype in (complex, object, "U5", "M8[s]"):
        with pytest.raises(ValueError, match=r"expected real numbers\. Convert them first"):
            KMeans(2).fit(da.from_array(np.zeros((5, 2), dtype), (5, 2)))
    rows = np.ones((6, 2))
    rows[4, 1] = np.nan
    lazy = da.from_array(rows, (2, 2))
    with pytest.raises(ValueError, match="NaN"):
        KMeans(2).fit(lazy)
    model = KMeans(2, random_state=0).fit(np.arange(6.0).reshape(3, 2))
    with pytest.raises(ValueError, match="NaN"):
        model.predict(lazy).compute()
    with pytest.raises(ValueError, match="X has 3 features, but KMeans is expecting 2"):
        model.predict(da.ones((5, 3)))


# Floats


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_floats_end_where_scikit_learn_ends_from_the_same_centers(dtype):
    rows = blobs(seed=8).astype(dtype)
    first = rows[:6]
    ours = KMeans(6, init=first, tol=0, min_gain=0, relaxation=1).fit(rows)
    theirs = sklearn.cluster.KMeans(6, init=first, n_init=1, tol=0).fit(rows)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-5)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.cluster_centers_.dtype == dtype
    np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), rtol=1e-4)
    assert ours.transform(rows).dtype == dtype
    np.testing.assert_array_equal(ours.transform(rows).argmin(axis=1), ours.labels_)


def test_four_numbers_by_hand():
    rows = [[0.0], [2.0], [10.0], [13.0]]
    model = KMeans(2, init=[[0.0], [2.0]], tol=0).fit(rows)
    assert model.cluster_centers_.tolist() == [[1], [11.5]]
    assert model.labels_.tolist() == [0, 0, 1, 1]
    assert model.inertia_ == 1 + 1 + 2 * 1.5**2
    assert model.n_iter_ == 3
    assert model.score([[1.5]], sample_weight=[2]) == -2 * 0.5**2
    weighted = KMeans(2, init=[[0.0], [12.0]], tol=0).fit(rows, sample_weight=[1, 1, 0.5, 1.5])
    assert weighted.cluster_centers_.tolist() == [[1], [(5 + 19.5) / 2]]


def test_whole_numbers_give_the_same_in_floats(values):
    """From the same centers: both paths decide all ties alike, means are rounded to another grid."""
    first = values[:6].astype(float)
    ours, floats = (
        KMeans(6, init=first, max_iter=5, tol=0).fit(rows) for rows in (values, values.astype(float))
    )
    np.testing.assert_allclose(ours.cluster_centers_, floats.cluster_centers_, atol=2**-15)
    assert ours.inertia_ == pytest.approx(floats.inertia_, rel=1e-7)


def test_a_large_mean_costs_no_digits():
    rows = blobs(seed=9)
    first = rows[:6].copy()
    near, far = (KMeans(6, init=first + by, tol=0).fit(rows + by) for by in (0, 1e9))
    np.testing.assert_array_equal(near.labels_, far.labels_)
    assert far.inertia_ == pytest.approx(near.inertia_, rel=1e-6)
    assert near.n_iter_ == far.n_iter_


@pytest.mark.parametrize("init", INITS)
def test_floats_do_not_depend_on_threads(init):
    rows = blobs(20_000, seed=10)  # in several blocks
    one, two = (KMeans(6, init=init, random_state=2, n_jobs=n).fit(rows) for n in (1, 2))
    assert_same_fit(one, two)
    assert_same_fit(KMeans(6, init=init, random_state=2).fit(rows), two)  # nor on anything else


@pytest.mark.parametrize("n_clusters", [6, 150])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_of_the_same_blocks_are_added_in_the_same_order(n_clusters, dtype, workers):
    """Small steps in this thread, larger ones in several, or on a cluster by a tree of tasks."""
    rows = np.random.default_rng(17).normal(size=(40_000, 16)).astype(dtype)
    blocks = da.from_array(rows, (-(-40_000 // 9), 16))  # nine, as in memory: more than are added at a time
    options = {"init": rows[:n_clusters], "max_iter": 3, "tol": 0}
    here = [KMeans(n_clusters, n_jobs=n, **options).fit(rows) for n in (1, 3)]
    with workers.client.as_current(), dask.config.set(scheduler=workers.client):
        there = KMeans(n_clusters, **options).fit(blocks)
        labels = there.labels_.compute()
    for other, found in ((here[1], here[1].labels_), (there, labels)):
        np.testing.assert_array_equal(other.cluster_centers_, here[0].cluster_centers_)
        assert other.inertia_ == here[0].inertia_
        np.testing.assert_array_equal(found, here[0].labels_)


def test_floats_of_other_chunks_differ_by_rounding_alone():
    rows = blobs(seed=11)
    results = [
        KMeans(6, init=rows[:6], tol=0).fit(da.from_array(rows, (size, 4))) for size in (900, 100, 100, 7)
    ]
    assert_same_fit(results[1], results[2])
    for result in results:
        np.testing.assert_array_equal(result.labels_.compute(), results[0].labels_.compute())
        np.testing.assert_allclose(result.cluster_centers_, results[0].cluster_centers_, rtol=1e-13)


@pytest.mark.parametrize("init", [init for init in INITS if init != "random"])
def test_seeds_of_floats_are_no_worse_than_those_of_scikit_learn(init):
    rows = blobs(3000, 8, 30, seed=12)
    ours = [KMeans(30, init=init, random_state=seed).fit(rows).inertia_ for seed in range(5)]
    theirs = [sklearn.cluster.KMeans(30, n_init=1, random_state=s).fit(rows) for s in range(5)]
    assert np.mean(ours) <= 1.05 * np.mean([model.inertia_ for model in theirs])


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("seed", range(3))
def test_rows_that_differ_in_the_last_bit(init, seed):
    """Distinct, and nearer to each other than the libraries that draw the seeds can tell."""
    few = np.array([0.3, 0.1 + 0.2, 7.0, 9.0, np.nextafter(9.0, 10)])
    model = KMeans(5, init=init, random_state=seed).fit(np.repeat(few, 3)[:, None])
    assert model.inertia_ == 0
    assert sorted(set(model.cluster_centers_[:, 0])) == sorted(few)


@pytest.mark.parametrize("init", INITS)
def test_the_order_of_floats_that_fit_into_the_sample_is_of_no_account(init):
    rows = blobs(seed=14)
    order = np.random.default_rng(0).permutation(len(rows))
    one, other = (KMeans(6, init=init, random_state=3).fit(given) for given in (rows, rows[order]))
    np.testing.assert_allclose(one.cluster_centers_, other.cluster_centers_, rtol=1e-12)
    np.testing.assert_array_equal(one.labels_[order], other.labels_)


# Few distinct rows, parameters, errors


@pytest.mark.parametrize("dtype", [np.uint8, float])
@pytest.mark.parametrize("init", [*INITS, "array"])
def test_fewer_distinct_rows_than_clusters(dtype, init):
    rows = np.repeat(np.array([[1, 2], [3, 4], [9, 9]], dtype), 5, axis=0)
    first = np.arange(10).reshape(5, 2) if init == "array" else init
    with pytest.warns(
        ConvergenceWarning, match=r"distinct clusters \(3\) found smaller than n_clusters \(5\)"
    ):
        model = KMeans(5, init=first, random_state=0).fit(rows)
    assert model.inertia_ == 0
    assert model.cluster_centers_.shape == (5, 2)
    assert model.n_iter_ < 10
    assert len(set(model.labels_)) == 3


def test_fewer_rows_than_clusters():
    for rows in (np.ones((3, 2)), np.ones((3, 2), np.uint8), da.ones((3, 2))):
        with pytest.raises(ValueError, match="n_samples=3 should be >= n_clusters=8"):
            KMeans().fit(rows)


@pytest.mark.parametrize(
    "bad",
    [
        {"n_clusters": 0},
        {"n_clusters": 2.5},
        {"init": "k-means"},
        {"n_init": 0},
        {"n_init": "many"},
        {"max_iter": 0},
        {"tol": -1},
        {"tol": np.nan},
        {"min_gain": -1e-9},
        {"min_gain": 1},
        {"relaxation": 0.99},
        {"relaxation": 2},
        {"random_state": -1},
        {"n_jobs": 0},
        {"device": "tpu"},
        {"verbose": -1},
        {"verbose": "yes"},
        {"callback": 1},
        {"copy_x": 1},
        {"algorithm": "full"},
    ],
    ids=str,
)
def test_parameters_that_cannot_be_used(bad):
    ((name, _),) = bad.items()
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        KMeans(**{"n_clusters": 2, **bad}).fit(np.arange(8.0).reshape(4, 2))


@pytest.mark.parametrize(
    ("shape", "words"), [((2, 5), "number of features of the data 2"), ((3, 2), "number of clusters 2")]
)
def test_centers_of_another_shape(shape, words):
    with pytest.raises(ValueError, match=f"initial centers .* does not match the {words}"):
        KMeans(2, init=np.ones(shape)).fit(np.arange(8.0).reshape(4, 2))


def test_the_parameters_of_scikit_learn_are_all_taken(values):
    """With its defaults, but for the seeds, which are those of the job."""
    theirs, ours = sklearn.cluster.KMeans().get_params(), KMeans().get_params()
    assert theirs == {name: ours[name] for name in theirs} | {"init": "k-means++"}
    found = KMeans(**theirs | {"random_state": 0}).fit(values)
    assert_same_fit(found, KMeans(init="k-means++", random_state=0).fit(values))


def test_what_is_of_no_account(values):
    rows = values.astype(float)
    before = rows.copy()
    expected = KMeans(6, random_state=0).fit(rows)
    assert_same_fit(KMeans(6, random_state=0, copy_x=False, algorithm="elkan").fit(rows), expected)
    np.testing.assert_array_equal(rows, before)


def test_a_gpu_takes_no_floats():
    with pytest.raises(DeviceError, match="found float64"):
        KMeans(2, device="gpu").fit(np.arange(8.0).reshape(4, 2))


def test_random_states(values):
    with pytest.raises(ValueError, match="'seed' cannot be used to seed"):
        KMeans(2, random_state="seed").fit(values)
    model = KMeans(6, init="random", random_state=5, max_iter=1)
    assert_same_fit(clone(model).fit(values), model.fit(values))
    assert_same_fit(KMeans(6, init="random", random_state=np.int64(5), max_iter=1).fit(values), model)
    one, again = (
        KMeans(6, init="random", random_state=np.random.RandomState(3), max_iter=1).fit(values) for _ in "ab"
    )
    assert_same_fit(one, again)
    generators = [np.random.default_rng(3) for _ in "ab"]
    one, again = (KMeans(6, init="random", random_state=each, max_iter=1).fit(values) for each in generators)
    assert_same_fit(one, again)
    other = KMeans(6, init="random", random_state=generators[0], max_iter=1).fit(
        values
    )  # draws the next seed
    assert (other.cluster_centers_ != one.cluster_centers_).any()
    anything = [KMeans(6, init="random", max_iter=1).fit(values).cluster_centers_ for _ in range(3)]
    assert any((centers != anything[0]).any() for centers in anything)


def test_not_fitted():
    rows = np.ones((3, 2))
    for call in (KMeans().predict, KMeans().transform, KMeans().score):
        with pytest.raises(NotFittedError):
            call(rows)
    with pytest.raises(NotFittedError):
        KMeans().to_sklearn()


def test_parameters_and_the_company_of_scikit_learn(values):
    model = KMeans(3, tol=0.5)
    assert model.get_params() == {
        "n_clusters": 3,
        "init": "k-means||",
        "n_init": "auto",
        "max_iter": 300,
        "tol": 0.5,
        "min_gain": 2e-5,
        "relaxation": 1.9,
        "verbose": 0,
        "callback": None,
        "random_state": None,
        "copy_x": True,
        "algorithm": "lloyd",
        "n_jobs": None,
        "device": "auto",
    }
    chain = make_pipeline(StandardScaler(), KMeans(3, random_state=0)).fit(values.astype(float))
    assert chain.predict(values.astype(float)).shape == (900,)
    assert chain[-1].get_feature_names_out().tolist() == ["kmeans0", "kmeans1", "kmeans2"]
    fitted = KMeans(3, random_state=0).fit(values)
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict(values), fitted.labels_)
    distances = fitted.transform(values)
    gaps = values[:, None].astype(float) - fitted.cluster_centers_
    np.testing.assert_allclose(distances, np.sqrt((gaps**2).sum(axis=2)))
    np.testing.assert_array_equal(KMeans(3, random_state=0).fit_transform(values), distances)


# Other rows than were fitted, and scikit-learn's own model


def test_rows_of_another_type_than_were_fitted(values):
    model = KMeans(6, random_state=0).fit(values)
    for dtype in (np.uint16, np.int32, np.float32, np.float64):
        np.testing.assert_array_equal(model.predict(values.astype(dtype)), model.labels_)
        assert model.score(values.astype(dtype)) == pytest.approx(model.score(values))
    floats = KMeans(6, random_state=0).fit(values + 0.25)
    np.testing.assert_array_equal(floats.predict(values), floats.predict(values.astype(float)))
    assert floats.score(values) == floats.score(values.astype(float))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_to_sklearn(values, dtype):
    rows = values.astype(dtype)
    ours = KMeans(6, random_state=0, max_iter=7, tol=1e-3).fit(rows)
    theirs = ours.to_sklearn()
    assert type(theirs) is sklearn.cluster.KMeans
    np.testing.assert_array_equal(theirs.predict(rows), ours.labels_)
    np.testing.assert_array_equal(theirs.labels_, ours.labels_)
    np.testing.assert_allclose(theirs.cluster_centers_, ours.cluster_centers_, rtol=1e-6)
    assert (theirs.inertia_, theirs.n_iter_) == (ours.inertia_, ours.n_iter_)
    assert theirs.score(rows) == pytest.approx(ours.score(rows), rel=1e-4)
    np.testing.assert_allclose(theirs.transform(rows), ours.transform(rows), rtol=1e-3)
    assert (theirs.n_clusters, theirs.max_iter, theirs.tol, theirs.random_state) == (6, 7, 1e-3, 0)
    assert theirs.n_features_in_ == 4
    theirs.fit(rows)  # it can be fitted again


@pytest.mark.parametrize(
    "options",
    [
        {"init": "k-means||-cached"},
        {"init": "random", "n_init": 2},
        {"init": lambda X, n_clusters, random_state: X[:n_clusters]},
        {"algorithm": "elkan", "copy_x": False, "random_state": np.random.default_rng(0)},
    ],
    ids=["cached", "starts", "callable", "elkan"],
)
def test_to_sklearn_of_any_parameters_can_be_fitted_again(values, options):
    rows = values.astype(float)
    theirs = KMeans(6, **options).fit(rows).to_sklearn()
    assert theirs.algorithm == options.get("algorithm", "lloyd")
    assert theirs.fit(rows).n_iter_ >= 1


def test_to_sklearn_computes_lazy_labels(values):
    theirs = KMeans(6, random_state=0).fit(da.from_array(values, (250, 4))).to_sklearn()
    assert isinstance(theirs.labels_, np.ndarray)
    assert theirs.labels_.shape == (900,)


def test_to_sklearn_with_centers_that_are_equal():
    with pytest.warns(ConvergenceWarning):
        ours = KMeans(4, random_state=0).fit(np.repeat([[1.0], [2.0]], 3, axis=0))
    theirs = ours.to_sklearn()
    np.testing.assert_array_equal(theirs.cluster_centers_, ours.cluster_centers_)
    np.testing.assert_array_equal(theirs.predict([[1.0], [2.0]]), ours.predict([[1.0], [2.0]]))
