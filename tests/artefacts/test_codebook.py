"""A codebook as a fitted estimator: it labels arrays as the stages do."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import dkmeans
from dkmeans.kernels.reference import lloyd_chunk


@pytest.mark.parametrize("name", ["palette", "patches", "cut"])
def test_a_codebook_labels_rows(made, name):
    codebook, dataset = dkmeans.open_codebook(made[name]), dkmeans.open_dataset(made["dataset"])
    stored = getattr(dataset, codebook.on)
    model = codebook.to_kmeans()
    assert type(model) is dkmeans.KMeans
    stats, labels = lloyd_chunk(stored[:], codebook.centers)
    np.testing.assert_array_equal(model.predict(stored[:]), labels)
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
    model = codebook.to_kmeans()
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
