"""Keys of the files of images, and places where they may not go."""

from __future__ import annotations

import pytest

from dkmeans.errors import UsageError
from dkmeans.stages.shared.files import output_keys, refuse_originals
from dkmeans.storage.store import Store


def test_names_that_differ_in_their_suffix_keep_it():
    assert output_keys(["a.jpg", "b/a.jpg", "b/a.tif", "c.tar.png", "UP.png", "up.jpg", "plain"]) == {
        "a.jpg": "a.png",
        "b/a.jpg": "b/a.jpg.png",
        "b/a.tif": "b/a.tif.png",
        "c.tar.png": "c.tar.png",
        "UP.png": "UP.png.png",
        "up.jpg": "up.jpg.png",
        "plain": "plain.png",
    }


def test_no_folder_that_holds_the_originals(tmp_path):
    source = tmp_path / "photos" / "deep"
    for folder in (source, source.parent, tmp_path):
        with pytest.raises(UsageError, match=r"--images: .* holds the originals"):
            refuse_originals(Store(str(folder)), str(source), "--images")
    for folder in (source / "below", tmp_path / "photos2", tmp_path / "photos" / "dee"):
        refuse_originals(Store(str(folder)), str(source), "--images")
