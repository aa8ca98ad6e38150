"""Turn codes into image files again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, DecodeConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Turn codes into image files again.

Takes an archive of dkmeans quantize, or a result of dkmeans compress or reconstruct, and needs nothing
besides it. Writes one PNG for each image, indexed where its palette fits.
"""


def _run(config: DecodeConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.stages.decode import decode  # here, so that --help does not load the libraries

    return decode(config, cluster, reporter)


command = stage_command(DecodeConfig, _run, ("archive", "images"), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
