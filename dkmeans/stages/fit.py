"""A dataset to a codebook: seeds, then Lloyd's iterations over all its rows."""

from __future__ import annotations

import time
from typing import Any

from numpy.typing import NDArray

from dkmeans.artefacts import checkpoint, claims
from dkmeans.artefacts.dataset import open_dataset
from dkmeans.clustering.seeding import seed_centers
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config import ClusterConfig, FitConfig
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.stages.shared.fitting import FitReport, check_rows, fit_report, fit_rows, open_rows
from dkmeans.storage.store import open_store

__all__ = ["fit"]


def fit(
    config: FitConfig,
    cluster: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> FitReport:
    """Learn a codebook from the pixels or patches of a dataset by exact k-means.

    Parameters
    ----------
    config : FitConfig
    cluster : ClusterConfig or Executor
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
    check_rows(dataset, config.on, config.n_clusters)
    store = open_store(config.codebook)
    with (
        claims.claim(store, "codebook", config, dataset.manifest["digest"], [dataset.url]) as claim,
        connect(cluster, reporter, "fit") as workers,
    ):
        if not claim.finished:
            rows = open_rows(dataset, config.on, config.n_clusters, config.seed, workers, reporter)

            def seeds() -> NDArray[Any]:
                return seed_centers(rows, config.n_clusters, config.init, config.seed)

            fit_rows(config, dataset, rows, seeds, claim, reporter)
        checkpoint.remove(store)
    return fit_report(store, time.perf_counter() - began)
