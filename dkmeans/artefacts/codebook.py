"""A codebook on disk and in memory: the centers, and how they came to be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts import manifests
from dkmeans.artefacts.claims import Claim
from dkmeans.artefacts.dataset import Dataset
from dkmeans.artefacts.manifests import Artefact
from dkmeans.errors import MismatchError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["Codebook", "centers_sha256", "open_codebook", "write_codebook"]

HISTORY = ("inertia", "center_shift", "moved", "seconds")


@dataclass(frozen=True)
class Codebook(Artefact):
    """The centers of a fit.

    Attributes
    ----------
    store : Store
        Where it is.
    manifest : dict
        Config, digests, inertia and versions, as written by fit.
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

        facts = display.describe_codebook(self.manifest, len(self.centers))
        return display.text("Codebook", self.url, facts)

    def _repr_html_(self) -> str:
        from dkmeans.artefacts import display

        facts = display.describe_codebook(self.manifest, len(self.centers))
        pictures = partial(display.gallery, self.centers, self.counts, self.manifest)
        return display.page("Codebook", self.url, facts, pictures)

    @property
    def n_clusters(self) -> int:
        """Number of centers."""
        return len(self.centers)

    @property
    def on(self) -> str:
        """What it was fit on: ``pixels`` or ``patches``."""
        return str(self.manifest["config"]["on"])

    def check_fits(self, dataset: Dataset, on: str) -> None:
        """Refuse a dataset whose rows are not of the kind that the centers were fit on.

        Raises
        ------
        MismatchError
            Stating both kinds.
        """
        expected = (
            f"{self.on} with {self.manifest['channels']} channels, {self.manifest['dtype']}"
            + _patch_words(self.manifest["patch"])
        )
        patch = list(dataset.patch) if on == "patches" and dataset.patch else None
        found = f"{on} with {dataset.channels} channels, {dataset.dtype}" + _patch_words(patch)
        if expected != found:
            raise MismatchError(
                f"the codebook {self.url} was fit on {expected}, the dataset {dataset.url} gives {found}. "
                "Use a codebook that was fit on such a dataset."
            )


def _patch_words(patch: list[int] | None) -> str:
    return f", patches of {patch[0]}x{patch[1]}" if patch else ""


def centers_sha256(centers: NDArray[np.float32]) -> str:
    """SHA-256, in hex, of the centers as little-endian float32, row-major."""
    return hashlib.sha256(np.ascontiguousarray(centers, dtype="<f4").tobytes()).hexdigest()


def write_codebook(
    claim: Claim,
    centers: NDArray[np.float32],
    counts: NDArray[np.int64],
    history: NDArray[np.float64],
    facts: dict[str, Any],
) -> None:
    """Write the arrays of a codebook and commit it with `facts` in its manifest."""
    columns: dict[str, NDArray[Any]] = {"centers": centers, "counts": counts, "history": history}
    for name, values in columns.items():
        claim.discard(name)  # what an earlier run left may have another number of iterations
        claim.write_array(name, values)
    claim.commit({**facts, "history_columns": list(HISTORY), "centers_sha256": centers_sha256(centers)})


def open_codebook(url: str | Store) -> Codebook:
    """Open a complete codebook.

    Raises
    ------
    InputError
        If nothing is there, it is unfinished, or it is something else.
    """
    store = open_store(url)
    manifest = manifests.read_manifest(store, "codebook")
    return Codebook(
        store,
        manifest,
        centers=arrays.read_rows(store, "centers"),
        counts=arrays.read_rows(store, "counts"),
        history=arrays.read_rows(store, "history"),
    )
