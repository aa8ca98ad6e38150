"""The fewest colors that are good enough: the search by itself, and with palettes of small images."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from dkmeans.images.measures import compare
from dkmeans.stages.shared.canvas import Canvas, Style
from dkmeans.stages.shared.palettes import PerImage
from dkmeans.stages.shared.searching import Reaching, Within, first_number, reaches

LEARNING = PerImage(256, seed=0, max_iter=100, tol=1e-4)


@given(
    border=st.floats(0.5, 300),
    slope=st.floats(0.01, 100),
    guess=st.integers(1, 256),
    least=st.integers(1, 20),
    most=st.integers(20, 256),
)
def test_the_border_of_scores_that_rise_is_found(border, slope, guess, least, most):
    tried = []

    def score(number):
        tried.append(number)
        return slope * math.log2(number / border)

    found = first_number(score, least, most, guess)
    assert found == min(max(math.ceil(border), least), most + 1)
    assert len(tried) == len(set(tried)) <= 14
    assert all(least <= number <= most for number in tried)


@given(
    st.lists(st.sampled_from([-math.inf, -1.0, -0.0001, 0.0, 0.3, 5.0, math.inf]), min_size=1, max_size=256)
)
def test_of_scores_of_any_kind_a_border_is_found(scores):
    tried = {}

    def score(number):
        assert number not in tried
        tried[number] = scores[number - 1]
        return tried[number]

    found = first_number(score, 1, len(scores), 48)
    if found <= len(scores):
        assert tried[found] >= 0
    if found > 1:
        assert tried[found - 1] < 0
    assert len(tried) <= 14


def photo(name="astronaut"):
    return np.ascontiguousarray(getattr(data, name)()[100:180, 150:240])


def with_colors(canvas, k):
    """The image in `k` colors, as without a search."""
    return replace(LEARNING, n_clusters=k).paint(canvas)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
@pytest.mark.parametrize(
    "target", [{"min_psnr": 24}, {"min_psnr": 33.3}, {"min_ssim": 0.9}, {"min_ssim": 0.98}]
)
def test_the_target_is_reached_and_with_one_color_fewer_it_is_not(name, target):
    canvas = Canvas.of(photo(name))
    painted = Reaching(LEARNING, **target).paint(canvas)
    k = len(painted.learned.centers)
    (measure,) = (key.removeprefix("min_") for key in target)
    (least,) = target.values()
    assert getattr(compare(canvas.image, painted.pixels), measure) >= least
    np.testing.assert_array_equal(painted.pixels, with_colors(canvas, k).pixels)
    assert getattr(compare(canvas.image, with_colors(canvas, k - 1).pixels), measure) < least


def test_both_targets_are_reached():
    canvas = Canvas.of(photo())
    alone = [Reaching(LEARNING, 30, None).paint(canvas), Reaching(LEARNING, None, 0.97).paint(canvas)]
    together = Reaching(LEARNING, 30, 0.97).paint(canvas)
    assert len(together.learned.centers) == max(len(each.learned.centers) for each in alone)


def test_a_dithered_image_is_measured_as_it_is():
    canvas = Canvas.of(photo(), Style("floyd-steinberg"))
    painted = Reaching(LEARNING, 28).paint(canvas)
    assert painted.psnr() >= 28
    assert with_colors(canvas, len(painted.learned.centers) - 1).psnr() < 28


def test_what_no_palette_reaches():
    canvas = Canvas.of(photo())
    painted = Reaching(LEARNING, math.inf).paint(canvas)
    np.testing.assert_array_equal(painted.pixels, with_colors(canvas, 256).pixels)


@pytest.mark.parametrize("target", [{"min_psnr": math.inf}, {"min_ssim": 1.0}, {"min_psnr": 200}])
def test_nothing_is_lost_with_as_many_colors_as_there_are(target):
    image = np.random.default_rng(0).integers(0, 256, (5, 3), np.uint8)[np.arange(600).reshape(20, 30) % 5]
    painted = Reaching(LEARNING, **target).paint(Canvas.of(image))
    np.testing.assert_array_equal(painted.pixels, image)
    assert len(painted.palette) == 5


def test_an_image_too_small_for_ssim_loses_nothing():
    image = np.random.default_rng(0).integers(0, 256, (2, 9, 3), np.uint8)
    painted = Reaching(LEARNING, min_ssim=0.5).paint(Canvas.of(image))
    np.testing.assert_array_equal(painted.pixels, image)


@pytest.mark.parametrize(
    ("measured", "asked", "expected"),
    [
        ((30.0, None), (30.0, None), True),
        ((29.9, None), (30.0, None), False),
        ((None, None), (math.inf, 1.0), True),
        ((30.0, 0.5), (None, 0.5), True),
        ((30.0, 0.4), (30.0, 0.5), False),
        ((30.0, None), (None, 0.5), False),
    ],
)
def test_good_enough(measured, asked, expected):
    assert reaches(*measured, *asked) is expected


@pytest.mark.parametrize("max_bytes", [700, 1500, 3000, 4000])
def test_the_file_is_small_enough_and_with_one_color_more_it_is_not(max_bytes):
    canvas = Canvas.of(photo())
    painted = Within(LEARNING, max_bytes).paint(canvas)
    k = len(painted.learned.centers)
    assert len(painted.file) <= max_bytes < len(with_colors(canvas, k + 1).file)


def test_as_many_colors_as_may_be_where_the_file_is_small_anyway():
    canvas = Canvas.of(photo())
    painted = Within(replace(LEARNING, n_clusters=10), 10**6).paint(canvas)
    np.testing.assert_array_equal(painted.pixels, with_colors(canvas, 10).pixels)


def test_where_no_file_is_small_enough_the_smallest_is_taken():
    painted = Within(LEARNING, 10).paint(Canvas.of(photo()))
    assert len(painted.palette) == 1


@pytest.mark.parametrize("searching", [Reaching, Within])
def test_colors_that_are_kept_count(searching):
    keep = np.array([[255, 0, 0], [0, 0, 255], [1, 2, 3]], np.uint8)
    image = photo()
    image[0, :3] = keep
    painted = searching(replace(LEARNING, keep=keep), 3).paint(Canvas.of(image))
    np.testing.assert_array_equal(painted.pixels[0, :3], keep)
    assert len(painted.palette) <= 4
