"""Images made again by a palette or from codes, each computed by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from dkmeans.errors import InputError
from dkmeans.features.space import FeatureSpace
from dkmeans.images.decode import SkippedImage
from dkmeans.images.picture import Picture
from dkmeans.images.tags import NO_TAGS, ColorTags
from dkmeans.stages.shared.palettes import Given, PerImage
from dkmeans.stages.shared.remaking import Copying, Decoding, Quantizing, n_colors
from dkmeans.storage import checksums
from dkmeans.storage.store import Store

GRAYS = np.array([[[10], [20], [20]], [[20], [200], [210]]], np.uint8)
"""One image of 2 x 3 pixels and four grays."""


@dataclass(frozen=True)
class Listed:
    """Images that are in memory, in place of those of a source."""

    list: tuple

    def read(self):
        return iter(self.list)

    images = read


def test_quantizing_keeps_the_colors_that_occur():
    bad, tags = SkippedImage("bad.png", "it is empty"), ColorTags(((b"gAMA", b"\0\1\x86\xa0"),))
    palettes = Given(np.array([[255], [100], [0], [22.5]], np.float32))
    part = Listed((Picture(GRAYS, tags), bad))
    made, skipped = Quantizing(("a.png", "bad.png"), part, palettes).images()
    assert skipped is bad
    np.testing.assert_array_equal(made.palette, [[0], [22], [255]])  # from dark to light, half to even
    np.testing.assert_array_equal(made.codes, [[0, 1, 1], [1, 2, 2]])
    np.testing.assert_array_equal(made.pixels[..., 0], [[0, 22, 22], [22, 255, 255]])
    assert made.original is GRAYS
    assert b"gAMA\0\1\x86\xa0" in made.file
    assert (made.n_source_colors, made.inertia) == (4, 10**2 + 3 * 2.5**2 + 55**2 + 45**2)


def test_an_image_that_no_such_palette_can_hold_is_skipped():
    image = np.array([[[9, 9, 9, 0], [5, 5, 5, 255]]], np.uint8)
    fine = np.array([[[9, 9, 9, 0], [5, 5, 5, 0]]], np.uint8)
    palettes = PerImage(1, seed=0, max_iter=100, tol=0)
    part = Listed((Picture(image), Picture(fine)))
    skipped, made = Quantizing(("a.png", "b.png"), part, palettes).images()
    assert skipped.key == "a.png"
    assert "Use --k 2 or more" in skipped.reason
    assert made.palette.tolist() == [[0, 0, 0, 0]]
    assert made.n_source_colors == 1


@dataclass(frozen=True)
class Coded:
    """Coded images in memory."""

    palette: np.ndarray | None
    manifest: object


@dataclass(frozen=True)
class Manifest:
    space: FeatureSpace


@dataclass(frozen=True)
class Part:
    """One coded image."""

    coded: Coded
    codes: np.ndarray
    pixels: np.ndarray
    tags: tuple[ColorTags, ...] = (NO_TAGS,)

    def images(self):
        return iter([self.pixels])

    def codes_of(self, position):
        assert position == 0
        return self.codes.ravel()


@pytest.mark.parametrize("indexed", [True, False])
def test_decoding_pixels(indexed):
    palette = np.array([[255], [18], [205]], np.uint8)
    codes = np.array([[1, 1, 1], [1, 2, 2]], np.uint8)
    coded = Coded(palette, Manifest(FeatureSpace(np.dtype(np.uint8), 1)))
    part = Part(coded, codes, palette[codes])
    centers = np.array([[255], [17.5], [205]], np.float32)
    (made,) = Decoding(part, Listed((GRAYS,)), centers, indexed).images()
    np.testing.assert_array_equal(made.pixels, palette[codes])
    assert made.inertia == 7.5**2 + 3 * 2.5**2 + 2 * 5**2
    assert made.n_source_colors == 4
    if indexed:
        np.testing.assert_array_equal(made.palette, [[18], [205]])
        np.testing.assert_array_equal(made.codes, [[0, 0, 0], [0, 1, 1]])
    else:
        assert (made.palette, made.codes) == (None, None)
    tags = ColorTags(((b"sRGB", b"\0"),))
    (alone,) = Decoding(replace(part, tags=(tags,))).images()
    assert (made.tags, alone.tags) == (NO_TAGS, tags)
    assert (alone.original, alone.inertia, alone.n_source_colors) == (None, None, None)


def test_inertia_of_many_rows_is_one_sum_of_integers():
    """Of 16-bit rows, whose squares a float could not add up, in more than one slice."""
    n = (1 << 16) + 3
    image = np.full((1, n, 3), 65535, np.uint16)
    image[0, -1] = 0
    centers = np.array([[1 / 128, 0, 65535]], np.float32)  # on the grid of 16-bit rows
    coded = Coded(None, Manifest(FeatureSpace(np.dtype(np.uint16), 3)))
    part = Part(coded, np.zeros(n, np.uint8), image)
    (made,) = Decoding(part, Listed((image,)), centers).images()
    of_most = (65535 * 128 - 1) ** 2 + (65535 * 128) ** 2
    of_last = 1 + (65535 * 128) ** 2
    assert made.inertia == ((n - 1) * of_most + of_last) / 128**2


def test_copying_gives_the_files(tmp_path):
    store = Store(str(tmp_path))
    store.put("a.png", b"one")
    store.put("deep/b.png", b"two")
    keys, checks = ("deep/b.png", "a.png"), (checksums.of_bytes(b"two"), checksums.of_bytes(b"one"))
    assert [made.file for made in Copying(store, keys, checks, (3, 0)).images()] == [b"two", b"one"]
    store.put("a.png", b"0ne")
    with pytest.raises(InputError, match=r"a\.png is gone or damaged"):
        list(Copying(store, keys, checks, (3, 0)).images())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_distinct_colors(dtype, channels):
    colors = np.arange(5 * channels).reshape(5, channels).astype(dtype)
    assert n_colors(colors[[[0, 1, 2], [4, 1, 4]]]) == 4
