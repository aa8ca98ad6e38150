"""A dataset to a codebook: seeds, then Lloyd's iterations over all its rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from dkmeans.artefacts import checkpoint
from dkmeans.artefacts.claims import Finished, Terms, claim
from dkmeans.artefacts.codebook import Codebook, CodebookManifest, open_codebook
from dkmeans.artefacts.dataset import Dataset, open_dataset
from dkmeans.artefacts.manifests import digest
from dkmeans.clustering.seeding import seed_centers
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import FitConfig
from dkmeans.errors import MismatchError, UsageError
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
        URLs of what is read and written, and the options.
    executor : ClusterConfig or Executor
        Where the tasks run: a cluster to start or to connect to, `InProcess` or `Distributed`.
    reporter : Reporter
        Told of progress; by default nobody is.

    Returns
    -------
    FitReport
        Inertia in squared units of the stored values, iterations, whether they converged, the checksum of the
        centers, and seconds.

    Raises
    ------
    InputError
        If the dataset is missing or unfinished, has no such rows, or fewer distinct ones than clusters.
    MismatchError
        If the codebook to start from was fit on rows of another kind, or has another number of centers.
    UsageError
        If the output is there already.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    dataset = open_dataset(config.dataset)
    check_rows(dataset, config.on, config.n_clusters)
    start = None if config.start is None else _checked_start(config, dataset)
    store = open_store(config.codebook)
    terms: Terms[CodebookManifest] = Terms(changed="keep" if config.once else "refuse")
    with claim(store, CodebookManifest, config, *_identity(dataset, start), terms) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
            if manifest.dataset_digest != dataset.manifest.digest:
                reporter.say(f"{store.url} stays, though {dataset.url} has changed since it was learned")
        else:
            with connect(executor, reporter, "fit", lambda: dataset.manifest.n_pixels) as workers:
                rows = open_rows(dataset, config.on, config.n_clusters, config.seed, workers, reporter)

                def seeds(say: Callable[[str], None]) -> NDArray[Any]:
                    if start is not None:
                        return start.centers
                    return seed_centers(rows, config.n_clusters, config.init, config.seed, say)

                begun = None if start is None else start.manifest.centers_sha256
                manifest = fit_rows(config, dataset, rows, seeds, held, reporter, started_from=begun)
        checkpoint.remove(store)
    return fit_report(store.url, manifest, time.perf_counter() - began)


def _checked_start(config: FitConfig, dataset: Dataset) -> Codebook:
    """Open the codebook to start from, and see that its centers can be the first ones."""
    if "init" in config.model_fields_set:
        raise UsageError(
            f"--init: found {config.init} beside --from, which takes the first centers of {config.start}. "
            "Leave out one of them."
        )
    start = open_codebook(str(config.start))
    start.check_fits(dataset, config.on)
    if start.n_clusters != config.n_clusters:
        raise MismatchError(
            f"--from: {start.url} has {start.n_clusters} centers, --k is {config.n_clusters}. Use --k "
            f"{start.n_clusters}, or `dkmeans cut` for fewer, or leave out --from."
        )
    return start


def _identity(dataset: Dataset, start: Codebook | None) -> tuple[str, list[str]]:
    """Say what the fit is a function of, beside its config, and where that lies."""
    if start is None:
        return dataset.manifest.digest, [dataset.url]
    return digest([dataset.manifest.digest, start.manifest.centers_sha256]), [dataset.url, start.url]
