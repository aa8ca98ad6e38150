"""The bend in a curve of errors against the number of clusters.

V. Satopaa et al., Finding a "kneedle" in a haystack, ICDCS Workshops 2011; by the package kneed.
"""

from __future__ import annotations

from collections.abc import Sequence

from kneed import KneeLocator

__all__ = ["find_elbow"]

_LEAST = 4
"""Points below which any curve has a bend, or none."""


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
    found = KneeLocator(list(n_clusters), list(errors), curve="convex", direction="decreasing").elbow
    return None if found is None else int(found)
