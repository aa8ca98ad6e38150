"""One row makes a stage known to the command, job files, plans and the public names."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import dkmeans
from dkmeans.command.job import JobConfig
from dkmeans.command.main import make_app
from dkmeans.command.registry import COMMANDS, STAGES
from dkmeans.command.stubs import make_stub
from dkmeans.config.base import StageConfig
from dkmeans.stages import preview

ROWS = pytest.mark.parametrize("stage", COMMANDS, ids=lambda stage: stage.name)


@ROWS
def test_a_row_names_what_is_there(stage):
    assert stage.name in {command.name for command in make_app().registered_commands}
    assert getattr(dkmeans, stage.function.__name__) is stage.function
    assert getattr(dkmeans, stage.config.__name__) is stage.config
    with pytest.raises(FrozenInstanceError):
        stage.name = "other"


@ROWS
def test_a_function_takes_what_it_is_called_with(stage):
    taken = list(inspect.signature(stage.function).parameters)
    assert len(taken) == (3 if issubclass(stage.config, StageConfig) else 1)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_job_file_has_a_table_for_it(stage):
    text = [name for name, field in stage.config.model_fields.items() if field.is_required()]
    table = {name: "4" if name == "n_clusters" else name for name in text}
    table = {name: 4 if name == "n_clusters" else value for name, value in table.items()}
    assert JobConfig.from_tables({stage.name: table}).stages == {stage.name: (stage.config(**table),)}


def test_every_plan_belongs_to_a_row():
    planned = {stage.plan for stage in STAGES if stage.plan}
    assert planned == {name for name in preview.__all__ if name.startswith("plan_")}


def test_the_stubs_are_those_of_the_registry():
    stub = Path(dkmeans.__file__).with_suffix(".pyi")
    assert stub.read_text(encoding="utf-8") == make_stub(), "make stubs writes it anew"
