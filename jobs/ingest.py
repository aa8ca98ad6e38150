"""Store images as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.config import ClusterConfig, IngestConfig
from jobs.command import run_alone, stage_command

__all__ = ["command", "main"]

_HELP = """Store images as a dataset.

The dataset holds chunked Zarr arrays of all pixels and, with --patch, of all patches that are not blank.
Takes a folder or URL prefix of PNG, JPEG, TIFF, WebP, BMP and PNM files, one such file, an IDX file
or an .npy stack.
"""


def _run(config: IngestConfig, cluster: ClusterConfig, reporter: Any) -> Any:
    from dkmeans.stages.ingest import ingest  # here, so that --help does not load the libraries

    return ingest(config, cluster, reporter)


command = stage_command(IngestConfig, _run, ("source", "dataset"), _HELP)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
