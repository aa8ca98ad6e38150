"""The palette of one image: exact, like a fit of its pixels, and good."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data
from sklearn.cluster import KMeans

from dkmeans import kernels
from dkmeans.clustering import palette
from dkmeans.clustering.loop import State, iterate
from dkmeans.clustering.starts import choose_start
from dkmeans.features.histogram import Histogram
from dkmeans.kernels import reference

OPTIONS = {"seed": 0, "max_iter": 100, "tol": 1e-4}


@pytest.fixture(scope="module")
def pixels():
    return data.chelsea()[::2, ::2].reshape(-1, 3)


@pytest.mark.parametrize("k", [2, 9, 64])
def test_from_its_start_it_is_the_fit_of_all_pixels(pixels, k):
    """The same loop as that of fit: the same bits, with every pixel as a row of its own."""
    histogram = Histogram.of(pixels)
    found = palette.learn_palette(histogram, k, **OPTIONS)
    start = choose_start(histogram.colors, histogram.counts, k, OPTIONS["seed"])
    fit = iterate(kernels.load(pixels), State(start), max_iter=100, tol=1e-4)
    np.testing.assert_array_equal(found.centers, fit.centers)
    assert (found.inertia, found.n_iter, found.converged) == (fit.inertia, len(fit.history), fit.converged)


def test_labels_are_the_nearest_centers(pixels):
    histogram = Histogram.of(pixels)
    found = palette.learn_palette(histogram, 12, **OPTIONS)
    np.testing.assert_array_equal(found.labels, reference.assign(histogram.colors, found.centers))
    gaps = pixels - found.centers[histogram.look_up(pixels, found.labels)].astype(float)
    assert found.inertia == pytest.approx((gaps**2).sum())


@pytest.mark.parametrize("k", [4, 16])
def test_it_is_as_good_as_many_starts_of_scikit_learn(pixels, k):
    pixels = pixels[::4]
    found = palette.learn_palette(Histogram.of(pixels), k, **OPTIONS)
    theirs = KMeans(k, n_init=10, random_state=0).fit(pixels.astype(float))
    assert found.inertia <= 1.012 * theirs.inertia_  # 0.05 dB


def test_as_many_colors_as_there_are_lose_nothing():
    pixels = np.array([[3, 1, 2], [9, 9, 9], [3, 1, 2]], np.uint8)
    for k in (2, 3, 256):
        found = palette.learn_palette(Histogram.of(pixels), k, **OPTIONS)
        assert found.centers.tolist() == [[3, 1, 2], [9, 9, 9]]
        assert (found.inertia, found.labels.tolist()) == (0, [0, 1])


def test_another_seed_is_another_start(pixels):
    histogram = Histogram.of(pixels)
    one, same, other = (
        palette.learn_palette(histogram, 30, seed=seed, max_iter=3, tol=0).centers for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
