"""A sweep on disk: codebooks of the same rows for several numbers of clusters, and how good each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.codebook import Codebook, read_codebook
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.manifests import Artefact, Manifest, Space, read_manifest
from dkmeans.features.space import FeatureSpace
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["CURVES", "Sweep", "SweepManifest", "codebook_store", "open_sweep", "write_sweep"]

CURVES = ("n_clusters", "inertia", "mse", "n_iter", "converged", "seconds")


class SweepManifest(Manifest):
    """The manifest of a sweep: the numbers of clusters, and what they tell.

    Attributes
    ----------
    elbow : int or None
        The number of clusters at the bend of the curve of inertia, if it has one.
    n_groups : int or None
        That of the groups that the rows fall into by the gap statistic, if there are any.
    """

    kind: Literal["sweep"] = "sweep"
    names: ClassVar[tuple[str, ...]] = ("codebooks", "curves", "seeds")

    n_clusters: tuple[int, ...]
    n_rows: int
    n_features: int
    space: Space
    elbow: int | None
    n_groups: int | None = None

    @classmethod
    def upgraded(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Take from the config of format version 2 what it alone told."""
        space = FeatureSpace.from_json(found)
        return {"n_clusters": found["config"]["n_clusters"], "space": space}


@dataclass(frozen=True)
class Sweep(Artefact[SweepManifest]):
    """Codebooks of the same rows, ascending by their number of clusters.

    Attributes
    ----------
    curves : dict of str to ndarray of shape (n,)
        For each codebook ``n_clusters``, ``inertia``, ``mse`` (inertia for each value of each row),
        ``n_iter``, ``converged``, and the ``seconds`` of its iterations.
    """

    curves: dict[str, NDArray[Any]]

    def __repr__(self) -> str:
        from dkmeans.artefacts import display

        return display.text("Sweep", self.url, display.describe_sweep(self.manifest))

    def _repr_html_(self) -> str:
        from dkmeans.artefacts import display

        facts = display.describe_sweep(self.manifest)
        marks = {"elbow": self.elbow, "groups": self.n_groups}
        curve = display.curve(self.n_clusters, self.curves["mse"], marks)
        return display.page("Sweep", self.url, facts, lambda: [curve])

    @property
    def n_clusters(self) -> list[int]:
        """The numbers of clusters, ascending."""
        return list(self.manifest.n_clusters)

    @property
    def elbow(self) -> int | None:
        """The number of clusters at the bend of the curve of inertia; None if it has none."""
        return self.manifest.elbow

    @property
    def n_groups(self) -> int | None:
        """The number of groups that the rows fall into; None if there are none, or nobody has looked.

        By the gap statistic, see `dkmeans.clustering.groups`.
        """
        return self.manifest.n_groups

    def codebook(self, n_clusters: int) -> Codebook:
        """Read one of the codebooks.

        Parameters
        ----------
        n_clusters : int
            One of `n_clusters`.

        Returns
        -------
        Codebook
            With its arrays in memory.

        Raises
        ------
        InputError
            If the sweep has none of so many clusters.
        """
        return read_codebook(codebook_store(self.store, n_clusters))


def codebook_store(store: Store, n_clusters: int) -> Store:
    """Where the codebook of so many clusters lies in a sweep."""
    return store.below(f"codebooks/{n_clusters}")


def write_sweep(claim: Claim[SweepManifest], curves: dict[str, NDArray[Any]], **facts: Any) -> SweepManifest:
    """Write the curves of a sweep whose codebooks are all there, and commit it."""
    for name in CURVES:
        claim.discard(f"curves/{name}")  # which a run that died may have written with other seconds
        claim.write_array(f"curves/{name}", np.asarray(curves[name]))
    return claim.commit(**facts)


def open_sweep(url: str) -> Sweep:
    """Open a sweep that is complete.

    Parameters
    ----------
    url : str
        Where it lies: a path, or a URL of an object store.

    Returns
    -------
    Sweep
        Its arrays are read when they are asked for.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    store = open_store(url)
    manifest = read_manifest(store, SweepManifest)
    return Sweep(store, manifest, {name: arrays.read_rows(store, f"curves/{name}") for name in CURVES})
