"""A whole job file: its tables are the stages, their keys the options."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field

from dkmeans.config.base import Model, StageConfig
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import (
    CompressConfig,
    CutConfig,
    DecodeConfig,
    FitConfig,
    IngestConfig,
    QuantizeConfig,
    ReconstructConfig,
    ReportConfig,
    SweepConfig,
)
from dkmeans.config.studies import DictionaryConfig, FacesConfig, PaletteConfig
from dkmeans.errors import InputError, UsageError

__all__ = ["JobConfig", "RunConfig", "load_job"]


def _as_text(value: object) -> object:
    """``true`` and ``3`` of a job file as the text that they are on a command line."""
    return str(value).lower() if isinstance(value, (bool, int, float)) else value


_Text = Annotated[str, BeforeValidator(_as_text)]


class RunConfig(StageConfig):
    """A whole job file; what the command line sets goes before what the file says."""

    job: str
    """Path of the job file."""
    dry_run: bool = False
    """Print the plan, bytes, blocks and memory, and write nothing."""


class JobConfig(Model):
    """A whole pipeline: the stages of a job file, run in this order."""

    cluster: ClusterConfig = ClusterConfig()
    storage: dict[str, _Text] = Field(default={}, repr=False)
    """Options of the object store, as with ``--storage-option``."""
    ingest: tuple[IngestConfig, ...] = ()
    fit: tuple[FitConfig, ...] = ()
    sweep: tuple[SweepConfig, ...] = ()
    cut: tuple[CutConfig, ...] = ()
    compress: tuple[CompressConfig, ...] = ()
    reconstruct: tuple[ReconstructConfig, ...] = ()
    quantize: tuple[QuantizeConfig, ...] = ()
    decode: tuple[DecodeConfig, ...] = ()
    dictionary: tuple[DictionaryConfig, ...] = ()
    palette: tuple[PaletteConfig, ...] = ()
    faces: tuple[FacesConfig, ...] = ()
    report: ReportConfig | None = None

    @classmethod
    def from_tables(cls, tables: dict[str, Any]) -> Self:
        """A job from the tables of a TOML file; ``[fit]`` is short for one ``[[fit]]``."""
        values = dict(tables)
        for name, model in _TABLES.items():
            found = tables.get(name)
            if isinstance(found, dict):
                made = _from_table(model, f"[{name}]", found)
                values[name] = [made] if name in _STAGES else made
            elif isinstance(found, list) and name in _STAGES:
                values[name] = [
                    _from_table(model, f"[[{name}]] number {number}", table)
                    for number, table in enumerate(found, 1)
                ]
        return cls(**values)

    def override(self, flags: StageConfig, cluster: ClusterConfig) -> Self:
        """The job with what the command line has set instead of what the file says."""
        on = {name: True for name in ("overwrite", "resume") if getattr(flags, name)}
        stages = {
            name: tuple(stage.model_copy(update=on) for stage in getattr(self, name)) for name in _STAGES
        }
        given = {name: getattr(cluster, name) for name in cluster.model_fields_set}
        return self.model_copy(update={**stages, "cluster": self.cluster.model_copy(update=given)})


_STAGES: dict[str, type[Model]] = {
    "ingest": IngestConfig,
    "fit": FitConfig,
    "sweep": SweepConfig,
    "cut": CutConfig,
    "compress": CompressConfig,
    "reconstruct": ReconstructConfig,
    "quantize": QuantizeConfig,
    "decode": DecodeConfig,
    "dictionary": DictionaryConfig,
    "palette": PaletteConfig,
    "faces": FacesConfig,
}
_TABLES: dict[str, type[Model]] = {"cluster": ClusterConfig, **_STAGES, "report": ReportConfig}


def load_job(path: str) -> JobConfig:
    """Read and validate a job file.

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
        job = JobConfig.from_tables(tables)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    if not (job.report or any(getattr(job, name) for name in _STAGES)):
        raise UsageError(f"{path} has no stage; expected tables such as [ingest] and [fit].")
    return job


def _from_table(model: type[Model], where: str, table: Any) -> Any:
    """A model from one table of a job file; its errors say in which table they are."""
    if not isinstance(table, dict):
        return table
    try:
        return model(**table)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
