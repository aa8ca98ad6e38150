"""The report page, made from tiny artefacts, read back as a browser and a person would."""

import base64
import errno
import io
import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report.browser import check_page
from report.markup import Page

from dkmeans.artefacts.codebook import open_codebook
from dkmeans.artefacts.coded import open_coded
from dkmeans.artefacts.dataset import open_dataset
from dkmeans.artefacts.kinds import open_images
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import (
    CompressConfig,
    FitConfig,
    IngestConfig,
    QuantizeConfig,
    ReconstructConfig,
    ReportConfig,
)
from dkmeans.errors import InputError, MismatchError, StorageError, UsageError
from dkmeans.events import words
from dkmeans.report import page as report
from dkmeans.report.gathering import shown_positions
from dkmeans.report.page import write_report
from dkmeans.stages.compress import compress
from dkmeans.stages.fit import fit
from dkmeans.stages.ingest import ingest
from dkmeans.stages.quantize import quantize
from dkmeans.stages.reconstruct import reconstruct
from dkmeans.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:skipped bad.png")
SYNC = ClusterConfig(scheduler="sync")


def make(folder, images, *, color="rgb", k=4, patch=None):
    """A result of the images, {name: array}: of compress, or with `patch` of reconstruct."""
    source = folder / "source"
    source.mkdir()
    for name, pixels in images.items():
        Image.fromarray(pixels).save(source / name, format="PNG")
    data, book, result = (str(folder / name) for name in ("data.zarr", "book.zarr", "result.zarr"))
    ingest(IngestConfig(source=str(source), dataset=data, color=color, patch=patch), SYNC)
    on = "patches" if patch else "pixels"
    fit(FitConfig(dataset=data, codebook=book, n_clusters=k, on=on, init="random", tol=0.2), SYNC)
    stage, model = (reconstruct, ReconstructConfig) if patch else (compress, CompressConfig)
    out = None if next(iter(images.values())).dtype == np.uint16 else str(folder / "out")
    stage(model(dataset=data, codebook=book, result=result, images=out), SYNC)
    return result


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def read(path):
    html = path.read_text(encoding="utf-8")
    return html, Page(html), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A palette and a codebook of patches, of images of which one has a name that is markup."""
    images = {
        "<b>&.png": noise(120, 130),
        "small.png": noise(40, 30, seed=1),
        "z.png": noise(100, 500, seed=2),
    }
    folders = [tmp_path_factory.mktemp(name) for name in ("palette", "patches")]
    return make(folders[0], images, k=6), make(folders[1], images, k=5, patch=3)


@pytest.fixture(scope="module")
def page_path(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "new" / "folder" / "page.html"
    found = write_report(ReportConfig(page=str(path), results=results, title="A <i>title</i> & more"))
    assert (found.page, found.n_results) == (str(path), 2)
    assert found.page_bytes == path.stat().st_size
    assert sorted(os.listdir(path.parent)) == ["page.html", "page.json"]
    return path


@pytest.fixture(scope="module")
def page(page_path):
    return read(page_path)


def test_every_picture_is_inline_and_of_the_stated_size(page):
    _, parsed, _ = page
    pictures = parsed.all("img")
    # Per result: 3 pairs, 2 of them with two details, a strip or gallery, and 2 curves.
    assert len(pictures) == 2 * (6 + 4 + 1 + 2)
    for attrs in pictures:
        assert attrs["alt"]
        media, data = re.fullmatch(r"data:([\w/+]+);base64,(.+)", attrs["src"]).groups()
        stated = (int(attrs["width"]), int(attrs["height"]))
        content = base64.b64decode(data, validate=True)
        if media == "image/svg+xml":
            box = ElementTree.fromstring(content).get("viewBox").split()
            assert tuple(float(size) for size in box[2:]) == stated
        else:
            with Image.open(io.BytesIO(content)) as image:
                assert (image.format, image.size) == ("PNG", stated)
                image.load()


def test_nothing_is_loaded_from_elsewhere(page):
    html, parsed, _ = page
    for tag, attrs in parsed.elements:
        for name in ("src", "srcset", "href"):
            if tag == "a" and not attrs["href"].startswith(("#", "data:")):
                assert not re.match(r"[a-z]+:|/", attrs["href"])  # a file that lies beside the page
            else:
                assert attrs.get(name, "#").startswith(("#", "data:"))
    assert not {"link", "iframe"} & {tag for tag, _ in parsed.elements}
    assert "url(" not in html
    assert "@import" not in html


def test_names_and_title_are_escaped(page):
    html, parsed, _ = page
    assert "<b>&.png" in parsed.text
    assert "<b>&." not in html
    assert "A <i>title</i> & more" in parsed.text
    assert "<i>title" not in html
    ids = [attrs["id"] for _, attrs in parsed.elements if "id" in attrs]
    places = [attrs["href"] for attrs in parsed.all("a") if attrs["href"].startswith("#")]
    assert places
    assert all(place[1:] in ids for place in places)


def test_numbers_are_those_of_the_manifests(page, results):
    _, parsed, numbers = page
    titles = {attrs["title"] for _, attrs in parsed.elements if "title" in attrs}
    for url, facts in zip(results, numbers, strict=True):
        result = open_coded(url)
        found = result.manifest
        dataset, codebook = open_dataset(found.dataset), open_codebook(found.codebook)
        assert facts["mean_psnr"] == found.mean_psnr
        assert [image["psnr"] for image in facts["images"]] == list(result.measures["psnr"])
        assert [image["name"] for image in facts["images"]] == list(dataset.index.names)
        assert facts["inertia"] == codebook.manifest.inertia
        assert facts["gain_left"] == codebook.manifest.gain_left
        assert facts["n_iter"] < 6 or str(facts["gain_left"]) in titles
        assert facts["centers_sha256"] == codebook.manifest.centers_sha256
        assert len(facts["steps"]) == facts["n_iter"] == codebook.manifest.n_iter
        assert [step["inertia"] for step in facts["steps"]] == list(codebook.history[:, 0])
        sizes = facts["bytes"]
        assert sizes["source"] == dataset.manifest.source_bytes
        assert sizes["raw"] == (120 * 130 + 40 * 30 + 100 * 500) * 3
        assert sizes["images"] == found.image_bytes
        stored = [found.size for found in Store(url).list() if found.key.startswith("codes/c/")]
        assert sizes["codes"] == sum(stored) > 0
        assert sizes["compressed"] == sizes["codes"] + sizes["codebook"]
        assert facts["bits_per_pixel"] == pytest.approx(8 * sizes["compressed"] / facts["n_pixels"])
        for size in (size for name, size in sizes.items() if name != "compressed"):
            assert f"{size:,} bytes" in titles
        for value in (facts["mean_psnr"], *(image["psnr"] for image in facts["images"])):
            assert f"{value} dB" in titles
        for value in (facts["mean_ssim"], facts["inertia"], facts["bits_per_pixel"], facts["rmse"]):
            assert str(value) in titles
        assert facts["centers_sha256"] in titles


def test_text_says_what_the_results_are(page):
    _, parsed, _ = page
    assert "Palette of 6 colors" in parsed.text
    assert "Codebook of 5 patches, 3 × 3" in parsed.text
    assert "All 5 patches" in parsed.text


def test_swatches_go_from_dark_to_light_and_shares_add_up(page, results):
    html, _, (facts, _) = page
    palette = open_coded(results[0]).palette
    assert sorted(tuple(color["values"]) for color in facts["colors"]) == sorted(map(tuple, palette.tolist()))
    assert sum(color["share"] for color in facts["colors"]) == pytest.approx(1)
    assert sum(color["count"] for color in facts["colors"]) == facts["n_rows"]
    luminance = [np.dot(color["values"], [0.2126, 0.7152, 0.0722]) for color in facts["colors"]]
    assert luminance == sorted(luminance)
    shown = re.findall(r"<code>(#[0-9a-f]{6})</code>", html)
    assert shown == ["#" + bytes(color["values"]).hex() for color in facts["colors"]]


def test_detail_is_the_part_with_the_largest_error(page, results):
    _, _, (facts, _) = page
    assert facts["images"][1]["detail"] is None
    top, left, height, width = facts["images"][0]["detail"]
    assert 0 <= top <= 120 - height
    assert 0 <= left <= 130 - width
    result = open_coded(results[0])
    dataset = open_dataset(result.manifest.dataset)
    error = (dataset.image(0).astype(float) - result.image(0)) ** 2
    parts = [
        error[y : y + height, x : x + width].sum()
        for y in range(0, 120 - height + 1, height)
        for x in range(0, 130 - width + 1, width)
    ]
    assert error[top : top + height, left : left + width].sum() == max(parts)


def write(tmp_path, *results, **options):
    path = tmp_path / "page.html"
    write_report(ReportConfig(page=str(path), results=results, **options))
    return read(path)


def test_gray_images_of_which_one_is_exact_and_one_too_small_for_ssim(tmp_path):
    images = {"a.png": np.full((60, 60), 7, np.uint8), "b.png": noise(6, 6, 1), "c.png": noise(2, 5, 1)}
    _, parsed, (facts,) = write(tmp_path, make(tmp_path, images, color="gray", k=8))
    assert facts["n_exact"] == 1
    assert [image["psnr"] is None for image in facts["images"]] == [True, False, False]
    assert [image["ssim"] is None for image in facts["images"]] == [False, False, True]
    assert facts["images"][0]["ssim"] == 1
    assert "PSNR exact, SSIM 1.000" in parsed.text
    assert "SSIM n/a" in parsed.text
    assert "mean PSNR of 2 images" in parsed.text
    assert "mean SSIM of 2 shown" in parsed.text


def test_a_result_that_lost_nothing(tmp_path):
    images = {"a.png": np.repeat(np.array([[[1, 2, 3], [200, 100, 0]]], np.uint8), 8, axis=0)}
    _, parsed, (facts,) = write(tmp_path, make(tmp_path, images, k=2))
    assert facts["mean_psnr"] is None
    assert (facts["n_exact"], facts["rmse"], facts["inertia"]) == (1, 0, 0)
    assert "1 of 1 images lost nothing" in parsed.text
    assert "PSNR exact" in parsed.text
    assert "inf " not in parsed.text


@pytest.mark.parametrize("patch", [None, 4])
def test_16_bit_images_are_scaled_for_display(tmp_path, patch):
    image = np.random.default_rng(0).integers(0, 4000, (20, 24), dtype=np.uint16)
    image[0, 0] = 4000
    _, parsed, (facts,) = write(tmp_path, make(tmp_path, {"a.png": image}, color="gray", k=3, patch=patch))
    first = base64.b64decode(parsed.all("img")[0]["src"].partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(first)))
    np.testing.assert_array_equal(shown, np.rint(image * (255 / 4000)))
    assert "The 16-bit values 0 to 4,000 are shown as 0 to 255" in parsed.text
    assert facts["bytes"]["images"] is None
    assert "none" in parsed.text


@pytest.mark.parametrize("patch", [None, "3x2"])
def test_rgba_images(tmp_path, patch):
    images = {"a.png": noise(12, 10, 4)}
    html, parsed, _ = write(tmp_path, make(tmp_path, images, color="rgba", k=3, patch=patch))
    assert {"class": "alpha", "id": "result-1"} in parsed.all("section")
    assert len(re.findall(r"<code>#[0-9a-f]{8}</code>", html)) == (0 if patch else 3)


def test_a_large_palette_is_one_picture_and_images_are_spread_evenly(tmp_path):
    images = {f"{number}.png": noise(8, 8, seed=number) for number in range(7)}
    _, parsed, (facts,) = write(tmp_path, make(tmp_path, images, k=70), n_images=3)
    assert [image["position"] for image in facts["images"]] == [0, 3, 6]
    assert not parsed.all("li")
    assert any(attrs["alt"] == "All 70 colors of the palette" for attrs in parsed.all("img"))


def test_shown_positions():
    assert shown_positions(1, 4) == [0]
    assert shown_positions(9, 1) == [0]
    assert shown_positions(4, 4) == [0, 1, 2, 3]
    assert shown_positions(101, 5) == [0, 25, 50, 75, 100]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9.999, "10.0"),
        (26.0159, "26.0"),
        (0.08766, "0.0877"),
        (123456, "123,000"),
        (450281144.2, "4.50 × 10⁸"),
        (9.996e6, "1.00 × 10⁷"),
        (0.0000123, "1.23 × 10⁻⁵"),
    ],
)
def test_numbers_for_people(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1023, "0.999 KiB"), (1 << 20, "1.00 MiB"), (2732172, "2.61 MiB")],
)
def test_sizes_for_people(n_bytes, text):
    assert words.size(n_bytes) == text


def test_in_a_browser(browser, page_path):
    check_page(browser, page_path)


# What quantize has written

QUANTIZED = {
    "archive": {"to": "archive"},
    "tiles": {"to": "archive", "patch": "4"},
    "own": {},
    "shared": {"palette": "shared", "dither": "floyd-steinberg"},
}


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """A source of which one file is no image, and what each way to quantize it makes."""
    folder = tmp_path_factory.mktemp("quantized")
    (folder / "source").mkdir()
    images = {"a.png": noise(120, 130), "b.png": np.full((20, 24, 3), 9, np.uint8), "c.png": noise(2, 9)}
    for name, pixels in images.items():
        Image.fromarray(pixels).save(folder / "source" / name)
    (folder / "source" / "bad.png").write_bytes(b"no image")
    for name, options in QUANTIZED.items():
        options = {"n_clusters": 5, "max_skipped": 1, "tol": 0.1, **options}
        quantize(
            QuantizeConfig(source=str(folder / "source"), destination=str(folder / name), **options), SYNC
        )
    return folder


@pytest.fixture(scope="module")
def quantized_page(quantized, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_report(ReportConfig(page=str(path), results=[str(quantized / name) for name in QUANTIZED]))
    return path


def part_of(html, number):
    """The text of the section of one result."""
    return Page(re.search(f'<section id="result-{number}".*?</section>', html, re.DOTALL)[0]).text


@pytest.mark.parametrize(("number", "name"), list(enumerate(QUANTIZED)))
def test_numbers_of_quantize_are_those_of_its_records(quantized_page, quantized, number, name):
    _, parsed, found = read(quantized_page)
    facts, url = found[number], str(quantized / name)
    made = open_images(url)
    assert (facts["result"], facts["source"]) == (url, str(quantized / "source"))
    assert [
        facts[key] for key in ("dataset", "codebook", "n_rows", "max_iter", "gain_left", "same_dataset")
    ] == [None] * 6
    assert (facts["n_images"], facts["n_pixels"]) == (3, 120 * 130 + 20 * 24 + 2 * 9)
    exact = {"own": ["b.png"], "tiles": ["b.png"]}.get(name, [])  # in a palette for all it takes a near color
    assert facts["n_exact"] == len(exact)
    assert [image["name"] for image in facts["images"] if image["psnr"] is None] == exact
    for key in ("mean_psnr", "mean_ssim", "inertia", "n_iter", "converged", "centers_sha256"):
        assert facts[key] == getattr(made.manifest, key)
    assert facts["rmse"] == np.sqrt(made.manifest.mse) > 0
    assert [image["name"] for image in facts["images"]] == ["a.png", "b.png", "c.png"]
    psnr, ssim = (made.measures[key].tolist() for key in ("psnr", "ssim"))
    assert [image["psnr"] or np.inf for image in facts["images"]] == psnr
    assert [image["ssim"] for image in facts["images"]] == [*ssim[:2], None]
    assert np.isnan(ssim[2])
    assert facts["n_similar"] == 2
    sizes = facts["bytes"]
    sources = [path.stat().st_size for path in (quantized / "source").iterdir() if path.name != "bad.png"]
    assert (sizes["source"], sizes["raw"]) == (sum(sources), 3 * facts["n_pixels"])
    if name in ("own", "shared"):
        assert sizes["images"] == sum(path.stat().st_size for path in (quantized / name).glob("*.png"))
        assert sizes["codes"] is sizes["codebook"] is sizes["compressed"] is facts["ratio_compressed"] is None
        assert facts["bits_per_pixel"] == 8 * sizes["images"] / facts["n_pixels"]
    else:
        assert sizes["images"] is None
        assert sizes["compressed"] == sizes["codes"] + sizes["codebook"] > 0
        assert facts["bits_per_pixel"] == 8 * sizes["compressed"] / facts["n_pixels"]
    titles = {attrs["title"] for _, attrs in parsed.elements if "title" in attrs}
    assert {f"{facts['mean_psnr']} dB", str(facts["mean_ssim"]), str(facts["bits_per_pixel"])} <= titles


def test_what_quantize_does_not_keep_has_no_part_on_the_page(quantized_page):
    html, parsed, found = read(quantized_page)
    archive, tiles, own, shared = (part_of(html, number) for number in (1, 2, 3, 4))
    assert "The fit" not in parsed.text
    assert not any(facts["steps"] for facts in found)
    assert "Palette of 5 colors" in archive
    assert "The palette" in archive
    assert "In the strip" not in archive
    assert [(color["count"], color["share"]) for color in found[0]["colors"]] == [(None, None)] * 5
    assert "Codebook of 5 patches, 4 × 4" in tiles
    assert "5 typical patches, side by side" in tiles
    assert "All 5 patches, enlarged pixel by pixel." in tiles
    assert "Palettes of 5 colors, one for each image" in own
    assert "one of at most 5 colors, which each image has for itself" in own
    assert "Palette of 5 colors" in shared
    assert not any("The palette" in text or "The codebook" in text for text in (own, shared))
    assert all("mean SSIM of 2 images" in text for text in (archive, tiles, own, shared))


def test_pictures_of_quantize_are_its_images_beside_their_originals(quantized_page, quantized):
    _, parsed, _ = read(quantized_page)
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(attrs["src"].partition(",")[2]))).convert("RGB"))
        for attrs in parsed.all("img")
        if re.match(r"Original of a\.png|Result for a\.png", attrs["alt"])
    ]
    original = np.asarray(Image.open(quantized / "source" / "a.png"))
    for number, name in enumerate(QUANTIZED):
        np.testing.assert_array_equal(shown[2 * number], original)
        np.testing.assert_array_equal(shown[2 * number + 1], open_images(str(quantized / name)).image(0))


@pytest.mark.parametrize("to", ["png", "archive"])
@pytest.mark.parametrize(("color", "channels"), [("gray", 1), ("rgba", 4)])
def test_quantized_images_of_other_channels(tmp_path, color, channels, to):
    (tmp_path / "source").mkdir()
    Image.fromarray(noise(30, 20, channels)).save(tmp_path / "source" / "a.png")
    options = {"n_clusters": 3, "color": color, "to": to}
    url = str(tmp_path / "out")
    quantize(QuantizeConfig(source=str(tmp_path / "source"), destination=url, **options), SYNC)
    _, parsed, (facts,) = write(tmp_path, url)
    assert (facts["channels"], facts["dtype"]) == (channels, "uint8")
    assert facts["images"][0]["psnr"] == open_images(url).measures["psnr"][0]
    first = Image.open(io.BytesIO(base64.b64decode(parsed.all("img")[0]["src"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(first), noise(30, 20, channels))


@pytest.mark.slow
def test_quantized_in_a_browser(browser, quantized_page):
    check_page(browser, quantized_page)


# Errors


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tiny"), {"a.png": noise(5, 5)})


@pytest.mark.parametrize("name", ["page.txt", "page", "s3://bucket/page.html"])
def test_a_page_must_be_a_local_html_file(tiny, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"expected a local path that ends in \.html"):
        write_report(ReportConfig(page=name, results=(tiny,)))
    assert os.listdir(tmp_path) == []


def test_a_page_must_be_no_folder(tiny, tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        write_report(ReportConfig(page=str(tmp_path / "page.html"), results=(tiny,)))


def test_a_missing_result_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.zarr: nothing is there"):
        write_report(
            ReportConfig(page=str(tmp_path / "page.html"), results=(str(tmp_path / "nowhere.zarr"),))
        )


@pytest.mark.parametrize("gone", ["data.zarr", "book.zarr"])
def test_a_dataset_or_codebook_that_is_gone_is_named(tiny, tmp_path, gone):
    place = Path(tiny).with_name(gone)
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{re.escape(gone)}: nothing is there"):
        write_report(ReportConfig(page=str(tmp_path / "page.html"), results=(tiny,)))
    (tmp_path / "elsewhere").rename(place)


def test_another_codebook_in_its_place_is_refused(tiny, results, tmp_path):
    place = Path(tiny).with_name("book.zarr")
    place.rename(tmp_path / "elsewhere")
    shutil.copytree(Path(results[0]).with_name("book.zarr"), place)
    with pytest.raises(MismatchError, match="was made from another dataset or codebook"):
        write_report(ReportConfig(page=str(tmp_path / "page.html"), results=(tiny,)))
    shutil.rmtree(place)
    (tmp_path / "elsewhere").rename(place)


def test_a_file_in_the_place_of_a_folder(tiny, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="A part of this path is a file"):
        write_report(ReportConfig(page=str(tmp_path / "file" / "page.html"), results=(tiny,)))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_page_is_replaced_whole_or_not_at_all(tiny, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    (tmp_path / "page.html").write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr(report.os, "replace", refuse)
        with pytest.raises(StorageError, match="Free some space"):
            write(tmp_path, tiny)
    assert (tmp_path / "page.html").read_text() == "old"
    assert os.listdir(tmp_path) == ["page.html"]
    html, _, _ = write(tmp_path, tiny)
    assert html.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EACCES, "Give this user the right"),
        (errno.EROFS, "Give this user the right"),
        (errno.ENOTDIR, "A part of this path is a file"),
        (errno.ENAMETOOLONG, "Choose another path"),
    ],
)
def test_every_error_of_the_file_system_has_a_remedy(tmp_path, code, remedy):
    path = tmp_path / "page.html"
    with (
        pytest.raises(StorageError, match=f"{re.escape(str(path))}: .*{remedy}"),
        report._explained(path),
    ):
        raise OSError(code, os.strerror(code))
