"""Reduce a folder of images to few colors, or code them by few patches, in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, QuantizeConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Reduce images to few colors in one step.

Writes one indexed PNG for each image, under the same key, each with a palette of its own or, with --palette
shared, all with one. With --to archive it writes one Zarr archive of codes of pixels or, with --patch, of
patches, which dkmeans decode turns into images again. No dataset is stored.
"""


def _run(config: QuantizeConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.stages.quantize import quantize  # here, so that --help does not load the libraries

    return quantize(config, cluster, reporter)


command = stage_command(QuantizeConfig, _run, ("source", "destination"), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
