"""The bend in a curve of errors against the number of clusters.

V. Satopaa et al., Finding a "kneedle" in a haystack, ICDCS Workshops 2011; by the package kneed.
"""

from __future__ import annotations

from collections.abc import Sequence

from kneed import KneeLocator

__all__ = ["find_elbow"]

_LEAST = 4
"""Points below which any curve has a bend, or none."""
_DROP = 0.1
"""How far, as a part of the whole range, the curve has to come back to its chord behind an elbow.

kneed counts that in mean steps from point to point (its sensitivity), so that a curve of four or five points
would need a bend of a third or a fourth of the range.
"""


def find_elbow(n_clusters: Sequence[int], errors: Sequence[float]) -> int | None:
    """Find the number of clusters behind which more of them gain little; None if the curve shows no such.

    Parameters
    ----------
    n_clusters : sequence of int
        Ascending.
    errors : sequence of float
        Inertia, or a multiple of it.
    """
    if len(n_clusters) < _LEAST or not max(errors) > min(errors):
        return None
    found = KneeLocator(
        list(n_clusters),
        list(errors),
        S=min(1.0, _DROP * (len(n_clusters) - 1)),
        curve="convex",
        direction="decreasing",
    ).elbow
    is_end = found in (n_clusters[0], n_clusters[-1])  # which kneed takes of a curve that bends the other way
    return None if found is None or is_end else int(found)
