"""The commands and all their options, as they are on the command line."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

import typer

from dkmeans.command.apps import EVERYWHERE
from dkmeans.command.main import make_app

__all__ = ["commands", "marked", "row"]

BAR = r"\|"

_SHARED = {
    "Cluster": "(options-cluster)=\n## Where tasks run\n\nEvery stage and study takes these too.",
    EVERYWHERE: "(options-everywhere)=\n## Options of every command",
}
"""Groups of options that are told once."""
_DEFAULT = re.compile(r" \[([^\[\]]*)\]$")


def commands() -> str:
    """Markdown of a section for each command: what it does, how it is called, and its options by groups."""
    app: Any = typer.main.get_command(make_app())
    context = app.make_context("dkmeans", [], resilient_parsing=True)
    found = [app.get_command(context, name) for name in app.list_commands(context)]
    parts = []
    for group, members in groupby(found, lambda command: command.rich_help_panel):
        parts.append(f"## {group}")
        parts += [_command(command, context) for command in members]
    for title, words in _SHARED.items():
        params = [param for param in found[0].params if _group(param) == title]
        parts += [words, _table(params, found[0], context)]
    return "\n\n".join(parts)


def _command(command: Any, parent: Any) -> str:
    with typer.Context(command, info_name=command.name, parent=parent) as context:
        usage = " ".join(["dkmeans", command.name, *command.collect_usage_pieces(context)])
        parts = [
            f"(command-{command.name})=\n### dkmeans {command.name}",
            marked(command.help),
            f"```text\n{usage}\n```",
        ]
        groups: dict[str, list[Any]] = {}
        for param in command.params:
            if not getattr(param, "hidden", False) and _group(param) not in _SHARED:
                groups.setdefault(_group(param), []).append(param)
        for title, params in groups.items():
            parts += [f"**{title}**", _table(params, command, parent)]
    return "\n\n".join(parts)


def _group(param: Any) -> str:
    if param.param_type_name == "argument":
        return "Arguments"
    return getattr(param, "rich_help_panel", None) or "Options"


def _table(params: list[Any], command: Any, parent: Any) -> str:
    with typer.Context(command, info_name=command.name, parent=parent) as context:
        rows = [_row(param, context) for param in params]
    return "\n".join(["| | default | |", "|---|---|---|", *rows])


def _row(param: Any, context: Any) -> str:
    name, text = param.get_help_record(context)
    if param.param_type_name == "argument":
        name = param.metavar or param.name.upper()
    text = text.replace("[required]", "").strip()
    default = _DEFAULT.search(text)
    shown = f"`{default[1]}`" if default else "required" if param.required else ""
    return row(f"`{name}`", shown, marked(_DEFAULT.sub("", text)))


def marked(text: str) -> str:
    """Mark options as code, and keep what would mean something in Markdown."""
    text = text.replace("<", "&lt;").replace("*", r"\*")
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)", r"`\1`", text)


def row(*cells: str) -> str:
    """Make a row of a table in Markdown, where a bar ends a cell, in code too."""
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"
