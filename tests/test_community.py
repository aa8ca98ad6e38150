"""The pages for people: how to cite, how to report, and the forms of issues."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

import dkmeans

ROOT = Path(dkmeans.__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
KINDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cited["version"] == dkmeans.__version__
    assert cited["license"] == project["license"]
    assert cited["authors"] == [{"name": "The dkmeans developers"}]
    assert {"cff-version", "message", "title"} <= set(cited)  # what the format requires besides the authors


@pytest.mark.parametrize("path", [form for form in FORMS if form.name != "config.yml"], ids=lambda p: p.name)
def test_a_form_is_one(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    assert {field["type"] for field in form["body"]} <= KINDS
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in asked]
    assert len(set(names)) == len(names)
    assert all(field["attributes"]["label"] for field in asked)
    assert any(field.get("validations", {}).get("required") for field in asked)


def test_the_forms_are_found():
    assert {form.stem for form in FORMS} == {"bug", "config", "question", "wrong_picture"}


@pytest.mark.parametrize("name", ["SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_reports_go_through_the_repository(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "security advisories" in text
    assert "@" not in text  # no address that nobody reads
