"""Lloyd's iterations, written once: over the rows of one block, and over blocks on many workers.

S. P. Lloyd, Least squares quantization in PCM, IEEE Transactions on Information Theory 28(2), 1982.

They may go beyond the means, which reaches the same inertia in fewer iterations: D. Lee, S. Baek, K. Sung,
Modified K-means algorithm for vector quantizer design, IEEE Signal Processing Letters 4(1), 1997. When is the
matter of `goes_beyond`, and when it is enough that of `gain_left`: both are functions of the history alone,
so a fit that goes on from a checkpoint takes the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels import Stats, arithmetic

__all__ = ["Iteration", "LloydResult", "State", "Steps", "gain_left", "goes_beyond", "iterate"]

_PLAIN_FIRST = 2
"""Steps at the start that take the means: going beyond them there starts worse in some fits."""
_FEW = 0.0005
"""Share of the rows that move in a step, from which on all steps take the means: what is left is settling."""
_WINDOW = 5
"""Iterations over which a gain is averaged: one alone may gain little, and the next one more."""


class Steps(Protocol):
    """Rows to take steps on: a `dkmeans.kernels.Block`, or the blocks of a cluster together."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the rows, which decides the arithmetic."""

    def lloyd(self, centers: NDArray[Any], previous: NDArray[Any] | None) -> Stats:
        """Assign the rows to their nearest centers and sum them up; see `dkmeans.kernels.Block.lloyd`."""

    def farthest(self, centers: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the `n` distinct rows farthest from their centers, and their distances; fewer if need be."""


@dataclass(frozen=True)
class Iteration:
    """One row of the history of a fit; distances in squared units of the rows.

    Attributes
    ----------
    inertia : float
        Of the centers that it began with.
    center_shift : float
        Squared distance from these to the means of their rows, of which a relaxed step goes beyond.
    moved : float
        Rows (or their weight) that changed their center; in the first iteration all.
    seconds : float
    """

    inertia: float
    center_shift: float
    moved: float
    seconds: float


@dataclass(frozen=True)
class State:
    """The state of a fit between two iterations: all that the next iteration needs besides the rows.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        Of the next step.
    previous : ndarray of that shape, or None
        Those of the last step, from whose labels the next one counts the rows that move.
    history : tuple of Iteration
    converged : bool
        Whether the iterations are over.
    """

    centers: NDArray[Any]
    previous: NDArray[Any] | None = None
    history: tuple[Iteration, ...] = ()
    converged: bool = False


@dataclass(frozen=True)
class LloydResult:
    """Centers, and the counts and inertia of the labels that belong to just these centers."""

    centers: NDArray[Any]
    counts: NDArray[Any]
    inertia: float
    history: list[Iteration]
    converged: bool

    @property
    def gain_left(self) -> float | None:
        """Part of the inertia that the last iterations took away, see `gain_left`; None of a few."""
        gain = gain_left([step.inertia for step in self.history])
        return gain if np.isfinite(gain) else None


def goes_beyond(moved: Sequence[float], relaxation: float) -> bool:
    """Whether a step is relaxed, by how many rows have moved in each so far; in the first one all have."""
    return relaxation > 1 and len(moved) > _PLAIN_FIRST and min(moved) > _FEW * moved[0]


def gain_left(inertias: Sequence[float]) -> float:
    """Give the part of the inertia that an iteration takes away, in the mean of the last five of all.

    Infinite where there are not so many.
    """
    if len(inertias) <= _WINDOW:
        return np.inf
    before, now = inertias[-1 - _WINDOW], inertias[-1]
    return max(0.0, before - now) / (_WINDOW * before) if before else 0.0


def iterate(
    steps: Steps,
    state: State,
    *,
    max_iter: int,
    tol: float,
    relaxation: float = 1.0,
    min_gain: float = 0.0,
    on_iteration: Callable[[State], None] | None = None,
) -> LloydResult:
    """Iterate from `state` until nothing moves, little is left to gain, or `max_iter` is reached.

    The last centers are means of rows, whatever the relaxation. A last step, which moves no center, gives
    their counts and inertia; it is left out where the step before has given them.

    Parameters
    ----------
    steps : Steps
    state : State
        The first centers, as ``snap`` of the arithmetic of the rows gives them (float32 on a grid, or float64
        for float64 rows); or what `on_iteration` was given by a run that was lost: the rest is the same.
    max_iter : int
        Most iterations, with those of `state`.
    tol : float
        Stop when the squared center shift is at most `tol` times the mean variance of the features.
    relaxation : float
        Go so many times the way from a center to the mean of its rows, while many rows move: 1 to 1.99, in
        hundredths. The inertia never rises; see `dkmeans.kernels.exact.relax`.
    min_gain : float
        Stop when an iteration takes away less than this part of the inertia, in the mean of the last five.
    on_iteration : callable, or None
        Is called after each iteration with the new state.
    """
    numbers, dtype = arithmetic(steps.dtype), steps.dtype
    stats: Stats | None = None
    while not state.converged and len(state.history) < max_iter:
        began = time.perf_counter()
        centers, history = state.centers, state.history
        stats = steps.lloyd(centers, state.previous)
        inertia = numbers.inertia(stats, centers, dtype)
        moved = [*(step.moved for step in history), stats.moved]
        stayed = not (stats.moved or goes_beyond(moved[:-1], relaxation))
        new, empty = _targets(steps, stats, centers, stayed=stayed)
        shift = numbers.center_shift(centers, new, dtype)
        gain = gain_left([*(step.inertia for step in history), inertia])
        little = shift <= tol * numbers.mean_variance(stats) or gain < min_gain
        converged = shift == 0 or (little and not len(empty))
        if goes_beyond(moved, relaxation) and not converged and len(moved) < max_iter:
            new = np.where(stats.counts[:, None] > 0, numbers.relax(centers, new, relaxation, dtype), new)
        step = Iteration(inertia, shift, stats.moved, time.perf_counter() - began)
        state = State(new, centers, (*history, step), converged)
        if on_iteration is not None:
            on_iteration(state)
    if stats is None or state.history[-1].center_shift:
        stats = steps.lloyd(state.centers, state.previous)  # labels that belong to the last centers
    inertia = numbers.inertia(stats, state.centers, dtype)
    return LloydResult(state.centers, stats.counts, inertia, list(state.history), state.converged)


def _targets(
    steps: Steps, stats: Stats, centers: NDArray[Any], *, stayed: bool
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Find where a plain step moves the centers to, and which of them have no rows.

    These move to the rows that are farthest from their centers, and stay where all rows lie on theirs.
    `stayed` says that the centers are the means of the same rows, of which floats would only round anew.
    """
    numbers, dtype = arithmetic(steps.dtype), steps.dtype
    empty = np.flatnonzero(stats.counts == 0)
    if stayed and not len(empty):
        return centers, empty
    new = numbers.update_centers(stats, centers, dtype)
    if len(empty):
        distances, far = steps.farthest(centers, len(empty))
        far = far[distances > 0]  # a row that lies on a center makes no second one better
        new[empty[: len(far)]] = numbers.snap(far, dtype)
    return new, empty
