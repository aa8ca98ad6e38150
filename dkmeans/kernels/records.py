"""The records that the search of nearest centers reads and writes: named arrays, which Numba takes apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SLICES", "CandidateList", "Centers", "Coarse", "Extent", "Rows", "Traits", "Workspace"]

_Floats = NDArray[np.float32]
SLICES = 128
"""Parts of equal width by which new candidates are put in order."""


class Traits(NamedTuple):
    """The numbers that rows of one type and width are searched with.

    Attributes
    ----------
    gamma : float32
        (n_features + 2) 2^-24.
    margin : float32
        The same, or 0 if rows are searched as bytes.
    bits : int
        F of the grid of the centers.
    width : int or tuple of None
        See `dkmeans.kernels.vector`.
    """

    gamma: np.float32
    margin: np.float32
    bits: int
    width: int | tuple[None, ...]


class Coarse(NamedTuple):
    """The centers once more, for single rows: as they are, or to whole numbers where bytes are faster.

    Attributes
    ----------
    tiles : ndarray, float32 or int32
        The tiles of `Centers`, or their words, see `dkmeans.kernels.rounded`.
    means : ndarray, float32 or int32
        A mean for each tile, laid out like that.
    radii : ndarray of shape (n_mean_tiles * 16,), float32
        Radius of the ball around each mean that holds the centers of the tile, rounded up.
    blur : float32
        No center is farther from where it lies in `tiles`.
    """

    tiles: NDArray[Any]
    means: NDArray[Any]
    radii: _Floats
    blur: np.float32


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
    planes : ndarray of int32
        Words of the two bytes of each center, see `bytewise`; empty if rows are not searched as bytes.
    halves : ndarray of shape (n_clusters,) or (0,), float32
        |c|^2 / 2 of each center.
    coarse : Coarse
    """

    values: _Floats
    integers: NDArray[np.int64]
    tiles: _Floats
    members: NDArray[np.int32]
    means: _Floats
    radii: _Floats
    planes: NDArray[np.int32]
    halves: _Floats
    coarse: Coarse


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
    gaps : ndarray of shape (capacity * n_features,) or (0,), float32
        The pivot less each center: g. Written as far as the search comes; not at all for rows as bytes.
    biases : ndarray of shape (capacity,), float32
        |g|^2 / 2, for rows as bytes |c|^2 / 2.
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
    written : int
        Candidates whose gaps are written.
    """

    length: np.int64
    squared_radius: np.float32
    closed: bool
    written: np.int64


class Workspace(NamedTuple):
    """Memory that a search works in, for one pivot, tile or row at a time.

    Attributes
    ----------
    candidates : CandidateList
        Of one pivot.
    home : ndarray of shape (2 * n_words + 1,) or (0,), int32
        The pivot as `bytewise.load_words` reads it; empty if rows are not searched as bytes.
    home_bytes : ndarray of uint8
        The same memory.
    tile : ndarray of shape (n_features * 16,), float32, or of shape (n_words * 64,), uint8
        x' of sixteen rows, feature by feature; or x word by word.
    state : ndarray of shape (7, 16), float32
        Of each of them: best, second and third score, limit, |x'|, |x'|^2, error; see `writer`.
    found : ndarray of shape (32,), int32
        Position of the best in the list, for each of them, and of the second best.
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
    row_words : ndarray of shape (n_features,), float32, or of shape (n_words + 1,), int32
        The same as `Coarse` has the centers.
    row_bytes : ndarray of uint8
        The memory of its words.
    row_bounds, row_squares
        As `pivot_bounds` and `pivot_squares`, from that row.
    """

    candidates: CandidateList
    home: NDArray[np.int32]
    home_bytes: NDArray[np.uint8]
    tile: NDArray[Any]
    state: _Floats
    found: NDArray[np.int32]
    pivot_bounds: _Floats
    pivot_squares: _Floats
    measured: NDArray[np.bool_]
    chosen: NDArray[np.int32]
    chosen_squares: _Floats
    slice_counts: NDArray[np.int64]
    row: _Floats
    row_words: NDArray[Any]
    row_bytes: NDArray[np.uint8]
    row_bounds: _Floats
    row_squares: _Floats
