"""Tell what an artefact is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from jobs.command import execute, run_alone

__all__ = ["command", "main"]


def command(
    url: Annotated[str, typer.Argument(metavar="URL", help="URL of a dataset, codebook or result.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Tell what lies at a URL.

    Kind, config, shapes, chunks, digests; for a codebook its centers_sha256.
    """

    def work(_: Any) -> dict[str, Any]:
        from dkmeans import artefact, storage

        return artefact.describe(storage.resolve_url(url))

    execute(work, as_json=as_json, quiet=False, debug=debug)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job with the arguments `argv`; those of the process by default."""
    run_alone(command, argv)


if __name__ == "__main__":
    main()
