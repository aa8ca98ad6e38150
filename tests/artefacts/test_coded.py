"""Coded images: written by hand, of several sizes, and read image by image and part by part."""

from __future__ import annotations

import pickle
import uuid

import numpy as np
import pytest

from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.coded import COMPARED, MEASURED, CodedManifest, open_coded, row_offset
from dkmeans.artefacts.decoders import Overlap, Palette, Tiles, pack_masks
from dkmeans.artefacts.index import write_index
from dkmeans.config.stages import CompressConfig
from dkmeans.errors import InputError
from dkmeans.features.space import FeatureSpace
from dkmeans.images.index import ImageIndex
from dkmeans.storage.store import Store

BYTES = np.dtype(np.uint8)
SIZES = [(2, 3), (2, 3), (4, 2), (1, 5), (2, 3)]
"""Two neighbors of one size, and a third further on."""
INDEX = ImageIndex(
    tuple("abcde"),
    np.array([height for height, _ in SIZES], np.int32),
    np.array([width for _, width in SIZES], np.int32),
)
COLORS = np.array([[0, 0, 9], [1, 2, 3], [250, 7, 8]], np.uint8)


def write(decoder, codes, *, stride=None, space=None, columns=COMPARED, **arrays):
    """Write arrays and manifest; the URL."""
    url = f"memory://{uuid.uuid4().hex}/coded"
    config = CompressConfig(dataset="d", codebook="c", result="r")
    with claim(Store(url), CodedManifest, config, "abc") as held:
        write_index(held, INDEX)
        held.write_array("codes", codes)
        for name, values in arrays.items():
            held.write_array(name.replace("__", "/"), values)
        held.commit(
            decoder=decoder, space=space, stride=stride, n_images=len(INDEX), n_codes=len(codes),
            n_clusters=3, measures_columns=columns,
        )  # fmt: skip
    return url


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def check(coded, expected):
    """Every image, and every part of them."""
    for position, image in enumerate(expected):
        np.testing.assert_array_equal(coded.image(position), image)
    for start in range(len(expected)):
        for stop in range(start + 1, len(expected) + 1):
            found = list(coded.part(start, stop).images())
            assert len(found) == stop - start
            for image, of in zip(found, expected[start:stop], strict=True):
                np.testing.assert_array_equal(image, of)
                assert image.dtype == of.dtype


def test_a_palette(rng):
    codes = rng.integers(0, 3, 31, dtype=np.uint8)
    coded = open_coded(write("palette", codes, palette=COLORS, space=FeatureSpace(BYTES, 3)))
    offset = [0, 6, 12, 20, 25, 31]
    assert coded.code_offset.tolist() == offset
    assert isinstance(coded.decoder, Palette)
    np.testing.assert_array_equal(coded.palette, COLORS)
    assert coded.centers is None
    check(coded, [COLORS[codes[offset[n] : offset[n + 1]]].reshape(*size, 3) for n, size in enumerate(SIZES)])
    part = coded.part(1, 4)
    np.testing.assert_array_equal(part.codes, codes[6:25])
    np.testing.assert_array_equal(part.codes_of(1), codes[12:20])


def test_tiles(rng):
    """Patches of 2x2 side by side: of 2x3 pixels 1x2, of 4x2 2x1, of 1x5 1x3."""
    space, centers = FeatureSpace(BYTES, 1, (2, 2)), np.arange(12, dtype=np.float32).reshape(3, 4)
    codes = rng.integers(0, 3, 2 + 2 + 2 + 3 + 2, dtype=np.uint8)
    coded = open_coded(write("tiles", codes, centers=centers, space=space))
    assert coded.code_offset.tolist() == [0, 2, 4, 6, 9, 11]
    assert isinstance(coded.decoder, Tiles)
    assert coded.palette is None
    np.testing.assert_array_equal(coded.centers, centers)
    patches, (a, b) = centers.astype(np.uint8).reshape(3, 2, 2, 1), codes[:2]
    np.testing.assert_array_equal(coded.image(0), np.hstack([patches[a], patches[b]])[:, :3])
    a, b = codes[4:6]
    np.testing.assert_array_equal(coded.image(2), np.vstack([patches[a], patches[b]]))
    own = codes[6:9]
    np.testing.assert_array_equal(coded.image(3), np.hstack(list(patches[own]))[:1, :5])
    check(coded, [coded.image(position) for position in range(5)])


def test_patches_that_overlap(rng):
    """Patches of 1x2, one pixel apart: of 2x3 pixels 2x2 of them, of 4x2 4x1, of 1x5 1x4."""
    space = FeatureSpace(BYTES, 1, (1, 2))
    centers = np.array([[10, 20], [30, 40], [51, 60]], np.float32)
    grids = [(2, 2), (2, 2), (4, 1), (1, 4), (2, 2)]
    masks = [rng.integers(0, 2, (1, *grid)).astype(bool) for grid in grids]
    codes = [rng.integers(0, 3, int(mask.sum()), dtype=np.uint8) for mask in masks]
    offset = np.cumsum([0, *map(len, codes)])
    url = write(
        "overlap", np.concatenate(codes), space=space, stride=(1, 1), centers=centers, code_offset=offset,
        mask=np.concatenate([pack_masks(mask) for mask in masks]),
    )  # fmt: skip
    coded = open_coded(url)
    assert isinstance(coded.decoder, Overlap)
    assert coded.code_offset.tolist() == offset.tolist()
    expected = []
    for size, mask, own in zip(SIZES, masks, codes, strict=True):
        sums, counts = np.zeros(size), np.zeros(size)
        for code, (row, column) in zip(own, np.argwhere(mask[0]), strict=True):  # one patch at a time
            sums[row, column : column + 2] += centers[code]
            counts[row, column : column + 2] += 1
        expected.append(np.rint(sums / np.maximum(counts, 1)).astype(np.uint8)[..., None])
    check(coded, expected)


def test_row_offset():
    assert row_offset(INDEX, None).tolist() == [0, 6, 12, 20, 25, 31]
    assert row_offset(INDEX, (3, 3)).tolist() == [0, 1, 2, 4, 6, 7]


@pytest.mark.parametrize("columns", [COMPARED, MEASURED])
def test_measures(rng, columns):
    table = rng.random((5, len(columns)))
    table[2, 1] = np.inf
    codes = np.zeros(31, np.uint8)
    coded = open_coded(write("palette", codes, columns=columns, palette=COLORS, images__measures=table))
    assert tuple(coded.measures) == columns
    for number, name in enumerate(columns):
        np.testing.assert_array_equal(coded.measures[name], table[:, number])


def test_a_task_takes_no_cache_along():
    coded = open_coded(write("palette", np.zeros(31, np.uint8), palette=COLORS))
    _ = coded.index, coded.decoder, coded.code_offset
    assert set(coded.__getstate__()) == {"store", "manifest"}
    assert pickle.loads(pickle.dumps(coded)) == coded


def test_another_decoder_is_none_of_the_kind():
    with pytest.raises(ValueError, match="decoder"):
        write("fractal", np.zeros(31, np.uint8))


def test_what_is_gone_is_named():
    url = write("palette", np.zeros(31, np.uint8))
    with pytest.raises(InputError, match="palette"):
        open_coded(url).image(0)
