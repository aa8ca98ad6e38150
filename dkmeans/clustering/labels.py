"""The nearest center of each row, looked for once for each distinct color where there are many pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.constrained import group_by_alpha, label_groups
from dkmeans.features.histogram import Histogram, is_worth_counting
from dkmeans.features.space import FeatureSpace

__all__ = ["choose_code_dtype", "label_rows"]


def choose_code_dtype(n_clusters: int) -> np.dtype[Any]:
    """Choose the smallest unsigned integer that holds every code."""
    return np.min_scalar_type(n_clusters - 1)


def label_rows(
    rows: NDArray[Any], centers: NDArray[Any], device: str, features: FeatureSpace | None = None
) -> NDArray[np.int32]:
    """Find the nearest center of each row; of many colors, each distinct one is looked for once.

    `features` tells whether the rows are pixels with alpha: opaque ones take opaque centers then, and clear
    ones a clear one, if there are such; see `dkmeans.clustering.constrained.group_by_alpha`.
    """
    if features is not None and features.has_alpha and features.patch is None:
        return label_groups(group_by_alpha(rows, None, centers, features, device), centers)
    if not is_worth_counting(rows.dtype, rows.shape[1], len(rows)):
        return kernels.load(rows, device).labels(centers)
    histogram = Histogram.of(rows, device)
    labels = kernels.load(histogram.colors, device).labels(centers)
    return histogram.look_up(rows, labels, device)
