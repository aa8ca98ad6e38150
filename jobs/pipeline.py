"""Run a whole pipeline from one job file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dkmeans.config import ClusterConfig, JobConfig, RunConfig, load_job
from jobs.command import run_alone, stage_command

__all__ = ["command", "main", "run_job"]

_HELP = """Run the stages of a job file.

The tables of the file are the stages, ingest, fit, compress, reconstruct and report; their keys are the
options of the commands, with _ for -.
Options given here go before what the file says.
"""


def _run(config: RunConfig, cluster: ClusterConfig, reporter: Any) -> dict[str, Any]:
    from dkmeans.access import current_access, storage_options
    from dkmeans.stages.preview import preview

    job = load_job(config.job).override(config, cluster)
    with storage_options({**job.storage, **dict(current_access().options)}):
        return preview(job) if config.dry_run else run_job(job, reporter)


def run_job(job: JobConfig, reporter: Any) -> dict[str, Any]:
    """Run all stages of `job` on one cluster; their reports by stage."""
    from dkmeans.connecting import connect
    from dkmeans.report.page import write_report
    from dkmeans.stages.compress import compress
    from dkmeans.stages.fit import fit
    from dkmeans.stages.ingest import ingest
    from dkmeans.stages.reconstruct import reconstruct

    reports: dict[str, Any] = {}
    with connect(job.cluster, reporter) as cluster:
        reports["ingest"] = [asdict(ingest(stage, cluster, reporter)) for stage in job.ingest]
        reports["fit"] = [asdict(fit(stage, cluster, reporter)) for stage in job.fit]
        reports["compress"] = [asdict(compress(stage, cluster, reporter)) for stage in job.compress]
        reports["reconstruct"] = [asdict(reconstruct(stage, cluster, reporter)) for stage in job.reconstruct]
    if job.report:
        reports["report"] = [asdict(write_report(job.report))]
    return {name: found for name, found in reports.items() if found}


command = stage_command(RunConfig, _run, ("job",), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
