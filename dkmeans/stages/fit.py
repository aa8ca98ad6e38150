"""A dataset to a codebook: seeds, then Lloyd's iterations over all its rows."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np

from dkmeans import artefact, claims, stores
from dkmeans.claims import Claim
from dkmeans.cluster import Cluster
from dkmeans.clustering import checkpoint
from dkmeans.clustering.histogram import counted_rows
from dkmeans.clustering.lloyd import LloydResult, State, lloyd
from dkmeans.clustering.rows import Rows, stored_rows
from dkmeans.clustering.seeding import sample_positions, seed_centers
from dkmeans.codebook import HISTORY, write_codebook
from dkmeans.config import ClusterConfig, FitConfig
from dkmeans.connecting import connect
from dkmeans.dataset import Dataset, open_dataset
from dkmeans.errors import DistinctRowsError, InputError
from dkmeans.events import SILENT, Reporter
from dkmeans.features.colors import countable
from dkmeans.kernels.exact import MAX_FEATURES

__all__ = ["FitReport", "fit"]


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


def fit(
    config: FitConfig,
    cluster: ClusterConfig | Cluster = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> FitReport:
    """Learn a codebook from the pixels or patches of a dataset by exact k-means.

    Parameters
    ----------
    config : FitConfig
    cluster : ClusterConfig or Cluster
    reporter : Reporter

    Raises
    ------
    InputError
        If the dataset is missing or unfinished, has no such rows, or fewer distinct ones than clusters.
    UsageError
        If the output is there already.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    dataset = open_dataset(config.dataset)
    _check_rows(config, dataset)
    url = stores.resolve_url(config.codebook)
    with (
        claims.claim(url, "codebook", config, dataset.manifest["digest"], [dataset.url]) as claim,
        connect(cluster, reporter, "fit") as workers,
    ):
        if not claim.finished:
            _write(config, dataset, claim, workers, reporter)
        checkpoint.remove(url)
    manifest = artefact.read_manifest(url, "codebook")
    facts = {name: manifest[name] for name in FitReport.__dataclass_fields__ if name in manifest}
    return FitReport(codebook=url, seconds=time.perf_counter() - began, **facts)


def _check_rows(config: FitConfig, dataset: Dataset) -> None:
    """Refuse what can be refused before anything is claimed or started."""
    if config.on == "patches" and dataset.patch is None:
        raise InputError(
            f"{dataset.url} holds no patches, --on patches needs them. Ingest with --patch, or fit on pixels."
        )
    n_rows = int(dataset.manifest[f"n_{config.on}"])
    if config.n_clusters > n_rows:
        raise DistinctRowsError(
            f"found {n_rows} {config.on} in {dataset.url}, fewer than the {config.n_clusters} clusters asked "
            f"for. Use --k {n_rows} or less."
        )
    if config.on == "patches" and dataset.patches.shape[1] > MAX_FEATURES:
        raise InputError(
            f"the patches of {dataset.url} have {dataset.patches.shape[1]} values, the exact arithmetic "
            f"takes at most {MAX_FEATURES}. Ingest with a smaller --patch."
        )


def _write(config: FitConfig, dataset: Dataset, claim: Claim, cluster: Cluster, reporter: Reporter) -> None:
    state = _begun(claim, reporter)
    with reporter.stage("rows", 1, "set") as advance:
        rows = _rows(config, dataset, cluster)
        if not rows.resident:
            reporter.say("the rows do not fit into the workers' memory: each iteration reads them again")
        advance(1)
    if state is None:
        with reporter.stage("seeds", 1, "set") as advance:
            state = State(seed_centers(rows, config.n_clusters, config.init, config.seed))
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
    _commit(config, dataset, claim, rows, result)


def _begun(claim: Claim, reporter: Reporter) -> State | None:
    """Where an earlier run of this fit was; None if it has left no checkpoint."""
    if claim.number == 1:
        return None
    try:
        found = checkpoint.load(claim.url)
    except ValueError as error:
        reporter.warn(f"{error}; the fit begins anew")
        return None
    if found is None or found[1] != claim.recorded:  # the second of a run that --overwrite has ended
        return None
    reporter.say(f"going on behind iteration {len(found[0].history)}")
    return found[0]


def _rows(config: FitConfig, dataset: Dataset, cluster: Cluster) -> Rows:
    """The rows of the fit; of pixels, if they are few colors, the distinct ones and how often they occur."""
    if config.on == "pixels" and countable(dataset.dtype, dataset.channels):
        n_pixels = int(dataset.manifest["n_pixels"])
        positions = sample_positions(n_pixels, config.n_clusters, config.seed)
        return counted_rows(dataset.url, config.on, cluster, positions)
    return stored_rows(dataset.url, config.on, cluster, config.n_clusters)


def _commit(config: FitConfig, dataset: Dataset, claim: Claim, rows: Rows, result: LloydResult) -> None:
    history = np.array([[asdict(step)[name] for name in HISTORY] for step in result.history], np.float64)
    facts = {
        "n_rows": rows.n_rows,
        "n_features": rows.n_features,
        "n_clusters": config.n_clusters,
        "channels": dataset.channels,
        "dtype": str(dataset.dtype),
        "patch": list(dataset.patch) if config.on == "patches" and dataset.patch else None,
        "inertia": result.inertia,
        "n_iter": len(result.history),
        "converged": result.converged,
    }
    write_codebook(claim, result.centers, result.counts, history, facts)
