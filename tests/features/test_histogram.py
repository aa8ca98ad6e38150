"""Histograms of colors, counted and sorted, against np.unique."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans.features import histogram
from dkmeans.features.histogram import COUNTED, Histogram, countable, is_worth_counting

U8 = np.dtype(np.uint8)


@pytest.fixture(params=[1, COUNTED], ids=["counted", "sorted"])
def way(request, monkeypatch):
    """From how many pixels gray and RGB are counted in a table; fewer are sorted."""
    monkeypatch.setattr(histogram, "COUNTED", request.param)
    return request.param


def assert_is(found, colors, counts):
    np.testing.assert_array_equal(found.colors, colors)
    np.testing.assert_array_equal(found.counts, counts)
    assert (found.colors.dtype, found.counts.dtype) == (np.uint8, np.int64)
    assert found.colors.flags.c_contiguous


def test_gray_and_rgb_of_8_bits_can_be_counted():
    assert countable(U8, 1)
    assert countable(U8, 3)
    for n_features in (2, 4, 25, 75):
        assert not countable(U8, n_features)
    assert not countable(np.dtype(np.uint16), 1)
    assert not countable(np.dtype(np.uint16), 3)


def test_few_rows_are_not_worth_counting():
    assert is_worth_counting(U8, 3, COUNTED)
    assert not is_worth_counting(U8, 3, COUNTED - 1)
    assert not is_worth_counting(U8, 4, COUNTED)


def test_four_pixels_by_hand(way):
    pixels = np.array([[2, 0, 1], [0, 255, 9], [2, 0, 1], [0, 255, 8]], np.uint8)
    found = Histogram.of(pixels)
    assert_is(found, [[0, 255, 8], [0, 255, 9], [2, 0, 1]], [1, 1, 2])
    assert found.look_up(pixels, np.array([10, 11, 12], np.uint8)).tolist() == [12, 11, 12, 10]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 1 << 32),
    st.sampled_from([1, 3, 4]),
    st.sampled_from([1, 2, 5, 500]),
    st.integers(1, 4),
    st.sampled_from([1, COUNTED]),
)
def test_parts_together_are_numpys(seed, channels, n_colors, n_parts, counted):
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (n_colors, channels)).astype(np.uint8)
    palette[-1] = 255
    pixels = palette[rng.integers(n_colors, size=1000)]
    colors, inverse, counts = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    cuts = np.sort(rng.integers(0, len(pixels) + 1, n_parts - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histogram, "COUNTED", counted)
        parts = [Histogram.of(part) for part in np.split(pixels, cuts)]  # some may have no pixels
    found = Histogram.merge(parts)
    assert_is(found, colors, counts)
    labels = rng.integers(0, 1 << 20, len(colors)).astype(np.int32)
    looked_up = found.look_up(pixels, labels)
    np.testing.assert_array_equal(looked_up, labels[inverse.ravel()])
    assert looked_up.dtype == np.int32


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_counts_beyond_float64_are_added(channels):
    colors = np.full((1, channels), 7, np.uint8)
    part = Histogram(colors, np.array([(1 << 53) + 1]))
    assert_is(Histogram.merge([part, part, part]), colors, [3 * ((1 << 53) + 1)])
