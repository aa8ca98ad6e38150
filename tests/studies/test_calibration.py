"""Calibration: every rate is there and above 0, whatever it is, and nothing is left where it was measured."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from dkmeans.compute.rates import load_rates, save_rates
from dkmeans.studies.calibration import study
from dkmeans.studies.calibration.places import measure_store
from dkmeans.studies.calibration.steps import measure_step
from dkmeans.studies.calibration.study import measure


def numbers(value):
    if isinstance(value, dict):
        value = [each for name, each in value.items() if name != "url"]
    if isinstance(value, (list, tuple)):
        return [each for part in value for each in numbers(part)]
    return [value]


@pytest.mark.slow
def test_all_rates_of_a_machine_and_a_store(s3_url, tmp_path, monkeypatch):
    monkeypatch.setenv("DKMEANS_RATES", str(tmp_path / "rates.json"))
    found = measure(s3_url, points=[(3, 16)])
    assert [place.url for place in found.rates.stores] == ["a local folder", s3_url]
    assert all(each >= 0 for each in numbers(asdict(found.rates)))
    assert found.rates.start_seconds["process"] > 0
    assert found.rates.store(f"{s3_url}/below").url == s3_url
    save_rates(found)
    assert load_rates() == found


@pytest.mark.parametrize("url", ["file", "s3"])
def test_nothing_is_left_where_it_was_measured(url, request, tmp_path):
    from dkmeans.storage.store import open_store

    place = str(tmp_path / "new") if url == "file" else request.getfixturevalue("s3_url")
    pixels = study._photos()[0][0].reshape(-1, 3)
    rate = measure_store(place, pixels)
    assert min(rate.write_mib, rate.read_mib, rate.request_seconds) > 0
    assert open_store(place).list() == []


def test_a_step_is_measured_at_its_point():
    rate = measure_step(784, 100, [photo[:200, :200] for photo in study._photos()[0]])
    assert (rate.n_features, rate.n_clusters) == (784, 100)
    assert rate.row_ns > 0
    assert rate.label_ns > 0
    assert rate.seed_seconds > 0
