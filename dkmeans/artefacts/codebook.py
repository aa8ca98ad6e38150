"""A codebook on storage and in memory: the centers, and how they came to be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.dataset import Dataset
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.manifests import CHECKPOINT, Artefact, Manifest, Space, read_manifest
from dkmeans.errors import MismatchError
from dkmeans.features.space import FeatureSpace
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

if TYPE_CHECKING:
    from dkmeans.clustering.estimator import KMeans

__all__ = [
    "HISTORY",
    "Codebook",
    "CodebookManifest",
    "centers_sha256",
    "open_codebook",
    "read_codebook",
    "write_codebook",
]

HISTORY = ("inertia", "center_shift", "moved", "seconds")


class CodebookManifest(Manifest):
    """The manifest of a codebook.

    Attributes
    ----------
    dataset, dataset_digest : str
        URL and digest of the dataset that it was fit on.
    space : FeatureSpace
        Of the rows that it was fit on.
    inertia : float
        In squared units of the stored values.
    max_iter : int
        Iterations that were allowed.
    gain_left : float or None
        Part of the inertia that an iteration took away, in the mean of the last five; None of fewer.
    started_from : str or None
        ``centers_sha256`` of the codebook whose centers were the first ones.
    cut_from : str or None
        ``centers_sha256`` of the codebook that it was cut from.
    n_components : int or None
        Parts that the graph of neighbors of that cut was in.
    """

    kind: Literal["codebook"] = "codebook"
    names: ClassVar[tuple[str, ...]] = ("centers", "counts", "history", CHECKPOINT)

    dataset: str
    dataset_digest: str
    space: Space
    n_rows: int
    n_features: int
    n_clusters: int
    inertia: float
    n_iter: int
    max_iter: int
    converged: bool
    gain_left: float | None = None
    history_columns: tuple[str, ...]
    centers_sha256: str
    started_from: str | None = None
    cut_from: str | None = None
    n_components: int | None = None

    @classmethod
    def upgraded(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Take from the config of format version 2 what it alone told."""
        space = FeatureSpace.from_json(found)
        config = {name: found["config"][name] for name in ("dataset", "max_iter")}
        return {**config, "dataset_digest": found["input_digest"], "space": space}


@dataclass(frozen=True)
class Codebook(Artefact[CodebookManifest]):
    """The centers of a fit.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_features), float32
        On the grid of the exact arithmetic (see `dkmeans.kernels.exact`).
    counts : ndarray of shape (n_clusters,), int64
        Rows nearest to each center.
    history : ndarray of shape (n_iter, 4), float64
        Per iteration: inertia, squared center shift, rows that changed their center, seconds.
    """

    centers: NDArray[np.float32]
    counts: NDArray[np.int64]
    history: NDArray[np.float64]

    def __repr__(self) -> str:
        from dkmeans.artefacts import display

        facts = display.describe_codebook(self.manifest)
        return display.text("Codebook", self.url, facts)

    def _repr_html_(self) -> str:
        from dkmeans.artefacts import display

        facts = display.describe_codebook(self.manifest)
        pictures = partial(display.gallery, self.centers, self.counts, self.manifest.space)
        return display.page("Codebook", self.url, facts, pictures)

    @property
    def n_clusters(self) -> int:
        """Number of centers."""
        return len(self.centers)

    @property
    def on(self) -> str:
        """Kind of the rows that it was fit on: ``pixels`` or ``patches``."""
        return "patches" if self.manifest.space.patch else "pixels"

    def to_kmeans(self) -> KMeans:
        """Make a fitted `dkmeans.KMeans` of it, which finds the nearest centers of rows of any array.

        It takes rows of the space that the centers were fit in, ``manifest.space``: pixels as they are stored
        or patches laid flat, and of other spaces, or with alpha, what ``manifest.space.from_stored`` makes of
        them. Its labels are the nearest centers, where `compress` gives opaque pixels opaque ones.

        Returns
        -------
        dkmeans.KMeans
            Without `labels_`, which belong to the rows of a fit.
        """
        from dkmeans.clustering.estimator import KMeans

        found = self.manifest
        return KMeans.from_centers(self.centers, found.inertia, found.n_iter, max_iter=found.max_iter)

    def check_fits(self, dataset: Dataset, on: str) -> None:
        """Refuse a dataset whose rows are not of the kind that the centers were fit on.

        Parameters
        ----------
        dataset : Dataset
            Whose rows are to be coded.
        on : {"pixels", "patches"}
            Which rows.

        Raises
        ------
        MismatchError
            Stating both kinds.
        """
        found = dataset.space(on)
        if found != self.manifest.space:
            raise MismatchError(
                f"the codebook {self.url} was fit on {self.manifest.space.describe()}, the dataset "
                f"{dataset.url} gives {found.describe()}. Use a codebook that was fit on such a dataset."
            )


def centers_sha256(centers: NDArray[np.float32]) -> str:
    """SHA-256, in hex, of the centers as little-endian float32, row-major."""
    return hashlib.sha256(np.ascontiguousarray(centers, dtype="<f4").tobytes()).hexdigest()


def write_codebook(
    claim: Claim[CodebookManifest],
    centers: NDArray[np.float32],
    counts: NDArray[np.int64],
    history: NDArray[np.float64],
    **facts: Any,
) -> CodebookManifest:
    """Write the arrays of a codebook and commit it with `facts` in its manifest."""
    columns: dict[str, NDArray[Any]] = {"centers": centers, "counts": counts, "history": history}
    for name, values in columns.items():
        claim.discard(name)  # what an earlier run left may have another number of iterations
        claim.write_array(name, values)
    return claim.commit(**facts, history_columns=HISTORY, centers_sha256=centers_sha256(centers))


def open_codebook(url: str) -> Codebook:
    """Open a codebook that is complete.

    Parameters
    ----------
    url : str
        Where it lies: a path, or a URL of an object store.

    Returns
    -------
    Codebook
        With its arrays in memory.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    return read_codebook(open_store(url))


def read_codebook(store: Store) -> Codebook:
    """The codebook in a store; see `open_codebook`."""
    manifest = read_manifest(store, CodebookManifest)
    centers, counts, history = (arrays.read_rows(store, name) for name in ("centers", "counts", "history"))
    return Codebook(store, manifest, centers, counts, history)
