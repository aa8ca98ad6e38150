"""A sweep on disk: codebooks of the same rows for several numbers of clusters, and how good each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts import manifests
from dkmeans.artefacts.claims import Claim
from dkmeans.artefacts.codebook import Codebook, open_codebook
from dkmeans.artefacts.manifests import Artefact
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["CURVES", "Sweep", "codebook_store", "open_sweep", "write_sweep"]

CURVES = ("n_clusters", "inertia", "mse", "n_iter", "converged", "seconds")


@dataclass(frozen=True)
class Sweep(Artefact):
    """Codebooks of the same rows, ascending by their number of clusters.

    Attributes
    ----------
    store : Store
        Where it is.
    manifest : dict
        Config, digests, elbow and versions, as written by sweep.
    curves : dict of str to ndarray of shape (n,)
        For each codebook ``n_clusters``, ``inertia``, ``mse`` (inertia for each value of each row),
        ``n_iter``, ``converged``, and the ``seconds`` of its iterations.
    """

    curves: dict[str, NDArray[Any]]

    @property
    def n_clusters(self) -> list[int]:
        """The numbers of clusters, ascending."""
        return [int(value) for value in self.curves["n_clusters"]]

    @property
    def elbow(self) -> int | None:
        """The number of clusters at the bend of the curve of inertia; None if it has none."""
        found = self.manifest["elbow"]
        return None if found is None else int(found)

    def codebook(self, n_clusters: int) -> Codebook:
        """One of the codebooks."""
        return open_codebook(codebook_store(self.store, n_clusters))


def codebook_store(sweep: Store, n_clusters: int) -> Store:
    """The store of the codebook of so many clusters, in that of a sweep."""
    return sweep.below(f"codebooks/{n_clusters}")


def write_sweep(claim: Claim, curves: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
    """Write the curves of a sweep whose codebooks are all there, and commit it."""
    for name in CURVES:
        claim.discard(f"curves/{name}")  # which a run that died may have written with other seconds
        claim.write_array(f"curves/{name}", np.asarray(curves[name]))
    claim.commit(facts)


def open_sweep(url: str | Store) -> Sweep:
    """Open a complete sweep.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    store = open_store(url)
    manifest = manifests.read_manifest(store, "sweep")
    curves = {name: arrays.read_rows(store, f"curves/{name}") for name in CURVES}
    return Sweep(store, manifest, curves)
