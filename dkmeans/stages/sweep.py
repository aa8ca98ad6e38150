"""A dataset to a codebook for each of several numbers of clusters."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts import checkpoint
from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.codebook import HISTORY, CodebookManifest, read_codebook
from dkmeans.artefacts.dataset import Dataset, open_dataset
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.sweep import SweepManifest, codebook_store, open_sweep, write_sweep
from dkmeans.clustering.elbow import find_elbow
from dkmeans.clustering.groups import draw_group_sample, find_groups
from dkmeans.clustering.rows import Rows
from dkmeans.clustering.sampling import Sample
from dkmeans.clustering.seeding import Seeds, draw_seeds
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import FitConfig, LearningConfig, SweepConfig
from dkmeans.events import words
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.stages.shared.fitting import check_rows, fit_rows
from dkmeans.stages.shared.rows import open_rows
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["SweepReport", "sweep"]

_SEEDS = "seeds"
_Say = Callable[[str], None]


@dataclass(frozen=True)
class SweepReport:
    """The report of sweep: for each number of clusters its curves, see `dkmeans.artefacts.sweep.Sweep`.

    Inertia in squared units of the stored values; `elbow` is None where the curve has none, and `n_groups`
    where the rows fall into no groups that are told apart (see `dkmeans.clustering.groups`).
    """

    sweep: str
    n_rows: int
    n_features: int
    elbow: int | None
    n_groups: int | None
    n_clusters: list[int]
    inertia: list[float]
    mse: list[float]
    n_iter: list[int]
    converged: list[bool]
    iteration_seconds: list[float]
    seconds: float

    def summary(self) -> list[str]:
        """Lines for people: the curve, where it bends, and how many groups there are."""
        lines = [f"{'clusters':>9}  {'mean squared error':>18}  iterations"]
        for k, mse, n_iter, converged in zip(
            self.n_clusters, self.mse, self.n_iter, self.converged, strict=True
        ):
            stopped = "" if converged else ", not converged"
            lines.append(f"{k:9,}  {words.number(mse):>18}  {n_iter:>10,}{stopped}")
        lines.append(
            "no elbow: no number stands out by what more clusters gain"
            if self.elbow is None
            else f"elbow at {self.elbow:,} clusters: beyond it, each further one gains less"
        )
        if self.n_groups is not None:
            lines.append(f"the rows fall into {self.n_groups:,} groups, by the gap statistic on a sample")
        return [*lines, self.sweep]


def sweep(
    config: SweepConfig,
    executor: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> SweepReport:
    """Learn a codebook for each of several numbers of clusters, from rows that are read once.

    The seeds are drawn once, for the largest number: what k-means++ chooses first is its choice for fewer
    clusters. So the codebooks are a function of the rows, the options and that largest number, and differ
    from those of `fit` with the same seed. Each is a codebook of its own, finished for good when it is there.

    Parameters
    ----------
    config : SweepConfig
        URLs of what is read and written, and the options.
    executor : ClusterConfig or Executor
        Where the tasks run: a cluster to start or to connect to, `InProcess` or `Distributed`.
    reporter : Reporter
        Told of progress; by default nobody is.

    Returns
    -------
    SweepReport
        For each number of clusters inertia, mean squared error and iterations; the elbow; seconds.

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
    check_rows(dataset, config.on, max(config.n_clusters))
    store = open_store(config.sweep)
    with claim(store, SweepManifest, config, dataset.manifest.digest, [dataset.url]) as held:
        if isinstance(held, Claim):
            with connect(executor, reporter, "sweep", lambda: dataset.manifest.n_pixels) as workers:
                _write(config, dataset, held, workers, reporter)
    return _report(store.url, time.perf_counter() - began)


def _write(
    config: SweepConfig, dataset: Dataset, held: Claim[SweepManifest], executor: Executor, reporter: Reporter
) -> None:
    most = max(config.n_clusters)

    @cache
    def rows() -> Rows:
        return open_rows(dataset, config.on, most, config.seed, executor, reporter)

    drawn: list[Seeds] = []

    def first(n_clusters: int, say: _Say) -> NDArray[Any]:
        if not drawn:
            drawn.append(_drawn(config, rows(), held, say))
        return drawn[0].centers(n_clusters, say)

    learning = {name: getattr(config, name) for name in LearningConfig.model_fields}
    for number, k in enumerate(config.n_clusters, 1):
        reporter.say(f"k = {k}, {number} of {len(config.n_clusters)}")
        held.check()
        place = codebook_store(held.store, k)
        one = FitConfig(
            **{**learning, "overwrite": False, "resume": True},
            dataset=config.dataset,
            codebook=place.url,
            n_clusters=k,
            on=config.on,
        )
        with claim(place, CodebookManifest, one, dataset.manifest.digest) as inner:
            if isinstance(inner, Claim):
                fit_rows(one, dataset, rows(), partial(first, k), inner, reporter)
            checkpoint.remove(place)
    reporter.say("looking for groups in a sample")
    curves, facts = _measure(config, held.store)
    facts["n_groups"] = _find_groups(config, rows())
    held.discard(_SEEDS)
    write_sweep(held, curves, **facts)


def _drawn(config: SweepConfig, rows: Rows, claim: Claim[SweepManifest], say: _Say) -> Seeds:
    """The seeds of a sweep; they are kept until it is done, as those of many clusters take long to draw."""
    if claim.has_group(_SEEDS):
        names = ("chosen", "sample", "times")
        found = {each.key.split("/")[1] for each in claim.store.list(_SEEDS)}
        kept = {name: arrays.read_rows(claim.store, f"{_SEEDS}/{name}") for name in names if name in found}
        threads = rows.cluster.n_threads()
        sample = Sample(kept["sample"], kept["times"], threads) if "sample" in kept else None
        return Seeds(rows, kept["chosen"], sample)
    claim.discard(_SEEDS)  # what a run that died has begun to write
    drawn = draw_seeds(rows, max(config.n_clusters), config.init, config.seed, say)
    claim.write_array(f"{_SEEDS}/chosen", drawn.chosen)
    if drawn.sample is not None:
        claim.write_array(f"{_SEEDS}/sample", drawn.sample.rows)
        claim.write_array(f"{_SEEDS}/times", drawn.sample.times)
    claim.commit_group(_SEEDS)
    return drawn


def _measure(config: SweepConfig, store: Store) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The curves of a sweep, and what its manifest tells."""
    books = [read_codebook(codebook_store(store, k)) for k in config.n_clusters]
    first = books[0].manifest
    inertia = np.array([book.manifest.inertia for book in books], np.float64)
    curves = {
        "n_clusters": np.array(config.n_clusters, np.int64),
        "inertia": inertia,
        "mse": inertia / (first.n_rows * first.n_features),
        "n_iter": np.array([book.manifest.n_iter for book in books], np.int64),
        "converged": np.array([book.manifest.converged for book in books]),
        "seconds": np.array([book.history[:, HISTORY.index("seconds")].sum() for book in books]),
    }
    facts = {name: getattr(first, name) for name in ("n_rows", "n_features", "space")}
    bend = find_elbow(config.n_clusters, inertia.tolist())
    return curves, {**facts, "n_clusters": config.n_clusters, "elbow": bend}


def _find_groups(config: SweepConfig, rows: Rows) -> int | None:
    positions = draw_group_sample(rows.n_rows, rows.n_features, max(config.n_clusters), config.seed)
    return find_groups(rows.take(positions), config.n_clusters, config.seed)


def _report(url: str, seconds: float) -> SweepReport:
    found = open_sweep(url)
    curves = {name: values.tolist() for name, values in found.curves.items()}
    curves["iteration_seconds"] = curves.pop("seconds")
    facts = {name: getattr(found.manifest, name) for name in ("n_rows", "n_features", "elbow", "n_groups")}
    return SweepReport(sweep=url, seconds=seconds, **facts, **curves)
