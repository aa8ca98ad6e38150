"""What pages say of commands, options, keys, errors and variables is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from command_tables import commands
from filled import relink
from model_tables import errors, keys, options

import dkmeans
from dkmeans import errors as errors_module
from dkmeans.command.job import JobConfig
from dkmeans.command.main import make_app
from dkmeans.command.registry import COMMANDS, STAGES
from dkmeans.config.base import KEYS

ROOT = Path(dkmeans.__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if not {"_build", "generated"} & {*page.parts}]
TYPED = re.compile(r"^\$ (.*)$|`(dkmeans [^`]*)`", re.MULTILINE)
CELL = re.compile(r"^```\{code-cell\} ipython3\n((?::.*\n)*)\n?(.*?)^```", re.DOTALL | re.MULTILINE)


def test_every_option_is_in_the_table_of_its_command() -> None:
    text = commands()
    app = typer.main.get_command(make_app())
    sections = dict(re.findall(r"^### dkmeans (\w+)\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE))
    assert set(sections) == set(app.commands)  # type: ignore[attr-defined]
    shared = text[text.index("(options-cluster)=") :]
    for name, command in app.commands.items():  # type: ignore[attr-defined]
        for param in command.params:
            if param.param_type_name == "option" and not param.hidden:
                found = re.search(rf"`{param.opts[0]}[ `]", sections[name] + shared)
                assert found, f"{name} {param.opts[0]}"


def test_rows_have_as_many_cells_as_their_table() -> None:
    for text in (commands(), keys(), options()):
        for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
            rows = [row.replace(r"\|", "").count("|") for row in table.splitlines()]
            assert len(set(rows)) == 1, table


def test_every_key_of_a_job_file_has_its_row() -> None:
    tables = dict(re.findall(r"^## \[(\w+)\]\n(.*?)(?=^\(table|\Z)", keys(), re.DOTALL | re.MULTILINE))
    assert set(tables) == {*(stage.name for stage in STAGES), *JobConfig.model_fields} - {"stages", "storage"}
    for stage in STAGES:
        rows = re.findall(r"^\| `(\w+)` \|", tables[stage.name], re.MULTILINE)
        assert sorted(rows) == sorted(KEYS.get(name, name) for name in stage.config.model_fields)


def test_every_option_has_its_class() -> None:
    named = set(re.findall(r"(?:py:class\}|autoclass::) dkmeans\.(\w+)", options()))
    assert {stage.config.__name__ for stage in COMMANDS} < named
    assert named == {name for name in dkmeans.__all__ if name.endswith("Config")}


def test_every_error_is_told_with_its_code() -> None:
    text = errors()
    for name in errors_module.__all__:
        code = getattr(errors_module, name).exit_code
        assert re.search(
            rf"py:exception\}} dkmeans\.(errors\.)?{name}\n.*?Exit code {code}\.", text, re.DOTALL
        )
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    codes = {getattr(errors_module, name).exit_code for name in errors_module.__all__}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", page, re.MULTILINE)} == codes | {0}


def test_every_variable_that_is_read_is_told() -> None:
    page = (DOCS / "reference" / "environment.md").read_text(encoding="utf-8")
    told = {name.rstrip("*") for name in re.findall(r"`([A-Z][A-Z0-9_]+\*?)`", page)}
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "dkmeans").rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\.setdefault\(|\[)\"(\w+)\"", source))
    read |= set(re.findall(r"\b((?:DKMEANS|NUMBA|DASK|AWS|AZURE|GOOGLE)_[A-Z_]*)\b", source))
    assert read
    assert [name for name in read if not name.startswith(tuple(told))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_commands_that_a_page_names_exist(page: Path) -> None:
    app = typer.main.get_command(make_app())
    text = page.read_text(encoding="utf-8")
    lines = [line for _, cell in CELL.findall(text) for line in cell.splitlines()]
    lines += [line for pair in TYPED.findall(text) for line in pair]
    for line in lines:
        words = line.split()
        if words[:1] != ["dkmeans"] or len(words) < 2 or not re.fullmatch(r"[a-z]+", words[1]):
            continue
        command = app.commands.get(words[1])  # type: ignore[attr-defined]
        assert command is not None, line
        known = {name for param in command.params for name in param.opts} | {"--help"}
        given = {word for word in words[2:] if re.match(r"--[a-z]", word)}
        assert given <= known, line


def test_links_to_files_outside_lead_into_the_site_where_they_can() -> None:
    text = "[a](../README.md#x) [b](../jobs/demo.toml) [c](../jobs) [d](daily.md#e) [e](https://x.y) [f](#g)"
    found = relink(text, DOCS, DOCS)
    assert found == "[a](index.md) [b](../jobs/demo.toml) c [d](daily.md#e) [e](https://x.y) [f](#g)"
    assert relink("![x](y/z.png) [tls](tls/make-certs.sh)", ROOT / "deploy", DOCS) == (
        "![x](y/z.png) [tls](../deploy/tls/make-certs.sh)"
    )
