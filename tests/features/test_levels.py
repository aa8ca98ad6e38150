"""Gray levels against scikit-learn's KBinsDiscretizer; packed codes against themselves."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from sklearn.preprocessing import KBinsDiscretizer

from dkmeans import KMeans
from dkmeans.features import levels
from dkmeans.features.levels import Bins


def faces():
    return np.rint(data.lfw_subset()[:100] * 255).astype(np.uint8).ravel()


def dark():
    """A third of the pixels is black, some values do not occur."""
    rng = np.random.default_rng(1)
    return np.where(rng.random(5001) < 0.34, 0, rng.integers(20, 200, 5001)).astype(np.uint8)


PIXELS = {"faces": faces(), "camera": data.camera()[::4, ::4].ravel(), "dark": dark()}


def discretize(pixels, n_bins, strategy):
    """Edges, and the bin of each pixel, by scikit-learn."""
    options = {"encode": "ordinal", "strategy": strategy, "subsample": None}
    if "quantile_method" in inspect.signature(KBinsDiscretizer).parameters:  # as of scikit-learn 1.7
        options["quantile_method"] = "inverted_cdf"
    rows = pixels[:, np.newaxis].astype(float)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Bins whose width are too small")
        theirs = KBinsDiscretizer(n_bins, **options).fit(rows)
    return theirs.bin_edges_[0], theirs.transform(rows)[:, 0].astype(int)


def counted(pixels):
    return np.bincount(pixels, minlength=256)


@pytest.mark.parametrize("name", PIXELS)
@pytest.mark.parametrize("n_bins", [2, 5, 8, 16])
@pytest.mark.parametrize(
    ("strategy", "make"), [("uniform", levels.uniform_bins), ("quantile", levels.quantile_bins)]
)
def test_edges_and_bins_are_those_of_scikit_learn(name, n_bins, strategy, make):
    pixels = PIXELS[name]
    bins = make(counted(pixels), n_bins)
    edges, labels = discretize(pixels, n_bins, strategy)
    np.testing.assert_array_equal(bins.edges, edges)
    np.testing.assert_array_equal(bins.labels[pixels], labels)


def test_many_pixels_of_one_value_leave_fewer_quantile_bins():
    bins = levels.quantile_bins(counted(PIXELS["dark"]), 8)
    assert bins.n_bins == 6  # the first three edges are 0


@pytest.mark.parametrize("name", PIXELS)
def test_bins_of_centers_are_those_of_scikit_learn(name):
    """Its k-means begins with the middles of uniform bins; so does ours here, with the same tolerance."""
    pixels, n_bins = PIXELS[name], 8
    edges, labels = discretize(pixels, n_bins, "kmeans")
    uniform = levels.uniform_bins(counted(pixels), n_bins).edges
    first = ((uniform[1:] + uniform[:-1]) / 2)[:, np.newaxis]
    plain = {"max_iter": 300, "tol": 1e-4, "relaxation": 1, "min_gain": 0}  # as its steps are
    fitted = KMeans(n_bins, init=first, **plain).fit(pixels[:, np.newaxis])
    bins = levels.center_bins(counted(pixels), fitted.cluster_centers_[:, 0].astype(np.float32))
    np.testing.assert_allclose(bins.edges, edges, atol=1e-3)
    np.testing.assert_array_equal(bins.labels[pixels], labels)


def test_bins_of_centers_by_hand():
    counts = np.zeros(256, np.int64)
    counts[[10, 30, 40, 41, 250]] = 1
    bins = levels.center_bins(counts, np.array([200, 20, 60], np.float32))
    assert bins.edges.tolist() == [10, 40, 130, 250]
    assert bins.labels[[0, 39, 40, 41, 129, 130, 131, 255]].tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("name", PIXELS)
def test_means_and_error_are_those_of_the_pixels(name):
    pixels = PIXELS[name]
    bins = levels.uniform_bins(counted(pixels), 7)
    means = levels.bin_means(counted(pixels), bins)
    labels = bins.labels[pixels]
    for number in range(7):
        if (labels == number).any():
            assert means[number] == pytest.approx(pixels[labels == number].mean())
        else:
            assert means[number] == (bins.edges[number] + bins.edges[number + 1]) / 2
    shown = np.rint(means).astype(np.uint8)
    error = ((pixels.astype(int) - shown[labels]) ** 2).mean()
    assert levels.squared_error(counted(pixels), bins, shown) == pytest.approx(error)


def test_an_empty_bin_is_its_middle():
    counts = np.zeros(256, np.int64)
    counts[[0, 1, 100]] = 5
    bins = levels.uniform_bins(counts, 4)
    assert levels.bin_means(counts, bins).tolist() == [0.5, 37.5, 62.5, 100]
    assert isinstance(bins, Bins)


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 8))
def test_packed_codes_come_back_in_as_many_bits(data, bits):
    codes = np.array(data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=70)), np.uint8)
    packed = levels.pack_codes(codes, bits)
    np.testing.assert_array_equal(levels.unpack_codes(packed, len(codes)), codes)
    assert packed.dtype == np.uint8
    assert packed.nbytes == bits * -(-len(codes) // 8)


@pytest.mark.parametrize(("n_codes", "bits"), [(1, 1), (2, 1), (3, 2), (8, 3), (9, 4), (256, 8)])
def test_bits_of_codes(n_codes, bits):
    assert levels.code_bits(n_codes) == bits
