"""Centers that were found here as a fitted estimator of scikit-learn."""

from __future__ import annotations

import warnings
from typing import Any

import sklearn.cluster
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

__all__ = ["fitted_kmeans"]


def fitted_kmeans(
    centers: NDArray[Any], inertia: float, n_iter: int, **parameters: Any
) -> sklearn.cluster.KMeans:
    """Make a fitted ``sklearn.cluster.KMeans``, without the labels of the rows that it was fit on.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features), float32 or float64
        As one fitted by scikit-learn, the estimator takes floats of this type alone.
    inertia : float
    n_iter : int
    **parameters
        Of the estimator, such as `max_iter`.
    """
    model = sklearn.cluster.KMeans(len(centers), init=centers, n_init=1, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(centers)  # what else a fitted model has
    del model.labels_  # of the centers
    model.set_params(**parameters)
    model.cluster_centers_ = centers
    model.inertia_ = inertia
    model.n_iter_ = n_iter
    return model
