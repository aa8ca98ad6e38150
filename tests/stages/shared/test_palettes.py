"""The palettes of images: learned, or given, computed by hand and by an oracle that compares all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from dkmeans.stages.shared.canvas import Canvas
from dkmeans.stages.shared.palettes import Given, Mapped, PerImage

GRAYS = np.array([[[10], [20], [20]], [[20], [200], [210]]], np.uint8)
"""One image of 2 x 3 pixels and four grays."""
LEARNING = {"seed": 0, "max_iter": 100, "tol": 0}


def colors(*codes):
    return np.array([list(bytes.fromhex(code)) for code in codes], np.uint8)


def premultiplied(pixels):
    """Red, green, blue and 255, each times alpha: exact integers."""
    values = pixels.astype(np.int64)
    alpha = values[..., 3:] if values.shape[-1] == 4 else np.full_like(values[..., :1], 255)
    return np.concatenate([values[..., :3] * alpha, 255 * alpha], axis=-1)


def nearest(image, palette):
    """Each pixel replaced by the nearest color, the first of equally near ones."""
    gaps = premultiplied(image)[..., np.newaxis, :] - premultiplied(palette)
    return palette[(gaps**2).sum(axis=-1).argmin(axis=-1)]


def test_a_palette_of_its_own():
    painted = PerImage(2, **LEARNING).paint(Canvas.of(GRAYS))
    assert sorted(painted.learned.centers.ravel()) == [17.5, 205]  # of 10, 3 x 20 and of 200, 210
    assert painted.learned.inertia == 7.5**2 + 3 * 2.5**2 + 2 * 5**2
    assert painted.learned.converged
    np.testing.assert_array_equal(painted.pixels[..., 0], [[18, 18, 18], [18, 205, 205]])


def test_a_palette_of_all_images():
    painted = Given(np.array([[0], [22.5], [255]], np.float32)).paint(Canvas.of(GRAYS))
    learned = painted.learned
    assert learned.labels.tolist() == [0, 1, 2, 2]  # of 10, 20, 200, 210; 10 is nearer to 0 than to 22.5
    assert learned.inertia == 10**2 + 3 * 2.5**2 + 55**2 + 45**2
    assert (learned.n_iter, learned.converged) == (0, True)


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("codes", [["ff0000", "ffffff"], ["123456"]])
def test_colors_that_are_kept(k, codes):
    keep = colors(*codes)
    image = np.random.default_rng(0).integers(40, 200, (20, 20, 3), np.uint8)
    image[: len(keep), 0] = keep
    image[5, :3] = keep[0].astype(int) + np.where(keep[0] > 127, -1, 1)  # nearest to it, whatever is learned
    painted = PerImage(k, **LEARNING, keep=keep).paint(Canvas.of(image))
    assert len(painted.palette) <= k
    np.testing.assert_array_equal(painted.pixels[: len(keep), 0], keep)
    np.testing.assert_array_equal(painted.pixels[5, :3], [keep[0]] * 3)
    assert {tuple(color) for color in keep.tolist()} <= {tuple(color) for color in painted.palette.tolist()}


def test_colors_that_are_kept_make_a_gray_image_colored():
    painted = PerImage(3, **LEARNING, keep=colors("ff0000")).paint(Canvas.of(GRAYS))
    assert painted.palette.shape == (2, 3)  # as no pixel is next to red
    np.testing.assert_array_equal(painted.canvas.image, np.repeat(GRAYS, 3, axis=2))
    gray = PerImage(3, **LEARNING, keep=colors("ffffff")).paint(Canvas.of(GRAYS))
    assert gray.palette.shape[1] == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_colors", [1, 2, 7, 256])
def test_pixels_take_the_nearest_of_given_colors(channels, n_colors):
    rng = np.random.default_rng(n_colors)
    image = rng.integers(0, 256, (30, 40, channels), np.uint8)
    palette = np.unique(rng.integers(0, 256, (n_colors, 3), np.uint8), axis=0)
    painted = Mapped(palette).paint(Canvas.of(image))
    expected = nearest(np.broadcast_to(image, (30, 40, 3)), palette)
    np.testing.assert_array_equal(painted.pixels, expected)
    gaps = image.astype(int) - expected
    assert painted.learned.inertia == (gaps**2).sum()


def test_of_equally_near_colors_the_first_is_taken():
    image = np.full((1, 1, 3), 10, np.uint8)
    for order in ([9, 11], [11, 9]):
        palette = np.array([[gray] * 3 for gray in order], np.uint8)
        assert Mapped(palette).paint(Canvas.of(image)).pixels.ravel().tolist() == [order[0]] * 3


def test_gray_colors_leave_a_gray_image_gray():
    painted = Mapped(colors("000000", "c8c8c8")).paint(Canvas.of(GRAYS))
    assert painted.pixels[..., 0].tolist() == [[0, 0, 0], [0, 200, 200]]
    assert painted.palette.shape == (2, 1)


def test_distances_of_colors_with_alpha():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (30, 40, 4), np.uint8)
    image[:5, :, 3], image[5:15, :, 3] = 0, 255
    palette = np.append(rng.integers(0, 256, (20, 4), np.uint8), [[0, 0, 0, 0]], axis=0).astype(np.uint8)
    palette[:7, 3] = 255
    painted = Mapped(palette).paint(Canvas.of(image))
    opaque = image[..., 3:] == 255
    expected = np.where(opaque, nearest(image, palette[:7]), nearest(image, palette))
    np.testing.assert_array_equal(painted.pixels, expected)


def test_clear_pixels_stay_clear_and_opaque_ones_opaque():
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0] = [90, 0, 90, 0]  # clear
    image[0, 1] = [0, 0, 0, 255]  # nearer to clear than to white
    image[1, 0] = [9, 9, 9, 1]  # nearly clear
    image[1, 1] = [250, 250, 250, 254]
    mapped = Mapped(colors("ffffff"))
    assert (mapped.lacks_clear, mapped.has_room) == (True, True)
    painted = mapped.paint(Canvas.of(image))
    white = [255, 255, 255, 255]
    assert painted.pixels.tolist() == [[[0, 0, 0, 0], white], [[0, 0, 0, 0], white]]
    np.testing.assert_array_equal(painted.canvas.image, image)


def test_what_hides_behind_clear_pixels_stays_if_it_is_one_color():
    image = np.zeros((2, 2, 4), np.uint8)
    image[0] = [90, 0, 90, 0]
    image[1] = [5, 6, 7, 255]
    painted = PerImage(2, **LEARNING).paint(Canvas.of(image))
    np.testing.assert_array_equal(painted.pixels, image)
    image[0, 1, 0] = 91
    painted = PerImage(2, **LEARNING).paint(Canvas.of(image))
    np.testing.assert_array_equal(painted.pixels, np.where(image[..., 3:] > 0, image, 0))


def test_no_room_for_a_clear_color():
    palette = np.array([[gray] * 3 for gray in range(256)], np.uint8)
    assert not Mapped(palette).has_room
    painted = Mapped(palette).paint(Canvas.of(np.zeros((2, 2, 4), np.uint8)))
    assert (painted.pixels == [0, 0, 0, 255]).all()


def test_colors_with_alpha_for_an_image_without():
    image = np.full((2, 2, 3), [200, 0, 0], np.uint8)
    painted = Mapped(colors("c8000080", "0000ffff", "d20000ff")).paint(Canvas.of(image))
    assert (painted.pixels == [210, 0, 0, 255]).all()
    assert (painted.canvas.image == [200, 0, 0, 255]).all()


@pytest.mark.parametrize(
    ("palettes", "channels"),
    [
        (PerImage(4, **LEARNING), {1: 1, 3: 3, 4: 4}),
        (PerImage(4, **LEARNING, keep=colors("808080")), {1: 1, 3: 3, 4: 4}),
        (PerImage(4, **LEARNING, keep=colors("ff0000ff")), {1: 3, 3: 3, 4: 4}),
        (Given(np.zeros((2, 3), np.float32)), {3: 3}),
        (Mapped(colors("808080", "ff0000")), {1: 3, 3: 3, 4: 4}),
        (Mapped(colors("808080ff", "80808000")), {1: 4, 3: 4, 4: 4}),
    ],
)
def test_channels_of_what_is_painted(palettes, channels):
    for before, after in channels.items():
        assert palettes.channels(before) == after
        image = np.random.default_rng(0).integers(0, 256, (4, 4, before), np.uint8)
        painted = palettes.paint(Canvas.of(image))
        assert painted.pixels.shape == painted.canvas.image.shape == (4, 4, after)
