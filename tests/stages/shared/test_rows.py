"""Rows for a fit: those of a dataset, and the same ones decoded from its source."""

from __future__ import annotations

import numpy as np
import pytest

from dkmeans import IngestConfig, ingest, open_dataset
from dkmeans.clustering.counted import CountedRows
from dkmeans.clustering.seeding import draw_positions
from dkmeans.compute.in_process import InProcess
from dkmeans.events.reporter import SILENT
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collecting import collect
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import open_source
from dkmeans.stages.shared.rows import decode_rows, open_rows


def decoded(source, color, patch=None, max_skipped=0):
    executor, skipping = InProcess(), Skipping(max_skipped, SILENT, lambda _: None, "")
    images = collect(open_source(str(source)), color, 1 << 20, executor, skipping, SILENT)
    space = FeatureSpace(images.dtype, images.channels, patch)
    return *decode_rows(images, space, 9, 3, executor, skipping, SILENT), skipping


@pytest.mark.parametrize(("color", "counts"), [("gray", True), ("rgb", True), ("rgba", False)])
def test_pixels_are_those_of_the_dataset(photos, tmp_path, sync, color, counts):
    ingest(IngestConfig(source=str(photos), dataset=str(tmp_path / "d"), color=color), sync)
    dataset = open_dataset(str(tmp_path / "d"))
    stored = open_rows(dataset, "pixels", 9, 3, InProcess(), SILENT)
    _, rows, _ = decoded(photos, color)
    assert isinstance(rows, CountedRows) is isinstance(stored, CountedRows) is counts
    positions = draw_positions(stored.n_rows, 9, 3)
    assert rows.n_rows == stored.n_rows == len(positions) == dataset.manifest.n_pixels
    for each in (rows, stored):
        np.testing.assert_array_equal(
            each.take(positions), dataset.space("pixels").to_rows(dataset.pixels[:])
        )


def test_patches_lie_side_by_side(tmp_path):
    """The last row of an image is repeated until patches are full."""
    stack = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.save(tmp_path / "s.npy", stack)
    _, rows, _ = decoded(tmp_path / "s.npy", "gray", patch=(2, 4))
    found = rows.take(np.arange(4))
    first, second = stack.reshape(2, 3, 4)
    np.testing.assert_array_equal(found[0], first[:2].ravel())
    np.testing.assert_array_equal(found[1], np.tile(first[2], 2))
    np.testing.assert_array_equal(found[2], second[:2].ravel())
    np.testing.assert_array_equal(found[3], np.tile(second[2], 2))


@pytest.mark.filterwarnings("ignore:skipped")
@pytest.mark.parametrize("color", ["rgb", "rgba"])
def test_an_image_whose_pixels_give_it_away_is_left_out(photos, tmp_path, color):
    (tmp_path / "in").mkdir()
    for name in ("astronaut.png", "cat.jpg"):
        (tmp_path / "in" / name).write_bytes((photos / name).read_bytes())
    (tmp_path / "in" / "b.png").write_bytes((photos / "astronaut2.png").read_bytes()[:3000])
    images, rows, skipping = decoded(tmp_path / "in", color, max_skipped=1)
    assert images.index.names == ("astronaut.png", "cat.jpg")
    assert [image.key for image in skipping.images] == ["b.png"]
    assert rows.n_rows == 50 * 48 + 41 * 61
