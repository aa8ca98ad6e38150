"""A codebook on storage and in memory: the centers, and how they came to be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dkmeans.artefacts.dataset import Dataset
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.manifests import CHECKPOINT, Artefact, Manifest, Space, read_manifest
from dkmeans.clustering.labels import label_rows
from dkmeans.errors import InputError, MismatchError
from dkmeans.features.space import FeatureSpace
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

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

    def predict(self, rows: ArrayLike) -> NDArray[np.int32]:
        """Find the center of each row, as `compress` and `reconstruct` do.

        Rows are encoded as those of the fit were: colors in its space, and opaque pixels get opaque centers.
        ``KMeans.from_codebook(codebook).predict`` takes rows that are encoded already, of Dask and Zarr too.

        Parameters
        ----------
        rows : array-like of shape (n_rows, n_features), uint8 or uint16 as the images
            As a dataset stores them: pixels, or patches of ``manifest.space.pixel_shape`` laid flat. Those of
            an image are ``image.reshape(-1, channels)``; of gray images there is one channel.

        Returns
        -------
        ndarray of shape (n_rows,), int32
            Indices into `centers`, the lowest where several are as near.

        Raises
        ------
        MismatchError
            If the rows have another dtype or shape.
        """
        space, rows = self.manifest.space, np.asarray(rows)
        if rows.dtype != space.dtype or rows.ndim != 2 or rows.shape[1] != space.n_features:
            raise MismatchError(
                f"found rows of {rows.dtype} and of shape {rows.shape}; {self.url} was fit on "
                f"{space.describe()}; expected {space.dtype} and (n_rows, {space.n_features}). Reshape or "
                "convert them."
            )
        return label_rows(space.from_stored(rows), self.centers, "cpu", space)

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
        InputError
            If patches are wanted, and the dataset has none.
        MismatchError
            Stating both kinds.
        """
        if on == "patches" and dataset.patch is None:
            raise InputError(
                f"{dataset.url} holds no patches; expected a dataset of them. Ingest with --patch, or use "
                "compress, which codes pixels."
            )
        found, own = dataset.space(on), self.manifest.space
        if found != own:
            remedy = f"Use a codebook that was fit on such {on}"
            if (own.patch is None) != (found.patch is None):
                remedy += f", or {'compress' if own.patch is None else 'reconstruct'}, which takes this one"
            raise MismatchError(
                f"the codebook {self.url} was fit on {own.describe()}, the dataset {dataset.url} gives "
                f"{found.describe()}. {remedy}."
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
