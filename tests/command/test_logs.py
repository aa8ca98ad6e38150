"""What a command says on stderr, by level and format."""

from __future__ import annotations

import json

import pytest

SYNC = ["--scheduler", "sync"]


def test_a_stage_is_told_by_its_beginning_and_its_end(photos, tmp_path, dkmeans):
    code, _, err = dkmeans("ingest", photos, tmp_path / "d", *SYNC)
    assert code == 0
    lines = err.splitlines()
    assert "ingest begins on 1 thread" in lines
    assert lines[-1].startswith("ingest is done after ")
    assert lines[-1].endswith(", 5 images read")


def test_an_error_is_a_line_of_json_too(tmp_path, dkmeans):
    options = ["--k", 2, "--log-format", "json", *SYNC]
    code, _, err = dkmeans("fit", tmp_path / "none", tmp_path / "c", *options)
    (line,) = [json.loads(line) for line in err.splitlines()]
    assert (line["level"], line["exit_code"]) == ("error", code)
    assert "none" in line["message"]


@pytest.mark.parametrize(
    "options", [["--log-level", "loud"], ["--log-format", "xml"], ["--quiet", "--log-level", "info"]]
)
def test_levels_and_formats_that_there_are_not(tmp_path, dkmeans, options):
    code, out, err = dkmeans("info", tmp_path, *options)
    assert (code, out) == (2, "")
    assert options[0] in err
