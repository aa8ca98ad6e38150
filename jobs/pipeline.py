"""Run a whole pipeline from one job file."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dkmeans.config import ClusterConfig, JobConfig, RunConfig, load_job
from jobs.command import run_alone, stage_command

__all__ = ["command", "main", "run_job"]

_HELP = """Run the stages of a job file.

The tables of the file are commands: ingest, fit, sweep, cut, compress, reconstruct, quantize, decode,
dictionary, palette, faces and report, run in this order; their keys are the options, with _ for -.
Options given here go before what the file says.
"""

_STAGES = ("ingest", "fit", "sweep", "cut", "compress", "reconstruct", "quantize", "decode")
_STUDIES = ("dictionary", "palette", "faces")
_MODULES = {name: f"dkmeans.stages.{name}" for name in _STAGES}
_MODULES |= {name: f"dkmeans.studies.{name}.study" for name in _STUDIES}
"""Where the function for each table lies, in the order in which they run."""


def _run(config: RunConfig, cluster: ClusterConfig, reporter: Any) -> dict[str, Any]:
    from dkmeans.stages.preview import preview
    from dkmeans.storage.access import current_access, storage_options

    job = load_job(config.job).override(config, cluster)
    with storage_options({**job.storage, **dict(current_access().options)}):
        return preview(job) if config.dry_run else run_job(job, reporter)


def run_job(job: JobConfig, reporter: Any) -> dict[str, Any]:
    """Run all stages of `job` on one cluster; their reports by stage."""
    from dkmeans.compute.connecting import connect
    from dkmeans.report.page import write_report

    reports: dict[str, Any] = {}
    with connect(job.cluster, reporter) as cluster:
        for name, module in _MODULES.items():
            if stages := getattr(job, name):
                run = getattr(importlib.import_module(module), name)
                reports[name] = [asdict(run(stage, cluster, reporter)) for stage in stages]
    if job.report:
        reports["report"] = [asdict(write_report(job.report))]
    return reports


command = stage_command(RunConfig, _run, ("job",), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
