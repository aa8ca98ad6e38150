"""A dataset to a codebook: seeds, then Lloyd's iterations over all its rows."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np

from dkmeans import artefact, storage
from dkmeans.cluster import Cluster, connect
from dkmeans.clustering.histogram import counted_rows
from dkmeans.clustering.lloyd import Iteration, LloydResult, lloyd
from dkmeans.clustering.rows import Rows, stored_rows
from dkmeans.clustering.seeding import sample_positions, seed_centers
from dkmeans.codebook import HISTORY, write_codebook
from dkmeans.config import ClusterConfig, FitConfig
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
    url = storage.resolve_url(config.codebook)
    with (
        artefact.claim(url, "codebook", config, dataset.manifest["digest"], [dataset.url]) as claim,
        connect(cluster, reporter) as workers,
    ):
        if not claim.finished:
            _write(config, dataset, claim, workers, reporter)
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


def _write(
    config: FitConfig, dataset: Dataset, claim: artefact.Claim, cluster: Cluster, reporter: Reporter
) -> None:
    with reporter.stage("seeds", 1, "set") as advance:
        rows = _rows(config, dataset, cluster)
        if not rows.resident:
            reporter.say("the rows do not fit into the workers' memory: each iteration reads them again")
        centers = seed_centers(rows, config.n_clusters, config.init, config.seed)
        advance(1)
    with reporter.stage("iterations", config.max_iter, "iterations") as advance:

        def show(step: Iteration) -> None:
            advance(1, f"inertia {step.inertia:.6g}  shift {step.center_shift:.3g}")

        result = lloyd(rows, centers, max_iter=config.max_iter, tol=config.tol, on_iteration=show)
    if not result.converged:
        reporter.warn(f"not converged after {config.max_iter} iterations; --max-iter allows more")
    _commit(config, dataset, claim, rows, result)


def _rows(config: FitConfig, dataset: Dataset, cluster: Cluster) -> Rows:
    """The rows of the fit; of pixels, if they are few colors, the distinct ones and how often they occur."""
    if config.on == "pixels" and countable(dataset.dtype, dataset.channels):
        n_pixels = int(dataset.manifest["n_pixels"])
        positions = sample_positions(n_pixels, config.n_clusters, config.seed)
        return counted_rows(dataset.url, config.on, cluster, positions)
    return stored_rows(dataset.url, config.on, cluster, config.n_clusters)


def _commit(
    config: FitConfig, dataset: Dataset, claim: artefact.Claim, rows: Rows, result: LloydResult
) -> None:
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
