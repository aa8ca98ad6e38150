"""Run a whole pipeline from one job file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from dkmeans.command.commands import stage_command
from dkmeans.command.expecting import expectations
from dkmeans.command.job import JobConfig, RunConfig, load_job
from dkmeans.command.planning import pixels_of, plan_job, stages_of, wants_plan
from dkmeans.command.registry import REPORT, Stage
from dkmeans.config.cluster import ClusterConfig
from dkmeans.events.reporter import Reporter

__all__ = ["make_command", "run_job"]


def _run(config: RunConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.storage.access import current_access, storage_options

    job = load_job(config.job).override(config, cluster)
    with storage_options({**job.storage, **dict(current_access().options)}):
        if wants_plan(config.model_dump(include={"dry_run", "price_per_hour"})):
            return plan_job(job, config.price_per_hour)
        return run_job(job, reporter)


def run_job(job: JobConfig, reporter: Reporter | None = None) -> dict[str, Any]:
    """Run all stages of a job on one cluster.

    Parameters
    ----------
    job : JobConfig
        The stages, their options, and where they run.
    reporter : Reporter, optional
        Told of progress, which goes to stderr by default.

    Returns
    -------
    dict of str to list of dict
        The reports of the runs of each stage by its name; under ``plan`` what each stage was to take.

    Raises
    ------
    DkmeansError
        As the stages raise it.
    """
    from dkmeans.compute.connecting import connect

    reporter = reporter or Reporter()
    reports: dict[str, Any] = {}
    expected = expectations(job)
    with connect(job.cluster, reporter, pixels=lambda: pixels_of(job)) as executor:
        for stage, config in stages_of(job):
            function = stage.function  # which loads what it needs
            began = time.perf_counter()
            report = asdict(function(config, executor, reporter))
            reports.setdefault(stage.name, []).append(report)
            expected.took(time.perf_counter() - began)
    expected.tell(reporter)
    reports["plan"] = expected.lines
    if job.report:
        reports["report"] = [asdict(REPORT.function(job.report))]
    return reports


def make_command() -> Callable[..., None]:
    """Make the command."""
    return stage_command(Stage("run", RunConfig, "In one step", f"{__name__}:_run"))
