"""What the estimator tells while it fits: lines on stdout, and calls of a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dkmeans.clustering.loop import State, gain_left

__all__ = ["Callback", "Progress"]

Callback = Callable[[int, float, float], object]
"""``callback(iteration, inertia, center_shift)``; what it raises ends the fit."""


@dataclass(frozen=True)
class Progress:
    """Tells how far a fit is, in the words of scikit-learn and where it tells it.

    Plain lines on stdout look the same on a terminal, in a notebook and in a log.

    Attributes
    ----------
    verbose : int
        0 says nothing, 1 a line an iteration, 2 also what seeding does and how many rows move.
    callback : callable or None
        Is called after each iteration.
    min_gain : float
        Gain below which the iterations end.
    """

    verbose: int
    callback: Callback | None
    min_gain: float

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text, flush=True)

    def seeding(self, note: str) -> None:
        """Tell what seeding does."""
        if self.verbose > 1:
            self._say(f"Initialization: {note}")

    def begin(self) -> None:
        """Tell that the first centers of a start are there."""
        self._say("Initialization complete")

    def iteration(self, state: State) -> None:
        """Tell of the iteration that ends with `state`; they are counted from 0, as in scikit-learn."""
        number, last = len(state.history) - 1, state.history[-1]
        more = f", center shift {last.center_shift:g}, {last.moved:g} moved" if self.verbose > 1 else ""
        self._say(f"Iteration {number}, inertia {last.inertia:.10g}{more}")
        if state.converged:
            self._say(f"Converged at iteration {number}: {self._reason(state)}.")
        if self.callback is not None:
            self.callback(number, last.inertia, last.center_shift)

    def _reason(self, state: State) -> str:
        """Tell why the iterations are over."""
        shift, gain = state.history[-1].center_shift, gain_left([step.inertia for step in state.history])
        if not shift:
            return "strict convergence"
        if gain < self.min_gain:
            return f"gain of {gain:.2g} an iteration below min_gain"
        return f"center shift {shift:.6g} within tolerance"
