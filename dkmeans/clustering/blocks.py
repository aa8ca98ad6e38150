"""Checks of the values of an estimator's input, where they are: NumPy's at once, Dask's in their tasks.

A block that is not what its array declares, or that hides values behind a mask, is refused: taken as it is,
it would be cut, unmasked or read as other numbers without a word.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST", "SMALLEST", "check_blocks", "check_mask", "check_scale", "check_values", "find_largest"]

LARGEST, SMALLEST = 1e100, 1e-100
"""Between these the largest number of float rows has to be: sums of weighted squares stay within float64."""
_LARGEST_INTEGER = 1 << 53
"""Up to here float64 holds all integers."""


def check_mask(values: Any, name: str) -> None:
    """Refuse an array, or a list of some, of which a value is masked.

    Raises
    ------
    ValueError
        Saying how to go on.
    """
    parts = values if isinstance(values, list | tuple) else [values]
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise ValueError(
            f"{name}: found masked values; expected none, as they would count like the others. Give them a "
            f"value ({name}.filled(value); of Dask da.ma.filled({name}, value)), or leave their rows out."
        )


def check_values(rows: NDArray[Any], name: str) -> None:
    """Refuse numbers that float64 does not hold, or whose squares it does not.

    Raises
    ------
    ValueError
        Saying what was found and how to go on.
    """
    kind, size = rows.dtype.kind, rows.dtype.itemsize
    if not rows.size or kind == "b" or (kind in "iu" and size < 8):
        return
    least, most = rows.min(), rows.max()
    if kind in "iu":
        if max(int(most), -int(least)) > _LARGEST_INTEGER:
            raise ValueError(
                f"{name}: found integers from {least} to {most}; expected at most 2**53, beyond which "
                f"float64 rounds them. Subtract an offset, or round on purpose: {name}.astype('float64')."
            )
    elif not (np.isfinite(least) and np.isfinite(most)):
        raise ValueError(
            f"Input {name} contains NaN or infinity; expected finite numbers. Leave these rows out, or fill "
            "them."
        )
    elif (top := max(float(most), -float(least))) > LARGEST:
        raise ValueError(
            f"{name}: found {top:g} as the largest absolute value; expected at most {LARGEST:g}, as "
            "squares of larger ones overflow. Scale your data."
        )


def find_largest(values: NDArray[Any]) -> float:
    """Find the largest absolute value, 0 of none."""
    return max(float(values.max()), -float(values.min())) if values.size else 0.0


def check_scale(top: float, name: str) -> None:
    """Refuse rows of which `top` is the largest absolute value, if their squares vanish.

    Raises
    ------
    ValueError
        Saying what was found and how to go on.
    """
    if 0 < top < SMALLEST:
        raise ValueError(
            f"{name}: found {top:g} as the largest absolute value; expected at least {SMALLEST:g}, or zeros "
            "alone, as squares of smaller ones vanish. Scale your data."
        )


def check_blocks(array: da.Array, name: str, *, rows: bool = True) -> da.Array:
    """Have every block of `array` checked as it is computed, before anything else is done with it.

    Parameters
    ----------
    array : dask.array.Array
    name : str
        Of the argument, for the messages.
    rows : bool
        Whether its values are checked as those of rows.
    """
    check = partial(_check_block, name=name, dtype=array.dtype, rows=rows)
    meta = np.empty((0,) * array.ndim, array.dtype)
    found: da.Array = da.map_blocks(check, array, dtype=array.dtype, meta=meta)
    return found


def _check_block(
    block: Any, *, name: str, dtype: np.dtype[Any], rows: bool, block_info: Any = None
) -> NDArray[Any]:
    """Check a block, and give it the dtype that is declared."""
    if not isinstance(block, np.ndarray):
        found = f"{type(block).__module__}.{type(block).__qualname__}"
        raise ValueError(
            f"{name}: found a block of the type {found}; expected blocks of NumPy. Make them so before, "
            f"with {name}.map_blocks(function, dtype=...) and what they have: todense, get or to_numpy."
        )
    check_mask(block, name)
    if not np.can_cast(block.dtype, dtype, "safe"):
        raise ValueError(
            f"{name}: found a block of {block.dtype}, the Dask array declares {dtype}. Convert it where "
            f"the blocks are made, or declare it: {name}.map_blocks(np.asarray, dtype='{block.dtype}')."
        )
    _check_shape(block, name, block_info[0]["array-location"])
    if rows:
        check_values(block, name)
    return np.asarray(block, dtype)


def _check_shape(block: NDArray[Any], name: str, location: list[tuple[float, float]]) -> None:
    """Refuse a block of another shape than is declared; NaN declares nothing."""
    declared = tuple(stop - start for start, stop in location)
    same = len(declared) == block.ndim and all(
        np.isnan(size) or size == found for size, found in zip(declared, block.shape, strict=True)
    )
    if not same:
        raise ValueError(
            f"{name}: found a block of shape {block.shape}, the Dask array declares {declared}. Declare the "
            "shapes that there are where the blocks are made, as by map_blocks(..., chunks=...), np.nan for "
            "sizes that are not known."
        )
