"""The records that the search of nearest centers reads and writes: named arrays, which Numba takes apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SLICES", "CandidateList", "Centers", "Extent", "Rows", "Traits", "Workspace"]

_Floats = NDArray[np.float32]
SLICES = 128
"""Parts of equal width by which new candidates are put in order."""


class Traits(NamedTuple):
    """The numbers that rows of one type and width are searched with.

    Attributes
    ----------
    gamma : float32
        (n_features + 2) 2^-24.
    bits : int
        F of the grid of the centers.
    width : int or tuple of None
        See `dkmeans.kernels.vector`.
    """

    gamma: np.float32
    bits: int
    width: int | tuple[None, ...]


class Centers(NamedTuple):
    """The centers of a step, in the layouts that the search reads.

    Attributes
    ----------
    values : ndarray of shape (n_clusters * n_features,), float32
    integers : ndarray of shape (n_clusters, n_features), int64
        On the grid of `dkmeans.kernels.exact`.
    tiles : ndarray of shape (n_tiles * n_features * 16,), float32
        The centers again, sixteen near ones to a tile; very far away where a tile has less.
    members : ndarray of shape (n_tiles * 16,), int32
        Their numbers.
    means : ndarray of shape (n_mean_tiles * n_features * 16,), float32
        Mean of each tile, sixteen to a tile of their own.
    radii : ndarray of shape (n_mean_tiles * 16,), float32
        Radius of the ball around each mean that holds the tile, rounded up.
    """

    values: _Floats
    integers: NDArray[np.int64]
    tiles: _Floats
    members: NDArray[np.int32]
    means: _Floats
    radii: _Floats


class Rows(NamedTuple):
    """The rows of a block and what is known of them; padded to whole tiles.

    Attributes
    ----------
    tiles : ndarray of shape (n_tiles * n_features * 16,), uint8 or uint16
    starts : ndarray of shape (n_pivots + 1,), int64
        First row of each run.
    pivots : ndarray of shape (n_pivots * n_features,), float32
        Integers: the pivot of each run.
    squared_radii : ndarray of shape (n_pivots,), float32
        Squared distance from each pivot up to which centers were listed the last time.
    labels : ndarray of shape (n_tiles * 16,), int32
    spread : ndarray of shape (n_tiles * 16,), float32
        About the squared distance to the center.
    """

    tiles: NDArray[Any]
    starts: NDArray[np.int64]
    pivots: _Floats
    squared_radii: _Floats
    labels: NDArray[np.int32]
    spread: _Floats


class CandidateList(NamedTuple):
    """The centers near one pivot, in about ascending distance; the last four fill up a group.

    Attributes
    ----------
    gaps : ndarray of shape (capacity * n_features,), float32
        The pivot less each center: g.
    biases : ndarray of shape (capacity,), float32
        |g|^2 / 2.
    lower_bounds : ndarray of shape (capacity,), float32
        Ascending; no center from here on is nearer to the pivot.
    members : ndarray of shape (capacity,), int32
        Numbers of the centers.
    """

    gaps: _Floats
    biases: _Floats
    lower_bounds: _Floats
    members: NDArray[np.int32]


class Extent(NamedTuple):
    """The part of the centers that a candidate list has.

    Attributes
    ----------
    length : int
        Candidates in it.
    squared_radius : float32
        All centers up to that squared distance from the pivot are among them.
    closed : bool
        Whether no more can be added.
    """

    length: np.int64
    squared_radius: np.float32
    closed: bool


class Workspace(NamedTuple):
    """Memory that a search works in, for one pivot, tile or row at a time.

    Attributes
    ----------
    candidates : CandidateList
        Of one pivot.
    tile : ndarray of shape (n_features * 16,), float32
        x' of sixteen rows, feature by feature.
    state : ndarray of shape (5, 16), float32
        Of each of them: best and second score, limit, |x'|, |x'|^2; see `vector`.
    found : ndarray of shape (16,), int32
        Position of the best in the list.
    pivot_bounds : ndarray of shape (n_mean_tiles * 16,), float32
        From the pivot, a lower bound of the distance to each tile of centers.
    pivot_squares : ndarray of shape (n_tiles * 16,), float32
        From the pivot, the squared distance of each center of the tiles that are `measured`.
    measured : ndarray of shape (n_tiles,), bool
    chosen : ndarray of shape (n_tiles * 16,), int32
        Centers that come into the list next.
    chosen_squares : ndarray of shape (n_tiles * 16,), float32
        Their squared distances.
    slice_counts : ndarray of shape (SLICES,), int64
        How many of them lie in each slice.
    row : ndarray of shape (n_features,), float32
        One row that is resolved exactly.
    row_bounds, row_squares
        As `pivot_bounds` and `pivot_squares`, from that row.
    """

    candidates: CandidateList
    tile: _Floats
    state: _Floats
    found: NDArray[np.int32]
    pivot_bounds: _Floats
    pivot_squares: _Floats
    measured: NDArray[np.bool_]
    chosen: NDArray[np.int32]
    chosen_squares: _Floats
    slice_counts: NDArray[np.int64]
    row: _Floats
    row_bounds: _Floats
    row_squares: _Floats
