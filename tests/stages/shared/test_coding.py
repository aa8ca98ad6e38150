"""Codes of rows, from a stored array or from images, by hand and shard by shard."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from stages.outputs import Parts

from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.coded import CodedManifest
from dkmeans.compute.in_process import InProcess
from dkmeans.config.stages import CompressConfig
from dkmeans.events.reporter import SILENT
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collecting import collect
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import open_source
from dkmeans.stages.shared import coding
from dkmeans.stages.shared.coding import ImageRows, StoredArray, write_codes
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

CENTERS = np.array([[0], [100], [200]], np.float32)
GRAYS = [[10, 49, 50, 51], [149, 150, 151, 255], [100, 0, 200, 60]]
CODES = [0, 0, 0, 1, 1, 1, 2, 2, 1, 0, 2, 1]
"""The nearest center of each, the first on ties (50, 150)."""


@pytest.fixture
def images(tmp_path):
    """Three gray images of 2 x 2 pixels."""
    (tmp_path / "in").mkdir()
    for number, grays in enumerate(GRAYS):
        Image.fromarray(np.array(grays, np.uint8).reshape(2, 2)).save(tmp_path / "in" / f"{number}.png")
    skipping = Skipping(0, SILENT, lambda _: None, "")
    return collect(open_source(str(tmp_path / "in")), "gray", 100, InProcess(), skipping, SILENT)


def code(url, rows, centers, reporter=SILENT, *, resume=False):
    """Write codes, and leave the output unfinished; its store, and their digest."""
    config = CompressConfig(dataset="d", codebook="c", result=str(url), resume=resume)
    with claim(Store(str(url)), CodedManifest, config, "0" * 64) as held:
        return held.store, write_codes(held, rows, centers, InProcess(), reporter)


@pytest.mark.parametrize("mib", [64, 5 / (1 << 20)])  # one shard; shards of 5 rows, which cut images apart
def test_pixels_of_images(images, tmp_path, monkeypatch, mib):
    monkeypatch.setattr(coding, "SHARD_MIB", mib)
    parts = Parts()
    rows = ImageRows(images, FeatureSpace(images.dtype, 1))
    store, _ = code(tmp_path / "r", rows, CENTERS, parts)
    codes = arrays.open_array(store, "codes")
    assert codes[:].tolist() == CODES
    assert codes.dtype == np.uint8
    assert parts.totals["codes"] == (1 if mib == 64 else 3)
    executor = InProcess()  # whose tasks hold the files
    (read,) = executor.run([executor.task(lambda cut: cut.read())(rows.cut(3, 9))])
    assert read.ravel().tolist() == [51, 149, 150, 151, 255, 100]


def test_patches_of_images(images, tmp_path):
    centers = np.array([[0, 0], [200, 200], [50, 50]], np.float32)
    space = FeatureSpace(images.dtype, 1, (1, 2))
    store, _ = code(tmp_path / "r", ImageRows(images, space), centers)
    # (10, 49) (50, 51) (149, 150) (151, 255) (100, 0) (200, 60)
    assert arrays.read_rows(store, "codes").tolist() == [2, 2, 1, 1, 2, 1]


def test_a_stored_array_and_images_have_the_same_codes(images, tmp_path):
    place = Store(str(tmp_path / "a"))
    arrays.write_array(place, "pixels", np.array(GRAYS, np.uint8).reshape(-1, 1))
    stored, of_stored = code(tmp_path / "r", StoredArray(place, "pixels"), CENTERS)
    _, of_images = code(tmp_path / "s", ImageRows(images, FeatureSpace(images.dtype, 1)), CENTERS)
    assert arrays.read_rows(stored, "codes").tolist() == CODES
    assert of_stored == of_images


def test_shards_that_are_there_are_kept(images, tmp_path, monkeypatch):
    """And known by the digest of all codes, though those of other centers would be written now."""
    monkeypatch.setattr(coding, "SHARD_MIB", 5 / (1 << 20))
    rows = ImageRows(images, FeatureSpace(images.dtype, 1))
    store, first = code(tmp_path / "r", rows, CENTERS)
    lost = next(each.key for each in store.list("codes") if each.key.endswith("c/1"))
    store.delete([lost])
    again, digest = code(tmp_path / "r", rows, CENTERS[:2], resume=True)
    assert arrays.read_rows(again, "codes").tolist() == [*CODES[:5], 1, 1, 1, 1, 0, *CODES[10:]]
    assert digest != first
    store.delete([lost])
    assert code(tmp_path / "r", rows, CENTERS, resume=True)[1] == first
