"""Every stage and study, one row each: the command, job files, plans and public names are made of these rows.

A new stage is a row here, its module, and the model of its options in `dkmeans.config`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dkmeans.config.base import Model
from dkmeans.config.stages import (
    CompressConfig,
    CutConfig,
    DecodeConfig,
    ExportConfig,
    FitConfig,
    IngestConfig,
    QuantizeConfig,
    ReconstructConfig,
    ReportConfig,
    SweepConfig,
)
from dkmeans.config.studies import DictionaryConfig, FacesConfig, PaletteConfig

__all__ = ["COMMANDS", "REPORT", "STAGES", "Stage", "public_places"]


@dataclass(frozen=True)
class Stage:
    """One stage or study.

    Attributes
    ----------
    name : str
        Of the command, and of the table in a job file.
    config : type
        The model of its options; its docstring is the help of the command.
    group : str
        Of the command in the help.
    place : str
        Module and name of its function, loaded when it is first called.
    plan : str
        Name of the function in `dkmeans.stages.preview` that plans it; empty where nothing is known before.
    """

    name: str
    config: type[Model]
    group: str
    place: str
    plan: str = ""

    @property
    def function(self) -> Callable[..., Any]:
        """The function: ``function(config, executor, reporter)``, returning a report."""
        module, _, name = self.place.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function


def _stage(name: str, config: type[Model], group: str = "Stages", plan: str = "") -> Stage:
    return Stage(name, config, group, f"dkmeans.stages.{name}:{name}", plan)


def _study(name: str, config: type[Model]) -> Stage:
    return Stage(name, config, "Studies", f"dkmeans.studies.{name}.study:{name}")


STAGES = (
    _stage("ingest", IngestConfig, plan="plan_ingest"),
    _stage("fit", FitConfig, plan="plan_fit"),
    _stage("sweep", SweepConfig, plan="plan_sweep"),
    _stage("cut", CutConfig, "Codebooks"),
    _stage("compress", CompressConfig, plan="plan_compress"),
    _stage("reconstruct", ReconstructConfig, plan="plan_reconstruct"),
    _stage("quantize", QuantizeConfig, "In one step"),
    _stage("decode", DecodeConfig, "In one step"),
    _study("dictionary", DictionaryConfig),
    _study("palette", PaletteConfig),
    _study("faces", FacesConfig),
)
"""In the order in which a job file runs them."""
REPORT = Stage("report", ReportConfig, "Look", "dkmeans.report.page:write_report")
"""Runs last in a job, once, and needs no executor."""
_EXPORT = Stage("export", ExportConfig, "Codebooks", "dkmeans.stages.export:export")
COMMANDS = (*STAGES, _EXPORT, REPORT)
"""All that is a command; what is no stage of a job takes no executor."""

_OTHERS = {
    "artefacts.codebook": ("Codebook", "open_codebook"),
    "artefacts.coded": ("CodedImages", "open_coded"),
    "artefacts.dataset": ("Dataset", "open_dataset"),
    "artefacts.folder": ("ImageFolder", "open_folder"),
    "artefacts.sweep": ("Sweep", "open_sweep"),
    "estimators.kmeans": ("KMeans",),
    "estimators.minibatch": ("MiniBatchKMeans",),
    "command.job": ("JobConfig", "RunConfig", "load_job"),
    "command.run": ("run_job",),
    "compute.distributed": ("Distributed",),
    "compute.in_process": ("InProcess",),
    "config.cluster": ("ClusterConfig",),
    "errors": ("DkmeansError",),
    "storage.access": ("storage_options",),
}
"""Public names that belong to no stage, by the modules where they lie."""


def public_places() -> dict[str, str]:
    """The module of each public name of `dkmeans`: functions and options of the stages, and a few others."""
    functions = (stage.place.partition(":") for stage in COMMANDS)
    configs = {stage.config.__name__: stage.config.__module__ for stage in COMMANDS}
    others = {name: f"dkmeans.{module}" for module, names in _OTHERS.items() for name in names}
    return {**others, **{name: module for module, _, name in functions}, **configs}
