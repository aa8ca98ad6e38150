"""The ``dkmeans`` command: every job under one name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import typer

from dkmeans import __version__
from dkmeans.command import run
from dkmeans.command.apps import add_command, new_app, run_app
from dkmeans.command.commands import stage_command
from dkmeans.command.look import LOOKS
from dkmeans.command.registry import COMMANDS, REPORT

__all__ = ["main", "make_app"]

_GROUPS = ("Stages", "In one step", "Codebooks", "Studies", "Look")
_ROWS: list[tuple[str, str, Callable[[], Callable[..., None]]]] = [
    *((stage.group, stage.name, partial(stage_command, stage)) for stage in COMMANDS),
    ("In one step", "run", run.make_command),
    *((REPORT.group, name, make) for name, make in LOOKS.items()),
]
"""Group and name of each command, and what makes it."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dkmeans {__version__}")
        raise typer.Exit


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


def make_app(only: str = "") -> typer.Typer:
    """Make the command, with all of its commands, or with the only one that is wanted: each takes a while."""
    app = new_app(
        add_completion=True,
        help="""Learn a codebook from a collection of images by exact k-means, and write the images back.

        A job goes: ingest, fit, compress or reconstruct, report. Each command has its own --help.""",
    )
    app.callback(invoke_without_command=True)(_options)
    for group, name, make in sorted(_ROWS, key=lambda row: _GROUPS.index(row[0])):
        if only in ("", name):
            add_command(app, name, make(), group)
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with the arguments `argv`; those of the process by default."""
    first = (sys.argv[1:] if argv is None else [*argv])[:1]
    only = first[0] if first and first[0] in {name for _, name, _ in _ROWS} else ""
    run_app(make_app(only), argv, "dkmeans")
