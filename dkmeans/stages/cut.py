"""A codebook to a smaller one: its centers are joined, and the rows counted once more."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from dkmeans.artefacts.claims import Finished, claim
from dkmeans.artefacts.codebook import Codebook, CodebookManifest, open_codebook
from dkmeans.artefacts.dataset import Dataset, open_dataset
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.manifests import digest
from dkmeans.clustering.hierarchy import Groups, group_centers, merge_groups
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import Iteration, State
from dkmeans.clustering.settling import settle
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import CutConfig
from dkmeans.errors import InputError, MismatchError, UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.stages.shared.fitting import commit_codebook
from dkmeans.stages.shared.rows import open_rows
from dkmeans.storage.store import open_store

__all__ = ["CutReport", "cut"]


@dataclass(frozen=True)
class CutReport:
    """The report of cut; inertia in squared units of the stored values.

    Attributes
    ----------
    n_components : int
        Parts that the graph of neighbors was in before they were linked; 1 without a graph.
    """

    cut: str
    codebook: str
    n_rows: int
    n_features: int
    n_clusters: int
    n_components: int
    inertia: float
    centers_sha256: str
    seconds: float


def cut(
    config: CutConfig,
    executor: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> CutReport:
    """Make a smaller codebook of a codebook: its centers joined by Ward's linkage, without a new fit.

    A new center is the mean of those that it replaces, each as often as it has rows. Then the rows of the
    fit are read once, for the counts and the inertia of just these centers. The history has that one pass.

    Parameters
    ----------
    config : CutConfig
        URLs of what is read and written, and the options.
    executor : ClusterConfig or Executor
        Where the tasks run: a cluster to start or to connect to, `InProcess` or `Distributed`.
    reporter : Reporter
        Told of progress; by default nobody is.

    Returns
    -------
    CutReport
        Numbers of clusters and rows, inertia in squared units of the stored values, and seconds.

    Raises
    ------
    InputError
        If the codebook, or the dataset that it was fit on, is missing or unfinished, or the dataset has
        changed since (`MismatchError`).
    UsageError
        If the codebook has no more clusters than asked for, or no more centers than neighbors asked for, or
        the output is there already.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    codebook = open_codebook(config.codebook)
    _check_sizes(config, codebook)
    dataset = _fitted_dataset(codebook)
    store = open_store(config.cut)
    identity = digest([dataset.manifest.digest, codebook.manifest.centers_sha256])
    with claim(store, CodebookManifest, config, identity, [codebook.url, dataset.url]) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, "cut", lambda: dataset.manifest.n_pixels) as workers:
                manifest = _write(config, codebook, dataset, held, workers, reporter)
    names = set(CutReport.__dataclass_fields__) - {"cut", "codebook", "seconds"}
    facts = {name: getattr(manifest, name) for name in names}
    return CutReport(cut=store.url, codebook=codebook.url, seconds=time.perf_counter() - began, **facts)


def _check_sizes(config: CutConfig, codebook: Codebook) -> None:
    n_centers = codebook.n_clusters
    if config.n_clusters >= n_centers:
        raise UsageError(
            f"k: found {config.n_clusters}, {codebook.url} has {n_centers} clusters; expected fewer. "
            + (f"Use --k {n_centers - 1} or less." if n_centers > 1 else "Fit with a larger --k.")
        )
    if config.n_neighbors is not None and config.n_neighbors >= n_centers:
        raise UsageError(
            f"n_neighbors: found {config.n_neighbors}, each center of {codebook.url} has {n_centers - 1} "
            f"neighbors. Use --n-neighbors {n_centers - 1} or less."
        )


def _fitted_dataset(codebook: Codebook) -> Dataset:
    """The dataset that a codebook was fit on, as it was then."""
    try:
        dataset = open_dataset(codebook.manifest.dataset)
    except InputError as error:
        raise InputError(
            f"the rows that {codebook.url} was fit on are needed to count them again: {error}"
        ) from error
    if dataset.manifest.digest != codebook.manifest.dataset_digest:
        raise MismatchError(
            f"the dataset {dataset.url} has changed since {codebook.url} was fit on it; expected the same "
            "images. Fit again with --overwrite, or restore the dataset."
        )
    return dataset


def _write(
    config: CutConfig,
    codebook: Codebook,
    dataset: Dataset,
    claim: Claim[CodebookManifest],
    executor: Executor,
    reporter: Reporter,
) -> CodebookManifest:
    groups, space = _grouped(config, codebook, reporter), dataset.space(codebook.on)
    centers = merge_groups(codebook.centers, codebook.counts, groups.labels, space.row_dtype)
    rows = open_rows(dataset, codebook.on, len(centers), 0, executor, reporter)
    with reporter.stage("counts", 1, "pass") as advance:
        began = time.perf_counter()
        result = lloyd(rows, State(centers), max_iter=0, tol=0, on_iteration=lambda _: None)
        result = settle(rows, result, space)
        step = Iteration(result.inertia, 0.0, rows.n_rows, time.perf_counter() - began)
        advance(1, f"inertia {result.inertia:.6g}")
    facts = {"cut_from": codebook.manifest.centers_sha256, "n_components": groups.n_components, "max_iter": 1}
    return commit_codebook(codebook.on, dataset, claim, rows, replace(result, history=[step]), **facts)


def _grouped(config: CutConfig, codebook: Codebook, reporter: Reporter) -> Groups:
    with reporter.stage("hierarchy", 1, "tree") as advance:
        groups = group_centers(codebook.centers, config.n_clusters, config.n_neighbors)
        advance(1)
    if groups.n_components > 1:
        reporter.warn(
            f"the graph of {config.n_neighbors} nearest neighbors is in {groups.n_components} parts; their "
            "nearest centers are linked too. A larger --n-neighbors makes it whole"
        )
    return groups
