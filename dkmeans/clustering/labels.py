"""The nearest center of each row, looked for once for each distinct color where there are many pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.features.colors import color_labels, count_colors, countable

__all__ = ["COUNTED", "code_dtype", "label_rows"]

COUNTED = 1 << 19
"""Rows of one block from which it costs less to count their colors than to look for each of them."""


def code_dtype(n_clusters: int) -> np.dtype[Any]:
    """The smallest unsigned integer that holds every code."""
    return np.min_scalar_type(n_clusters - 1)


def label_rows(rows: NDArray[Any], centers: NDArray[Any], device: str) -> NDArray[np.int32]:
    """The nearest center of each row; of many colors, each distinct one is looked for once."""
    if not countable(rows.dtype, rows.shape[1]) or len(rows) < COUNTED:
        return kernels.load(rows, device).labels(centers)
    colors, _ = count_colors(rows, device)
    return color_labels(rows, colors, kernels.load(colors, device).labels(centers), device)
