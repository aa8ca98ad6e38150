"""The scripts of jobs/, as a user runs them: on small images, and what they wrote is looked at."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dkmeans
from dkmeans.errors import DeviceError
from dkmeans.kernels import gpu_problem
from dkmeans.storage.store import Store

JOBS = Path(dkmeans.__file__).parents[1] / "jobs"
SCRIPTS = sorted(JOBS.glob("*.py"))


def main_of(name):
    return runpy.run_path(str(JOBS / f"{name}.py"))["main"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short_and_uses_the_public_names_alone(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    assert "import dkmeans\n" in text
    assert "from dkmeans" not in text
    assert not (JOBS / "__init__.py").exists()


def test_the_demo(tmp_path, capsys):
    (tmp_path / "jobs").mkdir()
    for name in ("demo.py", "demo.toml"):
        (tmp_path / "jobs" / name).write_text((JOBS / name).read_text(encoding="utf-8"))
    script = runpy.run_path(str(tmp_path / "jobs" / "demo.py"))

    def write_photos(folder):
        folder.mkdir(parents=True)
        for name in ("astronaut", "coffee"):
            pixels = getattr(script["data"], name)()[100:160, 150:230]
            Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{name}.png")

    script["main"].__globals__["write_photos"] = write_photos
    script["main"](["--scheduler", "sync"])
    out = capsys.readouterr().out
    assert "compress: 16 pixels, mean PSNR" in out
    assert "reconstruct: 128 patches, mean PSNR" in out
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000


def test_a_folder_in_object_storage_to_another(photos, s3_url, capsys):
    source = Store(f"{s3_url}/originals")
    for name in ("astronaut.png", "cat.jpg"):
        source.put(name, (photos / name).read_bytes())
    main_of("folder_to_folder")([source.url, f"{s3_url}/small", "--colors", "8", "--scheduler", "sync"])
    assert "2 images" in capsys.readouterr().out
    folder = dkmeans.open_folder(f"{s3_url}/small")
    assert folder.keys == ["astronaut.png", "cat.png"]
    assert len(np.unique(folder.image(1).reshape(-1, 3), axis=0)) <= 8


def test_patches_on_a_cluster(photos, workers, tmp_path, capsys):
    arguments = [str(photos), str(tmp_path), "--scheduler", workers.client.scheduler.address]
    main_of("patches_on_cluster")([*arguments, "--clusters", "6", "--max-iter", "30"])
    out = capsys.readouterr().out
    assert "5 images, mean PSNR" in out
    assert dkmeans.open_codebook(f"{tmp_path}/codebook.zarr").manifest.centers_sha256 in out
    assert len(list((tmp_path / "images").rglob("*.png"))) == 5


@pytest.fixture
def dataset(photos, tmp_path, sync):
    url = str(tmp_path / "d.zarr")
    dkmeans.ingest(dkmeans.IngestConfig(source=str(photos), dataset=url), sync)
    return url


def test_a_gpu_job(dataset, tmp_path, capsys):
    sync = ["--clusters", "4", "--scheduler", "sync"]
    main_of("gpu")([dataset, f"{tmp_path}/c.zarr", *sync, "--device", "cpu"])
    assert dkmeans.open_codebook(f"{tmp_path}/c.zarr").manifest.centers_sha256 in capsys.readouterr().out
    if gpu_problem() is not None:
        with pytest.raises(DeviceError, match="has no usable GPU"):
            main_of("gpu")([dataset, f"{tmp_path}/d2.zarr", *sync])
