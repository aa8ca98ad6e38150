"""Parameters of commands made from the fields of models: names, defaults, choices, and the help."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dkmeans.command.apps import EVERYWHERE
from dkmeans.config.base import KEYS, StageConfig
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import (
    CheckpointConfig,
    ColorsConfig,
    LearningConfig,
    PngConfig,
    ReadingConfig,
    UpdateConfig,
)
from dkmeans.events.reporter import FORMS, LEVELS

__all__ = ["SHARED", "argument", "model_parameters", "option", "shared_parameters", "url_argument"]


def _everywhere(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=EVERYWHERE, **settings)


SHARED = {
    "storage_option": (
        list[str] | None,
        _everywhere(
            "--storage-option",
            metavar="KEY=VALUE",
            help="Option of the object store, such as endpoint or aws_access_key_id; can be repeated.",
        ),
    ),
    "events": (
        str | None,
        _everywhere("--events", help="URL or file for a log of events, one JSON object per line."),
    ),
    "as_json": (bool, _everywhere("--json", help="Print one JSON object at the end.")),
    "quiet": (bool, _everywhere("--quiet", help="Print no report, and log as with --log-level warning.")),
    "debug": (bool, _everywhere("--debug", help="Log as with --log-level debug.")),
    "log_level": (
        str | None,
        _everywhere(
            "--log-level",
            metavar=f"{{{', '.join(LEVELS)}}}",
            help="Lowest level that is logged; debug adds each event and the traceback of an error. [info]",
            autocompletion=lambda: list(LEVELS),
        ),
    ),
    "log_format": (
        str | None,
        _everywhere(
            "--log-format",
            metavar=f"{{{', '.join(FORMS)}}}",
            help="Format of the log on stderr; json is one object per line. [text]",
            autocompletion=lambda: list(FORMS),
        ),
    ),
}
"""Parameters that every command takes."""
_GROUPS: dict[type[BaseModel], str] = {
    ColorsConfig: "Colors",
    PngConfig: "Files",
    UpdateConfig: "Files",
    ReadingConfig: "Reading",
    LearningConfig: "Learning",
    CheckpointConfig: "Learning",
}
"""Models whose fields are a group of the help, behind the options of a stage."""


def model_parameters(model: type[BaseModel], *, in_cluster: bool) -> list[inspect.Parameter]:
    """Parameters for all fields of a model, in groups, and if wanted for those of `ClusterConfig`.

    First what is given by position: all text that is required. Then options: required ones, the model's own,
    those of any stage, those of colors, of files, of reading and of learning.
    """
    fields = model.model_fields
    positional = [name for name, field in fields.items() if field.is_required() and _is_text(field)]
    cluster = ClusterConfig.model_fields if in_cluster else {}
    common = set(StageConfig.model_fields)
    groups = {
        name: title
        for group, title in _GROUPS.items()
        if issubclass(model, group)
        for name in set(group.model_fields) - common
    }
    titles = [None, *dict.fromkeys(_GROUPS.values())]

    def place(name: str) -> tuple[int, bool, bool, bool]:
        inherited = name not in model.__annotations__
        return titles.index(groups.get(name)), name in common, not fields[name].is_required(), inherited

    options = sorted((name for name in fields if name not in positional), key=place)
    return [
        *(argument(name, fields[name]) for name in positional),
        *(option(name, fields[name], groups.get(name)) for name in options),
        *(option(name, field, "Cluster") for name, field in cluster.items()),
    ]


def shared_parameters() -> list[inspect.Parameter]:
    """Parameters for what every command takes."""
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if kind is bool else None,
            annotation=Annotated[kind, option],
        )
        for name, (kind, option) in SHARED.items()
    ]


def url_argument(text: str) -> inspect.Parameter:
    """The one argument of a command that looks at an artefact."""
    return argument("url", FieldInfo(annotation=str, description=text))


def _is_text(field: FieldInfo) -> bool:
    return field.annotation in (str, Sequence[str])


def argument(name: str, field: FieldInfo) -> inspect.Parameter:
    """A parameter of a command that is given by position, for one field of a model."""
    several = field.annotation is not str
    metavar = f"{name.upper().removesuffix('S')}..." if several else name.upper()
    kind: Any = list[str] if several else str
    made = typer.Argument(help=_text(field), metavar=metavar, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[kind, made])


def option(name: str, field: FieldInfo, group: str | None = None) -> inspect.Parameter:
    """An option of a command for one field of a model, in a group of the help."""
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not NoneType]
    choices = kinds if get_origin(field.annotation) is Literal else []
    # What is no number, and sizes and choices, are taken as text: the model checks them, as in a job file.
    kind: Any = bool if kinds[0] is bool else str
    number: Any = kinds[0] if kinds[0] in (int, float) else None
    required = field.is_required()
    default = None if required else field.get_default()
    made = typer.Option(
        f"--{KEYS.get(name, name).replace('_', '-')}",
        help=f"{_text(field)}{_shown(default, field.annotation)}",
        metavar=f"{{{', '.join(choices)}}}" if choices else f"<{number.__name__}>" if number else None,
        parser=partial(_read, number) if number else None,
        show_default=False,
        autocompletion=(lambda: list(choices)) if choices else None,
        rich_help_panel=group,
    )
    # An option that is not given is None, so that a job file is asked for it, or the model.
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else False if kind is bool else None,
        annotation=Annotated[kind if required or kind is bool else kind | None, made],
    )


def _read(kind: type[int] | type[float], text: str) -> int | float | str:
    """A number, or the text if it is none."""
    try:
        return kind(text)
    except ValueError:
        return text


def _text(field: FieldInfo) -> str:
    """The docstring of a field as the help of an option."""
    return " ".join((field.description or "").replace("``", "").split())


def _shown(default: object, annotation: Any) -> str:
    """A default as the help shows it; nothing for what goes without saying."""
    if default is None or default is False:
        return ""
    if isinstance(default, tuple):
        default = ("," if Ellipsis in get_args(annotation) else "x").join(map(str, default))
    return f" [{default}]"
