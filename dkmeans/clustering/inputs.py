"""Checks of an estimator's input: arrays of NumPy, Dask and Zarr, and the weights of their rows."""

from __future__ import annotations

from numbers import Real
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse
from dask.base import is_dask_collection
from sklearn.utils import check_array

from dkmeans.clustering.blocks import check_blocks, check_mask
from dkmeans.clustering.stored import StoredRows, is_stored

__all__ = ["check_kind", "check_rows", "check_weights", "compute_sizes", "join_features"]

_NUMBERS = "biuf"


def _type(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def check_kind(array: Any, name: str) -> None:
    """Refuse what would be gathered or stripped without a word: lazy tables, masks; and sparse arrays.

    Raises
    ------
    ValueError
        Saying what to pass instead.
    """
    check_mask(array, name)
    if isinstance(array, da.Array):
        if not isinstance(array._meta, np.ndarray):
            raise ValueError(
                f"{name}: found a Dask array with blocks of {_type(array._meta)}; expected blocks of NumPy. "
                f"Make them so with {name}.map_blocks(function), as of the blocks' todense or get."
            )
    elif is_dask_collection(array):
        has_it = hasattr(type(array), "to_dask_array")
        remedy = f"{name}.to_dask_array(lengths=True)" if has_it else "a dask.array.Array made of it"
        raise ValueError(
            f"{name}: found {_type(array)}; expected an array of Dask, as this would be gathered here. "
            f"Pass {remedy}."
        )
    elif hasattr(array, "todense") and not scipy.sparse.issparse(array):  # scikit-learn refuses SciPy's
        raise ValueError(f"{name}: found {_type(array)}; expected a dense array. Pass {name}.todense().")


def check_rows(array: Any) -> Any:
    """Refuse an array of NumPy, Dask or Zarr that cannot be rows; give the others back.

    Raises
    ------
    ValueError
        Saying what was found and how to go on.
    """
    if array.dtype.kind not in _NUMBERS:
        raise ValueError(
            f"X: found {array.dtype}; expected real numbers. Convert them first, as with X.astype('float64')."
        )
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"X: found shape {array.shape}; expected (n_rows, n_features), at least one row and one feature. "
            "Reshape your data."
        )
    if np.isnan(array.shape[1]):
        raise ValueError(
            f"X: found shape {array.shape}; expected a known number of columns. "
            "Call X.compute_chunk_sizes() first."
        )
    return array


def join_features(array: da.Array) -> da.Array:
    """Put the chunks of `array` along the features into one."""
    return array.rechunk({1: -1}) if array.numblocks[1] > 1 else array


def compute_sizes(array: Any) -> Any:
    """Give `array` chunks of known sizes, for which Dask may have to compute it."""
    if isinstance(array, da.Array) and np.isnan(array.shape).any():
        array = array.copy().compute_chunk_sizes()
        if not array.shape[0]:
            raise ValueError(
                "Found array with 0 sample(s) once its chunks were computed; expected at least 1."
            )
    return array


def check_weights(weights: Any, array: Any) -> Any:
    """Make weights of the rows of `array` an array of NumPy or Dask, one number a row, or None.

    Raises
    ------
    ValueError
        If they are something else.
    """
    if weights is None:
        return None
    n_rows = array.shape[0]
    check_kind(weights, "sample_weight")
    if isinstance(weights, Real):
        weights = np.full(n_rows, weights)
    elif isinstance(weights, da.Array):
        weights = compute_sizes(check_blocks(weights, "sample_weight", rows=False))
    elif is_stored(weights):
        weights = StoredRows(weights, "sample_weight").read(0, weights.shape[0] if weights.ndim else 1)
    else:
        weights = check_array(weights, ensure_2d=False, input_name="sample_weight")
    if weights.shape != (n_rows,) or weights.dtype.kind not in _NUMBERS:
        raise ValueError(
            f"sample_weight: found {weights.dtype} of shape {weights.shape}; expected one number for each of "
            f"{n_rows} rows."
        )
    return weights
