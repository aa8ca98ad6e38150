"""Stages on a GPU, a real one or the one that is emulated: what they write has the bits of the CPU.

And what they do on the CPU although there is a GPU: palettes of single images, seeds, Ward's linkage.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image
from skimage import data
from stages.outputs import PowerCut, read_arrays, read_files

from dkmeans import (
    ClusterConfig,
    CompressConfig,
    FitConfig,
    IngestConfig,
    ReconstructConfig,
    compress,
    fit,
    ingest,
    open_codebook,
    reconstruct,
)
from dkmeans.artefacts import checkpoint
from dkmeans.compute.in_process import InProcess
from dkmeans.config.stages import CutConfig, QuantizeConfig, SweepConfig
from dkmeans.errors import DeviceError
from dkmeans.features import histogram
from dkmeans.stages.cut import cut
from dkmeans.stages.quantize import quantize
from dkmeans.stages.sweep import sweep

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*not converged"),
    pytest.mark.filterwarnings("ignore:.*drops alpha"),
]


def on(device):
    return ClusterConfig(scheduler="sync", device=device)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two images with alpha: clear, translucent and opaque pixels, of colors of a photo."""
    folder = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[:22, :26]
    for number, radius in enumerate((9, 14)):
        alpha = np.clip((radius - np.hypot(x - 12, y - 10)) * 60, 0, 255)
        pixels = data.astronaut()[30 * number + 20 :, 200:][:22, :26]
        Image.fromarray(np.dstack([pixels, alpha]).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def make_dataset(images, tmp_path):
    def make(color, **options):
        source = images
        if color == "gray-alpha":
            source, color = tmp_path / "gray", "auto"
            source.mkdir()
            for path in images.iterdir():
                Image.open(path).convert("LA").save(source / path.name)
        options = {"color": color, "shard_mib": 0.002} | options
        ingest(IngestConfig(source=str(source), dataset=str(tmp_path / "d.zarr"), **options), on("cpu"))
        return str(tmp_path / "d.zarr")

    return make


def plain(report):
    """A report without places and seconds."""
    return {
        name: value
        for name, value in asdict(report).items()
        if not name.endswith("seconds") and not isinstance(value, str | None)
    }


def history(url):
    """What each iteration told, but its seconds."""
    return open_codebook(str(url)).history[:, :3].tolist()


def written(url):
    """Bytes of the arrays, but those that hold seconds."""
    return {key: value for key, value in read_arrays(url).items() if "history" not in key}


def run_fit(dataset, url, cluster, **options):
    options = {"k": 12, "max_iter": 12, "seed": 2, "tol": 0, "min_gain": 0} | options
    return fit(FitConfig(dataset=dataset, codebook=str(url), **options), cluster)


def check_fit(gpu, dataset, tmp_path, cluster=None, **options):
    """A fit on the GPU, on `cluster` if given, and one on the CPU."""
    found = run_fit(dataset, tmp_path / "gpu", cluster or on("gpu"), **options)
    used = gpu.copy()
    assert used["lloyd"] >= found.n_iter
    assert plain(found) == plain(run_fit(dataset, tmp_path / "cpu", on("cpu"), **options))
    assert found.centers_sha256 == open_codebook(str(tmp_path / "cpu")).manifest.centers_sha256
    assert history(tmp_path / "gpu") == history(tmp_path / "cpu")
    assert written(tmp_path / "gpu") == written(tmp_path / "cpu")
    assert used == gpu
    return found


@pytest.mark.parametrize(("color", "n_groups"), [("rgb", 0), ("gray", 0), ("rgba", 3), ("gray-alpha", 3)])
def test_a_fit_of_pixels(gpu, make_dataset, tmp_path, color, n_groups):
    """Of colors with weights; or of pixels with alpha, of which each kind takes a last step to settle."""
    found = check_fit(gpu, make_dataset(color), tmp_path, k=8)
    moved_last = history(tmp_path / "gpu")[-1][1] > 0
    assert gpu["lloyd"] == found.n_iter + moved_last + n_groups


@pytest.mark.parametrize("options", [{"relaxation": 1.0}, {"min_gain": 0.05}, {"init": "k-means++"}], ids=str)
def test_a_fit_of_patches(gpu, make_dataset, tmp_path, options):
    check_fit(gpu, make_dataset("rgb", patch=3, stride=2), tmp_path, on="patches", **options)


def test_a_fit_of_patches_of_16_bits(gpu, tmp_path):
    np.save(tmp_path / "s.npy", data.camera()[None, :24, 100:130].astype(np.uint16) * 257)
    config = IngestConfig(source=str(tmp_path / "s.npy"), dataset=str(tmp_path / "d"), color="gray", patch=2)
    ingest(config, on("cpu"))
    assert check_fit(gpu, config.dataset, tmp_path, on="patches").n_features == 4


def test_many_counted_colors(gpu, make_dataset, tmp_path, monkeypatch):
    """As of blocks of half a million pixels, which the device counts."""
    monkeypatch.setattr(histogram, "COUNTED", 100)
    check_fit(gpu, make_dataset("rgb"), tmp_path)
    assert gpu["count_colors"]


def test_several_blocks_on_two_threads(gpu, make_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("dkmeans.plan._FIT_BLOCK_ROWS", 50)
    monkeypatch.setattr("dkmeans.clustering.rows._SCALES_ON_GPUS", (1,))
    cluster = InProcess(2, device="gpu")
    found = check_fit(gpu, make_dataset("rgb", patch=3), tmp_path, cluster, on="patches")
    assert gpu["lloyd"] >= found.n_rows // 100 * found.n_iter > found.n_iter


def test_rows_that_are_read_again_for_each_step(gpu, make_dataset, tmp_path):
    """They do not fit into the memory of the host; labels of the step before are adopted."""

    class Small(InProcess):
        def memory_bytes(self):
            return 1

    dataset = make_dataset("rgba", patch=3)
    check_fit(gpu, dataset, tmp_path, Small(device="gpu"), on="patches")
    assert gpu["adopt"]


def test_a_fit_that_was_stopped_goes_on_on_the_other_device(gpu, make_dataset, tmp_path, monkeypatch):
    """It begins on the CPU, goes on on a GPU, and ends on the CPU; the bits are those of one run."""
    dataset, options = make_dataset("rgb"), {"checkpoint_seconds": 0}
    whole = run_fit(dataset, tmp_path / "whole", on("cpu"), **options)
    assert whole.n_iter == 12
    left = [None]
    save = checkpoint.save

    def saved(claim, state):
        save(claim, state)
        if len(state.history) == left[0]:
            raise PowerCut

    monkeypatch.setattr(checkpoint, "save", saved)
    for device, stops_at in (("cpu", 3), ("gpu", 7)):
        left[0] = stops_at
        with pytest.raises(PowerCut):
            run_fit(dataset, tmp_path / "c", on(device), resume=stops_at > 3, **options)
    assert gpu["lloyd"] == 4
    left[0] = None
    report = run_fit(dataset, tmp_path / "c", on("cpu"), resume=True, **options)
    assert (report.centers_sha256, report.inertia) == (whole.centers_sha256, whole.inertia)
    assert history(tmp_path / "c") == history(tmp_path / "whole")


@pytest.mark.parametrize(("color", "counted"), [("rgb", 100), ("rgb", 1 << 19), ("rgba", 1 << 19)])
def test_codes_of_pixels(gpu, make_dataset, tmp_path, monkeypatch, color, counted):
    """Looked for by color, or pixel by pixel; with alpha in up to three groups."""
    monkeypatch.setattr(histogram, "COUNTED", counted)
    dataset = make_dataset(color)
    run_fit(dataset, tmp_path / "c", on("cpu"))
    for device in ("gpu", "cpu"):
        place = {"result": str(tmp_path / f"{device}.zarr"), "images": str(tmp_path / device)}
        compress(CompressConfig(dataset=dataset, codebook=str(tmp_path / "c"), **place), on(device))
        if device == "gpu":
            used = gpu.copy()
    assert used == gpu
    assert used["labels"]
    assert bool(used["count_colors"]) == (counted == 100)
    assert written(tmp_path / "gpu.zarr") == written(tmp_path / "cpu.zarr")
    assert read_files(tmp_path / "gpu") == read_files(tmp_path / "cpu")


def test_codes_of_patches(gpu, make_dataset, tmp_path):
    dataset = make_dataset("rgb", patch=3, stride=2)
    run_fit(dataset, tmp_path / "c", on("cpu"), on="patches")
    for device in ("gpu", "cpu"):
        config = ReconstructConfig(
            dataset=dataset, codebook=str(tmp_path / "c"), result=str(tmp_path / device)
        )
        reconstruct(config, on(device))
    assert gpu["labels"]
    assert written(tmp_path / "gpu") == written(tmp_path / "cpu")


def test_a_sweep_and_a_cut(gpu, make_dataset, tmp_path):
    """The linkage of a cut is work of scikit-learn's; its counts and inertia are steps."""
    dataset = make_dataset("rgb", patch=3)
    for device in ("gpu", "cpu"):
        url = str(tmp_path / device)
        sweep(SweepConfig(dataset=dataset, sweep=url, on="patches", k=[3, 7], max_iter=4), on(device))
        steps = gpu["lloyd"]
        book = f"{url}/codebooks/7"
        cut(CutConfig(codebook=book, cut=str(tmp_path / f"{device}.cut"), k=4), on(device))
        if device == "gpu":
            assert gpu["lloyd"] > steps > 8
            used = gpu.copy()
    assert used == gpu
    assert written(tmp_path / "gpu.cut") == written(tmp_path / "cpu.cut")


SHARED = {"palette": "shared"}
ARCHIVE = {"to": "archive"}


@pytest.mark.parametrize(
    "options",
    [
        {**SHARED, "color": "rgb", "space": "oklab"},
        {**SHARED, "color": "rgba"},
        {**SHARED, "color": "rgba", "space": "oklab"},
        {**ARCHIVE, "color": "rgba"},
        {**ARCHIVE, "color": "rgb", "patch": 3},
    ],
    ids=str,
)
def test_what_images_share_is_learned_on_the_gpu(gpu, images, tmp_path, options):
    check_quantize(gpu, images, tmp_path, **options)
    assert gpu["lloyd"]


@pytest.mark.parametrize(
    "options",
    [{"color": "rgb"}, {"color": "rgba"}, {"color": "rgba", "keep": "#102030"}],
    ids=str,
)
def test_the_palette_of_one_image_is_work_of_the_cpu(gpu, images, tmp_path, options):
    """So few rows, and of thousands of images each in a task."""
    check_quantize(gpu, images, tmp_path, **options)
    assert not gpu


def check_quantize(gpu, images, tmp_path, **options):
    reports = []
    for device in ("gpu", "cpu"):
        config = QuantizeConfig(
            source=str(images), destination=str(tmp_path / device), k=9, max_iter=8, **options
        )
        reports.append(quantize(config, on(device)))
        if device == "gpu":
            used = gpu.copy()
    assert used == gpu
    one, other = reports
    assert (one.inertia, one.n_iter, one.centers_sha256) == (
        other.inertia,
        other.n_iter,
        other.centers_sha256,
    )
    assert read_files(tmp_path / "gpu") == read_files(tmp_path / "cpu") or "archive" in options.values()
    if "archive" in options.values():
        assert written(tmp_path / "gpu") == written(tmp_path / "cpu")


def test_one_file_asks_for_its_gpu_too(gpu, images, tmp_path):
    """One palette for all images, of which there is one."""
    for device in ("gpu", "cpu"):
        config = QuantizeConfig(
            source=str(images / "0.png"), destination=str(tmp_path / f"{device}.png"), k=9, palette="shared"
        )
        quantize(config, ClusterConfig(device=device))
        if device == "gpu":
            used = gpu.copy()
    assert used["lloyd"]
    assert used == gpu
    assert (tmp_path / "gpu.png").read_bytes() == (tmp_path / "cpu.png").read_bytes()


def test_one_file_is_refused_without_the_gpu_that_was_asked_for(images, tmp_path):
    from dkmeans.kernels import gpu_problem

    if gpu_problem() is None:
        pytest.skip("this machine has a GPU")
    config = QuantizeConfig(source=str(images / "0.png"), destination=str(tmp_path / "q.png"), k=9)
    with pytest.raises(DeviceError, match="--device gpu"):
        quantize(config, ClusterConfig(device="gpu"))
