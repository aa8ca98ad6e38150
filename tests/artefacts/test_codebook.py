"""A codebook labels arrays as the stages do, by itself and as a fitted estimator."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import dkmeans
from dkmeans import KMeans, MiniBatchKMeans
from dkmeans.errors import MismatchError
from dkmeans.kernels.reference import lloyd_chunk


@pytest.mark.parametrize("name", ["palette", "patches", "cut"])
def test_a_codebook_labels_rows(made, name):
    codebook, dataset = dkmeans.open_codebook(made[name]), dkmeans.open_dataset(made["dataset"])
    stored = getattr(dataset, codebook.on)
    model = KMeans.from_codebook(made[name])
    assert type(model) is dkmeans.KMeans
    stats, labels = lloyd_chunk(stored[:], codebook.centers)
    np.testing.assert_array_equal(model.predict(stored[:]), labels)
    np.testing.assert_array_equal(codebook.predict(stored[:]), labels)
    np.testing.assert_array_equal(stats.counts, codebook.counts)
    with dask.config.set(scheduler="threads"):
        lazy = model.predict(stored)
        assert isinstance(lazy, da.Array)
        np.testing.assert_array_equal(lazy.compute(), labels)
        assert -model.score(stored) == model.inertia_ == codebook.manifest.inertia
    np.testing.assert_array_equal(model.cluster_centers_, codebook.centers)
    assert (model.n_clusters, model.n_features_in_) == codebook.centers.shape
    assert (model.n_iter_, model.max_iter) == (codebook.manifest.n_iter, codebook.manifest.max_iter)
    assert model.get_feature_names_out().tolist() == [f"kmeans{i}" for i in range(codebook.n_clusters)]


def test_it_is_an_estimator_like_any_other(made):
    codebook = dkmeans.open_codebook(made["palette"])
    pixels = dkmeans.open_dataset(made["dataset"]).pixels[:]
    model = KMeans.from_codebook(codebook)
    assert not hasattr(model, "labels_")
    theirs = model.to_sklearn()
    assert not hasattr(theirs, "labels_")
    np.testing.assert_array_equal(theirs.predict(pixels), model.predict(pixels))
    with pytest.raises(NotFittedError):
        clone(model).predict(pixels)
    with pytest.raises(ValueError, match="X has 2 features, but KMeans is expecting 3"):
        model.predict(pixels[:, :2])
    again = model.set_params(init=codebook.centers, tol=0).fit(pixels)
    assert again.inertia_ <= codebook.manifest.inertia
    assert len(again.labels_) == len(pixels)


@pytest.mark.filterwarnings("ignore:not converged")
def test_labels_of_a_codebook_are_the_codes_of_compress(tmp_path):
    """Of pixels with alpha, some of them opaque and some clear."""
    sync = dkmeans.ClusterConfig(scheduler="sync")
    images = np.random.default_rng(1).integers(0, 256, (2, 9, 8, 4), np.uint8)
    images[..., 3] = np.where(images[..., 3] < 40, 0, np.where(images[..., 3] > 120, 255, images[..., 3]))
    np.save(tmp_path / "images.npy", images)
    url = {name: str(tmp_path / name) for name in ("images.npy", "dataset", "codebook", "result")}
    dkmeans.ingest(dkmeans.IngestConfig(source=url["images.npy"], dataset=url["dataset"]), sync)
    names = {"dataset": url["dataset"], "codebook": url["codebook"]}
    dkmeans.fit(dkmeans.FitConfig(**names, k=6), sync)
    dkmeans.compress(dkmeans.CompressConfig(**names, result=url["result"]), sync)
    codes = dkmeans.open_coded(url["result"]).codes[:]
    codebook = dkmeans.open_codebook(url["codebook"])
    np.testing.assert_array_equal(codebook.predict(images.reshape(-1, 4)), codes)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (np.zeros((5, 3)), r"rows of float64 and of shape \(5, 3\)"),
        ([[1, 2, 3]], r"rows of int64 and of shape \(1, 3\)"),
        (np.zeros((5, 4), np.uint8), r"rows of uint8 and of shape \(5, 4\)"),
        (np.zeros((5, 2, 3), np.uint8), r"rows of uint8 and of shape \(5, 2, 3\)"),
    ],
)
def test_rows_that_a_codebook_cannot_label(made, rows, found):
    expected = r"pixels with 3 channels, uint8; expected uint8 and \(n_rows, 3\)"
    with pytest.raises(MismatchError, match=f"found {found}.*{expected}"):
        dkmeans.open_codebook(made["palette"]).predict(rows)


def test_an_estimator_is_saved_without_a_pickle(made):
    """By skops, as docs/estimator.md says."""
    skops = pytest.importorskip("skops.io", reason="skops is not installed: pip install 'dkmeans[export]'")
    pixels = dkmeans.open_dataset(made["dataset"]).pixels[:]
    for model in (KMeans(4, random_state=0), MiniBatchKMeans(4, random_state=0)):
        data = skops.dumps(model.fit(pixels))
        again = skops.loads(data, trusted=skops.get_untrusted_types(data=data))
        assert type(again) is type(model)
        np.testing.assert_array_equal(again.predict(pixels), model.labels_)


def test_batches_go_on_from_a_codebook(made):
    codebook = dkmeans.open_codebook(made["palette"])
    pixels = dkmeans.open_dataset(made["dataset"]).pixels[:]
    model = MiniBatchKMeans.from_codebook(codebook)
    np.testing.assert_array_equal(model.predict(pixels), codebook.predict(pixels))
    model.partial_fit(pixels[:50])
    expected = MiniBatchKMeans(4, init=codebook.centers).partial_fit(pixels[:50])
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    assert (model.cluster_centers_ != codebook.centers).any()
