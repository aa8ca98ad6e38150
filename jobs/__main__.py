"""The ``dkmeans`` command: every job under one name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from dkmeans import __version__
from jobs import compress, fit, info, ingest, pipeline, reconstruct, report, status
from jobs.command import new_app

__all__ = ["app", "main"]

app = new_app(
    no_args_is_help=True,
    help="""Learn a codebook from a collection of images by exact k-means, and write the images back.

    A job goes: ingest, fit, compress or reconstruct, report. Each command has its own --help.""",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dkmeans {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options of the command as a whole."""


app.command("ingest")(ingest.command)
app.command("fit")(fit.command)
app.command("compress")(compress.command)
app.command("reconstruct")(reconstruct.command)
app.command("report")(report.command)
app.command("info")(info.command)
app.command("status")(status.command)
app.command("run")(pipeline.command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with the arguments `argv`; those of the process by default."""
    app(args=None if argv is None else list(argv))


if __name__ == "__main__":
    main()
