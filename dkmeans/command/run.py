"""Run a whole pipeline from one job file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from dkmeans.command.commands import stage_command
from dkmeans.command.job import JobConfig, RunConfig, load_job
from dkmeans.command.registry import REPORT, STAGES, Stage
from dkmeans.config.cluster import ClusterConfig
from dkmeans.errors import InputError
from dkmeans.events.reporter import Reporter

__all__ = ["make_command", "preview_job", "run_job"]


def _run(config: RunConfig, cluster: ClusterConfig, reporter: Any) -> dict[str, Any]:
    from dkmeans.storage.access import current_access, storage_options

    job = load_job(config.job).override(config, cluster)
    with storage_options({**job.storage, **dict(current_access().options)}):
        return preview_job(job) if config.dry_run else run_job(job, reporter)


def preview_job(job: JobConfig) -> dict[str, Any]:
    """The plan of each stage of `job`, and nothing is written; see `dkmeans.stages.preview`."""
    from dkmeans.stages import preview

    shapes = preview.Shapes(job.stages.get("ingest", ()))
    plans: dict[str, Any] = {}
    for stage in STAGES:
        plan = getattr(preview, stage.plan) if stage.plan else None
        for config in job.stages.get(stage.name, ()):
            found = plan(config, shapes) if plan else {"plan": f"none: {stage.name} finds out as it goes"}
            plans.setdefault(stage.name, []).append(found)
    return plans


def run_job(job: JobConfig, reporter: Reporter | None = None) -> dict[str, Any]:
    """Run all stages of `job` on one cluster; their reports by stage.

    Progress goes to stderr, unless another `reporter` is given.
    """
    from dkmeans.compute.connecting import connect

    reporter = reporter or Reporter()
    reports: dict[str, Any] = {}
    with connect(job.cluster, reporter, pixels=lambda: _pixels(job)) as executor:
        for stage in STAGES:
            for config in job.stages.get(stage.name, ()):
                report = asdict(stage.function(config, executor, reporter))
                reports.setdefault(stage.name, []).append(report)
    if job.report:
        reports["report"] = [asdict(REPORT.function(job.report))]
    return reports


def _pixels(job: JobConfig) -> int:
    """About how many pixels there are in the images, and the datasets, that a job finds."""
    from dkmeans.artefacts.dataset import open_dataset
    from dkmeans.images.sources import estimate_pixels, open_source

    def tell(option: str, count: Callable[[str], int]) -> int:
        total = 0
        urls = {getattr(config, option, None) for configs in job.stages.values() for config in configs}
        for url in filter(None, urls):
            with suppress(InputError):  # what an earlier stage makes is not there yet
                total += count(url)
        return total

    sources = tell("source", lambda url: estimate_pixels(open_source(url)))
    return sources or tell("dataset", lambda url: open_dataset(url).manifest.n_pixels)


def make_command() -> Callable[..., None]:
    """Make the command."""
    return stage_command(Stage("run", RunConfig, "In one step", f"{__name__}:_run"))
