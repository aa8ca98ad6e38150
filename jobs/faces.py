"""Study images of one size: gray levels, typical images, a hierarchy of codebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, FacesConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Study faces, or other images of one size.

Their gray values in few levels and the bytes that saves, a gallery of typical images, and that codebook cut
down to smaller ones beside direct fits. Writes OUT/index.html and all that it is made from.
"""


def _run(config: FacesConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.studies.faces.study import faces  # here, so that --help does not load the libraries

    return faces(config, cluster, reporter)


command = stage_command(FacesConfig, _run, ("out",), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
