"""What an estimator is given: arrays of NumPy, Dask and Zarr, and the weights of their rows, checked."""

from __future__ import annotations

from numbers import Real
from typing import Any

import dask.array as da
import numpy as np
from sklearn.utils import check_array

__all__ = ["check_rows", "check_weights", "is_stored", "sized", "whole_rows"]

_NUMBERS = "biuf"


def is_stored(array: Any) -> bool:
    """Whether `array` is one of Zarr's."""
    return type(array).__module__.partition(".")[0] == "zarr" and hasattr(array, "chunks")


def check_rows(array: Any) -> Any:
    """An array of Dask or Zarr that can be rows, as it is.

    Raises
    ------
    ValueError
        If it cannot.
    """
    if array.ndim != 2 or array.dtype.kind not in _NUMBERS or 0 in array.shape:
        raise ValueError(
            f"X: found {array.dtype} of shape {array.shape}; expected numbers of shape (n_rows, n_features), "
            "at least one row and one feature. Reshape your data."
        )
    return array


def whole_rows(array: Any) -> Any:
    """`array` in one chunk along the features, if it is one of Dask."""
    return array.rechunk({1: -1}) if isinstance(array, da.Array) and array.numblocks[1] > 1 else array


def sized(array: Any) -> Any:
    """`array` in chunks of known sizes, for which Dask may have to compute it."""
    if isinstance(array, da.Array) and np.isnan(array.shape).any():
        return array.copy().compute_chunk_sizes()
    return array


def check_weights(weights: Any, array: Any) -> Any:
    """Weights of the rows of `array`: None, or an array of NumPy or Dask, one number a row.

    Raises
    ------
    ValueError
        If they are something else.
    """
    if weights is None:
        return None
    n_rows = array.shape[0]
    if isinstance(weights, Real):
        weights = np.full(n_rows, weights)
    elif not isinstance(weights, da.Array):
        weights = check_array(weights, ensure_2d=False, input_name="sample_weight")
    weights = sized(weights)
    if weights.shape != (n_rows,) or weights.dtype.kind not in _NUMBERS:
        raise ValueError(
            f"sample_weight: found {weights.dtype} of shape {weights.shape}; expected one number for each of "
            f"{n_rows} rows."
        )
    return weights
