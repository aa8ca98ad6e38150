"""The nearest center of each row, looked for once for each distinct color where there are many pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.features.histogram import Histogram, is_worth_counting

__all__ = ["choose_code_dtype", "label_rows"]


def choose_code_dtype(n_clusters: int) -> np.dtype[Any]:
    """Choose the smallest unsigned integer that holds every code."""
    return np.min_scalar_type(n_clusters - 1)


def label_rows(rows: NDArray[Any], centers: NDArray[Any], device: str) -> NDArray[np.int32]:
    """Find the nearest center of each row; of many colors, each distinct one is looked for once."""
    if not is_worth_counting(rows.dtype, rows.shape[1], len(rows)):
        return kernels.load(rows, device).labels(centers)
    histogram = Histogram.of(rows, device)
    labels = kernels.load(histogram.colors, device).labels(centers)
    return histogram.look_up(rows, labels, device)
