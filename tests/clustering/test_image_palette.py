"""The palette of one image: exact, like a fit of its pixels, and good."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data
from sklearn.cluster import KMeans

from dkmeans.clustering import palette
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.parts import array_rows
from dkmeans.clustering.state import State
from dkmeans.compute.in_process import InProcess
from dkmeans.kernels import exact, reference

U8 = np.dtype(np.uint8)
OPTIONS = {"seed": 0, "max_iter": 100, "tol": 1e-4}


@pytest.fixture(scope="module")
def pixels():
    return data.chelsea()[::2, ::2].reshape(-1, 3)


@pytest.mark.parametrize("counted", [1, 1 << 40])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_colors_are_numpys(channels, counted, monkeypatch):
    monkeypatch.setattr(palette, "COUNTED", counted)
    pixels = np.random.default_rng(0).integers(0, 7, (5000, channels)).astype(np.uint8)
    pixels[:, -1] *= 36
    found = palette.count(pixels)
    values, inverse, times = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.times, times)
    labels = np.arange(len(values), dtype=np.int32) * 2
    np.testing.assert_array_equal(found.spread(labels, pixels), 2 * inverse.ravel())
    assert (found.inverse is None) == (counted == 1 and channels != 4)


@pytest.mark.parametrize("k", [2, 9, 64])
def test_from_its_start_it_is_the_fit_of_all_pixels(pixels, k, monkeypatch):
    """The same loop as that of fit: the same bits, with every pixel as a row of its own."""
    starts = []
    best = palette._best_start
    monkeypatch.setattr(palette, "_best_start", lambda *a: starts.append(best(*a)) or starts[0])
    found = palette.learn_palette(palette.count(pixels), k, **OPTIONS)
    rows = array_rows(pixels, None, InProcess(device="cpu"))
    fit = lloyd(rows, State(starts[0]), max_iter=100, tol=1e-4, on_iteration=lambda _: None)
    np.testing.assert_array_equal(found.centers, fit.centers)
    assert (found.inertia, found.n_iter, found.converged) == (fit.inertia, len(fit.history), fit.converged)


def test_labels_are_the_nearest_centers(pixels):
    colors = palette.count(pixels)
    found = palette.learn_palette(colors, 12, **OPTIONS)
    np.testing.assert_array_equal(found.labels, reference.assign(colors.values, found.centers))
    gaps = pixels - found.centers[colors.spread(found.labels, pixels)].astype(float)
    assert found.inertia == pytest.approx((gaps**2).sum())


def test_an_empty_cluster_moves_to_the_farthest_color(monkeypatch):
    """Two centers in one place: the second is empty, and moves as in a fit."""
    pixels = np.array([[0, 0, 0]] * 5 + [[10, 0, 0]] * 4 + [[255, 255, 255]], np.uint8)
    start = exact.snap(np.array([[5, 0, 0], [5, 0, 0]]), U8)
    monkeypatch.setattr(palette, "_best_start", lambda *_: start)
    found = palette.learn_palette(palette.count(pixels), 2, seed=0, max_iter=20, tol=0)
    rows = array_rows(pixels, None, InProcess(device="cpu"))
    fit = lloyd(rows, State(start), max_iter=20, tol=0, on_iteration=lambda _: None)
    np.testing.assert_array_equal(found.centers, fit.centers)
    assert found.centers[1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("k", [4, 16])
def test_it_is_as_good_as_many_starts_of_scikit_learn(pixels, k):
    pixels = pixels[::4]
    found = palette.learn_palette(palette.count(pixels), k, **OPTIONS)
    theirs = KMeans(k, n_init=10, random_state=0).fit(pixels.astype(float))
    assert found.inertia <= 1.012 * theirs.inertia_  # 0.05 dB


def test_as_many_colors_as_there_are_lose_nothing():
    pixels = np.array([[3, 1, 2], [9, 9, 9], [3, 1, 2]], np.uint8)
    for k in (2, 3, 256):
        found = palette.learn_palette(palette.count(pixels), k, **OPTIONS)
        assert found.centers.tolist() == [[3, 1, 2], [9, 9, 9]]
        assert (found.inertia, found.labels.tolist()) == (0, [0, 1])


@pytest.mark.parametrize("least", [1, 5, 60, 10_000])
def test_cells_hold_all_pixels(pixels, least):
    colors = palette.count(pixels)
    values, times = palette._coarse(colors, least)
    assert times.sum() == len(pixels)
    assert len(values) >= min(least, len(colors.values))
    total = (values.astype(float) * times[:, None]).sum(axis=0)
    np.testing.assert_allclose(total / len(pixels), pixels.mean(axis=0), atol=0.5)


def test_another_seed_is_another_start(pixels):
    colors = palette.count(pixels)
    one, same, other = (
        palette.learn_palette(colors, 30, seed=seed, max_iter=3, tol=0).centers for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
