"""A whole job file: its tables are the stages, their keys the options."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field

from dkmeans.command.registry import REPORT, STAGES, Stage
from dkmeans.config.base import KEYS, PLACES, Model, StageConfig, nearest
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import ReportConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.storage.urls import is_local

__all__ = ["JobConfig", "RunConfig", "load_job"]


def _as_text(value: object) -> object:
    """``true`` and ``3`` of a job file as the text that they are on a command line."""
    return str(value).lower() if isinstance(value, (bool, int, float)) else value


_PLACES = PLACES | {KEYS["start"], "palette"}
_WORDS = ("per-image", "shared")
"""Palettes that are no file."""
_Text = Annotated[str, BeforeValidator(_as_text)]


class RunConfig(StageConfig):
    """Run the stages of a job file.

    The tables of the file are commands: ingest, fit, sweep, cut, compress, reconstruct, quantize, decode,
    dictionary, palette, faces and report, run in this order; their keys are the options, with _ for -.
    Relative paths in the file are relative to its folder. Options given here override those of the file.
    """

    job: str
    """Path of the job file."""
    dry_run: bool = False
    """Print what each stage would need (rows, bytes, memory, requests and seconds) and write nothing."""
    price_per_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """With --dry-run: price of one worker for an hour, such as 0.4, to estimate the price of the job."""


class JobConfig(Model):
    """A whole pipeline: the stages of a job file, run in this order.

    Attributes
    ----------
    cluster : ClusterConfig
    storage : dict of str to str
        Options of the object store, as with ``--storage-option``.
    stages : dict of str to tuple
        For each stage by its name, the options of each of its runs.
    report : ReportConfig or None
    """

    cluster: ClusterConfig = ClusterConfig()
    storage: dict[str, _Text] = Field(default={}, repr=False)
    stages: dict[str, tuple[StageConfig, ...]] = Field(default={})
    report: ReportConfig | None = None

    @classmethod
    def from_tables(cls, tables: dict[str, Any]) -> Self:
        """A job from the tables of a TOML file; ``[fit]`` is short for one ``[[fit]]``.

        Raises
        ------
        UsageError
            If a table, or a key of one, is unknown, or a value does not fit.
        """
        known = ("cluster", "storage", *(stage.name for stage in STAGES), REPORT.name)
        for name in tables:
            if name not in known:
                raise UsageError(f"unknown key {name!r}{nearest(name, known)}")
        stages = {stage.name: _runs(stage, tables[stage.name]) for stage in STAGES if stage.name in tables}
        values: dict[str, Any] = {"storage": tables.get("storage", {}), "stages": stages}
        for name, model in (("cluster", ClusterConfig), ("report", ReportConfig)):
            if name in tables:
                values[name] = _from_table(model, f"[{name}]", tables[name])
        return cls(**values)

    def override(self, flags: StageConfig, cluster: ClusterConfig) -> Self:
        """The job with what the command line has set instead of what the file says."""
        on = {name: True for name in ("overwrite", "resume") if getattr(flags, name)}
        stages = {
            name: tuple(config.model_copy(update=on) for config in configs)
            for name, configs in self.stages.items()
        }
        given = {name: getattr(cluster, name) for name in cluster.model_fields_set}
        return self.model_copy(update={"stages": stages, "cluster": self.cluster.model_copy(update=given)})


def _runs(stage: Stage, found: Any) -> Any:
    if isinstance(found, dict):
        return (_from_table(stage.config, f"[{stage.name}]", found),)
    if not isinstance(found, list):
        raise UsageError(f"{stage.name}: found {found!r}; expected a table such as [{stage.name}]")
    return tuple(
        _from_table(stage.config, f"[[{stage.name}]] number {number}", table)
        for number, table in enumerate(found, 1)
    )


def load_job(path: str) -> JobConfig:
    """Read and validate a job file; relative paths in it are relative to its folder.

    Parameters
    ----------
    path : str
        Of a TOML file.

    Returns
    -------
    JobConfig
        All that is in it.

    Raises
    ------
    InputError
        If there is no such file.
    UsageError
        If it is not TOML, has no stage, an unknown key or a value that does not fit.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such job file. Check the path.") from error
    except OSError as error:
        raise InputError(f"{path}: the job file cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}.") from error
    try:
        job = JobConfig.from_tables(_from_folder(Path(path).absolute().parent, tables))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    if not (job.report or any(job.stages.values())):
        raise UsageError(f"{path} has no stage; expected tables such as [ingest] and [fit].")
    return job


def _from_folder(folder: Path, found: Any, key: str = "") -> Any:
    """The tables of a job file with the relative paths that they hold made absolute, from its folder."""
    if isinstance(found, dict):
        return {name: _from_folder(folder, value, name) for name, value in found.items()}
    if isinstance(found, list):
        return [_from_folder(folder, value, key) for value in found]
    if not isinstance(found, str) or key not in _PLACES or found in _WORDS or not is_local(found):
        return found
    return found if found.startswith(("~", "file://")) else os.path.normpath(folder / found)


def _from_table(model: type[Model], where: str, table: Any) -> Any:
    """A model from one table of a job file; its errors say in which table they are."""
    if not isinstance(table, dict):
        raise UsageError(f"{where}: found {table!r}; expected a table")
    try:
        return model(**table)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
