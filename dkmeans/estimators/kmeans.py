"""scikit-learn's k-means estimator over the engine of dkmeans."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Self

import dask.array as da
import numpy as np
import sklearn.cluster
from dask.system import CPU_COUNT
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from dkmeans.artefacts.codebook import Codebook, open_codebook
from dkmeans.clustering.fitted import fitted_kmeans
from dkmeans.clustering.inputs import as_rows, check_weights, compute_sizes, find_client
from dkmeans.clustering.lloyd import known_labels, lloyd, round_centers
from dkmeans.clustering.loop import LloydResult, State
from dkmeans.clustering.parameters import check_parameters, choose_n_init
from dkmeans.clustering.parts import compute_distances, find_nearest, load_array_rows, map_rows
from dkmeans.clustering.progress import Callback, Progress
from dkmeans.clustering.restarts import load_starts
from dkmeans.clustering.rows import Rows
from dkmeans.clustering.stored import StoredRows
from dkmeans.compute.distributed import Distributed
from dkmeans.compute.executor import Executor
from dkmeans.compute.in_process import InProcess
from dkmeans.estimators.display import fitted_html
from dkmeans.kernels import arithmetic

__all__ = ["KMeans"]


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """K-means on arrays of NumPy, SciPy, Dask and Zarr and on tables, with the interface of scikit-learn.

    Rows of uint8 and uint16, with integer weights or none, are clustered exactly, as ``dkmeans fit`` does:
    the result is a function of the rows, the parameters and the seed, the same bits for any chunks, threads
    and workers. Other numbers, and other weights, take a float64 path: labels are the argmin of distances
    computed in float64, and sums are added block by block, so a result depends on the chunks of a Dask or
    Zarr array (an array in memory has its own), but not on threads and workers.

    Parameters
    ----------
    n_clusters : int
        Number of centers, at most the number of rows.
    init : {"k-means||", "k-means||-cached", "k-means++", "random"}, callable or array-like
        How the first centers are chosen, or the centers themselves, of shape (n_clusters, n_features), or
        what makes such: ``init(X, n_clusters, random_state)``, called with all rows, those of Zarr as a
        lazy Dask array, and with a ``numpy.random.RandomState``. Neither looks at weights.
    n_init : int or "auto"
        Starts, of which the one of the lowest inertia is taken. The first has the seed of `random_state`
        itself, so that ``n_init=1`` gives the bits of ``dkmeans fit``; the others have seeds spawned from it.
        "auto" is 10 for ``init="random"`` and a callable, else 1, as in scikit-learn; but for "k-means||" it
        is 10 where that costs little: of at most 2,097,152 rows times features times clusters, unless these
        are few colors of integers, whose seeds are the best of several starts already.
    max_iter : int
        Most iterations of a start.
    tol : float
        Stop when the squared center shift is at most this fraction of the mean variance of the features.
    min_gain : float
        Stop when an iteration takes away less than this part of the inertia, in the mean of the last five; 0
        leaves it to `tol`.
    relaxation : float
        Go so many times the way from a center to the mean of its rows while many rows move, from 1, the plain
        step of scikit-learn, to 1.99, in hundredths: fewer iterations to the same inertia.
    verbose : int
        0 says nothing; 1 a line an iteration, on stdout; 2 also what seeding does and how many rows move.
    callback : callable or None
        ``callback(iteration, inertia, center_shift)`` is called after each iteration, counted from 0 in each
        start; inertia is that of the centers that it began with, center_shift the squared distance to the
        means of their rows. What it raises ends the fit.
    random_state : int, RandomState instance, Generator or None
        An int gives the seeds of ``dkmeans fit --seed``.
    copy_x : bool
        Of no account, as `X` is never changed; taken because scikit-learn's has it.
    algorithm : {"lloyd", "elkan"}
        Of no account: the bits are the same, found by bounds on distances wherever that pays.
    n_jobs : int or None
        Threads for arrays in memory, and for others if no client of Dask is active; None and -1 take all
        cores that the process may use.
    device : {"auto", "cpu", "gpu"}
        What integer rows are worked on; "auto" takes a GPU where there is one. Floats stay on the CPU, and
        are an error with "gpu". Seeds, from a bounded sample, and `transform` are work of the CPU.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        float32, on the grid of `dkmeans.kernels.exact`, after an exact fit. Else computed in float64; float32
        at the end if the rows are.
    labels_ : ndarray of shape (n_rows,), int32
        Index of the nearest center of each row, the lowest on ties; of Dask and Zarr input a lazy Dask array.
    inertia_ : float
        Sum of the squared distances of the rows to their nearest centers, times their weights.
    n_iter_ : int
        Of the start that was taken.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,), object
        Only if the columns of the input have names.

    Notes
    -----
    Rows of Dask and Zarr, arrays and DataFrames, are worked on where the active client of Dask has its
    workers, if there is one, and held in their memory during a fit. A Zarr array has to be there too, or it
    lies in the memory of this process and is worked on here. Chunks of it that were never written are its
    fill value, damaged ones are an error.

    Sparse rows of SciPy give what the dense array of them gives, bit for bit: they are made dense block by
    block. All blocks stay dense during a fit if they take at most half of the memory, else each step makes
    its own anew, one for each thread. Centers are dense, and so is the sample that first centers are drawn
    from: 20,000 rows, or 50 for each cluster if that is more.

    Inertia of one start, and of the default, as a part of the lowest known: the median and the worst of 20
    seeds, beside the single start of scikit-learn 1.9.1 (``make bench-starts``; docs/estimator.md has more).
    The ten starts of "auto" are one of k-means|| and nine of k-means++, which is as good on few rows.

    ================  =====  ======  =======  ======  ============  =========
    rows (clusters)   start  worst   default  worst   scikit-learn  its worst
    ================  =====  ======  =======  ======  ============  =========
    blobs of 5 (5)    1.096  1.111   1.000    1.000   1.048         1.120
    blobs of 12 (12)  1.054  1.156   1.000    1.000   1.100         1.159
    iris (8)          1.025  1.310   1.000    1.012   1.101         1.223
    wine (3)          1.001  1.241   1.000    1.000   1.001         1.004
    digits (10)       1.001  1.072   1.000    1.000   1.003         1.046
    patches (64)      1.005  1.013   1.005    1.013   1.006         1.012
    a photo (16)      1.000  1.008   1.000    1.008   1.029         1.072
    ================  =====  ======  =======  ======  ============  =========

    Rows of weight zero take part in nothing; their labels are those that `predict` gives them. A fit of
    integer weights is one of as many repetitions of each row, but that the greatest common divisor of all
    weights draws no other seeds: weights times a whole number give the same centers, of rows of floats
    weights times any number. "auto" counts each row once, whatever its weight.

    Rows that would be changed without a word are refused by a ValueError that says how to go on: a masked
    value; blocks of Dask of another type, dtype or shape than their array declares; integers beyond 2**53;
    and floats of which the largest absolute value is neither 0 nor between 1e-100 and 1e100 (that of weights:
    1e-60 to 1e60), as sums of their squares leave the range of float64. Differences below 1e-150 count
    nothing.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means||",
        n_init: int | str = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        min_gain: float = 2e-5,
        relaxation: float = 1.9,
        verbose: int = 0,
        callback: Callback | None = None,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        n_jobs: int | None = None,
        device: str = "auto",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.min_gain = min_gain
        self.relaxation = relaxation
        self.verbose = verbose
        self.callback = callback
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.n_jobs = n_jobs
        self.device = device

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the centers of `X`.

        Parameters
        ----------
        X : array-like, sparse array, array of Dask or Zarr, or DataFrame of Dask, (n_rows, n_features)
            The rows.
        y : Ignored
            There for scikit-learn.
        sample_weight : array-like or Dask array of shape (n_rows,), or None
            How often each row counts, zero or more; None counts each once.

        Returns
        -------
        KMeans
            The fitted estimator itself.

        Raises
        ------
        ValueError
            If a parameter, `X` or `sample_weight` cannot be used, or there are fewer rows than clusters.
        DeviceError
            If ``device="gpu"`` and there is none, or `X` is not uint8 or uint16.
        """
        check_parameters(self)
        array = compute_sizes(self._checked(X, reset=True))
        if array.shape[0] < self.n_clusters:
            raise ValueError(f"n_samples={array.shape[0]} should be >= n_clusters={self.n_clusters}.")
        weights = check_weights(sample_weight, array)
        self._n_init = choose_n_init(self, array)
        progress = Progress(self.verbose, self.callback, self.min_gain)
        cluster = self._cluster(array)
        rows, starts = load_starts(self, array, weights, cluster, self._n_init, progress.seeding)
        fits = (self._iterate(rows, first, progress) for first in starts)
        result = min(fits, key=lambda fit: fit.inertia)  # the first of equals
        single = array.dtype == np.float32
        if single:
            result = round_centers(rows, result)
        n_found = int(np.count_nonzero(result.counts))
        if n_found < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({n_found}) found smaller than n_clusters ({self.n_clusters}). "
                "Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.cluster_centers_ = result.centers.astype(np.float32) if single else result.centers
        self.inertia_ = result.inertia
        self.n_iter_ = len(result.history)
        self._sklearn_dtype = np.float32 if single else np.float64
        self._rows_dtype = str(array.dtype)
        # Not those of rows without a weight, nor of counted ones, are known; those of Dask are lazy.
        known = not isinstance(array, da.Array | StoredRows) and type(rows) is Rows and rows.resident
        self.labels_ = known_labels(rows, result.centers) if known else self._labels(array)
        return self

    def predict(self, X: Any) -> Any:
        """Find the nearest center of each row, the lowest index on ties.

        Parameters
        ----------
        X : array-like, sparse array, array of Dask or Zarr, or DataFrame of Dask, (n_rows, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_rows,), int32
            Of Dask and Zarr input a lazy Dask array.
        """
        check_is_fitted(self)
        return self._labels(self._checked(X))

    def transform(self, X: Any) -> Any:
        """Compute the distance of each row to each center in float64.

        Parameters
        ----------
        X : array-like, sparse array, array of Dask or Zarr, or DataFrame of Dask, (n_rows, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_rows, n_clusters), float32 if `X` is, else float64
            Of Dask and Zarr input a lazy Dask array.
        """
        check_is_fitted(self)
        array = self._checked(X)
        dtype = np.dtype(np.float32 if array.dtype == np.float32 else np.float64)
        function = partial(compute_distances, centers=self.cluster_centers_, dtype=dtype)
        return map_rows(function, array, self._cluster(array), dtype, self._n_features_out)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Compute minus the sum of the squared distances of the rows to their centers, times their weights.

        Parameters
        ----------
        X : array-like, sparse array, array of Dask or Zarr, or DataFrame of Dask, (n_rows, n_features)
            The rows.
        y : Ignored
            There for scikit-learn.
        sample_weight : array-like or Dask array of shape (n_rows,), or None
            How often each row counts; None counts each once.

        Returns
        -------
        float
            At most 0; the nearer, the better.
        """
        check_is_fitted(self)
        array = compute_sizes(self._checked(X))
        weights = check_weights(sample_weight, array)
        rows = load_array_rows(array, weights, self._cluster(array), centers=self.cluster_centers_)
        centers = arithmetic(rows.dtype).snap(self.cluster_centers_, rows.dtype)
        # No iteration: one pass over the rows for what belongs to the centers.
        return -lloyd(rows, State(centers), max_iter=0, tol=0).inertia

    @classmethod
    def from_codebook(cls, codebook: Codebook | str) -> Self:
        """Make a fitted estimator of a codebook; it has no `labels_`, which belong to the rows of a fit.

        It takes rows of the space that the centers were fit in, ``codebook.manifest.space``: pixels as they
        are stored or patches laid flat, and of other spaces, or with alpha, what ``space.from_stored`` makes
        of them. Its labels are the nearest centers, where `dkmeans.Codebook.predict` and `dkmeans.compress`
        give opaque pixels opaque ones.

        Parameters
        ----------
        codebook : Codebook or str
            Or the URL of one.

        Returns
        -------
        KMeans
            Ready for `predict`, `transform` and `score`.

        Raises
        ------
        InputError
            If nothing is at the URL, it is unfinished, or it is something else.
        """
        found = open_codebook(codebook) if isinstance(codebook, str) else codebook
        model = cls(found.n_clusters, max_iter=found.manifest.max_iter)
        model.cluster_centers_ = found.centers.copy()
        model.inertia_, model.n_iter_ = found.manifest.inertia, found.manifest.n_iter
        model.n_features_in_ = found.manifest.n_features
        model._sklearn_dtype = np.float64
        model._rows_dtype = "" if found.manifest.space.patch else str(found.manifest.space.dtype)
        return model

    def to_sklearn(self) -> sklearn.cluster.KMeans:
        """Make a fitted ``sklearn.cluster.KMeans`` with these centers, labels, inertia and iterations.

        Its labels are the same but where rounding decides between two centers. Lazy labels are computed. As
        one fitted by scikit-learn, it takes the dtype that was fitted: float32, or what becomes float64. A
        Generator as `random_state`, which scikit-learn does not take, becomes None.

        Returns
        -------
        sklearn.cluster.KMeans
            Ready for `predict`, `transform` and `score`.
        """
        check_is_fitted(self)
        centers = np.array(self.cluster_centers_, self._sklearn_dtype)
        known = callable(self.init) or (isinstance(self.init, str) and self.init in ("k-means++", "random"))
        init = self.init if known else centers
        names = ("max_iter", "tol", "verbose", "copy_x", "algorithm", "random_state")
        parameters = {name: getattr(self, name) for name in names}
        if isinstance(self.random_state, np.random.Generator):
            parameters["random_state"] = None
        model = fitted_kmeans(centers, self.inertia_, self.n_iter_, init=init, **parameters)
        if hasattr(self, "labels_"):  # but of centers that were found elsewhere
            model.labels_ = np.asarray(self.labels_)
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        return model

    def _html_repr(self) -> str:
        """Make what a notebook shows: scikit-learn's picture and, once it is fitted, what was found."""
        shown: str = super()._html_repr()
        return shown + fitted_html(self) if hasattr(self, "cluster_centers_") else shown

    @property
    def _n_features_out(self) -> int:
        """Number of columns of what `transform` returns."""
        return len(self.cluster_centers_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked(self, X: Any, *, reset: bool = False) -> Any:
        """Check `X` and its columns; see `as_rows`."""
        return as_rows(self, X, reset=reset)

    def _cluster(self, array: Any) -> Executor:
        """Choose where to work on `array`: threads, or the workers of the client that Dask would take."""
        n_threads = CPU_COUNT if self.n_jobs in (None, -1) else int(self.n_jobs)
        in_memory = array.in_memory if isinstance(array, StoredRows) else not isinstance(array, da.Array)
        client = None if in_memory else find_client()
        if client is None:
            return InProcess(n_threads, device=self.device)
        return Distributed(client, device=self.device)

    def _iterate(self, rows: Rows, first: NDArray[Any], progress: Progress) -> LloydResult:
        """Iterate from the first centers of one start."""
        progress.begin()
        options = {name: getattr(self, name) for name in ("max_iter", "tol", "relaxation", "min_gain")}
        return lloyd(rows, State(first), on_iteration=progress.iteration, **options)

    def _labels(self, array: Any) -> Any:
        function = partial(find_nearest, centers=self.cluster_centers_, device=self.device)
        return map_rows(function, array, self._cluster(array), np.dtype(np.int32))
