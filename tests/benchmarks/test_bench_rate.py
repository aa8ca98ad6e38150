"""The benchmark of rate and distortion runs once, tiny; no time decides anything here."""

from __future__ import annotations

import json

import bench_rate
import pytest


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package imagequant, where it is installed
def test_bench_rate(photos, tmp_path, capsys):
    options = ["--data", str(photos), "--colors", "2,8", "--codebooks", "4x4:8", "--qualities", "50"]
    report = bench_rate.main([*options, "--json", str(tmp_path / "rate.json")])
    assert json.loads((tmp_path / "rate.json").read_text())["table"] == report["table"]
    by_setting = {(line["method"], line["setting"]): line for line in report["table"]}
    assert {method for method, _ in by_setting} >= {"dkmeans", "dkmeans, patches", "JPEG", "WebP"}
    ours = by_setting["dkmeans", "K=8"]
    assert len(ours["images"]) == 5
    for line in report["table"]:
        mean = sum(image["ssim"] for image in line["images"]) / 5
        assert line["ssim"] == pytest.approx(mean)
    assert ours["psnr"] > by_setting["dkmeans", "K=2"]["psnr"]
    assert report["holds"]
    assert capsys.readouterr().out.splitlines()[-1].endswith("on every image: yes")


def test_what_is_nearer_is_named():
    def line(method, *errors):
        images = [{"image": f"{number}.png", "mse": mse} for number, mse in enumerate(errors)]
        return {"method": method, "setting": "K=2", "images": images}

    table = [line("dkmeans", 10.0, 5.0), line("pngquant", 1.0, 5.0), line("JPEG", 0.1, 0.1)]
    (found,) = bench_rate.nearer(table)
    assert found == {"method": "pngquant", "setting": "K=2", "image": "0.png", "dB": 10.0}
