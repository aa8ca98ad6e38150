"""Folders as people have them, from one end to the other: every stage does its work and tells."""

from __future__ import annotations

import io
import os
import warnings

import numpy as np
import pytest
from PIL import Image

from dkmeans import IngestConfig, ingest, open_dataset, quantize
from dkmeans.artefacts.coded import open_coded
from dkmeans.artefacts.folder import open_folder
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import SkippedError
from dkmeans.images.sources import FileSource
from dkmeans.stages.shared import writing

rng = np.random.default_rng(0)
RGB = rng.integers(0, 3, (6, 5, 3), dtype=np.uint8) * 100
GRAY = rng.integers(0, 3, (6, 5), dtype=np.uint8) * 100
DEEP = rng.integers(0, 3, (6, 5), dtype=np.uint16) * 25_700  # 100 and 200 of 8 bits

N_COLORS = len(np.unique(np.concatenate([RGB.reshape(-1, 3), np.repeat([[0], [100], [200]], 3, 1)]), axis=0))


def encoded(pixels, kind="PNG"):
    Image.fromarray(pixels).save(target := io.BytesIO(), kind)
    return target.getvalue()


def half(data):
    return data[: len(data) - 30]


@pytest.fixture
def odd(tmp_path):
    """Images of three kinds and one damaged, among what else lies in folders."""
    folder = tmp_path / "odd"
    (folder / "x.png").mkdir(parents=True)
    files = {
        b"a.png": encoded(RGB),
        b"b": encoded(GRAY, "BMP"),
        b"c.png": encoded(DEEP),
        b"x.png/y.png": encoded(RGB),
        b"w.jpg": encoded(RGB),
        b"z.png": half(encoded(RGB)),
        b"Icon\r": b"",
        b"caf\xe9.png": encoded(RGB),
        b"notes.txt": b"mine",
        b".DS_Store": b"theirs",
    }
    for name, data in files.items():
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(data)
    (folder / "nowhere.png").symlink_to("gone.png")
    return folder


def run_quantize(source, destination, sync, **options):
    config = QuantizeConfig(
        source=str(source), destination=str(destination), k=N_COLORS, max_skipped=1, **options
    )
    return quantize(config, sync)


def run_ingest(source, destination, sync):
    config = IngestConfig(source=str(source), dataset=str(destination), max_skipped=1)
    return ingest(config, sync)


@pytest.mark.parametrize("way", ["files", "shared", "archive", "dataset"])
def test_every_stage_takes_an_odd_folder(odd, tmp_path, sync, way):
    out = tmp_path / "out"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if way == "dataset":
            report = run_ingest(odd, out, sync)
        elif way == "archive":
            report = run_quantize(odd, out, sync, to="archive")
        else:
            report = run_quantize(odd, out, sync, palette="shared" if way == "shared" else "per-image")
    assert (report.n_images, report.n_skipped) == (5, 1)
    said = "\n".join(str(warning.message) for warning in caught)
    for words in (
        "left out 2 files that are no images: 1 hidden, 1 .txt",
        "left out 3 that cannot be used: ",
        r"'Icon\r' (its name",
        r"'caf\udce9.png' (its name",
        "nowhere.png (a link to nothing)",
        "1 of 6 images have 16 bits a channel, the others have 8: they are rounded to 8; the first: c.png",
        "skipped z.png: ",
    ):
        assert words in said
    opened = {"dataset": open_dataset, "archive": open_coded}.get(way, open_folder)(str(out))
    images = {name: opened.image(position) for position, name in enumerate(opened.index.names)}
    assert list(images) == ["a.png", "b", "c.png", "w.jpg", "x.png/y.png"]
    expected = {"a.png": RGB, "b": GRAY, "c.png": DEEP // 257, "w.jpg": RGB, "x.png/y.png": RGB}
    for name, image in images.items():
        colors = np.asarray(Image.fromarray(expected[name].astype(np.uint8)).convert("RGB"))
        own = (6, 5, 1) if way == "files" and expected[name].ndim == 2 else (6, 5, 3)
        assert image.shape == own
        np.testing.assert_array_equal(np.broadcast_to(image, colors.shape), colors)


@pytest.fixture
def spoiled(tmp_path):
    """Forty images with good headers, of which every second one gives up in its pixels."""
    folder = tmp_path / "spoiled"
    folder.mkdir()
    for number in range(40):
        data = encoded(RGB)
        (folder / f"{number:02}.png").write_bytes(half(data) if number % 2 else data)
    return folder


@pytest.mark.filterwarnings("ignore:.*skipped")
@pytest.mark.parametrize("way", ["files", "shared", "archive", "dataset"])
@pytest.mark.parametrize("allowed", [1, "5%"])
def test_the_work_stops_as_soon_as_the_limit_is_passed(spoiled, tmp_path, sync, monkeypatch, way, allowed):
    """Of tasks of about one image the second bad one too many, or the third, is the last that is decoded."""
    monkeypatch.setattr(writing, "MEASURED_PER_TASK", 1)
    monkeypatch.setattr("dkmeans.plan.PIXELS_PER_TASK", 1)
    decoded, read = [], FileSource.read

    def counted(source, *arguments, **options):
        for file, image in zip(source.files, read(source, *arguments, **options), strict=True):
            decoded.append(file.key)
            yield image

    monkeypatch.setattr(FileSource, "read", counted)
    options = {"max_skipped": allowed}
    if way == "dataset":
        options["shard_mib"] = 1e-4
        config = IngestConfig(source=str(spoiled), dataset=str(tmp_path / "out"), **options)
        stage = ingest
    else:
        options |= {"palette": "shared"} if way == "shared" else {"to": "archive"} if way == "archive" else {}
        config = QuantizeConfig(source=str(spoiled), destination=str(tmp_path / "out"), k=8, **options)
        stage = quantize
    with pytest.raises(SkippedError, match=rf"--max-skipped allows {allowed}; the first: 01\.png") as caught:
        stage(config, sync)
    assert caught.value.exit_code == 6
    assert "--resume --max-skipped" in str(caught.value)
    if way in ("files", "dataset"):  # the others decode all that fits into memory at once
        assert sorted(set(decoded)) == [f"{number:02}.png" for number in range(4 if allowed == 1 else 6)]


@pytest.mark.filterwarnings("ignore:.*skipped")
@pytest.mark.parametrize("allowed", ["all", "50%", 20])
def test_as_many_as_are_allowed_are_left_out(spoiled, tmp_path, sync, allowed):
    config = QuantizeConfig(source=str(spoiled), destination=str(tmp_path / "out"), k=8, max_skipped=allowed)
    report = quantize(config, sync)
    assert (report.n_images, report.n_skipped) == (20, 20)
