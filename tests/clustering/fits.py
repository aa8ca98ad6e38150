"""Rows to fit, and when two fits are the same."""

from __future__ import annotations

import numpy as np

__all__ = ["assert_same_fit", "blobs"]


def blobs(n_rows=900, n_features=4, n_middles=6, seed=5):
    rng = np.random.default_rng(seed)
    middles = rng.integers(40, 216, (n_middles, n_features))
    return np.clip(
        middles[rng.integers(n_middles, size=n_rows)] + rng.normal(0, 15, (n_rows, n_features)), 0, 255
    )


def assert_same_fit(one, other, *, labels=True):
    np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)
    assert one.cluster_centers_.dtype == other.cluster_centers_.dtype
    assert (one.inertia_, one.n_iter_) == (other.inertia_, other.n_iter_)
    if labels:
        np.testing.assert_array_equal(np.asarray(one.labels_), np.asarray(other.labels_))
