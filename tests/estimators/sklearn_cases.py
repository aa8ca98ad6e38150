"""Cases of scikit-learn's own tests of KMeans that `dkmeans.KMeans` fails, and why.

Patterns of whole case names, as pytest has them: what fails matches one, and what matches one fails.
"""

from __future__ import annotations

__all__ = ["FAILING"]

FAILING = {
    "min_gain ends a fit before nothing moves: tol=0 alone does not wait for strict convergence": [
        r"test_kmeans_verbose\[0-(lloyd|elkan)\]",
    ],
    "a row that becomes a center leaves its old one an iteration later: the same end after 5, not 3": [
        r"test_kmeans_relocated_clusters\[(lloyd|elkan)-(dense|sparse_matrix|sparse_array)\]",
    ],
    "seeds of k-means|| are moved on the sample, here all rows: no later iteration makes them better": [
        r"test_score_max_iter\[42-KMeans\]",
    ],
    "calls a private method that is not here; weights in seeding have tests in test_weighted.py": [
        r"test_sample_weight_(init|zero)\[42-(k-means\+\+|random)\]",
    ],
}
