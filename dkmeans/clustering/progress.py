"""What the estimator tells while it fits: lines on stderr, and calls of a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from dkmeans.clustering.loop import State
from dkmeans.events.reporter import Reporter

__all__ = ["Callback", "Progress"]

Callback = Callable[[int, float, float], object]
"""``callback(iteration, inertia, center_shift)``; what it raises ends the fit."""


@dataclass(frozen=True)
class Progress:
    """Tells how far a fit is.

    Attributes
    ----------
    verbose : int
        0 says nothing, 1 a line an iteration, 2 also what seeding does and how many rows move.
    callback : callable or None
        Is called after each iteration.
    """

    verbose: int
    callback: Callback | None

    @cached_property
    def _reporter(self) -> Reporter:
        return Reporter(level="info" if self.verbose else "error")

    def seeding(self, note: str) -> None:
        """Tell what seeding does."""
        if self.verbose > 1:
            self._reporter.say(f"Initialization: {note}")

    def begin(self) -> None:
        """Tell that the first centers of a start are there."""
        self._reporter.say("Initialization complete")

    def iteration(self, state: State) -> None:
        """Tell of the iteration that ends with `state`; they are counted from 0, as in scikit-learn."""
        number, last = len(state.history) - 1, state.history[-1]
        more = f", center shift {last.center_shift}, {last.moved:g} moved" if self.verbose > 1 else ""
        self._reporter.say(f"Iteration {number}, inertia {last.inertia}{more}")
        if state.converged:
            self._reporter.say(f"Converged at iteration {number}")
        if self.callback is not None:
            self.callback(number, last.inertia, last.center_shift)
