"""Cases of scikit-learn's own tests of KMeans that `dkmeans.KMeans` fails on purpose, and why.

Patterns of whole case names, as pytest has them: what fails matches one, and what matches one fails.
"""

from __future__ import annotations

__all__ = ["FAILING"]

_OURS = r"(.*-)?(?<!MiniBatch)KMeans-.*"
_SPARSE = r"sparse_(matrix|array)"

FAILING = {
    "sparse rows are refused, as by all of dkmeans: images are dense": [
        rf"test_(all_init|float_precision|integer_input|kmeans_predict)\[{_OURS}{_SPARSE}\]",
        rf"test_(scaled_weights|unit_weights_vs_no_weights)\[{_OURS}{_SPARSE}\]",
        rf"test_(dense_sparse|predict_dense_sparse)\[{_OURS}X_csr\d\]",
        rf"test_k(_)?means_(1_iteration|elkan_results|relocated_clusters|results)\[.*{_SPARSE}.*\]",
        rf"test_(kmeans_empty_cluster_relocated|kmeans_init_fitted_centers)\[{_SPARSE}\]",
        rf"test_relocating_with_duplicates\[.*-{_SPARSE}\]",
        r"test_predict_does_not_change_cluster_centers\[csr_(matrix|array)\]",
    ],
    "centers are float64, and means of float32 rows more exact than float32 tells": [
        r"test_float_precision\[42-KMeans-dense\]",
    ],
    "verbose tells on stderr, as all of dkmeans does, not on stdout": [
        r"test_kmeans_verbose\[.*\]",
    ],
    "a row that becomes a center leaves its old one an iteration later: the same end after 5, not 3": [
        r"test_kmeans_relocated_clusters\[(lloyd|elkan)-dense\]",
    ],
    "an empty center goes to a row even where all distances are zero: the same end after 2, not 1": [
        r"test_relocating_with_duplicates\[(lloyd|elkan)-dense\]",
    ],
    "seeds of k-means|| are moved on the sample, here all rows: no later iteration makes them better": [
        r"test_score_max_iter\[42-KMeans\]",
    ],
    "algorithm is of no account, so that 'elkan' makes as much sense for one cluster as for many": [
        r"test_warning_elkan_1_cluster",
    ],
    "calls a private method that is not here; weights in seeding have tests in test_weighted.py": [
        r"test_sample_weight_(init|zero)\[42-(k-means\+\+|random)\]",
    ],
}
