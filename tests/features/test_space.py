"""The feature space: by hand, and there and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans.features import tiles
from dkmeans.features.space import FeatureSpace

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
    st.sampled_from([1, 3, 4]),
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


@pytest.mark.parametrize("space", [FeatureSpace(U8, 4), FeatureSpace(U16, 1, (5, 3))])
def test_json_keeps_it(space):
    assert FeatureSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
