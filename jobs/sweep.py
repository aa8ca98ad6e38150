"""Learn a codebook for each of several numbers of clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, SweepConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Learn a codebook for each of several numbers of clusters.

Rows are read once, seeds drawn once. Tells how inertia falls with more clusters, and where the curve bends.
"""


def _run(config: SweepConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.stages.sweep import sweep  # here, so that --help does not load the libraries

    return sweep(config, cluster, reporter)


command = stage_command(SweepConfig, _run, ("dataset", "sweep"), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
