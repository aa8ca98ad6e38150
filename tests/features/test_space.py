"""The feature space: by hand, and there and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans.features import tiles
from dkmeans.features.space import FeatureSpace, hide

U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)


def test_pixels_by_hand():
    space = FeatureSpace(U8, 3)
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert space.to_rows(image).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    # Halves go to the even neighbor.
    found = space.to_pixels(np.array([[0.5, 1.5, 2.5], [254.5, 254.501, 0.499]], np.float32))
    assert found.tolist() == [[0, 2, 2], [254, 255, 0]]
    assert found.dtype == np.uint8
    assert (space.n_features, space.pixel_shape) == (3, (3,))
    assert space.describe() == "pixels with 3 channels, uint8"


def test_patches_by_hand():
    space = FeatureSpace(U16, 1, (1, 2))
    image = np.array([[1, 2, 3], [4, 5, 600]], np.uint16)[:, :, np.newaxis]
    # The last column is repeated.
    assert space.to_rows(image).tolist() == [[1, 2], [3, 3], [4, 5], [600, 600]]
    found = space.to_pixels(np.array([[0.5, 65_534.5]]))
    assert found.tolist() == [[[[0], [65_534]]]]
    assert found.dtype == np.uint16
    assert (space.n_features, space.pixel_shape) == (2, (1, 2, 1))
    assert space.describe() == "patches with 1 channels, uint16, patches of 1x2"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from([U8, U16]),
    st.sampled_from([1, 3]),
    st.none() | st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(0, 1 << 32),
)
def test_there_and_back(dtype, channels, patch, size, seed):
    """An image comes back from its rows, whether these are integers or as near to them as centers can be."""
    space = FeatureSpace(dtype, channels, patch)
    rng = np.random.default_rng(seed)
    image = rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)
    rows = space.to_rows(image)
    assert rows.shape[1] == space.n_features
    off = rows + rng.uniform(-0.49, 0.49, rows.shape)
    for values in (rows, rows.astype(np.float32), off):
        pixels = space.to_pixels(values)
        assert pixels.shape == (len(rows), *space.pixel_shape)
        assert pixels.dtype == dtype
        whole = pixels.reshape(image.shape) if patch is None else tiles.assemble(pixels, size, patch)
        np.testing.assert_array_equal(whole, image)


@pytest.mark.parametrize(
    "space", [FeatureSpace(U8, 4), FeatureSpace(U16, 1, (5, 3)), FeatureSpace(U8, 3, space="oklab")]
)
def test_json_keeps_it(space):
    assert FeatureSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_alpha_of_old_codebooks_is_one_more_value():
    """Before the space was recorded, rows of four channels were the stored values."""
    old = FeatureSpace.from_json({"dtype": "uint8", "channels": 4, "patch": None})
    rows = np.array([[9, 8, 7, 0], [1, 2, 3, 4]], np.uint8)
    assert old.to_rows(rows[None]).tolist() == rows.tolist()
    assert old.to_pixels(rows + 0.4).tolist() == rows.tolist()
    assert old.row_dtype == U8
    gray = FeatureSpace.from_json({"dtype": "uint8", "channels": 1, "patch": None})
    assert gray == FeatureSpace(U8, 1)


# Alpha


def test_alpha_by_hand():
    space = FeatureSpace(U8, 4)
    image = np.array([[[10, 200, 255, 255], [10, 200, 255, 2], [10, 200, 255, 0]]], np.uint8)
    rows = space.to_rows(image)
    assert rows.tolist() == [[2550, 51_000, 65_025, 65_025], [20, 400, 510, 510], [0, 0, 0, 0]]
    assert rows.dtype == space.row_dtype == np.uint16
    assert (space.full, space.unit) == (65_025, 255)
    # Alpha 1.6 becomes 2, and 100 / 2 is the color that has the product 100 with it; alpha 0.4 becomes 0.
    centers = np.array([[100, 0, 600, 1.6 * 255], [50, 50, 50, 0.4 * 255]])
    assert space.to_pixels(centers).tolist() == [[50, 0, 255, 2], [0, 0, 0, 0]]


def test_alpha_of_16_bits_by_hand():
    space = FeatureSpace(U16, 2)
    image = np.array([[[65_535, 65_535], [65_535, 1000], [3, 32_768], [9, 0]]], np.uint16)
    # 3 * 32768 / 65535 = 1.50002
    assert space.to_rows(image).tolist() == [[65_535, 65_535], [1000, 1000], [2, 32_768], [0, 0]]
    assert (space.full, space.unit) == (65_535, 1)


def test_patches_with_alpha():
    """Each pixel of a patch is premultiplied by its own alpha, of images and of stored rows alike."""
    space = FeatureSpace(U8, 2, (1, 2))
    image = np.array([[[100, 2], [50, 3]]], np.uint8)
    assert space.to_rows(image).tolist() == [[200, 510, 150, 765]]
    assert space.from_stored(image.reshape(1, 4)).tolist() == [[200, 510, 150, 765]]
    assert space.to_pixels(np.array([[200, 510, 150, 765]])).tolist() == [[[[100, 2], [50, 3]]]]


@pytest.mark.parametrize("channels", [2, 4])
def test_all_visible_colors_come_back(channels):
    space = FeatureSpace(U8, channels)
    colors = np.random.default_rng(0).integers(0, 256, (20_000, channels)).astype(np.uint8)
    colors[:256, -1] = 1
    colors[256:600, -1] = 0
    found = space.to_pixels(space.to_rows(colors[None]))
    np.testing.assert_array_equal(found, hide(colors))
    assert len(np.unique(space.to_rows(hide(colors)[None]), axis=0)) == len(np.unique(hide(colors), axis=0))


def test_hiding():
    pixels = np.array([[[1, 2, 3, 0], [1, 2, 3, 1]]], np.uint8)
    assert hide(pixels).tolist() == [[[0, 0, 0, 0], [1, 2, 3, 1]]]
    np.testing.assert_array_equal(hide(pixels[..., :3]), pixels[..., :3])


# Linear light and OKLab


def test_linear_by_hand():
    """IEC 61966-2-1: 10 lies on the straight part, 188 on the curve."""
    space = FeatureSpace(U8, 1, space="linear")
    rows = space.to_rows(np.array([[[0], [10], [188], [255]]], np.uint8)).ravel()
    curve = ((188 / 255 + 0.055) / 1.055) ** 2.4
    assert rows.tolist() == [0, round(10 / 255 / 12.92 * 65_535), round(curve * 65_535), 65_535]
    half = space.to_pixels(np.array([[65_535 / 2]]))
    assert half.tolist() == [[188]]  # half the light


OKLAB = {  # of Ottosson's page, rounded there
    (255, 255, 255): (1.000, 0.000, 0.000),
    (255, 0, 0): (0.628, 0.225, 0.126),
    (0, 255, 0): (0.866, -0.234, 0.179),
    (0, 0, 255): (0.452, -0.032, -0.312),
    (0, 0, 0): (0, 0, 0),
}


def test_oklab_is_that_of_its_author():
    space = FeatureSpace(U8, 3, space="oklab")
    rows = space.to_rows(np.array([list(OKLAB)], np.uint8))
    assert rows.dtype == np.uint16
    values = rows / space.full - 2.25 * np.array([0, 0.24, 0.32])
    np.testing.assert_allclose(values / [1, 2.25, 2.25], list(OKLAB.values()), atol=0.0006)
    gray = FeatureSpace(U8, 1, space="oklab").to_rows(np.array([[[255], [0]]], np.uint8))
    assert gray.tolist() == [[space.full], [0]]


@pytest.mark.parametrize("space", ["linear", "oklab"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_colors_come_back_from_every_space(space, channels):
    features = FeatureSpace(U8, channels, space=space)
    colors = np.random.default_rng(0).integers(0, 256, (50_000, channels)).astype(np.uint8)
    colors[:8] = np.array([0, 255])[np.arange(8)[:, None] >> np.arange(channels) & 1]
    colors[8:264] = np.arange(256)[:, None]
    if channels == 4:
        colors[:, 3] = 255
    np.testing.assert_array_equal(features.to_pixels(features.to_rows(colors[None])), colors)


@pytest.mark.parametrize("space", ["linear", "oklab"])
def test_hidden_colors_are_one_row_in_every_space(space):
    features = FeatureSpace(U8, 4, space=space)
    colors = np.random.default_rng(0).integers(0, 256, (100, 4)).astype(np.uint8)
    colors[:, 3] = 0
    rows = features.to_rows(colors[None])
    assert len(np.unique(rows, axis=0)) == 1
    assert features.to_pixels(rows).max() == 0


def test_what_cannot_be_shown_is_clipped():
    space = FeatureSpace(U8, 3, space="oklab")
    lab = np.array([[0.9, -0.235, 0.19], [0.8, -0.2, 0.05]])  # too bright a green; one that lacks red
    rows = (lab * [1, 2.25, 2.25] + 2.25 * np.array([0, 0.24, 0.32])) * space.full
    bright, pale = space.to_pixels(rows).tolist()
    assert bright[1:] == [255, 0]
    assert pale[0] == 0
    assert space.describe() == "pixels with 3 channels, uint8, in oklab"
