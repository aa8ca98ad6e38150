"""Cut a codebook down to a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, CutConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Cut a codebook down to fewer clusters, without a new fit.

Joins its centers by Ward's linkage, and reads the dataset that it was fit on once, for counts and inertia.
"""


def _run(config: CutConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.stages.cut import cut  # here, so that --help does not load the libraries

    return cut(config, cluster, reporter)


command = stage_command(CutConfig, _run, ("codebook", "cut"), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
