"""The state of a fit between two iterations, which a checkpoint keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["Iteration", "State"]


@dataclass(frozen=True)
class Iteration:
    """One row of the history of a fit; distances in squared units of the rows."""

    inertia: float
    center_shift: float
    moved: int
    seconds: float


@dataclass(frozen=True)
class State:
    """The state of a fit: all that the next iteration needs besides the rows.

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
