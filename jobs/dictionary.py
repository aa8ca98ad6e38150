"""Study patches of images: how a dictionary of them changes with its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, DictionaryConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Study patches: how a dictionary of them changes with its size.

How many clusters, how good, what they are, and what one image is made of. Writes OUT/index.html and all that
it is made from.
"""


def _run(config: DictionaryConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.studies.dictionary.study import (
        dictionary,  # here, so that --help does not load the libraries
    )

    return dictionary(config, cluster, reporter)


command = stage_command(DictionaryConfig, _run, ("out",), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
