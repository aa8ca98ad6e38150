"""The ``dkmeans`` command: every job under one name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from dkmeans import __version__
from dkmeans.command import run
from dkmeans.command.apps import add_command, new_app, run_app
from dkmeans.command.commands import stage_command
from dkmeans.command.look import LOOKS
from dkmeans.command.registry import REPORT, STAGES

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


_COMMANDS = [
    *((stage.group, stage.name, stage_command(stage)) for stage in STAGES),
    ("In one step", "run", run.command),
    (REPORT.group, REPORT.name, stage_command(REPORT)),
    *((REPORT.group, name, command) for name, command in LOOKS.items()),
]
_GROUPS = ("Stages", "In one step", "Codebooks", "Studies", "Look")
for _group, _name, _command in sorted(_COMMANDS, key=lambda row: _GROUPS.index(row[0])):
    add_command(app, _name, _command, _group)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with the arguments `argv`; those of the process by default."""
    run_app(app, argv, "dkmeans")
