"""From rows to a codebook: what fit and sweep have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts import checkpoint
from dkmeans.artefacts.codebook import HISTORY, CodebookManifest, write_codebook
from dkmeans.artefacts.dataset import Dataset
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.refusals import same_run
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import LloydResult, State
from dkmeans.clustering.rows import Rows
from dkmeans.clustering.settling import settle
from dkmeans.config.stages import FitConfig, LearningConfig
from dkmeans.errors import DistinctRowsError, InputError
from dkmeans.events.reporter import Reporter
from dkmeans.features.space import FeatureSpace
from dkmeans.kernels.exact import MAX_FEATURES

__all__ = ["FitReport", "check_rows", "commit_codebook", "fit_report", "fit_rows", "iterate_rows"]


@dataclass(frozen=True)
class FitReport:
    """The report of fit; inertia in squared units of the stored values.

    `gain_left` is the part of it that an iteration took away, in the mean of the last five; None of fewer.
    """

    codebook: str
    n_rows: int
    n_features: int
    n_clusters: int
    inertia: float
    n_iter: int
    converged: bool
    gain_left: float | None
    centers_sha256: str
    seconds: float


def fit_report(url: str, manifest: CodebookManifest, seconds: float) -> FitReport:
    """The report of a codebook that is complete."""
    names = set(FitReport.__dataclass_fields__) - {"codebook", "seconds"}
    facts = {name: getattr(manifest, name) for name in names}
    return FitReport(codebook=url, seconds=seconds, **facts)


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
    n_rows = int(getattr(dataset.manifest, f"n_{on}"))
    if n_clusters > n_rows:
        raise DistinctRowsError(
            f"found {n_rows} {on} in {dataset.url}, fewer than the {n_clusters} clusters asked "
            f"for. Use --k {n_rows} or less."
        )
    if dataset.space(on).n_features > MAX_FEATURES:
        raise InputError(
            f"the patches of {dataset.url} have {dataset.space(on).n_features} values, the exact arithmetic "
            f"takes at most {MAX_FEATURES}. Ingest with a smaller --patch."
        )


def fit_rows(
    config: FitConfig,
    dataset: Dataset,
    rows: Rows,
    seeds: Callable[[Callable[[str], None]], NDArray[Any]],
    claim: Claim[CodebookManifest],
    reporter: Reporter,
    **facts: Any,
) -> CodebookManifest:
    """Lloyd's iterations to a codebook, from the first centers or a checkpoint.

    Parameters
    ----------
    config : FitConfig
    dataset : Dataset
    rows : Rows
    seeds : callable
        Gives the first centers, shape (n_clusters, n_features), and tells what it does to the function that
        it is called with; not called if there is a checkpoint.
    claim : Claim
    reporter : Reporter
    **facts
        More of what the manifest tells.
    """
    state = _begun(claim, reporter)
    if state is None:
        with reporter.stage("seeds", 1, "set") as advance:
            state = State(seeds(partial(advance, 0)))
            checkpoint.save(claim, state)
            advance(1)
    saved = time.monotonic()

    def keep(state: State) -> None:
        nonlocal saved
        if time.monotonic() - saved >= config.checkpoint_seconds:
            checkpoint.save(claim, state)
            saved = time.monotonic()

    result = iterate_rows(config, rows, state, dataset.space(config.on), reporter, keep)
    return commit_codebook(config.on, dataset, claim, rows, result, max_iter=config.max_iter, **facts)


def iterate_rows(
    config: LearningConfig,
    rows: Rows,
    state: State,
    space: FeatureSpace,
    reporter: Reporter,
    keep: Callable[[State], None] = lambda _: None,
) -> LloydResult:
    """Iterate over `rows` of `space` from `state` and tell each step; `keep` gets the state after each."""
    with reporter.stage("iterations", config.max_iter, "iterations") as advance:
        advance(len(state.history))

        def on_iteration(state: State) -> None:
            step = state.history[-1]
            advance(1, f"inertia {step.inertia:.6g}  shift {step.center_shift:.3g}")
            reporter.event("iteration", iteration=len(state.history), **asdict(step))
            keep(state)

        result = lloyd(rows, state, **config.pace, on_iteration=on_iteration)
    if not result.converged:
        gain = "" if result.gain_left is None else f", gaining {100 * result.gain_left:.2g} % of inertia each"
        reporter.warn(f"not converged after {config.max_iter} iterations{gain}; --max-iter allows more")
    settled = settle(rows, result, space)
    reporter.event("fitted", iteration=len(result.history), inertia=settled.inertia)
    return settled


def _begun(claim: Claim[CodebookManifest], reporter: Reporter) -> State | None:
    """Where an earlier run of this fit was; None if it has left no checkpoint."""
    if claim.number == 1:
        return None
    try:
        found = checkpoint.load(claim.store)
    except ValueError as error:
        reporter.warn(f"{error}; the fit starts again")
        return None
    if found is None or not same_run(found[1], claim.recorded):  # of a run that --overwrite has ended
        return None
    reporter.say(f"continuing after iteration {len(found[0].history)}")
    return found[0]


def commit_codebook(
    on: str,
    dataset: Dataset,
    claim: Claim[CodebookManifest],
    rows: Rows,
    result: LloydResult,
    **facts: Any,
) -> CodebookManifest:
    """Write a codebook of pixels or patches of `dataset`, and commit it with some more `facts`."""
    history = np.array([[asdict(step)[name] for name in HISTORY] for step in result.history], np.float64)
    return write_codebook(
        claim,
        result.centers,
        result.counts,
        history.reshape(-1, len(HISTORY)),
        dataset=dataset.url,
        dataset_digest=dataset.manifest.digest,
        space=dataset.space(on),
        n_rows=rows.n_rows,
        n_features=rows.n_features,
        n_clusters=len(result.centers),
        inertia=result.inertia,
        n_iter=len(result.history),
        converged=result.converged,
        gain_left=result.gain_left,
        **facts,
    )
