"""The palettes of images: learned, or given, each computed by hand."""

from __future__ import annotations

import numpy as np

from dkmeans.features.histogram import Histogram
from dkmeans.stages.shared.palettes import Given, PerImage

GRAYS = np.array([[[10], [20], [20]], [[20], [200], [210]]], np.uint8)
"""One image of 2 x 3 pixels and four grays."""


def test_a_palette_of_its_own():
    histogram = Histogram.of(GRAYS.reshape(-1, 1))
    learned = PerImage(2, seed=0, max_iter=100, tol=0).learn(histogram)
    assert sorted(learned.centers.ravel()) == [17.5, 205]  # of 10, 3 x 20 and of 200, 210
    assert learned.inertia == 7.5**2 + 3 * 2.5**2 + 2 * 5**2
    assert learned.converged


def test_a_palette_that_is_given():
    histogram = Histogram.of(GRAYS.reshape(-1, 1))
    learned = Given(np.array([[0], [22.5], [255]], np.float32)).learn(histogram)
    assert learned.labels.tolist() == [0, 1, 2, 2]  # of 10, 20, 200, 210; 10 is nearer to 0 than to 22.5
    assert learned.inertia == 10**2 + 3 * 2.5**2 + 55**2 + 45**2
    assert (learned.n_iter, learned.converged) == (0, True)
