"""Replace each pixel by its nearest color."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, CompressConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Replace each pixel by its nearest color.

Takes a codebook that was fit on pixels. Writes the codes, the palette and, with --images, one indexed PNG
per image.
"""


def _run(config: CompressConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.stages.compress import compress  # here, so that --help does not load the libraries

    return compress(config, cluster, reporter)


command = stage_command(CompressConfig, _run, ("dataset", "codebook", "result"), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
