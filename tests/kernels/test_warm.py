"""The machine code that is made at the install is what jobs look for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dkmeans import kernels


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_jobs_compile_nothing_after_it(tmp_path):
    """No file is added to the cache by an image of few colors, nor by the main job on patches of 5x5."""
    cache = tmp_path / "numba"
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(cache),
        "PYTHONPATH": str(Path(kernels.__path__[0]).parents[1]),
    }

    def run(*arguments):
        command = [sys.executable, "-m", *arguments, *(["--quiet"] if arguments[0] == "dkmeans" else [])]
        subprocess.run(command, check=True, env=environment, cwd=tmp_path)
        return sorted(file.name for file in cache.rglob("*.nb?"))

    compiled = run("dkmeans.kernels.warm")
    assert compiled
    noise = np.random.default_rng(0).integers(0, 40, (120, 160, 3))
    ramp = np.add.outer(np.arange(120), np.arange(160))[..., np.newaxis] // 2
    (tmp_path / "photos").mkdir()
    for name, channels in (("gray.png", 1), ("color.png", 3)):
        image = (noise + ramp).astype(np.uint8)[..., :channels].squeeze()
        Image.fromarray(image).save(tmp_path / "photos" / name)
        assert run("dkmeans", "quantize", f"photos/{name}", f"few-{name}", "--k", "16") == compiled, name
    assert run("dkmeans", "ingest", "photos", "photos.zarr", "--patch", "5") == compiled
    for on, k in (("pixels", "16"), ("patches", "32")):
        assert run("dkmeans", "fit", "photos.zarr", f"{on}.zarr", "--on", on, "--k", k) == compiled, on
    assert run("dkmeans", "compress", "photos.zarr", "pixels.zarr", "codes.zarr") == compiled
    assert run("dkmeans", "reconstruct", "photos.zarr", "patches.zarr", "again.zarr") == compiled
    shutil.rmtree(cache)
