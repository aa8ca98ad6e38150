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
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

from dkmeans.command.job import JobConfig
from dkmeans.command.options import SHARED, model_parameters, shared_parameters
from dkmeans.command.planning import plan_job, planning_parameters, wants_plan
from dkmeans.command.registry import Stage
from dkmeans.command.stopping import exit_code, stoppable
from dkmeans.command.surroundings import check, check_dask, printed
from dkmeans.config.base import KEYS, StageConfig
from dkmeans.config.cluster import ClusterConfig
from dkmeans.errors import DkmeansError, UsageError
from dkmeans.events import words
from dkmeans.events.reporter import FORMS, LEVELS, Form, Level, Reporter, record

__all__ = ["new_command", "stage_command"]


@runtime_checkable
class Summarized(Protocol):
    """A report that says itself what people want to know of it."""

    def summary(self) -> list[str]:
        """Lines for people, in place of all values."""


def stage_command(stage: Stage) -> Callable[..., None]:
    """A command that runs one stage."""
    fields, cluster = stage.config.model_fields, ClusterConfig.model_fields
    in_cluster = issubclass(stage.config, StageConfig)
    planning = planning_parameters() if stage.plan else []

    def work(reporter: Any, **values: Any) -> Any:
        given = {name: value for name, value in values.items() if value is not None}
        config = stage.config(**{KEYS.get(name, name): given[name] for name in fields if name in given})
        if not in_cluster:
            return stage.function(config)
        where = ClusterConfig(**{name: given[name] for name in cluster if name in given})
        if planning and wants_plan(given):
            job = JobConfig(stages={stage.name: (cast(StageConfig, config),)}, cluster=where)
            return plan_job(job, given.get("price_per_hour"))
        return stage.function(config, where, reporter)

    parameters = [*model_parameters(stage.config, in_cluster=in_cluster), *planning]
    return new_command(work, parameters, stage.config.__doc__ or "")


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
        shared = {name: values.pop(name) for name in SHARED}
        _execute(lambda reporter: work(reporter, **values), **shared)

    command.__doc__ = inspect.cleandoc(text)
    command.__signature__ = inspect.Signature([*parameters, *shared_parameters()])  # type: ignore[attr-defined]
    return command


def _execute(
    work: Callable[[Any], Any],
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
    log_level: str | None,
    log_format: str | None,
    **options: Any,
) -> None:
    """Run `work`, print its report on stdout, and exit with the code of the error that it ends in."""
    given = [*["debug"] * debug, *["warning"] * quiet, *([log_level] if log_level else [])]
    level, form = given[-1] if given else "info", log_format or "text"
    debug, tell = level == "debug", partial(_tell, form)
    try:
        _check_log(level, form, n_levels=len(given))
        check()
        with stoppable(partial(_line, form, "info") if level in ("debug", "info") else None):
            report = _run(work, level=level, form=form, **options)
        values = report if isinstance(report, dict) else asdict(report)
        printed(lambda: _print_report(report, values, as_json=as_json, quiet=quiet), " The work is done.")
    except DkmeansError as error:
        if debug:
            traceback.print_exc()
        tell("error", str(error), exit_code=error.exit_code)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt as stopped:
        tell("warning", "; ".join(["interrupted", *getattr(stopped, "__notes__", [])]))
        raise SystemExit(exit_code(stopped)) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
            raise SystemExit(1) from None
        again = "Run again with --debug and report what it shows."
        tell("error", f"this is a bug: {type(error).__name__}: {error}\n{again}", exit_code=1)
        raise SystemExit(1) from None


def _check_log(level: str, form: str, *, n_levels: int) -> None:
    """Refuse levels and formats that there are not, and two levels at a time."""
    for flag, found, known in (("--log-level", level, LEVELS), ("--log-format", form, FORMS)):
        if found not in known:
            raise UsageError(f"{flag}: found {found!r}; expected {', '.join(known[:-1])} or {known[-1]}.")
    if n_levels > 1:
        raise UsageError(
            "found two levels; expected one of --log-level, --debug, which means --log-level debug, and "
            "--quiet, which means --log-level warning and no report."
        )


def _line(form: str, level: Level, message: str, **facts: Any) -> bytes:
    """A line of stderr that says how a command ends; in text the level of errors is before it."""
    if form == "json":
        return f"{json.dumps(record(level, '', 'exit', message, **facts))}\n".encode()
    return f"{'error: ' if level == 'error' else ''}{message}\n".encode()


def _tell(form: str, level: Level, message: str, **facts: Any) -> None:
    print(_line(form, level, message, **facts).decode(), end="", file=sys.stderr)


def _print_report(report: Any, values: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(values))
    elif quiet:
        return
    elif isinstance(report, Summarized):
        print("\n".join(report.summary()))
    else:
        for name, value in values.items():
            for line in _lines(name, value, of_job=isinstance(report, dict)):
                print(f"{name:>15}  {line}")


def _lines(name: str, value: Any, *, of_job: bool) -> list[str]:
    """A value of a report for people. Of a job it is what a stage has written, at each of its runs."""
    if not (isinstance(value, (list, tuple)) and value and isinstance(value[0], dict)):
        return [words.shown(name, value)]
    if not of_job:
        return [f"{words.integer(len(value))}, listed by --json"]
    # What the job was expected to take was said as it went.
    return [] if name == "plan" else [str(next(iter(run.values()))) for run in value]


def _run(
    work: Callable[[Any], Any], *, level: str, form: str, events: str | None, storage_option: list[str] | None
) -> Any:
    """The report of `work`; a note of what is kept goes with a KeyboardInterrupt."""
    from dkmeans.artefacts.claims import noted
    from dkmeans.command.eventlog import event_log
    from dkmeans.storage.access import storage_options  # here, so that --help does not load the libraries

    claimed: list[str] = []
    with storage_options(_pairs(storage_option or [])):
        try:
            with event_log(events) as log, noted(claimed):
                return work(Reporter(level=cast(Level, level), form=cast(Form, form), log=log))
        except BaseException as error:
            stopped = _interruption(error)
            if stopped is None:
                if not isinstance(error, DkmeansError):
                    check_dask()
                raise
            if claimed:  # the URLs of what it writes
                stopped.add_note(_kept(claimed))
            raise stopped from None


def _interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """The KeyboardInterrupt that an error is, or during which it came: of a cluster that closes, say."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def _kept(claimed: Sequence[str]) -> str:
    """Say what is kept of a run that was stopped, and how to go on, from what lies where it was writing."""
    from dkmeans.artefacts.status import kept

    try:
        found = kept(claimed)
    except DkmeansError as error:
        return f"what is finished is kept and can be resumed with --resume. It cannot be read now: {error}"
    return f"kept {found}. Continue with --resume." if found else "nothing was kept"


def _pairs(options: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` options as a dict."""
    pairs = [option.partition("=") for option in options]
    if not all(key and equals for key, equals, _ in pairs):  # which is not shown, as it may be a secret
        raise UsageError(
            "--storage-option: found one without '='; expected KEY=VALUE as in region=eu-west-1."
        )
    return {key: value for key, _, value in pairs}
