"""Lloyd's iterations, written once: over the rows of one block, and over blocks on many workers.

S. P. Lloyd, Least squares quantization in PCM, IEEE Transactions on Information Theory 28(2), 1982.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels import Stats, arithmetic

__all__ = ["Iteration", "LloydResult", "State", "Steps", "iterate"]


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
    """One row of the history of a fit; distances in squared units of the rows."""

    inertia: float
    center_shift: float
    moved: int
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


def iterate(
    steps: Steps,
    state: State,
    *,
    max_iter: int,
    tol: float,
    on_iteration: Callable[[State], None] | None = None,
    plain: bool = False,
) -> LloydResult:
    """Iterate from `state` until nothing moves, the shift is within `tol`, or `max_iter` is reached.

    A last step, which moves no center, gives the counts and the inertia of the last centers; it is left out
    where the step before has given them.

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
    on_iteration : callable, or None
        Is called after each iteration with the new state.
    plain : bool
        Move each center to the mean of its rows and do nothing else: an empty cluster keeps its center, and
        means of float rows are rounded anew even where no row moved. Otherwise empty clusters move to the
        rows that are farthest from their centers, and centers whose rows stayed stay too.
    """
    numbers, dtype = arithmetic(steps.dtype), steps.dtype
    stats: Stats | None = None
    while not state.converged and len(state.history) < max_iter:
        began = time.perf_counter()
        centers = state.centers
        stats = steps.lloyd(centers, state.previous)
        new = numbers.update_centers(stats, centers, dtype)
        empty = np.flatnonzero(stats.counts == 0)
        if len(empty) and not plain:
            _, far = steps.farthest(centers, len(empty))
            new[empty[: len(far)]] = numbers.snap(far, dtype)
        elif not stats.moved and not plain:
            new = centers  # the means of the same rows, of which floats would only round anew
        shift = numbers.center_shift(centers, new, dtype)
        converged = shift == 0 or (shift <= tol * numbers.mean_variance(stats) and not len(empty))
        inertia = numbers.inertia(stats, centers, dtype)
        step = Iteration(inertia, shift, stats.moved, time.perf_counter() - began)
        state = State(new, centers, (*state.history, step), converged)
        if on_iteration is not None:
            on_iteration(state)
    if stats is None or state.history[-1].center_shift:
        stats = steps.lloyd(state.centers, state.previous)  # labels that belong to the last centers
    inertia = numbers.inertia(stats, state.centers, dtype)
    return LloydResult(state.centers, stats.counts, inertia, list(state.history), state.converged)
