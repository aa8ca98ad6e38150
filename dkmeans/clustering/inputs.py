"""Checks of an estimator's input: arrays of NumPy, Dask and Zarr, tables, and the weights of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from numbers import Real
from os import PathLike
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse
from dask.base import get_scheduler, is_dask_collection
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from dkmeans.clustering.blocks import check_blocks, check_mask, check_values
from dkmeans.clustering.sparse import SparseRows
from dkmeans.clustering.stored import StoredRows, is_stored, names_of_group
from dkmeans.errors import ClusterError

__all__ = ["as_rows", "check_weights", "compute_sizes", "find_client"]

_NUMBERS = "biuf"
_HOW_TO_RESHAPE = ", as pixels of an image by X.reshape(-1, X.shape[-1])"


def _type(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _is_table(array: Any) -> bool:
    """Whether `array` is a DataFrame of Dask, or a Series."""
    return is_dask_collection(array) and hasattr(type(array), "to_dask_array")


def _check_kind(array: Any, name: str) -> None:
    """Refuse what is no array, or would be gathered or stripped of its mask without a word.

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
                f"Make them so: {name}.map_blocks(lambda block: block.{_dense(array._meta)}(), "
                f"dtype={name}.dtype)."
            )
    elif is_dask_collection(array) and not _is_table(array):
        of_xarray = isinstance(getattr(array, "data", None), da.Array)
        remedy = f"{name}.data" if of_xarray else "a dask.array.Array made of it"
        raise ValueError(
            f"{name}: found {_type(array)}; expected an array or a DataFrame of Dask, as this would be "
            f"gathered here. Pass {remedy}."
        )
    elif hasattr(array, "todense") and not scipy.sparse.issparse(array):
        raise ValueError(
            f"{name}: found {_type(array)}; expected a dense array, or a sparse one of SciPy. "
            f"Pass {name}.todense()."
        )
    elif (names := names_of_group(array)) is not None:
        raise ValueError(
            f"{name}: found a Zarr group; expected one of its arrays: {', '.join(names) or 'it has none'}. "
            f"Pass {name}[...] with the name of one."
        )
    elif _is_no_array(array):
        raise ValueError(
            f"{name}: found {_type(array)}; expected an array of numbers. Open what it stands for, such as "
            "dkmeans.open_dataset(URL).pixels, or make an array of it with numpy.asarray(list(...))."
        )


def _dense(block: Any) -> str:
    """Name the method of a block that makes it one of NumPy."""
    names = ("toarray", "todense", "get", "to_numpy")  # of SciPy, sparse, CuPy, pandas
    return next((name for name in names if hasattr(block, name)), "__array__")


def _is_no_array(array: Any) -> bool:
    """Whether NumPy would only make one object of `array`."""
    if scipy.sparse.issparse(array):  # dok_array is a dict
        return False
    if isinstance(array, str | bytes | PathLike | Mapping | Set | Iterator):
        return True
    known = ("__array__", "__array_interface__", "__len__", "__dataframe__", "__arrow_c_stream__")
    return array is not None and not np.isscalar(array) and not any(hasattr(array, name) for name in known)


def find_client() -> Any:
    """Find the client of Dask that computes what is computed here; None if this process does.

    Raises
    ------
    ClusterError
        If it is an asynchronous one, which cannot be waited for.
    """
    try:
        return getattr(get_scheduler(), "__self__", None)
    except RuntimeError as error:  # of Dask, whose words say nothing of how to go on
        raise ClusterError(
            "found an asynchronous client of Dask; expected one that waits, as a fit does. Connect another "
            "with Client(address), not asynchronous, or work in this process: "
            "with dask.config.set(scheduler='threads')."
        ) from error


def as_rows(model: Any, X: Any, *, reset: bool) -> Any:
    """Check `X` and its columns as rows of the estimator `model`.

    Parameters
    ----------
    model : estimator of scikit-learn's kind
    X : array-like, sparse matrix or array, array of Zarr or Dask, or DataFrame of Dask
    reset : bool
        Whether `model` takes number and names of the columns from `X`; if not, they have to be those it has.

    Returns
    -------
    ndarray, SparseRows, StoredRows or dask.array.Array of shape (n_rows, n_features)
        The values of those of Zarr and Dask are checked where they are read, or computed.

    Raises
    ------
    ValueError
        Saying what was found and how to go on.
    """
    _check_kind(X, "X")
    table = _is_table(X)
    if isinstance(X, da.Array) or is_stored(X) or table:
        array = _check_rows(X.to_dask_array() if table else X)
        validate_data(model, X._meta if table else X, reset=reset, skip_check_array=True)
        return StoredRows(X, "X") if is_stored(X) else _join_features(check_blocks(array, "X"))
    if getattr(X, "ndim", 2) > 2:
        _check_rows(X)
    array = _check_rows(validate_data(model, X, reset=reset, accept_sparse="csr"))
    if scipy.sparse.issparse(array):
        return SparseRows(array)
    check_values(array, "X")
    return array


def _check_rows(array: Any) -> Any:
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
            f"Reshape your data{_HOW_TO_RESHAPE if array.ndim > 2 else ''}."
        )
    if np.isnan(array.shape[1]):
        raise ValueError(
            f"X: found shape {array.shape}; expected a known number of columns. "
            "Call X.compute_chunk_sizes() first."
        )
    return array


def _join_features(array: da.Array) -> da.Array:
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
    _check_kind(weights, "sample_weight")
    if isinstance(weights, Real):
        weights = np.full(n_rows, weights)
    elif isinstance(weights, da.Array) or _is_table(weights):
        weights = weights.to_dask_array() if _is_table(weights) else weights
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
