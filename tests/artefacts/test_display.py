"""What a notebook shows: hand-made facts and pictures, decoded again from the HTML."""

from __future__ import annotations

import base64
import html.parser
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import dkmeans
from dkmeans.artefacts import display
from dkmeans.artefacts.coded import CodedImages
from dkmeans.artefacts.dataset import Dataset
from dkmeans.features.space import FeatureSpace
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:not converged")


class Page(html.parser.HTMLParser):
    """The tags, words and pictures of a piece of HTML; each tag has to be closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.pictures, self.open = set(), [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "img":
            kind, _, data = dict(attributes)["src"].partition(",")
            assert kind == "data:image/png;base64"
            self.pictures.append(np.array(Image.open(io.BytesIO(base64.b64decode(data)))))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def page_of(shown):
    text = shown._repr_html_()
    besides = re.sub(r'"data:image/png;base64,[^"]*"', "", text)
    assert not re.search(r"script|src=[^>]|href|//|url\(|<link|<style", besides)
    return Page(text)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of three images of four flat colors each, its palette, patches and results."""
    tmp_path, sync = tmp_path_factory.mktemp("made"), dkmeans.ClusterConfig(scheduler="sync")
    rng = np.random.default_rng(0)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
    np.save(tmp_path / "stack.npy", colors[rng.integers(0, 4, (3, 12, 16))])
    urls = {name: str(tmp_path / f"{name}.zarr") for name in ("d", "palette", "patches", "c", "r")}
    dkmeans.ingest(
        dkmeans.IngestConfig(source=str(tmp_path / "stack.npy"), dataset=urls["d"], patch=4, stride=4), sync
    )
    fit = dkmeans.FitConfig(dataset=urls["d"], codebook=urls["palette"], n_clusters=4)
    dkmeans.fit(fit, sync)
    fit = {"codebook": urls["patches"], "n_clusters": 5, "on": "patches", "max_iter": 1, "init": "random"}
    dkmeans.fit(dkmeans.FitConfig(dataset=urls["d"], **fit), sync)
    of = {"dataset": urls["d"]}
    dkmeans.compress(dkmeans.CompressConfig(**of, codebook=urls["palette"], result=urls["c"]), sync)
    dkmeans.reconstruct(dkmeans.ReconstructConfig(**of, codebook=urls["patches"], result=urls["r"]), sync)
    return urls


def test_a_dataset(made, tmp_path):
    dataset = dkmeans.open_dataset(made["d"])
    assert repr(dataset) == "Dataset(d.zarr: 3 images, 576 pixels, rgb uint8, 4x4 patches: 36)"
    page = page_of(dataset)
    assert page.tags == {"div", "table", "tr", "th", "td", "figure", "img", "figcaption"}
    assert page.words[:4] == ["Dataset", made["d"], "images", "3"]
    assert "36 of 4x4" in page.words
    assert len(page.pictures) == 3
    for position, picture in enumerate(page.pictures):  # enlarged eightfold: 16 pixels to 128
        assert np.array_equal(picture, dataset.image(position).repeat(8, 0).repeat(8, 1))
    assert page.words[-1].endswith(" 12x16")


def test_codebooks(made):
    palette, patches = dkmeans.open_codebook(made["palette"]), dkmeans.open_codebook(made["patches"])
    n = len(palette.history)
    iterations = f"{n} iteration{'' if n == 1 else 's'}"
    assert repr(palette) == f"Codebook(palette.zarr: 4 colors, rgb uint8, {iterations}, converged, inertia 0)"
    (swatches,) = page_of(palette).pictures
    order = np.argsort(-palette.counts, kind="stable")
    # Tiles of 32 and gaps of 2: the middle of each is its color.
    assert swatches.shape == (34, 4 * 34, 4)
    assert np.array_equal(swatches[16, 16::34], np.c_[palette.centers[order], np.full(4, 255)])
    assert not swatches[:, 32:34].any()

    assert repr(patches).startswith(
        "Codebook(patches.zarr: 5 patches of 4x4, rgb uint8, 1 iteration, not conv"
    )
    page = page_of(patches)
    (tiles,) = page.pictures
    first = np.rint(patches.centers[np.argmax(patches.counts)]).astype(np.uint8).reshape(4, 4, 3)
    assert np.array_equal(tiles[:32:8, :32:8, :3], first)
    assert page.words[-1] == "5 of 5, the most frequent first"


def test_sweeps(made, tmp_path):
    """The curve: a point for each codebook, at heights in proportion to the errors, and the marks."""
    config = dkmeans.SweepConfig(dataset=made["d"], sweep=str(tmp_path / "s"), k=[1, 2, 3, 4])
    dkmeans.sweep(config, dkmeans.ClusterConfig(scheduler="sync"))
    sweep = dkmeans.open_sweep(str(tmp_path / "s"))
    assert repr(sweep).startswith("Sweep(s: 4 codebooks, 1 to 4 colors, 576 rows, ")
    page = page_of(sweep)
    assert {"svg", "polyline", "circle", "text"} <= page.tags
    assert f"1 clusters: mean squared error {sweep.curves['mse'][0]:.3g}" in page.words
    (points,) = re.findall(r'<polyline points="([^"]+)"', sweep._repr_html_())
    heights = 176 - np.array([float(point.split(",")[1]) for point in points.split()])
    expected = sweep.curves["mse"] / sweep.curves["mse"][0] * 152
    np.testing.assert_allclose(heights, expected, atol=0.06)
    assert sweep.elbow is None or f"elbow: {sweep.elbow}" in page.words
    text = display.curve([2, 4, 8], np.array([9.0, 4, 1]), {"elbow": 4, "groups": 4})[1]
    assert ">elbow, groups: 4</text>" in text
    assert display.curve([5], np.zeros(1), {"elbow": None})[1].count("<circle") == 1


def test_coded_images(made):
    compressed, reconstructed = dkmeans.open_coded(made["c"]), dkmeans.open_coded(made["r"])
    assert repr(compressed) == "CodedImages(c.zarr: 3 images, 576 codes, 4 colors)"
    assert re.fullmatch(
        r"CodedImages\(r\.zarr: 3 images, 36 codes, 5 patches, \d+\.\d\d dB\)", repr(reconstructed)
    )
    for result in (compressed, reconstructed):
        pictures = page_of(result).pictures
        assert len(pictures) == 3
        assert np.array_equal(pictures[2][::8, ::8], result.image(2))


@pytest.mark.parametrize(("shown", "of"), [(Dataset, "d"), (CodedImages, "c")])
def test_storage_that_fails_is_said(tmp_path, made, shown, of):
    manifest = (dkmeans.open_dataset if shown is Dataset else dkmeans.open_coded)(made[of]).manifest
    gone = shown(Store(str(tmp_path / "gone")), manifest)
    assert repr(gone).startswith(f"{shown.__name__}(gone: 3 images")
    page = page_of(gone)
    assert not page.pictures
    assert page.words[-1].startswith("not shown: InputError: ")
    assert str(tmp_path / "gone") in page.words[-1]


def test_a_store_that_is_lost_between_two_images(made, monkeypatch):
    whole, calls = arrays.read_part, []

    def lost(array, *rows):
        calls.extend(["pixels"] * array.name.endswith("pixels"))
        if len(calls) > 1:
            raise OSError("the <cable> is cut")
        return whole(array, *rows)

    monkeypatch.setattr(arrays, "read_part", lost)
    page = page_of(dkmeans.open_dataset(made["d"]))
    assert len(page.pictures) == 1
    assert page.words[-1] == "not shown: OSError: the <cable> is cut"


def test_a_place_without_facts():
    assert display.text("Dataset", "/x/d/", []) == "Dataset(d)"
    assert display.text("CodedImages", "s3://bucket/r", []) == "CodedImages(r)"


def test_centers_that_are_not_of_their_space_are_said(made):
    codebook = replace(dkmeans.open_codebook(made["palette"]), centers=np.zeros((4, 5), np.float32))
    assert repr(codebook).startswith("Codebook(palette.zarr: 4 colors, rgb uint8, ")
    page = page_of(codebook)
    assert not page.pictures
    assert page.words[-1].startswith("not shown: ValueError")


def test_names_are_no_html():
    text = display.page("Dataset", "/<b>&x", [], lambda: [("<i>", np.zeros((1, 1, 3), np.uint8))])
    page = Page(text)
    assert page.tags.isdisjoint({"b", "i"})
    assert page.words == ["Dataset", "/<b>&x", "<i>"]


# Thumbnails and galleries of other shapes and types


def thumbnails_of(*images):
    sizes = np.array([image.shape[:2] for image in images])
    names = [f"{number}.png" for number in range(len(images))]
    return list(display.thumbnails(names, sizes, lambda position: images[position]))


def test_a_large_image_becomes_the_mean_of_blocks():
    image = np.zeros((256, 300, 1), np.uint8)
    image[:, ::2] = 201
    ((caption, small),) = thumbnails_of(image)
    # 300 / 128, rounded up: blocks of 3x3, whole ones only
    assert (caption, small.shape) == ("0.png 256x300", (85, 100, 1))
    assert small[0, :2, 0].tolist() == [134, 67]  # two columns of three, then one


def test_a_narrow_image():
    ((_, small),) = thumbnails_of(np.full((1, 1000, 3), 7, np.uint8))
    assert small.shape == (1, 125, 3)
    assert (small == 7).all()


def test_sixteen_bits_become_eight():
    ((_, small),) = thumbnails_of(np.full((128, 128, 4), 65535, np.uint16))
    assert (small.dtype, small.min()) == (np.uint8, 255)
    ((_, small),) = thumbnails_of(np.full((128, 128, 1), 257 * 99, np.uint16))
    assert (small == 99).all()


def test_images_that_are_too_large_are_not_read(monkeypatch):
    monkeypatch.setattr(display, "_READ_PIXELS", 150)
    image = np.zeros((10, 10, 1), np.uint8)
    found = thumbnails_of(image, image, image)
    assert [caption for caption, _ in found] == [
        "0.png 10x10",
        "from 1.png on: too many pixels to be read for this",
    ]
    assert found[1][1] is None
    assert "from 1.png on" in display.page("Dataset", "d", [], lambda: found)


@pytest.mark.parametrize(("channels", "pixel"), [(1, [9, 9, 9, 255]), (3, [9, 9, 9, 255]), (4, [9, 9, 9, 9])])
def test_a_gallery_shows_the_most_frequent(channels, pixel):
    row = [81, 81, 81, 9 * 255] if channels == 4 else [9] * channels  # premultiplied, where there is alpha
    centers = np.tile(np.array(row, np.float32), (300, 6))
    space = FeatureSpace(np.dtype(np.uint8), channels, (3, 2))
    ((caption, picture),) = display.gallery(centers, np.arange(300), space)
    assert caption == "100 of 300, the most frequent first"
    assert picture[0, 0].tolist() == pixel
    # Tiles of 30x20 with gaps of 2: 32 in a row of 720 pixels, so 4 rows
    assert picture.shape == (4 * 32, 32 * 22, 4)


def test_a_gallery_of_whole_images_is_small():
    centers = np.zeros((50, 512 * 512), np.float32)
    space = FeatureSpace(np.dtype(np.uint8), 1, (512, 512))
    ((caption, picture),) = display.gallery(centers, np.ones(50, np.int64), space)
    assert caption.startswith("4 of 50")
    assert picture.shape == (4 * 514, 514, 4)
