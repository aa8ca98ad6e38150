"""The index of an artefact, and what was skipped: what is written is read."""

from __future__ import annotations

import json
import uuid

import numpy as np
import pytest
from artefacts.small import Small, config

from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.index import read_index, read_skipped, write_index, write_skipped
from dkmeans.errors import InputError
from dkmeans.images.decode import SkippedImage
from dkmeans.images.index import ImageIndex
from dkmeans.images.tags import NO_TAGS, ColorTags
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

NAMES = ("a.png", "deep/é ✓.jpg", "x" * 300)


@pytest.fixture
def held():
    with claim(Store(f"memory://{uuid.uuid4().hex}"), Small, config(), "abc") as held:
        yield held


def test_an_index_comes_back(held):
    index = ImageIndex(NAMES, np.array([1, 20, 65535], np.int32), np.array([70000, 3, 65535], np.int32))
    assert not held.has_group("images")
    write_index(held, index)
    assert held.has_group("images")  # the mark comes last
    found = read_index(held.store)
    assert found.names == NAMES
    for name in ("height", "width"):
        np.testing.assert_array_equal(getattr(found, name), getattr(index, name))
        assert getattr(found, name).dtype == np.int32
    expected = [0, 70000, 70060, 70060 + 65535**2]
    assert found.offset.tolist() == expected
    assert arrays.read_rows(held.store, "images/offset").tolist() == expected


TAGS = ColorTags(((b"iCCP", b"p\0\0" + bytes(range(256))), (b"pHYs", bytes(9))))


def test_tags_come_back_and_equal_ones_are_stored_once(held):
    sizes, other = np.ones(3, np.int32), ColorTags(((b"gAMA", b"\0\0\xb1\x8f"),))
    again = ColorTags(tuple(TAGS.chunks))
    write_index(held, ImageIndex(NAMES, sizes, sizes, (TAGS, NO_TAGS, again)))
    found = read_index(held.store)
    assert found.tags == found.tags_of(0, 3) == (TAGS, NO_TAGS, TAGS)
    assert found.tags_of(1, 3) == (NO_TAGS, TAGS)
    assert found.leaving({NAMES[1]}).tags == (TAGS, TAGS)
    stored = arrays.read_rows(held.store, "images/tags")
    assert [list(json.loads(text)) for text in stored.tolist()] == [["iCCP", "pHYs"], []]
    held.discard("images")
    write_index(held, ImageIndex(NAMES, sizes, sizes, (other, other, TAGS)))
    assert read_index(held.store).tags == (other, other, TAGS)


def test_images_without_tags_have_no_arrays_of_them(held):
    write_index(held, ImageIndex(NAMES, np.ones(3, np.int32), np.ones(3, np.int32)))
    assert not [found.key for found in held.store.list("images") if "tags" in found.key]
    found = read_index(held.store)
    assert found.tags == found.leaving({NAMES[0]}).tags == ()
    assert found.tags_of(0, 2) == (NO_TAGS, NO_TAGS)


def test_an_index_of_which_a_column_is_gone(held):
    write_index(held, ImageIndex(NAMES, np.ones(3, np.int32), np.ones(3, np.int32)))
    held.discard("images/width")
    with pytest.raises(InputError, match="images/width"):
        read_index(held.store)


@pytest.mark.parametrize("n_skipped", [0, 1, 3])
def test_what_was_skipped_comes_back(held, n_skipped):
    skipped = [SkippedImage(name, f"no image: {len(name)} 'é'") for name in NAMES[:n_skipped]]
    write_skipped(held, skipped)
    assert read_skipped(held.store) == skipped


def test_what_is_skipped_later_takes_the_place_of_what_was(held):
    write_skipped(held, [SkippedImage(name, "gone") for name in NAMES])
    write_skipped(held, [SkippedImage("b.png", "too large")])
    assert read_skipped(held.store) == [SkippedImage("b.png", "too large")]
