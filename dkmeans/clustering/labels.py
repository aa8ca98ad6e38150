"""The nearest center of each row, looked for once for each distinct color where there are many pixels."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.constrained import group_by_alpha, label_groups
from dkmeans.features.histogram import Histogram, is_worth_counting, pack_colors, unpack_colors
from dkmeans.features.space import FeatureSpace
from dkmeans.kernels.colors import find_labels, label_table, note_labels
from dkmeans.storage.access import count

__all__ = ["choose_code_dtype", "forget_colors", "label_rows"]

_MOST_TABLES = 2
"""Tables of 64 MiB that a process keeps; more are left by runs that died."""
_KNOWN: dict[str, NDArray[np.int32]] = {}
_KNOWN_LOCK = threading.Lock()


def choose_code_dtype(n_clusters: int) -> np.dtype[Any]:
    """Choose the smallest unsigned integer that holds every code."""
    return np.min_scalar_type(n_clusters - 1)


def label_rows(
    rows: NDArray[Any],
    centers: NDArray[Any],
    device: str,
    features: FeatureSpace | None = None,
    run: str | None = None,
) -> NDArray[np.int32]:
    """Find the nearest center of each row; of many colors, each distinct one is looked for once.

    `features` tells whether the rows are pixels with alpha: opaque ones take opaque centers then, and clear
    ones a clear one, if there are such; see `dkmeans.clustering.constrained.group_by_alpha`. With the name
    of a `run`, which has always the same centers, colors are remembered until `forget_colors`.
    """
    count(rows=len(rows))
    if features is not None and features.has_alpha and features.patch is None:
        return label_groups(group_by_alpha(rows, None, centers, features, device), centers)
    if not is_worth_counting(rows.dtype, rows.shape[1], len(rows)):
        return kernels.load(rows, device).labels(centers)
    if run is not None and not kernels.uses_gpu(device):
        return _label_colors(rows, centers, _table(run, rows.shape[1]))
    histogram = Histogram.of(rows, device)
    labels = kernels.load(histogram.colors, device).labels(centers)
    return histogram.look_up(rows, labels, device)


def _table(run: str, channels: int) -> NDArray[np.int32]:
    """Find the labels of the colors that this process has seen in a run."""
    with _KNOWN_LOCK:
        if run not in _KNOWN:
            while len(_KNOWN) >= _MOST_TABLES:
                del _KNOWN[next(iter(_KNOWN))]
            _KNOWN[run] = label_table(channels)
        return _KNOWN[run]


def _label_colors(
    pixels: NDArray[np.uint8], centers: NDArray[Any], table: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Look up the labels of pixels, after those that are new have been found.

    Threads may find a label twice, which is then noted twice: it is the same.
    """
    labels, unknown = find_labels(pixels, table)
    if len(unknown):
        numbers, which = np.unique(pack_colors(pixels[unknown]), return_inverse=True)
        found = kernels.load(unpack_colors(numbers, pixels.shape[1]), "cpu").labels(centers)
        note_labels(numbers, found, table)
        labels[unknown] = found[which]
    return labels


def forget_colors(run: str) -> None:
    """Drop what this process remembers of a run."""
    with _KNOWN_LOCK:
        _KNOWN.pop(run, None)
