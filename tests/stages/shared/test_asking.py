"""What is asked for: contradictions, given colors from wherever they lie, what is said if it is not met."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from PIL import Image
from skimage import data

from dkmeans.artefacts.folder import open_folder
from dkmeans.config.stages import FitConfig, IngestConfig, QuantizeConfig
from dkmeans.errors import DkmeansError, InputError, MismatchError, UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.stages.fit import fit
from dkmeans.stages.ingest import ingest
from dkmeans.stages.quantize import quantize
from dkmeans.stages.shared.asking import check_asked, given_colors, palettes_for
from dkmeans.stages.shared.searching import Reaching
from dkmeans.storage.store import Store

RGBW = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)


def config(**options):
    return QuantizeConfig(**{"source": "photos", "destination": "out", **options})


@pytest.mark.parametrize(
    ("options", "found", "remedy"),
    [
        ({"k": 16, "min_psnr": 38}, "both --k and --min-psnr", "Leave out one"),
        ({"k": 256, "quality": 80}, "both --k and --quality", "Leave out one"),
        ({"n_clusters": 8, "min_ssim": 0.9}, "both --k and --min-ssim", "Leave out one"),
        ({"quality": 80, "min_psnr": 38}, "both --quality and --min-psnr", "Leave out one"),
        ({"max_bytes": 900, "min_psnr": 38}, "both --max-bytes and --min-psnr", "Leave out one"),
        ({"min_psnr": 38, "to": "archive"}, "--min-psnr is for a palette for each image", "Leave out one"),
        ({"keep": "#fff", "to": "archive"}, "found --to archive", "Leave out one"),
        ({"quality": 80, "palette": "shared"}, "found --palette shared", "Leave out one"),
        (
            {"max_bytes": 900, "palette": "shared"},
            "--max-bytes is for palettes that are learned",
            "Leave out",
        ),
        ({"keep": "#fff", "palette": "a.gpl"}, "found --palette a.gpl", "Leave out one"),
        ({"k": 4, "palette": "a.gpl"}, "both --k and --palette a.gpl", "Leave out one"),
        ({"palette": "a.gpl", "to": "archive"}, "--palette a.gpl and --to archive", "Leave out one"),
        ({"k": 1, "keep": "#fff,#000"}, "found 2 colors to keep and a palette of 1", "Pass --k 2 or more"),
    ],
)
def test_options_that_contradict_each_other(options, found, remedy):
    with pytest.raises(UsageError) as caught:
        check_asked(config(**options))
    assert found in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 16, "max_bytes": 900, "keep": "#fff"},
        {"min_psnr": 38, "min_ssim": 0.9, "keep": "#fff"},
        {"quality": 80, "min_ssim": 0.9},
        {"k": 300, "to": "archive"},
        {"k": 16, "palette": "shared"},
        {"palette": "a.gpl", "dither": "floyd-steinberg"},
    ],
)
def test_options_that_go_together(options):
    check_asked(config(**options))


@pytest.mark.parametrize(("quality", "mse"), [(30, 35), (75, 12.5), (80, 10), (99, 0.5)])
def test_a_quality_is_a_mean_squared_error(quality, mse):
    found = palettes_for(config(quality=quality), None)
    assert isinstance(found, Reaching)
    assert 255**2 / 10 ** (found.min_psnr / 10) == pytest.approx(mse)


def test_a_quality_of_100_loses_nothing():
    assert palettes_for(config(quality=100), None).min_psnr == math.inf


@pytest.mark.parametrize("place", ["local", "file://", "memory://"])
def test_given_colors_from_a_file(tmp_path, place):
    folder = f"memory://{tmp_path.name}" if place == "memory://" else str(tmp_path)
    Store(folder).put("deep/a.hex", b"#f00 #0f0\n#00f #fff")
    url = f"{'file://' if place == 'file://' else ''}{folder}/deep/a.hex"
    np.testing.assert_array_equal(given_colors(config(palette=url)), RGBW)


@pytest.mark.parametrize("palette", ["per-image", "shared"])
def test_no_given_colors(palette):
    assert given_colors(config(palette=palette)) is None


@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_given_colors_from_a_codebook(tmp_path, sync, color):
    (tmp_path / "images").mkdir()
    Image.fromarray(RGBW.reshape(2, 2, 3)).save(tmp_path / "images" / "a.png")
    urls = {"dataset": str(tmp_path / "data"), "codebook": str(tmp_path / "book")}
    ingest(IngestConfig(source=str(tmp_path / "images"), dataset=urls["dataset"], color=color), sync)
    fit(FitConfig(**urls, k=4, init="k-means++"), sync)
    found = given_colors(config(palette=urls["codebook"]))
    expected = RGBW if color == "rgb" else [[value] * 3 for value in (76, 150, 29, 255)]  # ITU-R 601
    assert sorted(found.tolist()) == sorted(np.array(expected).tolist())


def test_a_codebook_of_patches_is_no_palette(tmp_path, sync):
    (tmp_path / "images").mkdir()
    Image.fromarray(RGBW.reshape(2, 2, 3)).save(tmp_path / "images" / "a.png")
    urls = {"dataset": str(tmp_path / "data"), "codebook": str(tmp_path / "book")}
    ingest(IngestConfig(source=str(tmp_path / "images"), dataset=urls["dataset"], patch=1), sync)
    fit(FitConfig(**urls, k=2, on="patches", init="random"), sync)
    with pytest.raises(MismatchError, match="was fit on patches with 3 channels"):
        given_colors(config(palette=urls["codebook"]))


@pytest.mark.parametrize("name", ["none.gpl", "", "shraed"])
def test_given_colors_that_are_not_there(tmp_path, name):
    with pytest.raises(
        InputError, match=r"found no file and no codebook at .*; expected per-image, shared, or"
    ):
        given_colors(config(palette=f"{tmp_path}/{name}"))


# From end to end


@pytest.fixture
def images(tmp_path):
    """Two photos, an icon with clear pixels, and a gray one."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(data, name)()[100:160, 150:220]).save(folder / f"{name}.png")
    icon = np.zeros((16, 16, 4), np.uint8)
    icon[4:12, 4:12] = [200, 30, 30, 255]
    Image.fromarray(icon).save(folder / "icon.png")
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(folder / "ramp.png")
    return folder


def run(images, sync, capsys, **options):
    """The report, the pixels of each file as RGBA, and what was said."""
    place = images.parent / "out"
    asked = QuantizeConfig(source=str(images), destination=str(place), **options)
    report = quantize(asked, sync, Reporter(level="warning"))
    files = {path.name: np.asarray(Image.open(path).convert("RGBA")) for path in place.glob("*.png")}
    return report, files, capsys.readouterr().err


def test_a_psnr_is_reached_and_what_does_not_is_told(images, sync, capsys):
    report, _, said = run(images, sync, capsys, min_psnr=30)
    assert all(image.psnr is None or image.psnr >= 30 for image in report.images)
    assert len({image.n_colors for image in report.images}) > 1
    assert said == ""
    report, _, said = run(images, sync, capsys, quality=100, overwrite=True)
    assert said.count("\n") == 1
    assert "2 of 4 images do not reach what is asked for with 256 colors" in said
    assert said.rstrip().endswith(": astronaut.png")
    assert [image.psnr is None for image in report.images] == [False, False, True, True]


def test_bytes_are_kept_to_and_what_cannot_is_told(images, sync, capsys):
    report, _, said = run(images, sync, capsys, max_bytes="2KiB")
    assert all(image.stored_bytes <= 2048 for image in report.images)
    assert said == ""
    _, _, said = run(images, sync, capsys, max_bytes=60, overwrite=True)
    assert re.search(
        r"4 of 4 images take more than 60 bytes even with the fewest colors: astronaut\.png \(\d+ bytes\)",
        said,
    )


def test_given_colors_are_those_of_the_files(images, sync, capsys):
    palette = images.parent / "a.gpl"
    palette.write_text("GIMP Palette\n" + "".join(f"{r} {g} {b}\n" for r, g, b in RGBW.tolist()))
    report, files, said = run(images, sync, capsys, palette=str(palette), color="rgba")
    assert report.n_clusters == 4
    assert "has no clear color, images with clear pixels have one color more" in said
    shown = {tuple(color) for color in RGBW.tolist()}
    for pixels in files.values():
        opaque = pixels[pixels[..., 3] > 0]
        assert set(map(tuple, opaque[:, :3].tolist())) <= shown
        assert (opaque[:, 3] == 255).all()
    expected = np.zeros((16, 16, 4), np.uint8)
    expected[4:12, 4:12] = [255, 0, 0, 255]
    np.testing.assert_array_equal(files["icon.png"], expected)
    assert open_folder(report.destination).manifest.channels == 4


def test_a_gray_image_takes_given_colors(images, sync, capsys):
    palette = images.parent / "a.txt"
    palette.write_text("#ff0000 #ffffff")
    report, files, said = run(images, sync, capsys, palette=str(palette), color="gray")
    assert said.startswith("warning: --color gray drops alpha")
    assert said.count("\n") == 1
    gray = np.arange(256).reshape(16, 16)
    # 2 g^2 + (255 - g)^2 to red, 3 (255 - g)^2 to white: equal where g is 127.5
    np.testing.assert_array_equal((files["ramp.png"] == 255).all(axis=2), gray > 127)
    folder = open_folder(report.destination)
    assert folder.image(3).shape == (16, 16, 3)


def test_a_palette_that_has_changed_is_no_reason_to_keep_old_files(images, sync, capsys):
    palette = images.parent / "a.txt"
    palette.write_text("#ff0000 #ffffff")
    _, before, _ = run(images, sync, capsys, palette=str(palette))
    _, again, _ = run(images, sync, capsys, palette=str(palette), resume=True)
    assert all((before[name] == again[name]).all() for name in before)
    palette.write_text("#ff0000 #000000")
    with pytest.raises(UsageError, match="was begun with palette"):
        run(images, sync, capsys, palette=str(palette), resume=True)


def test_kept_colors_stay_as_they_are(images, sync, capsys):
    marked = np.array(Image.open(images / "coffee.png"))
    marked[:2, 0] = [[0x12, 0x34, 0x56], [255, 255, 255]]
    marked[2, 0] = [0x12, 0x34, 0x57]
    Image.fromarray(marked).save(images / "coffee.png")
    report, files, _ = run(images, sync, capsys, keep="#123456,#fff", k=4)
    assert files["coffee.png"][:3, 0, :3].tolist() == [
        [0x12, 0x34, 0x56],
        [255, 255, 255],
        [0x12, 0x34, 0x56],
    ]
    assert all(image.n_colors <= 4 for image in report.images)


def test_nothing_is_claimed_for_a_palette_that_is_none(images, sync, capsys):
    palette = images.parent / "a.txt"
    palette.write_text("red")
    with pytest.raises(DkmeansError, match=r"a\.txt: line 1: 'red' is no color"):
        run(images, sync, capsys, palette=str(palette))
    assert not (images.parent / "out").exists()
