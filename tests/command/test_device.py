"""A whole pipeline on a GPU gives the bytes of the CPU: on a real one, and on the one that is emulated."""

from __future__ import annotations

import hashlib

import pytest

from dkmeans import kernels
from dkmeans.command.main import main

JOB = """
[cluster]
scheduler = "sync"
device = "{device}"

[ingest]
source = "{photos}"
dataset = "photos.zarr"
patch = 3
stride = 3

[[fit]]
dataset = "photos.zarr"
codebook = "palette.zarr"
k = 7

[[fit]]
dataset = "photos.zarr"
codebook = "patches.zarr"
on = "patches"
k = 70
max_iter = 4
tol = 0

[compress]
dataset = "photos.zarr"
codebook = "palette.zarr"
result = "compressed.zarr"
images = "images"

[reconstruct]
dataset = "photos.zarr"
codebook = "patches.zarr"
result = "reconstructed.zarr"
"""


def written(folder):
    """SHA-256 of each file that holds data; not of those that tell times and the device."""
    chunks = {"c", "images"}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and chunks & set(path.parts)]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not {"history", ".dkmeans"} & set(path.parts)  # seconds
    }


def run(folder, photos, device):
    folder.mkdir()
    (folder / "job.toml").write_text(JOB.format(device=device, photos=photos))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        with pytest.raises(SystemExit) as caught:
            main(["run", "job.toml"])
    assert caught.value.code in (0, None)
    return written(folder)


def check(folder, photos, used):
    on_gpu = run(folder / "gpu", photos, "gpu")
    assert used
    assert sum("images/" in name for name in on_gpu) >= 5
    assert len([name for name in on_gpu if "/codes/" in name]) >= 2
    assert on_gpu == run(folder / "cpu", photos, "cpu")


def test_an_emulated_gpu(emulated, photos, tmp_path, monkeypatch, capsys):
    from dkmeans.kernels import cuda

    used = []
    step = cuda.Block.lloyd
    monkeypatch.setattr(cuda.Block, "lloyd", lambda *args: used.append(1) or step(*args))
    check(tmp_path, photos, used)


@pytest.mark.gpu
def test_a_gpu(photos, tmp_path, capsys):
    problem = kernels.gpu_problem()
    assert problem is None, problem
    check(tmp_path, photos, [1])


def test_what_is_compared_is_what_differs(photos, tmp_path, capsys):
    """Another seed of the fit shows in the files that are compared."""
    (tmp_path / "other").mkdir()
    first = run(tmp_path / "first", photos, "cpu")
    text = (tmp_path / "first/job.toml").read_text().replace("k = 7\n", "k = 7\nseed = 5\n")
    (tmp_path / "other/job.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path / "other")
        with pytest.raises(SystemExit):
            main(["run", "job.toml"])
    assert first != written(tmp_path / "other")


def planned(folder, photos, device, capsys):
    """The last line of what ``--dry-run`` says."""
    (folder / "job.toml").write_text(JOB.format(device=device, photos=photos))
    with pytest.raises(SystemExit) as caught:
        main(["run", str(folder / "job.toml"), "--dry-run"])
    assert caught.value.code in (0, None)
    return capsys.readouterr().out.splitlines()[-1]


def test_a_plan_says_that_it_is_not_one_for_gpus(photos, tmp_path, monkeypatch, capsys, request):
    monkeypatch.chdir(tmp_path)
    told = "of processors: on a GPU a fit has fewer blocks"
    monkeypatch.setattr(kernels, "gpu_problem", lambda: "CUDA finds no device")
    assert [told in planned(tmp_path, photos, each, capsys) for each in ("cpu", "auto", "gpu")] == [0, 0, 1]
    monkeypatch.undo()
    request.getfixturevalue("emulated")
    monkeypatch.chdir(tmp_path)
    assert [told in planned(tmp_path, photos, each, capsys) for each in ("cpu", "auto", "gpu")] == [0, 1, 1]
