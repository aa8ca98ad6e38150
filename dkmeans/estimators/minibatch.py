"""Mini-batches for code that asks for them: scikit-learn moves the centers, labels and inertia are exact."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import sklearn.cluster
from sklearn.utils.validation import check_is_fitted

from dkmeans.clustering.inputs import check_weights
from dkmeans.clustering.lloyd import known_labels, lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.parameters import check_places, seed_of
from dkmeans.clustering.parts import load_array_rows
from dkmeans.clustering.rows import Rows
from dkmeans.clustering.weighted import weigh
from dkmeans.estimators.kmeans import KMeans
from dkmeans.kernels import arithmetic

__all__ = ["MiniBatchKMeans"]

_OURS = ("n_jobs", "device")
"""Parameters that scikit-learn's estimator does not have."""


class MiniBatchKMeans(KMeans):
    """K-means by mini-batches, with the interface of scikit-learn's ``MiniBatchKMeans``.

    The centers are those of scikit-learn, which moves them (D. Sculley, Web-scale k-means clustering, WWW
    2010): each one to the mean of all rows that were ever assigned to it, at the moment they were. So they
    are not the means of the rows nearest to them at the end, and they change with the order of the batches.
    What is exact is what is found for these centers: each row gets its nearest one, and `inertia_` is the
    sum of just these distances.

    Use `KMeans` instead if the rows fit into the memory of this machine or of a cluster, and this one to
    learn from rows that arrive over time or are too many to be read more than once, by `partial_fit`. See
    docs/estimator.md for figures.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : {"k-means++", "random"}, callable or array-like of shape (n_clusters, n_features)
    max_iter : int
        Maximum number of passes: `fit` takes at most ``max_iter * n_rows / batch_size`` batches.
    batch_size : int
        Rows of a batch of `fit`, drawn with replacement.
    verbose : int
        Above 0, scikit-learn prints a line for each batch.
    compute_labels : bool
        Whether to find labels and inertia of the rows once the centers are found.
    random_state : int, RandomState instance, Generator or None
        An int gives the centers that scikit-learn finds with it.
    tol : float
        Stop when the smoothed change of the centers is at most this times the mean variance of the features;
        0 leaves it to `max_no_improvement`.
    max_no_improvement : int or None
        Stop after so many batches in a row that did not improve the smoothed inertia; None never does.
    init_size : int or None
        Rows that the first centers are drawn from; None takes three batches, and at least three rows for
        each cluster.
    n_init : int or "auto"
        First centers that are drawn, of which the best on a sample are used; "auto" is 3 for "random" and a
        callable, else 1.
    reassignment_ratio : float
        Centers with less than this part of the rows of the largest cluster are moved to rows of the batch.
    n_jobs : int or None
        Threads that find labels and inertia; None and -1 take all cores that the process may use.
    device : {"auto", "cpu", "gpu"}
        What labels of integer rows are found on, if the centers lie on the grid of `dkmeans.kernels.exact`;
        where batches have moved them off it, labels take float64 on the CPU, and "gpu" is an error.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), float32 if the rows are, else float64
    labels_ : ndarray of shape (n_rows,), int32
        Nearest center of each row of the last `fit` or `partial_fit`, the lowest index on ties; only if
        `compute_labels`.
    inertia_ : float
        Sum of the squared distances of these rows to their centers, times their weights. Without
        `compute_labels` an estimate from the batches, after `fit` alone.
    n_iter_ : int
        Passes of `fit`, the last one rounded up.
    n_steps_ : int
        Batches so far.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,), object
        Only if the columns of the input have names.

    See Also
    --------
    KMeans : Exact, from all rows in each iteration; also of Dask and Zarr arrays.

    Notes
    -----
    `fit` and `partial_fit` take rows in memory, which become float64 there (float32 stays), as scikit-learn
    computes with these. `predict`, `transform` and `score` take Dask and Zarr arrays as well.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: int | str = "auto",
        reassignment_ratio: float = 0.01,
        n_jobs: int | None = None,
        device: str = "auto",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.n_jobs = n_jobs
        self.device = device

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the centers of `X` by batches that are drawn from it at random.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The rows.
        y : Ignored
            Taken because scikit-learn passes it.
        sample_weight : array-like of shape (n_rows,), or None
            How often each row counts, zero or more; None counts each once.

        Returns
        -------
        MiniBatchKMeans
            This estimator.

        Raises
        ------
        ValueError
            If a parameter, `X` or `sample_weight` cannot be used, or there are fewer rows than clusters.
        DeviceError
            If ``device="gpu"`` and there is none, or `X` is not uint8 or uint16.
        """
        array, weights = self._in_memory(X, sample_weight, reset=True)
        updates = self._begin(self.init).fit(array, sample_weight=weights)
        self.n_iter_ = updates.n_iter_
        return self._finish(updates, array, weights)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Move the centers by one batch, `X`; the first one, of at least `n_clusters` rows, also places them.

        After `from_codebook` the centers of the codebook are the first.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The rows.
        y : Ignored
            Taken because scikit-learn passes it.
        sample_weight : array-like of shape (n_rows,), or None
            How often each row counts, zero or more; None counts each once.

        Returns
        -------
        MiniBatchKMeans
            This estimator.

        Raises
        ------
        ValueError
            If a parameter, `X` or `sample_weight` cannot be used, or the first batch has fewer rows than
            there are clusters.
        DeviceError
            If ``device="gpu"`` and there is none, or `X` is not uint8 or uint16.
        """
        known = getattr(self, "cluster_centers_", None)
        array, weights = self._in_memory(X, sample_weight, reset=known is None)
        if hasattr(self, "_updates"):
            updates = self._updates
        else:
            updates = self._begin(self.init if known is None else known)
        return self._finish(updates.partial_fit(array, sample_weight=weights), array, weights)

    def to_sklearn(self) -> sklearn.cluster.MiniBatchKMeans:
        """Make a fitted ``sklearn.cluster.MiniBatchKMeans`` of it, which learns on from further batches.

        Its labels are the same but where rounding decides between two centers.

        Returns
        -------
        sklearn.cluster.MiniBatchKMeans
            A copy.
        """
        check_is_fitted(self, "_updates")
        model = copy.deepcopy(self._updates)
        for name in ("labels_", "inertia_", "feature_names_in_"):
            if hasattr(self, name):
                setattr(model, name, getattr(self, name))
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags

    def _in_memory(self, X: Any, sample_weight: Any, *, reset: bool) -> tuple[Any, Any]:
        """Check rows and weights."""
        check_places(self)
        array = self._checked(X, reset=reset)
        if not isinstance(array, np.ndarray):
            raise ValueError(
                f"X: found {type(X).__module__}.{type(X).__qualname__}; expected a dense array in memory. "
                "Call partial_fit with one part of it after another, such as X[:1_000_000], or use "
                "dkmeans.KMeans."
            )
        weights = check_weights(sample_weight, array)
        if weights is not None:
            weigh([weights], self._cluster(array))
        return array, weights

    def _begin(self, init: Any) -> sklearn.cluster.MiniBatchKMeans:
        """Make the estimator that moves the centers."""
        parameters = {name: value for name, value in self.get_params().items() if name not in _OURS}
        if isinstance(self.random_state, np.random.Generator):
            parameters["random_state"] = seed_of(self.random_state)
        return sklearn.cluster.MiniBatchKMeans(**{**parameters, "init": init})

    def _finish(self, updates: sklearn.cluster.MiniBatchKMeans, array: Any, weights: Any) -> Self:
        """Take the centers, and find labels and inertia of the rows anew."""
        self._updates = updates
        self.cluster_centers_ = updates.cluster_centers_.copy()  # further batches move these in place
        self.n_steps_ = updates.n_steps_
        self._rows_dtype = str(array.dtype)
        if not self.compute_labels:
            if hasattr(updates, "inertia_"):
                self.inertia_ = updates.inertia_
            return self
        rows = load_array_rows(array, weights, self._cluster(array), centers=self.cluster_centers_)
        centers = arithmetic(rows.dtype).snap(self.cluster_centers_, rows.dtype)
        self.inertia_ = lloyd(rows, State(centers), max_iter=0, tol=0).inertia
        self.labels_ = known_labels(rows, centers) if type(rows) is Rows else self._labels(array)
        return self
