"""From rows to a codebook: what fit and sweep have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts import checkpoint, manifests
from dkmeans.artefacts.claims import Claim
from dkmeans.artefacts.codebook import HISTORY, write_codebook
from dkmeans.artefacts.dataset import Dataset
from dkmeans.clustering.histogram import counted_rows
from dkmeans.clustering.lloyd import LloydResult, lloyd
from dkmeans.clustering.rows import Rows, stored_rows
from dkmeans.clustering.seeding import sample_positions
from dkmeans.clustering.state import State
from dkmeans.compute.executor import Executor
from dkmeans.config import FitConfig
from dkmeans.errors import DistinctRowsError, InputError
from dkmeans.events.reporter import Reporter
from dkmeans.features.colors import countable
from dkmeans.kernels.exact import MAX_FEATURES
from dkmeans.storage.store import Store

__all__ = ["FitReport", "check_rows", "commit_codebook", "fit_report", "fit_rows", "open_rows"]


@dataclass(frozen=True)
class FitReport:
    """What fit wrote; inertia in squared units of the stored values."""

    codebook: str
    n_rows: int
    n_features: int
    n_clusters: int
    inertia: float
    n_iter: int
    converged: bool
    centers_sha256: str
    seconds: float


def fit_report(store: Store, seconds: float) -> FitReport:
    """The report of the codebook in `store`, from its manifest."""
    manifest = manifests.read_manifest(store, "codebook")
    facts = {name: manifest[name] for name in FitReport.__dataclass_fields__ if name in manifest}
    return FitReport(codebook=store.url, seconds=seconds, **facts)


def check_rows(dataset: Dataset, on: str, n_clusters: int) -> None:
    """Refuse what can be refused before anything is claimed or started.

    Raises
    ------
    InputError
        If the dataset has no such rows, fewer than `n_clusters`, or rows of too many features.
    """
    if on == "patches" and dataset.patch is None:
        raise InputError(
            f"{dataset.url} holds no patches, --on patches needs them. Ingest with --patch, or fit on pixels."
        )
    n_rows = int(dataset.manifest[f"n_{on}"])
    if n_clusters > n_rows:
        raise DistinctRowsError(
            f"found {n_rows} {on} in {dataset.url}, fewer than the {n_clusters} clusters asked "
            f"for. Use --k {n_rows} or less."
        )
    if on == "patches" and dataset.patches.shape[1] > MAX_FEATURES:
        raise InputError(
            f"the patches of {dataset.url} have {dataset.patches.shape[1]} values, the exact arithmetic "
            f"takes at most {MAX_FEATURES}. Ingest with a smaller --patch."
        )


def open_rows(
    dataset: Dataset, on: str, n_clusters: int, seed: int, cluster: Executor, reporter: Reporter
) -> Rows:
    """The rows of a fit; of pixels, if they are few colors, the distinct ones and how often they occur.

    `n_clusters` and `seed` decide which pixels are kept for `Rows.take` besides their colors.
    """
    with reporter.stage("rows", 1, "set") as advance:
        if on == "pixels" and countable(dataset.dtype, dataset.channels):
            positions = sample_positions(int(dataset.manifest["n_pixels"]), n_clusters, seed)
            rows: Rows = counted_rows(dataset.store, on, cluster, positions)
        else:
            rows = stored_rows(dataset.store, on, cluster, n_clusters)
        if not rows.resident:
            reporter.say("the rows do not fit into the workers' memory: each iteration reads them again")
        advance(1)
    return rows


def fit_rows(
    config: FitConfig,
    dataset: Dataset,
    rows: Rows,
    seeds: Callable[[], NDArray[Any]],
    claim: Claim,
    reporter: Reporter,
) -> None:
    """Lloyd's iterations to a codebook, from the first centers or a checkpoint.

    Parameters
    ----------
    config : FitConfig
    dataset : Dataset
    rows : Rows
    seeds : callable
        Gives the first centers, shape (n_clusters, n_features); not called if there is a checkpoint.
    claim : Claim
    reporter : Reporter
    """
    state = _begun(claim, reporter)
    if state is None:
        with reporter.stage("seeds", 1, "set") as advance:
            state = State(seeds())
            checkpoint.save(claim, state)
            advance(1)
    saved = time.monotonic()
    with reporter.stage("iterations", config.max_iter, "iterations") as advance:
        advance(len(state.history))

        def on_iteration(state: State) -> None:
            nonlocal saved
            step = state.history[-1]
            advance(1, f"inertia {step.inertia:.6g}  shift {step.center_shift:.3g}")
            reporter.event("iteration", iteration=len(state.history), **asdict(step))
            if time.monotonic() - saved >= config.checkpoint_seconds:
                checkpoint.save(claim, state)
                saved = time.monotonic()

        result = lloyd(rows, state, max_iter=config.max_iter, tol=config.tol, on_iteration=on_iteration)
    if not result.converged:
        reporter.warn(f"not converged after {config.max_iter} iterations; --max-iter allows more")
    commit_codebook(config.on, dataset, claim, rows, result)


def _begun(claim: Claim, reporter: Reporter) -> State | None:
    """Where an earlier run of this fit was; None if it has left no checkpoint."""
    if claim.number == 1:
        return None
    try:
        found = checkpoint.load(claim.store)
    except ValueError as error:
        reporter.warn(f"{error}; the fit begins anew")
        return None
    if found is None or found[1] != claim.recorded:  # the second of a run that --overwrite has ended
        return None
    reporter.say(f"going on behind iteration {len(found[0].history)}")
    return found[0]


def commit_codebook(on: str, dataset: Dataset, claim: Claim, rows: Rows, result: LloydResult) -> None:
    """Write a codebook of pixels or patches of `dataset`, and commit it."""
    history = np.array([[asdict(step)[name] for name in HISTORY] for step in result.history], np.float64)
    facts = {
        "n_rows": rows.n_rows,
        "n_features": rows.n_features,
        "n_clusters": len(result.centers),
        "channels": dataset.channels,
        "dtype": str(dataset.dtype),
        "patch": list(dataset.patch) if on == "patches" and dataset.patch else None,
        "inertia": result.inertia,
        "n_iter": len(result.history),
        "converged": result.converged,
    }
    write_codebook(claim, result.centers, result.counts, history.reshape(-1, len(HISTORY)), facts)
