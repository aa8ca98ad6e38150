"""Greedy k-means++ on rows of integers: exact, with cached distances, pruned by balls around near rows.

D. Arthur, S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007: each next choice is
drawn with a probability in proportion to weight times squared distance to the nearest choice so far. The
greedy rule, which they name and scikit-learn follows, draws several and takes the one that leaves the lowest
sum of these products. E. Raff, Exact acceleration of k-means++ and k-means||, IJCAI 2021, keeps the distances
and skips by the triangle inequality what a new choice cannot be nearer to; here that is a tile at a time.

Rows lie in tiles of 16 near ones, each in a ball of mean m and radius r. Of a trial c, a row x of the tile
can only gain if |c - x| < a, the largest distance of its rows to their nearest choices, so only if
|c - m| < a + r. In tiles that this leaves open, squared distances are computed in float32. Their terms are
not negative and the differences of rows are exact, so they are wrong by a factor of at most 1 + 2 gamma,
gamma = (d + 2) 2^-24; that of a mean, which is rounded, by 1 + 4 gamma. Both limits are widened by more. What
then lies within its limit is decided in int64, and so is every sum: choices depend neither on the machine nor
on how rows are laid out. Rows with a probability of zero, and so those chosen before, are never drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.arrange import aligned, arrange_centers, near_order
from dkmeans.kernels.jit import inlined, without_refcounts
from dkmeans.kernels.records import Centers
from dkmeans.kernels.vector import lanes_below, lowest_bit, squared_distances
from dkmeans.kernels.writer import LANES

__all__ = ["choose_greedily"]

_STRIDE = 256
"""Rows whose masses are also kept as one sum, so that a draw skips them at once."""
_STEPS = 128
"""Choices between two reports of progress."""
_MASS_BITS = 62


class _Pool(NamedTuple):
    """Rows to choose from, and how far each is from what was chosen.

    Attributes
    ----------
    rows : Centers
        Its `integers` are the rows as they were given, shape (n_rows, n_features), uint8 or uint16.
    weights : ndarray of shape (n_rows,), int64
    closest : ndarray of shape (n_rows,), int64
        Squared distance to the nearest choice.
    masses : ndarray of shape (n_rows,), int64
        What rows are drawn by: weight times `closest` / 2^`shift`.
    strides : ndarray of shape (ceil(n_rows / 256),), int64
        Sum of each 256 masses.
    shift : int64
        More than 0 only where sums would not fit into int64.
    limits : ndarray of shape (n_tiles * 16,), float32
        A lane whose computed squared distance is not below cannot gain.
    reaches : ndarray of shape (n_mean_tiles * 16,), float32
        A tile whose mean is not nearer, in computed squared distance, has no such lane.
    bounds, squares : ndarray of float32
        To work in: of each mean, and of 16 lanes, the squared distance of a trial.
    gamma : float32
    """

    rows: Centers
    weights: NDArray[np.int64]
    closest: NDArray[np.int64]
    masses: NDArray[np.int64]
    strides: NDArray[np.int64]
    shift: np.int64
    limits: NDArray[np.float32]
    reaches: NDArray[np.float32]
    bounds: NDArray[np.float32]
    squares: NDArray[np.float32]
    gamma: np.float32


@inlined
def _exact(rows: Any, one: Any, other: Any) -> Any:
    """Sum up the squared distance of two rows."""
    total = np.int64(0)
    for feature in range(np.uint64(rows.shape[1])):
        gap = np.int64(rows[one, feature]) - np.int64(rows[other, feature])
        total += gap * gap
    return total


@without_refcounts
def _measure(rows: Any, first: Any, closest: Any) -> None:
    """Measure the squared distances of all rows to one of them."""
    for row in range(rows.shape[0]):
        closest[row] = _exact(rows, row, first)


@without_refcounts
def _narrow(pool: _Pool, tile: Any) -> None:
    """Set the limits of a tile by what its rows are from their nearest choices."""
    most, wider = np.int64(0), np.float32(1) + np.float32(4) * pool.gamma
    for lane in range(LANES):
        row = pool.rows.members[tile * LANES + lane]
        if row >= 0:
            square = pool.closest[row]
            most = max(most, square)
            pool.limits[tile * LANES + lane] = np.float32(square) * wider
    reach = np.sqrt(np.float32(most)) + pool.rows.radii[tile]
    pool.reaches[tile] = reach * reach * wider**4 if most else np.float32(0)


@without_refcounts
def _fill(pool: _Pool) -> None:
    """Make masses, sums of them and limits from the distances."""
    pool.strides[:] = 0
    for row in range(pool.closest.size):
        pool.masses[row] = pool.weights[row] * (pool.closest[row] >> pool.shift)
        pool.strides[row // _STRIDE] += pool.masses[row]
    for tile in range(pool.rows.members.size // LANES):
        _narrow(pool, tile)


@inlined
def _farthest(closest: Any) -> Any:
    """Find the first row of the largest distance.

    A loop, as the machine code of NumPy's argmax loads SciPy with it, which takes longer than a palette.
    """
    found = 0
    for row in range(closest.size):
        if closest[row] > closest[found]:
            found = row
    return found


@without_refcounts
def _locate(pool: _Pool, share: Any, total: Any) -> Any:
    """Find the first row up to which the masses sum to `share` of `total`; the farthest if none has any."""
    if total == 0:
        return np.int64(_farthest(pool.closest))
    left = min(max(np.int64(np.ceil(share * total)), np.int64(1)), total)
    stride = 0
    while left > pool.strides[stride]:
        left -= pool.strides[stride]
        stride += 1
    row = stride * _STRIDE
    while left > pool.masses[row]:
        left -= pool.masses[row]
        row += 1
    return row


@without_refcounts
def _visit(pool: _Pool, trial: Any, width: Any, choose: bool) -> Any:
    """Find by how much less the masses sum to with this row as a choice; `choose` makes it one."""
    rows, n_features, gain = pool.rows, pool.rows.integers.shape[1], np.int64(0)
    start, size = trial * n_features, LANES * n_features
    for first in range(0, pool.bounds.size, LANES):
        squared_distances(rows.means, first * n_features, rows.values, start, width, pool.bounds, first)
        open_ = lanes_below(pool.bounds, first, pool.reaches, first)
        while open_:
            tile = first + lowest_bit(open_)
            open_ &= open_ - np.int32(1)
            squared_distances(rows.tiles, tile * size, rows.values, start, width, pool.squares, 0)
            inside = lanes_below(pool.squares, 0, pool.limits, tile * LANES)
            changed = False
            while inside:
                row = rows.members[tile * LANES + lowest_bit(inside)]
                inside &= inside - np.int32(1)
                square = _exact(rows.integers, row, trial)
                if square < pool.closest[row]:
                    less = pool.masses[row] - pool.weights[row] * (square >> pool.shift)
                    gain += less
                    if choose:
                        changed = True
                        pool.closest[row] = square
                        pool.masses[row] -= less
                        pool.strides[row // _STRIDE] -= less
            if changed:
                _narrow(pool, tile)
    return gain


@without_refcounts
def _choose(pool: _Pool, draws: Any, total: Any, width: Any, chosen: Any) -> Any:
    """Choose a row for each row of `draws`; what the masses sum to afterwards."""
    for step in range(draws.shape[0]):
        best, most = np.int64(-1), np.int64(-1)
        for number in range(draws.shape[1]):
            trial = _locate(pool, draws[step, number], total)
            gain = _visit(pool, trial, width, False)
            if gain > most:
                best, most = trial, gain
        chosen[step] = best
        total -= _visit(pool, best, width, True)
    return total


def _make_pool(rows: NDArray[Any], weights: NDArray[np.int64], first: int) -> _Pool:
    """Lay out the rows, of which one is chosen."""
    n_rows, n_features = rows.shape
    closest = np.empty(n_rows, np.int64)
    _measure(rows, first, closest)
    most = int(weights.sum(dtype=object)) * int(closest.max())
    values = rows.astype(np.float32)
    laid: Centers = arrange_centers(values, rows, near_order(values, LANES))
    pool = _Pool(
        laid,
        weights,
        closest,
        masses=np.empty(n_rows, np.int64),
        strides=np.empty(-(-n_rows // _STRIDE), np.int64),
        shift=np.int64(max(0, most.bit_length() - _MASS_BITS)),
        limits=np.zeros(laid.members.size, np.float32),
        reaches=np.zeros(laid.radii.size, np.float32),
        bounds=aligned(laid.radii.size, np.float32),
        squares=aligned(LANES, np.float32),
        gamma=np.float32((n_features + 2) * 2.0**-24),
    )
    _fill(pool)
    return pool


def choose_greedily(
    rows: NDArray[Any],
    weights: NDArray[np.int64],
    n_choices: int,
    rng: np.random.Generator | np.random.RandomState,
    n_trials: int | None = None,
    on_choices: Callable[[int], None] = lambda n: None,
) -> NDArray[np.int64]:
    """Choose rows by greedy k-means++; the first are its choices for fewer, from as many trials.

    Where all masses are zero, the row farthest from the choices is next, the lowest index on ties: rows of
    weight zero once the others are all chosen, and then duplicates.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), uint8 or uint16
    weights : ndarray of shape (n_rows,), int64
        How often each counts; not all zero.
    n_choices : int
    rng : Generator or RandomState
        Draws the first choice by weight, and then `n_trials` numbers in [0, 1) for each of the others.
    n_trials : int or None
        Rows that are compared for each choice; None takes 2 + ln(n_choices), as scikit-learn does.
    on_choices : callable
        Is called with how many more were chosen, now and then.

    Returns
    -------
    ndarray of shape (n_choices,), int64
        Their numbers.
    """
    trials = 2 + int(np.log(n_choices)) if n_trials is None else n_trials
    chosen = np.empty(n_choices, np.int64)
    chosen[0] = rng.choice(len(rows), p=weights / weights.sum())
    draws = rng.random((n_choices - 1, trials))
    rows = np.ascontiguousarray(rows)
    pool = _make_pool(rows, weights.astype(np.int64), int(chosen[0]))
    total = int(pool.masses.sum())
    on_choices(1)
    for start in range(0, len(draws), _STEPS):
        part = draws[start : start + _STEPS]
        total = _choose(pool, part, np.int64(total), rows.shape[1], chosen[1 + start : 1 + start + len(part)])
        on_choices(len(part))
    return chosen
