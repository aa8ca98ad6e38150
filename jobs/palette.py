"""Study photos with few colors: how many are enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, PaletteConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Study photos with few colors: how many are enough.

The photos in each number of colors, as files and on a page, with error, bytes and distinct colors. Writes
OUT/index.html and all that it is made from.
"""


def _run(config: PaletteConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.studies.palette.study import palette  # here, so that --help does not load the libraries

    return palette(config, cluster, reporter)


command = stage_command(PaletteConfig, _run, ("out",), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
