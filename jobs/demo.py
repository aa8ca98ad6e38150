"""The demo: write scikit-image's own photos into a folder and run the main job on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.command import run_alone, stage_command
from jobs.pipeline import run_job

from dkmeans.command.job import load_job
from dkmeans.config.base import StageConfig
from dkmeans.config.cluster import ClusterConfig

__all__ = ["command", "main"]

_HELP = "Write photos to demo/photos, run jobs/demo.toml on them, and say where to look."
_JOB = Path(__file__).with_name("demo.toml")


def _run(config: StageConfig, cluster: ClusterConfig, reporter: Any) -> dict[str, Any]:
    from dkmeans.studies import embedded

    job = load_job(str(_JOB)).override(config.model_copy(update={"overwrite": not config.resume}), cluster)
    embedded.write_photos(job.ingest[0].source)
    reports = run_job(job, reporter)
    palette, patches = reports["compress"][0], reports["reconstruct"][0]
    return {
        "16 colors": f"mean PSNR {palette['mean_psnr']:.2f} dB, files in {job.compress[0].images}",
        "128 patches": f"mean PSNR {patches['mean_psnr']:.2f} dB, files in {job.reconstruct[0].images}",
        "look at": reports["report"][0]["page"],
    }


command = stage_command(StageConfig, _run, (), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
