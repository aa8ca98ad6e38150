"""The options as keys of a job file and as classes of Python, and the errors, out of the code."""

from __future__ import annotations

import inspect
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from command_tables import marked, row
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dkmeans import errors as errors_module
from dkmeans.command.job import JobConfig, RunConfig
from dkmeans.command.registry import COMMANDS, REPORT, STAGES, Stage
from dkmeans.config.base import KEYS, Allowance, Bytes, Counts, Size
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.colors import Colors

__all__ = ["errors", "keys", "options"]

_KINDS: list[tuple[Any, str]] = [
    (Size, '`5` or `"8x6"`'),
    (Counts, '`100`, `[100, 200]` or `"100:1000:100"`'),
    (Bytes, '`100000` or `"100KiB"`'),
    (Allowance, '`7`, `"5%"` or `"all"`'),
    (Colors, '`["#ff8800"]` or `"#f80,#fff"`'),
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "text"),
]
_BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}


def keys() -> str:
    """Markdown of a section for each table of a job file: its keys, values, defaults and meaning."""
    parts = []
    for stage in STAGES:
        parts += [_heading(stage), _table(stage.config)]
    parts += ["(table-cluster)=\n## [cluster]", _summary(ClusterConfig), _table(ClusterConfig)]
    parts += [_heading(REPORT), _table(REPORT.config)]
    return "\n\n".join(parts)


def options() -> str:
    """Markdown of the classes of options: one for each stage, of the cluster, and of a whole job."""
    parts = []
    for model in (*(stage.config for stage in COMMANDS), ClusterConfig, RunConfig):
        required = [f"{name}" for name, field in model.model_fields.items() if field.is_required()]
        signature = ", ".join(["*", *(f"{name}" for name in required), "**options"])
        parts.append(
            f"````{{py:class}} dkmeans.{model.__name__}({signature})\n{_summary(model)}\n\n"
            f"{_table(model, python=True)}\n````"
        )
    members = "\n".join(f"   :members: {name}" for name in ["from_tables, override"])
    parts.append(f"```{{eval-rst}}\n.. autoclass:: dkmeans.{JobConfig.__name__}\n{members}\n```")
    return "\n\n".join(parts)


def errors() -> str:
    """Markdown of every error: its exit code, what it is, and which errors are of its kind."""
    found = [getattr(errors_module, name) for name in errors_module.__all__]
    found.sort(key=lambda error: (error.exit_code, len(error.__mro__), error.__name__))
    parts = []
    for error in found:
        base = error.__base__.__name__
        kind = f" A kind of {{py:exc}}`~dkmeans.errors.{base}`." if base != "Exception" else ""
        public = error is errors_module.DkmeansError
        parts.append(
            f"```{{py:exception}} dkmeans.{'' if public else 'errors.'}{error.__name__}\n"
            f"{f':canonical: dkmeans.errors.{error.__name__}' if public else ''}\n"
            f"Exit code {error.exit_code}. {inspect.getdoc(error)}{kind}\n```"
        )
    return "\n\n".join(parts)


def _heading(stage: Stage) -> str:
    name = stage.config.__name__
    return f"(table-{stage.name})=\n## [{stage.name}]\n\nIn Python {{py:class}}`dkmeans.{name}`."


def _summary(model: type[BaseModel]) -> str:
    return marked(inspect.getdoc(model) or "")


def _table(model: type[BaseModel], *, python: bool = False) -> str:
    hints = get_type_hints(model, include_extras=True)
    rows = [
        row(
            f"`{name if python else KEYS.get(name, name)}`",
            _default(hints[name], field, python=python),
            f"{_kind(hints[name], field)}: {marked(' '.join((field.description or '').split()))}",
        )
        for name, field in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())
    ]
    return "\n".join([f"| {'field' if python else 'key'} | default | value |", "|---|---|---|", *rows])


def _kind(hint: Any, field: FieldInfo) -> str:
    """What a field takes, in words."""
    if NoneType in get_args(hint):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    name = next((words for kind, words in _KINDS if hint == kind), "list of texts")
    bounds = [
        words.format(f"{getattr(limit, bound):,}")
        for limit in field.metadata
        for bound, words in _BOUNDS.items()
        if hasattr(limit, bound)
    ]
    return ", ".join([name, *(bounds if name in ("integer", "number") else [])])


def _default(hint: Any, field: FieldInfo, *, python: bool) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    if value is None:
        return "`None`" if python else ""
    if isinstance(value, bool):
        return f"`{value}`" if python else f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        whole = ", ".join(map(str, value)) if hint == Counts or python else "x".join(map(str, value))
        return f"`({whole})`" if python else f"`{whole}`"
    return f'`"{value}"`' if python and isinstance(value, str) else f"`{value}`"
