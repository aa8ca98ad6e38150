"""A dataset to a codebook: seeds, then Lloyd's iterations over all its rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from dkmeans.artefacts import checkpoint
from dkmeans.artefacts.claims import Finished, claim
from dkmeans.artefacts.codebook import CodebookManifest
from dkmeans.artefacts.dataset import open_dataset
from dkmeans.clustering.seeding import seed_centers
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import FitConfig
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.stages.shared.fitting import FitReport, check_rows, fit_report, fit_rows
from dkmeans.stages.shared.rows import open_rows
from dkmeans.storage.store import open_store

__all__ = ["fit"]


def fit(
    config: FitConfig,
    executor: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> FitReport:
    """Learn a codebook from the pixels or patches of a dataset by exact k-means.

    Parameters
    ----------
    config : FitConfig
    executor : ClusterConfig or Executor
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
    with claim(store, CodebookManifest, config, dataset.manifest.digest, [dataset.url]) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, "fit", lambda: dataset.manifest.n_pixels) as workers:
                rows = open_rows(dataset, config.on, config.n_clusters, config.seed, workers, reporter)

                def seeds(say: Callable[[str], None]) -> NDArray[Any]:
                    return seed_centers(rows, config.n_clusters, config.init, config.seed, say)

                manifest = fit_rows(config, dataset, rows, seeds, held, reporter)
        checkpoint.remove(store)
    return fit_report(store.url, manifest, time.perf_counter() - began)
