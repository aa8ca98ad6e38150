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
from dkmeans.errors import DkmeansError

__all__ = ["execute", "new_app", "run_alone", "stage_command"]

_OUTPUT = inspect.Signature(
    [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in {
            "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")],
            "quiet": Annotated[bool, typer.Option("--quiet", help="Say nothing but warnings.")],
            "debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
        }.items()
    ]
).parameters
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
    parameters += _OUTPUT.values()

    def command(**values: Any) -> None:
        given = {name: value for name, value in values.items() if value is not None}

        def work(reporter: Any) -> Any:
            config = model(**{_KEYS.get(name, name): given[name] for name in fields if name in given})
            where = ClusterConfig(**{name: given[name] for name in cluster if name in given})
            return run(config, where, reporter)

        execute(work, as_json=values["as_json"], quiet=values["quiet"], debug=values["debug"])

    command.__doc__ = text
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def execute(work: Callable[[Any], Any], *, as_json: bool, quiet: bool, debug: bool) -> None:
    """Run `work`, print its report on stdout, and exit with the code of the error that it ends in."""
    from dkmeans.events import Reporter

    reporter = Reporter(quiet=quiet)
    try:
        report = work(reporter)
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


def run_alone(command: Callable[..., None], argv: Sequence[str] | None) -> None:
    """Run one command as a program of its own: ``python -m jobs.fit ...``."""
    app = new_app()
    app.command()(command)
    app(args=None if argv is None else list(argv))
