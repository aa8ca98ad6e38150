"""Where rates lie, and what becomes of a file that cannot be used."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dkmeans.compute import rates
from dkmeans.compute.rates import hardware, load_rates, rates_path, save_rates
from dkmeans.errors import StorageError


@pytest.fixture
def place(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "rates.json"
    monkeypatch.setenv("DKMEANS_RATES", str(path))
    return path


@pytest.fixture
def here(place):
    """The shipped rates as those of this machine."""
    return replace(load_rates(), hardware=hardware(), problem="")


def test_rates_come_back_as_they_were_written(place, here):
    assert save_rates(here) == place
    assert load_rates() == here
    assert load_rates().problem == ""
    assert [each.name for each in place.parent.iterdir()] == ["rates.json"]


def test_the_shipped_rates_name_their_machine(place):
    found = load_rates()
    assert "none were measured here; `dkmeans calibrate`" in found.problem
    assert "2 cores of Intel(R) Xeon" in found.told
    assert found.rates.stores[0].url == "a local folder"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document.update(format_version=0), "format 0, expected 1"),
        (lambda document: document["rates"].pop("count_ns"), "count_ns"),
        (lambda document: document["rates"].update(count_ns="fast"), "fast"),
        (lambda document: document["rates"].update(count_ns=-1), "found -1"),
        (lambda document: document["rates"].update(steps=[]), "no steps"),
        (lambda document: document["rates"]["stores"][0].pop("url"), "url"),
    ],
)
def test_a_file_that_cannot_be_used_is_said(place, here, change, said):
    save_rates(here)
    document = json.loads(place.read_text())
    change(document)
    place.write_text(json.dumps(document))
    found = load_rates()
    assert str(place) in found.problem
    assert said in found.problem
    assert found.rates == load_rates().rates


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "not JSON"])
def test_a_file_that_is_no_document_is_said(place, text):
    place.parent.mkdir()
    place.write_text(text)
    assert "cannot be read" in load_rates().problem


def test_rates_of_another_machine_are_taken_and_said(place, here):
    save_rates(replace(here, hardware={**here.hardware, "processor": "Z80"}))
    found = load_rates()
    assert found.rates == here.rates
    assert "another machine" in found.problem
    assert "Z80" in found.told


def test_without_the_variable_they_lie_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("DKMEANS_RATES", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert rates_path() == tmp_path / "dkmeans" / "rates.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert rates_path() == Path.home() / ".cache" / "dkmeans" / "rates.json"


def test_a_place_that_cannot_be_written_is_an_error(tmp_path, monkeypatch, here):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DKMEANS_RATES", str(tmp_path / "file" / "rates.json"))
    with pytest.raises(StorageError, match="Set DKMEANS_RATES"):
        save_rates(here)


def test_the_shipped_file_has_nothing_of_the_machine_but_what_it_is_for():
    shipped = json.loads(rates._SHIPPED.read_text())
    assert set(shipped) == {"format_version", "rates", "hardware", "versions", "date"}
    assert asdict(load_rates())["rates"].keys() == shipped["rates"].keys()
