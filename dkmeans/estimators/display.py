"""What a notebook shows of a fitted estimator, below scikit-learn's own picture of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts import display
from dkmeans.events import words
from dkmeans.features.space import FeatureSpace

__all__ = ["fitted_html"]

_CHANNELS = (1, 3)
"""Features of rows of bytes that are shown as grays and as colors."""


def fitted_html(model: Any) -> str:
    """Make HTML of what a fitted `KMeans` has found; centers of grays and colors are shown as such."""
    counts = _counts(model)
    found = {"features": words.integer(model.n_features_in_)}
    if hasattr(model, "inertia_"):  # not of mini-batches without labels
        found["inertia"] = words.number(model.inertia_)
    if hasattr(model, "n_iter_"):  # not after partial_fit
        found["iterations"] = words.integer(model.n_iter_)
    if counts is not None:
        least, median, most = (words.integer(int(n)) for n in (counts.min(), np.median(counts), counts.max()))
        found["rows of a cluster"] = f"{least} to {most}, median {median}"
    facts = [display.Fact(name, value, value) for name, value in found.items()]

    def pictures() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        if model._rows_dtype == "uint8" and model.n_features_in_ in _CHANNELS:
            n_rows = np.zeros(len(model.cluster_centers_), np.int64) if counts is None else counts
            space = FeatureSpace(np.dtype(np.uint8), model.n_features_in_)
            yield from display.gallery(model.cluster_centers_, n_rows, space)

    return display.page("clusters", words.integer(len(model.cluster_centers_)), facts, pictures)


def _counts(model: Any) -> NDArray[np.int64] | None:
    """Rows of each cluster; None if they are not known without further work."""
    labels = getattr(model, "labels_", None)
    if not isinstance(labels, np.ndarray):
        return None
    return np.bincount(labels, minlength=len(model.cluster_centers_))
