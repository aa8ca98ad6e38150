"""Typer as dkmeans uses it: help in groups, and each mistake of usage told in two lines."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from dkmeans.command.surroundings import prepare, printed
from dkmeans.errors import StorageError

__all__ = ["EVERYWHERE", "add_command", "new_app", "run_app"]

EVERYWHERE = "Everywhere"
"""The group of options that all commands have."""
_WIDEST = 100  # columns of help, on a terminal that has as many
_FIRST_COLUMN = 30
_ALONE = {"--dither": ("floyd-steinberg", "ordered", "none")}
"""Options that may be given without a value, and all their values: the first one is meant."""

# Typer names only one kind of usage error for others; this is what all of them are.
_UsageError: Any = typer.BadParameter.__mro__[1]


def new_app(**options: Any) -> typer.Typer:
    """A Typer app in the style of dkmeans; without shell completion unless it is asked for.

    Plain help, not Rich's panels: these leave half as much room for words, and loading Rich takes as long as
    all the rest of the help.
    """
    return typer.Typer(
        **{"add_completion": False, **options},
        cls=_Group,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"max_content_width": _WIDEST},
    )


def add_command(app: typer.Typer, name: str | None, command: Callable[..., None], group: str = "") -> None:
    """Add a command to an app, in a group of its help."""
    settings = {"max_content_width": _WIDEST}
    app.command(name, cls=_Command, rich_help_panel=group, context_settings=settings)(command)


def run_app(app: typer.Typer, argv: Sequence[str] | None, name: str | None = None) -> None:
    """Run an app under a name with some arguments, those of the process by default, and exit."""
    code: list[Any] = []
    if argv is None:
        prepare()
    try:
        given = None if argv is None else list(argv)
        printed(lambda: code.append(app(args=given, prog_name=name, standalone_mode=False)))
    except _UsageError as error:
        print(_told(error), file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except StorageError as error:  # help, or the version, for a file on a disk that is full
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    raise SystemExit(code[0] or 0)


def _told(error: Any) -> str:
    """Say what was found in a command line, and what was expected."""
    message = error.format_message().rstrip(".")
    if hasattr(error, "possibilities"):
        message = f"no such option {error.option_name}{_did_you_mean(error.option_name, error.ctx)}"
    told = f"error: {message[:1].lower()}{message[1:]}{'' if message.endswith('?') else '.'}"
    if error.ctx is None:
        return told
    path = error.ctx.command_path
    usage = " ".join([path, *error.ctx.command.collect_usage_pieces(error.ctx)])
    return f"{told}\nExpected: {usage}; `{path} --help` tells more."


def _did_you_mean(found: str, context: Any) -> str:
    """The nearest option, also by the name that it has in Python, such as n_clusters for --k."""
    names: dict[str, str] = {}
    for param in context.command.get_params(context):
        if param.param_type_name == "option":
            names |= {param.name.replace("_", "-"): param.opts[0], param.opts[0].lstrip("-"): param.opts[0]}
    close = difflib.get_close_matches(found.lstrip("-").lower(), names, n=1)
    return f"; did you mean {names[close[0]]}?" if close else ""


class _Command(TyperCommand):
    """A command whose options are shown in groups, and whose usage names what it needs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_values(args))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments, required = [], []
        for param in self.get_params(ctx):
            if param.param_type_name == "argument":
                arguments.append(_name_of(param))
            elif param.required:
                required.append(param.get_help_record(ctx)[0])  # type: ignore[index]
        return [*arguments, *required, "[OPTIONS]"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            group = getattr(param, "rich_help_panel", None) or "Options"
            if param.param_type_name == "argument":
                group, record = "Arguments", (_name_of(param), record[1].replace("[required]", ""))
            groups.setdefault(EVERYWHERE if param.name == "help" else group, []).append(record)
        _write_groups(formatter, groups)


class _Group(TyperGroup):
    """The command as a whole, whose commands are shown in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            text = command.get_short_help_str(formatter.width)
            groups.setdefault(command.rich_help_panel or "Commands", []).append((name, text))
        options = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        _write_groups(formatter, groups)
        _write_groups(formatter, {"Options": [record for record in options if record]})


def _with_values(args: list[str]) -> list[str]:
    """Give a value to each option that stands alone."""
    whole = []
    for place, arg in enumerate(args):
        whole.append(arg)
        if arg in _ALONE and not {*args[place + 1 : place + 2]} & {*_ALONE[arg]}:
            whole.append(_ALONE[arg][0])
    return whole


def _name_of(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _write_groups(formatter: Any, groups: dict[str, list[tuple[str, str]]]) -> None:
    """Write groups of names and their help, all with one width of the first column."""
    widths = [len(name) for rows in groups.values() for name, _ in rows]
    width = max([width for width in widths if width <= _FIRST_COLUMN], default=0)
    for title, rows in groups.items():
        with formatter.section(title):
            formatter.write_dl([(name.ljust(width), text) for name, text in rows], col_max=width)
