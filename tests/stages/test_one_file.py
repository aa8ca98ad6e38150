"""One image to one file: where it lies, what is refused, and that it is the file of a folder."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.stages.quantize import quantize
from dkmeans.storage.store import Store


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(source, destination, **options):
    config = QuantizeConfig(source=str(source), destination=str(destination), n_clusters=4, **options)
    return quantize(config)  # of the default cluster, which is not started for one image


def test_the_file_is_the_one_that_a_folder_gets(photo, tmp_path):
    report = run(photo, tmp_path / "new" / "small.png")
    run(photo, tmp_path / "folder", resume=False)
    data = (tmp_path / "new" / "small.png").read_bytes()
    assert data == (tmp_path / "folder" / "photo.png").read_bytes()
    assert os.listdir(tmp_path / "new") == ["small.png"]  # and nothing hidden
    assert (report.destination, report.n_images) == (str(tmp_path / "new" / "small.png"), 1)
    assert report.stored_bytes == len(data)
    assert [(image.name, image.key) for image in report.images] == [("photo.png", "small.png")]


def test_a_file_in_the_way_stays_unless_it_may_be_overwritten(photo, tmp_path):
    (tmp_path / "small.png").write_text("mine")
    for options in ({}, {"resume": True}):
        with pytest.raises(UsageError, match=r"small\.png is there already.*pass --overwrite"):
            run(photo, tmp_path / "small.png", **options)
        assert (tmp_path / "small.png").read_text() == "mine"
    run(photo, tmp_path / "small.png", overwrite=True)
    with Image.open(tmp_path / "small.png") as file:
        assert (file.format, file.mode, file.size) == ("PNG", "P", (30, 20))


def test_the_source_is_never_written_over(photo):
    before = photo.read_bytes()
    with pytest.raises(UsageError, match="is the source"):
        run(photo, photo, overwrite=True)
    assert photo.read_bytes() == before


@pytest.mark.parametrize("name", ["small.jpg", "small.TIFF", "small.webp"])
def test_another_format_is_refused_with_the_name_to_give(photo, tmp_path, name):
    with pytest.raises(UsageError, match=r"expected \.png, the one format .*Give small\.png instead"):
        run(photo, tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["photo.png"]


def test_a_folder_is_not_written_to_one_file(photo, tmp_path):
    with pytest.raises(UsageError, match="is no single image; expected a folder"):
        run(tmp_path, tmp_path / "small.png")
    assert sorted(os.listdir(tmp_path)) == ["photo.png"]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_of_such_a_name_is_one(photo, tmp_path, end):
    if not end:
        (tmp_path / "small.png").mkdir()
    run(photo, f"{tmp_path}/small.png{end}")
    assert (tmp_path / "small.png" / "photo.png").is_file()


def test_in_an_object_store(photo):
    assert run(photo, "memory://one-file/a/small.png").destination == "memory://one-file/a/small.png"
    with pytest.raises(UsageError, match="is there already"):
        run(photo, "memory://one-file/a/small.png")
    assert [found.key for found in Store("memory://one-file").list()] == ["a/small.png"]


@pytest.mark.filterwarnings("ignore:skipped photo.png")
def test_an_image_that_cannot_be_read_is_named(photo, tmp_path):
    photo.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"photo\.png: no image can be used"):
        run(photo, tmp_path / "small.png")
    assert sorted(os.listdir(tmp_path)) == ["photo.png"]


def test_with_a_page(photo, tmp_path):
    report = run(photo, tmp_path / "small.png", report=str(tmp_path / "page.html"))
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'href="small.png"' in html
    assert 'href="photo.png"' in html
    assert "dkmeans-" not in (tmp_path / "page.json").read_text(
        encoding="utf-8"
    )  # of the place it was made in
    assert report.summary()[-2:] == [f"report: {tmp_path / 'page.html'}", str(tmp_path / "small.png")]


def test_a_page_that_cannot_be_is_refused_before_the_work(photo, tmp_path):
    with pytest.raises(UsageError, match=r"expected a local path that ends in \.html"):
        run(photo, tmp_path / "small.png", report=str(tmp_path / "page.txt"))
    assert sorted(os.listdir(tmp_path)) == ["photo.png"]


def test_another_page_is_no_other_output(photo, tmp_path):
    first = run(photo, tmp_path / "out")
    again = run(photo, tmp_path / "out", resume=True, report=str(tmp_path / "page.html"))
    assert again.images == first.images
    assert (tmp_path / "page.html").is_file()


def test_the_command(photo, tmp_path, dkmeans):
    arguments = ["quantize", photo, tmp_path / "small.png", "--k", "4", "--report", tmp_path / "page.html"]
    code, out, _ = dkmeans(*arguments)
    assert code == 0
    first, *rest = out.splitlines()
    assert re.fullmatch(r"1 image, .+ KiB -> .+ B, -\d+ %", first)
    assert rest[1:] == [f"report: {tmp_path / 'page.html'}", str(tmp_path / "small.png")]
    code, _, err = dkmeans(*arguments)
    assert code == 2
    assert "pass --overwrite" in err
    code, out, _ = dkmeans(*arguments, "--overwrite", "--json")
    assert json.loads(out)["page"] == str(tmp_path / "page.html")
