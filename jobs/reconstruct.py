"""Put images together from the nearest patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, ReconstructConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Put images together from a codebook of patches.

Takes a codebook that was fit on patches. Writes the codes, the pixels and, with --images, one PNG per image.
"""


def _run(config: ReconstructConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.stages.reconstruct import reconstruct  # here, so that --help does not load the libraries

    return reconstruct(config, cluster, reporter)


command = stage_command(ReconstructConfig, _run, ("dataset", "codebook", "result"), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
