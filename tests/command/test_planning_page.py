"""Every command of the page about plans runs, on small photos."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import dkmeans
from dkmeans import kernels
from dkmeans.command.main import main
from dkmeans.compute.rates import load_rates
from dkmeans.studies.calibration import steps

ROOT = Path(dkmeans.__file__).parents[1]
PAGE = (ROOT / "docs" / "planning.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_command(tmp_path, monkeypatch, capsys):
    """The slow part is calibrate, which measures as it does for users."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DKMEANS_RATES", "rates.json")
    monkeypatch.setattr(kernels, "gpu_problem", lambda: "none here")  # plans say more where there is one
    for folder in ("jobs", "demo/photos"):
        Path(folder).mkdir(parents=True)
    Path("jobs/demo.toml").write_text((ROOT / "jobs" / "demo.toml").read_text())
    for name in ("astronaut", "coffee"):
        pixels = np.ascontiguousarray(getattr(data, name)()[100:190, 150:260])
        Image.fromarray(pixels).save(f"demo/photos/{name}.png")
    ran = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        for line in block.strip().splitlines():
            program, *arguments = shlex.split(line)
            if program == "make":  # whose photos are there
                continue
            assert program == "dkmeans"
            sync = [] if arguments[0] == "calibrate" else ["--scheduler", "sync"]
            with pytest.raises(SystemExit) as caught:
                main([*arguments, *sync])
            assert not caught.value.code, line
            ran.append((arguments[0], *capsys.readouterr()))
    assert [name for name, _, _ in ran] == ["calibrate", "run", "run", "ingest", "run"]
    assert [(each.n_features, each.n_clusters) for each in load_rates().rates.steps] == list(steps.POINTS)
    assert load_rates().problem == ""
    assert json.loads(ran[2][1])["rates"] == load_rates().told
    assert load_rates().told in ran[1][1]
    assert Path("demo/report.html").is_file()


def test_the_page_tells_of_every_column():
    from dkmeans.command.planning import _HEADS

    told = {name for cell in re.findall(r"^\| ([^|]+) \|", PAGE, re.MULTILINE) for name in cell.split(", ")}
    assert told - {"column", "---"} == set(_HEADS) - {"stage", "writes"}
