"""Learn a codebook from a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, FitConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Learn a codebook by exact k-means.

Clusters the pixels or the patches of a dataset. The same data, options and seed give the same bits, on any
number of workers.
"""


def _run(config: FitConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.stages.fit import fit  # here, so that --help does not load the libraries

    return fit(config, cluster, reporter)


command = stage_command(FitConfig, _run, ("dataset", "codebook"), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
