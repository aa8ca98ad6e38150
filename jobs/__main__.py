"""The ``dkmeans`` command: every job under one name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dkmeans import __version__
from jobs import (
    compress,
    cut,
    decode,
    dictionary,
    faces,
    fit,
    info,
    ingest,
    palette,
    pipeline,
    quantize,
    reconstruct,
    report,
    status,
    sweep,
    verify,
)
from jobs.apps import add_command, new_app, run_app

__all__ = ["app", "main"]

app = new_app(
    add_completion=True,
    help="""Learn a codebook from a collection of images by exact k-means, and write the images back.

    A job goes: ingest, fit, compress or reconstruct, report. Each command has its own --help.""",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dkmeans {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options of the command as a whole; show its help if no command is given."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


_GROUPS: dict[str, dict[str, Any]] = {
    "Stages": {
        "ingest": ingest,
        "fit": fit,
        "sweep": sweep,
        "compress": compress,
        "reconstruct": reconstruct,
    },
    "In one step": {"quantize": quantize, "decode": decode, "run": pipeline},
    "Codebooks": {"cut": cut},
    "Studies": {"dictionary": dictionary, "palette": palette, "faces": faces},
    "Look": {"report": report, "info": info, "status": status, "verify": verify},
}
for _group, _jobs in _GROUPS.items():
    for _name, _job in _jobs.items():
        add_command(app, _name, _job.command, _group)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with the arguments `argv`; those of the process by default."""
    run_app(app, argv, "dkmeans")


if __name__ == "__main__":
    main()
