"""Commands made from the models of `dkmeans.config`: one option per field, its help the field's docstring.

So the command line, the job file and the Python calls take the same names, defaults and checks.
"""

from __future__ import annotations

import inspect
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from dkmeans.config import ClusterConfig
from dkmeans.errors import DkmeansError, UsageError

__all__ = ["new_app", "new_command", "run_alone", "stage_command", "url_argument"]

_SHARED = {
    "storage_option": (
        list[str] | None,
        typer.Option(
            "--storage-option",
            metavar="KEY=VALUE",
            help="Option of the object store, such as endpoint or aws_access_key_id; may be repeated.",
        ),
    ),
    "events": (
        str | None,
        typer.Option("--events", help="URL or file of a log of events, one JSON object a line."),
    ),
    "as_json": (bool, typer.Option("--json", help="Print one JSON object at the end.")),
    "quiet": (bool, typer.Option("--quiet", help="Say nothing but warnings.")),
    "debug": (bool, typer.Option("--debug", help="Show the traceback of an error.")),
}
"""What every command takes."""
_KEYS = {"n_clusters": "k"}
"""Fields that the command line and a job file call by a shorter name."""


def new_app(**options: Any) -> typer.Typer:
    """A Typer app in the style of dkmeans."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def _parameter(name: str, field: FieldInfo, positional: bool) -> inspect.Parameter:
    """The parameter of a command for one field of a model."""
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not NoneType]
    choices = kinds if get_origin(field.annotation) is Literal else []
    # Sizes and choices are taken as text: the model checks them, as it does in a job file.
    kind: Any = kinds[0] if kinds[0] in (bool, int, float) else str
    text = " ".join((field.description or "").replace("``", "").split())
    if positional:
        argument = typer.Argument(help=text, metavar=name.upper(), show_default=False)
        return inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[kind, argument]
        )
    required = field.is_required()
    default = None if required else field.get_default()
    option = typer.Option(
        f"--{_KEYS.get(name, name).replace('_', '-')}",
        help=f"{text}{_shown(default)}",
        metavar=f"{{{', '.join(choices)}}}" if choices else None,
        show_default=False,
    )
    # An option that is not given is None, so that a job file is asked for it, or the model.
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else False if kind is bool else None,
        annotation=Annotated[kind if required or kind is bool else kind | None, option],
    )


def _shown(default: object) -> str:
    """A default as the help shows it; nothing for what goes without saying."""
    if default is None or default is False:
        return ""
    return f" [{'x'.join(map(str, default)) if isinstance(default, tuple) else default}]"


def stage_command(
    model: type[Any], run: Callable[[Any, ClusterConfig, Any], Any], positional: Sequence[str], text: str
) -> Callable[..., None]:
    """A command that runs one stage.

    Parameters
    ----------
    model : type
        The config of the stage.
    run : callable
        ``run(config, cluster_config, reporter)``, returning a report.
    positional : sequence of str
        Fields that are given by position.
    text : str
        The help of the command.
    """
    fields, cluster = model.model_fields, ClusterConfig.model_fields
    parameters = [_parameter(name, fields[name], True) for name in positional]
    parameters += [_parameter(name, fields[name], False) for name in fields if name not in positional]
    parameters += [_parameter(name, field, False) for name, field in cluster.items()]

    def work(reporter: Any, **values: Any) -> Any:
        given = {name: value for name, value in values.items() if value is not None}
        config = model(**{_KEYS.get(name, name): given[name] for name in fields if name in given})
        where = ClusterConfig(**{name: given[name] for name in cluster if name in given})
        return run(config, where, reporter)

    return new_command(work, parameters, text)


def new_command(
    work: Callable[..., Any], parameters: Sequence[inspect.Parameter], text: str
) -> Callable[..., None]:
    """A command with some parameters of its own, besides those that all have.

    Parameters
    ----------
    work : callable
        ``work(reporter, **values)``, returning a report: a dataclass or a dict.
    parameters : sequence of inspect.Parameter
        Annotated for Typer.
    text : str
        The help of the command.
    """

    def command(**values: Any) -> None:
        shared = {name: values.pop(name) for name in _SHARED}
        _execute(lambda reporter: work(reporter, **values), **shared)

    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if kind is bool else None,
            annotation=Annotated[kind, option],
        )
        for name, (kind, option) in _SHARED.items()
    ]
    command.__doc__ = text
    command.__signature__ = inspect.Signature([*parameters, *shared])  # type: ignore[attr-defined]
    return command


def url_argument(text: str) -> inspect.Parameter:
    """The one argument of a command that looks at an artefact."""
    argument = typer.Argument(metavar="URL", help=text)
    return inspect.Parameter(
        "url", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[str, argument]
    )


def _execute(
    work: Callable[[Any], Any],
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
    events: str | None,
    storage_option: list[str] | None,
) -> None:
    """Run `work`, print its report on stdout, and exit with the code of the error that it ends in."""
    from dkmeans.access import storage_options
    from dkmeans.eventlog import event_log
    from dkmeans.events import Reporter

    try:
        with storage_options(_pairs(storage_option or [])), event_log(events) as log:
            report = work(Reporter(quiet=quiet, log=log))
    except DkmeansError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept: run again with --resume", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        if debug:
            raise
        print(f"error: this is a bug: {type(error).__name__}: {error}", file=sys.stderr)
        print("Run again with --debug and report what it shows.", file=sys.stderr)
        raise SystemExit(1) from None
    values = report if isinstance(report, dict) else asdict(report)
    if as_json:
        print(json.dumps(values))
    elif not quiet:
        for name, value in values.items():
            shown = value if isinstance(value, (str, int, float, bool, type(None))) else json.dumps(value)
            print(f"{name:>15}  {shown}")


def _pairs(options: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` options as a dict."""
    pairs = [option.partition("=") for option in options]
    if not all(key and equals for key, equals, _ in pairs):  # which is not shown, as it may be a secret
        raise UsageError(
            "--storage-option: found one without '='; expected KEY=VALUE as in region=eu-west-1."
        )
    return {key: value for key, _, value in pairs}


def run_alone(command: Callable[..., None], argv: Sequence[str] | None) -> None:
    """Run one command as a program of its own: ``python -m jobs.fit ...``."""
    app = new_app()
    app.command()(command)
    app(args=None if argv is None else list(argv))
