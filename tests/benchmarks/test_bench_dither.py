"""The benchmark of dithering runs once, tiny; no time decides anything here."""

from __future__ import annotations

import json

import bench_dither
import numpy as np
import pytest


def test_bench_dither(photos, tmp_path):
    options = ["--data", str(photos), "--colors", "4,16", "--rounds", "1"]
    report = bench_dither.main([*options, "--json", str(tmp_path / "dither.json")])
    assert json.loads((tmp_path / "dither.json").read_text())["table"] == report["table"]
    found = {(line["method"], line["colors"]): line for line in report["table"]}
    for k in (4, 16):
        plain, best = found["dkmeans, none", k], found["dkmeans, floyd-steinberg", k]
        assert len(best["images"]) == 5
        assert best["psnr_blurred"] == pytest.approx(np.mean([one["psnr_blurred"] for one in best["images"]]))
        assert best["psnr_blurred"] > plain["psnr_blurred"]
        assert best["psnr"] < plain["psnr"]


def test_an_image_that_is_the_same():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    assert bench_dither.measured(image, image) == {"delta_e": 0, "psnr_blurred": None, "psnr": None}
