"""The pass over images: batches, measures by hand, files and their records."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from stages.outputs import Parts, read_files

from dkmeans import plan
from dkmeans.artefacts.files import Files, Wanted, begin_files, claim_folder
from dkmeans.artefacts.folder import open_folder
from dkmeans.artefacts.former import read_former
from dkmeans.compute.in_process import InProcess
from dkmeans.config.stages import DecodeConfig
from dkmeans.errors import InputError
from dkmeans.events.reporter import SILENT
from dkmeans.images.decode import SkippedImage
from dkmeans.images.index import ImageIndex
from dkmeans.stages.shared import writing
from dkmeans.stages.shared.measured import COLUMNS, json_value, totals_of
from dkmeans.stages.shared.remaking import Made
from dkmeans.stages.shared.writing import check_image_memory, remake_images
from dkmeans.storage.store import Store

INDEX = ImageIndex(("a.png", "b.png", "c.png"), np.full(3, 2, np.int32), np.full(3, 2, np.int32))
"""Three images of 2 x 2 pixels."""


class PowerCut(Exception):
    """Not an error that any code expects."""


@dataclass(frozen=True)
class Grays:
    """Images of one gray each, of which the original was darker; a number below 0 cannot be decoded."""

    values: tuple[int, ...]
    darker: int = 3

    def images(self) -> Iterator[Made | SkippedImage]:
        for value in self.values:
            if value < 0:
                yield SkippedImage("b.png", "it is empty")
                continue
            pixels = np.full((2, 2, 1), value, np.uint8)
            original = pixels - np.uint8(self.darker)
            yield Made(pixels, original=original, n_source_colors=1, inertia=36.0, n_iter=2, converged=True)

    def original(self, position: int) -> bytes | None:
        return None if self.values[position] == 40 else b"the file of %d" % self.values[position]


def remake(values, files: Files | None = None, reporter=SILENT, source_bytes=(7, 8, 9), **options):
    return remake_images(
        INDEX,
        lambda start, stop: Grays(values[start:stop]),
        InProcess(),
        reporter,
        files=files,
        source_bytes=source_bytes,
        **options,
    )


def column(table, name):
    return table[:, COLUMNS.index(name)].tolist()


def test_all_that_is_measured():
    done = remake((10, 20, 30))
    table = done.table
    assert (done.skipped, done.records) == ([], [])
    assert column(table, "mse") == [9, 9, 9]
    assert column(table, "psnr") == pytest.approx([10 * math.log10(255**2 / 9)] * 3)
    assert column(table, "source_bytes") == [7, 8, 9]
    assert (column(table, "n_source_colors"), column(table, "n_colors")) == ([1, 1, 1], [1, 1, 1])
    assert (column(table, "inertia"), column(table, "n_iter")) == ([36] * 3, [2] * 3)
    assert np.isnan(column(table, "ssim")).all()  # 2 x 2 pixels are too few for a window
    assert np.isnan(column(table, "stored_bytes")).all()


def test_the_error_alone():
    table = remake((10, 20, 30), source_bytes=None).table
    assert column(table, "mse") == [9, 9, 9]
    assert np.isnan(column(table, "n_colors")).all()


@pytest.mark.parametrize("source_bytes", [None, (7, 8, 9)])
def test_batches_are_of_so_many_pixels(monkeypatch, source_bytes):
    measured, alone = (8, 4) if source_bytes else (4, 8)
    monkeypatch.setattr(writing, "MEASURED_PER_TASK", measured)
    monkeypatch.setattr(plan, "PIXELS_PER_TASK", alone)
    parts = Parts()
    table = remake((10, 20, 30), reporter=parts, source_bytes=source_bytes).table
    assert parts.totals["images"] == 2  # of two images, and of one
    assert len(table) == 3


def opened(folder, **options):
    config = DecodeConfig(archive="z", images=folder, **options)
    return claim_folder(Store(folder), config, "0" * 64)


KEYS = {"a.png": ("x/a.png", "x/a.jpg"), "b.png": ("b.png", "b.jpg"), "c.png": ("c.png", "c.jpg")}


def begun(held, folder):
    wanted = Wanted(dict.fromkeys(KEYS, "1"), "k=4", KEYS)
    return begin_files(held, read_former(Store(folder)), wanted, "images")


def test_files_and_their_record(tmp_path):
    folder = str(tmp_path)
    claimed = opened(folder)
    with claimed as held:
        files = begun(held, folder)
        done = remake((10, -1, 30), files)
        sizes = [int(size) for size in column(done.table, "stored_bytes")]
        files.commit(done.records, source="z", n_images=2, n_pixels=8, image_bytes=sum(sizes))
    assert [image.key for image in done.skipped] == ["b.png"]
    found = read_files(tmp_path)
    assert [len(data) for data in (found["x/a.png"], found["c.png"])] == sizes
    for key, value in (("x/a.png", 10), ("c.png", 30)):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(found[key]))), np.full((2, 2), value))
    records = open_folder(folder).records
    assert [(image["name"], image["key"]) for image in records] == [("a.png", "x/a.png"), ("c.png", "c.png")]
    first = records[0]
    assert (first["height"], first["width"], first["source_bytes"], first["mse"]) == (2, 2, 7, 9)
    assert (first["ssim"], first["converged"], first["stored_bytes"]) == (None, True, sizes[0])


@pytest.mark.parametrize("if_larger", ["keep", "copy", "skip"])
def test_a_png_that_is_larger_than_its_source(tmp_path, if_larger):
    """The second is not: its source has 1,000 bytes; the third is of a stack, and has no file of its own."""
    folder = str(tmp_path)
    claimed = opened(folder)
    with claimed as held:
        files = begun(held, folder)
        done = remake((10, 20, 40), files, source_bytes=(14, 1000, 14), if_larger=if_larger)
        files.commit(done.records, source="z", n_images=3, n_pixels=8, image_bytes=0)
    found, records = read_files(tmp_path), open_folder(folder).records
    first = {"keep": ["x/a.png"], "copy": ["x/a.jpg"], "skip": []}[if_larger]
    assert sorted(found) == sorted([*first, "b.png", "c.png"])
    assert [image["key"] for image in records] == [*first, "b.png", "c.png"]
    if if_larger == "copy":
        assert found["x/a.jpg"] == b"the file of 10"
        names = ("copied", "stored_bytes", "psnr", "mse", "inertia")
        assert [records[0][name] for name in names] == [True, 14, None, 0, 0]
        assert column(done.table, "psnr")[0] == math.inf
        assert not records[1]["copied"]
    assert [record.key for record in done.records] == [*(first or [None]), "b.png", "c.png"]
    assert len(done.table) == len(found)


def test_a_larger_png_is_an_error_where_that_was_asked_for(tmp_path):
    claimed = opened(str(tmp_path))
    message = r"^a\.png: \d\d bytes as a PNG, 14 as it was found; .* Pass --if-larger copy"
    with pytest.raises(InputError, match=message), claimed as held:
        remake((10, 20, 30), begun(held, str(tmp_path)), source_bytes=(14, 99, 99), if_larger="error")


def test_what_is_recorded_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "MEASURED_PER_TASK", 4)
    folder = str(tmp_path)
    claimed = opened(folder)
    made = []

    def die_behind():
        with claimed as held:
            made.append(remake((10, 20, 30), begun(held, folder)))
            raise PowerCut

    with pytest.raises(PowerCut):
        die_behind()
    first = made[0].table
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[::-1])  # damaged, of the same size
    claimed = opened(folder, resume=True)
    with claimed as held:
        assert held.number == 2  # files were there, so the claim was kept
        done = remake((11, 21, 31), begun(held, folder))
    again = done.table
    assert [record.name for record in done.records] == ["b.png"]
    np.testing.assert_array_equal(again[[0, 2]], first[[0, 2]])  # and not of 11 and 31
    shown = [np.asarray(Image.open(tmp_path / key))[0, 0] for key, _ in KEYS.values()]
    assert shown == [10, 21, 30]


def test_totals():
    table = np.full((3, len(COLUMNS)), np.nan)
    table[:, COLUMNS.index("mse")] = [4, 0, 1]
    table[:, COLUMNS.index("psnr")] = [30, math.inf, 40]
    table[:, COLUMNS.index("ssim")] = [0.5, math.nan, 0.75]
    table[:, COLUMNS.index("stored_bytes")] = [100, 20, 3]
    totals = totals_of(table, np.array([10, 20, 70]))
    assert (totals.mean_psnr, totals.mean_ssim, totals.n_exact) == (35, 0.625, 1)
    assert totals.mse == (4 * 10 + 1 * 70) / 100
    assert totals.image_bytes == 123
    exact = totals_of(table[1:2], np.array([20]))
    assert (exact.mean_psnr, exact.mean_ssim, exact.mse) == (None, None, 0)


def test_json_values():
    assert json_value("psnr", math.inf) is None
    assert json_value("ssim", math.nan) is None
    assert json_value("converged", 1.0) is True
    found = json_value("n_colors", 8.0)
    assert (found, type(found)) == (8, int)
    assert json_value("mse", 2.0) == 2.0


class Asked:
    """Is asked for memory, and refuses nothing."""

    def check_memory(self, task, what, remedy, n_tasks=None):
        self.asked = (task, what, remedy, n_tasks)


def test_the_memory_of_an_image():
    executor = Asked()
    sizes = np.array([20, 25], np.int32)
    check_image_memory(ImageIndex(("a", "b"), sizes, np.array([50, 40], np.int32)), 3, executor)
    # Pixels four times, 32 bytes for the color and the code of each, and the band that is measured.
    assert executor.asked == (
        1000 * (4 * 3 + 32) + 160 * plan.MIB,
        "an image",
        "leave out the largest images",
        2,
    )
