"""Run a whole pipeline from one job file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from dkmeans.config import JobConfig, load_job
from jobs.command import execute, run_alone

__all__ = ["command", "main", "run_job"]


def command(
    job: Annotated[str, typer.Argument(metavar="JOB.toml", help="Path of the job file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and write nothing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the outputs first.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run ended.")] = False,
    scheduler: Annotated[str | None, typer.Option(help="Instead of the job file's scheduler.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but warnings.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Run the stages of a job file: ingest, fit, compress, reconstruct, report.

    The tables of the file are the stages, their keys the options of the commands with _ for -.
    """

    def work(reporter: Any) -> Any:
        config = load_job(job).override(overwrite=overwrite, resume=resume, scheduler=scheduler)
        if dry_run:
            from dkmeans.stages.preview import preview

            return preview(config)
        return run_job(config, reporter)

    execute(work, as_json=as_json, quiet=quiet, debug=debug)


def run_job(job: JobConfig, reporter: Any) -> dict[str, Any]:
    """Run all stages of `job` on one cluster; their reports by stage."""
    from dkmeans.report.page import write_report

    from dkmeans.cluster import connect
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


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
