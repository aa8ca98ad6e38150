"""Dithering against plain Python: error diffusion and mixtures, the nearest color by trying all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from dkmeans.kernels.blue_noise import SIDE, blue_noise
from dkmeans.kernels.dither import diffuse, ordered

TOP = 255 * 255


# The oracle


def seen(color):
    """A color premultiplied, with its alpha; opaque without one."""
    *visible, alpha = color if len(color) in (2, 4) else [*color, 255]
    return [value * alpha for value in visible] + [255 * alpha]


def square(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def widest_gap(colors):
    """The longest edge of the minimum spanning tree, by Kruskal: the shortest edges join the groups."""
    groups = list(range(len(colors)))
    n = len(colors)
    widest = 0
    for length, one, other in sorted(
        (square(colors[i], colors[j]), i, j) for i in range(n) for j in range(i)
    ):
        if groups[one] != groups[other]:
            old, widest = groups[other], length
            groups = [groups[one] if group == old else group for group in groups]
    return math.isqrt(widest)


class Oracle:
    """What the kernels find, by trying all colors for each pixel."""

    def __init__(self, palette):
        self.colors = [seen(color) for color in palette.tolist()]
        opaque = [code for code, color in enumerate(self.colors) if color[-1] == TOP]
        self.all = range(len(self.colors))
        self.opaque = opaque or self.all
        self.clear = self.nearest([0] * len(self.colors[0]), self.all)
        self.gaps = {id(m): widest_gap([self.colors[code] for code in m]) for m in (self.all, self.opaque)}

    def nearest(self, color, members):
        return min(members, key=lambda code: (square(color, self.colors[code]), code))

    def step(self, color, error, members):
        """The code of a color with an error, and the error that this leaves."""
        wanted = [a + b for a, b in zip(color, error, strict=True)]
        alpha = min(max(wanted[-1], 0), TOP)
        code = self.nearest([min(max(value, 0), alpha) for value in wanted], members)
        left = [a - b for a, b in zip(wanted, self.colors[code], strict=True)]
        limit, length = self.gaps[id(members)] // 2, math.isqrt(square(left, [0] * len(left)))
        if square(left, [0] * len(left)) > limit**2:
            left = [value * limit // length for value in left]
        return code, left

    def diffuse(self, image, strength):
        height, width = image.shape[:2]
        pixels = {(y, x): seen(image[y, x].tolist()) for y in range(height) for x in range(width)}
        errors = {place: [0] * len(self.colors[0]) for place in pixels}
        codes = np.zeros((height, width), int)
        for y in range(height):
            step = -1 if y % 2 else 1
            for x in range(width)[::step]:
                color = pixels[y, x]
                if color[-1] == 0:
                    codes[y, x] = self.clear
                    continue
                members = self.opaque if color[-1] == TOP else self.all
                got = [(error + 2048) // 4096 for error in errors[y, x]]
                codes[y, x], left = self.step(color, got, members)
                for dy, dx, share in ((0, step, 7), (1, -step, 3), (1, 0, 5), (1, step, 1)):
                    place = y + dy, x + dx
                    if place in pixels and (color[-1] == TOP or pixels[place][-1] < TOP):
                        share *= round(256 * strength)
                        errors[place] = [a + share * b for a, b in zip(errors[place], left, strict=True)]
        return codes

    def mixture(self, color, strength, levels):
        members, error, found = self.opaque if color[-1] == TOP else self.all, [0] * len(color), []
        for _ in range(levels):
            code, left = self.step(color, error, members)
            error = [value * round(256 * strength) // 256 for value in left]
            found.append(code)
        return found


def draw(seed, channels, n_colors, shape=(7, 9)):
    """An image of colors of a palette and of others, with all kinds of alpha, and the palette."""
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (n_colors, channels), dtype=np.uint8)
    image = rng.integers(0, 256, (*shape, channels), dtype=np.uint8)
    if seed % 2:  # smooth, as photos are
        image = np.sort(np.sort(image, axis=0), axis=1)
    image[::3, ::2] = palette[rng.integers(0, n_colors, image[::3, ::2].shape[:2])]
    for values in (palette, image):
        if channels % 2 == 0:
            alpha = values[..., -1]
            alpha[rng.random(alpha.shape) < 0.3] = 255
            alpha[rng.random(alpha.shape) < 0.2] = 0
        values[rng.random(values.shape) < 0.05] = 255
    return image, palette


cases = given(
    st.integers(0, 1 << 32),
    st.sampled_from([1, 2, 3, 4]),
    st.sampled_from([1, 2, 3, 8, 40]),
    st.sampled_from([0, 0.3, 0.75, 1]),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@cases
def test_diffusion_is_that_of_plain_python(seed, channels, n_colors, strength):
    image, palette = draw(seed, channels, n_colors)
    codes = diffuse(image, palette, strength)
    assert (codes.shape, codes.dtype) == (image.shape[:2], np.uint8)
    np.testing.assert_array_equal(codes, Oracle(palette).diffuse(image, strength))


@settings(max_examples=60, deadline=None, derandomize=True)
@cases
def test_a_mixture_is_that_of_plain_python(seed, channels, n_colors, strength):
    """Of an image of one color, in which the mask gives all levels their turn."""
    image, palette = draw(seed, channels, n_colors, (1, 1))
    oracle, color = Oracle(palette), seen(image[0, 0].tolist())
    levels = {1: 64, 2: 32, 3: 32, 8: 32, 40: 16}[n_colors]
    expected = oracle.mixture(color, strength, levels) if color[-1] else [oracle.clear] * levels
    codes = ordered(np.broadcast_to(image, (SIDE, SIDE, channels)), palette, strength)
    counts = np.bincount(codes.ravel(), minlength=n_colors)
    np.testing.assert_array_equal(counts, np.bincount(expected, minlength=n_colors) * (SIDE**2 // levels))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 1 << 32), st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 5, 256]))
def test_without_strength_every_pixel_takes_the_nearest_color(seed, channels, n_colors):
    image, palette = draw(seed, channels, n_colors)
    oracle = Oracle(palette)
    found = diffuse(image, palette, 0), ordered(image, palette, 0)
    for y, x in np.ndindex(image.shape[:2]):
        color = seen(image[y, x].tolist())
        expected = oracle.nearest(color, oracle.opaque if color[-1] == TOP else oracle.all)
        assert [codes[y, x] for codes in found] == [expected] * 2


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 1 << 32), st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 6, 256]))
def test_an_image_of_colors_of_the_palette_loses_nothing(seed, channels, n_colors):
    _, palette = draw(seed, channels, n_colors)
    image = palette[np.random.default_rng(seed).integers(0, n_colors, (20, 30))]
    for dither in (diffuse, ordered):
        found = palette[dither(image, palette)]
        if channels % 2 == 0:  # but what nobody sees
            np.testing.assert_array_equal(found[..., -1], image[..., -1])
            found, image = (np.where(pixels[..., -1:], pixels, 0) for pixels in (found, image))
        np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("dither", [diffuse, ordered])
@pytest.mark.parametrize("levels", [[0, 255], [0, 85, 170, 255], [10, 12, 240]])
def test_the_mean_of_a_ramp_stays(dither, levels):
    """Also where gaps differ: no error that colors can make up for is cut short."""
    ramp = np.repeat(np.linspace(levels[0], levels[-1], 512).astype(np.uint8)[None], 128, axis=0)
    palette = np.array(levels, np.uint8)[:, None]
    found = palette[dither(ramp[..., None], palette)][..., 0]
    means = [uniform_filter(pixels.astype(float), 32)[16:-16, 16:-16] for pixels in (found, ramp)]
    assert np.abs(means[0] - means[1]).max() < 0.02 * max(np.diff(levels))


def test_errors_outside_of_the_palette_do_not_pile_up():
    """A bright area that no color reaches leaves no trail in the dark one behind it, but for a few pixels."""
    image = np.full((40, 60, 1), 100, np.uint8)
    image[:20] = 255
    codes = diffuse(image, np.array([[90], [110], [130]], np.uint8))
    assert (codes[:20] == 2).all()
    assert not (codes[22:] == 2).any()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_ordered_dithering_is_the_same_for_any_cut(channels, seed):
    image, palette = draw(seed, channels, 16, (150, 170))
    whole = ordered(image, palette)
    for top, left, bottom, right in ((0, 0, 70, 170), (70, 3, 150, 88), (149, 169, 150, 170)):
        part = ordered(image[top:bottom, left:right], palette, row=top, column=left)
        np.testing.assert_array_equal(part, whole[top:bottom, left:right])


@pytest.mark.parametrize("dither", [diffuse, ordered])
def test_transparency_stays(dither):
    """Opaque pixels take opaque colors, clear ones the clear color and no hidden one; others come between."""
    image, palette = draw(3, 4, 40, (60, 60))
    palette[:3] = [[200, 0, 200, 0], [0, 0, 0, 0], [9, 9, 9, 255]]
    image[:20, :, 3], image[20:40, :, 3] = 0, 255
    codes = dither(image, palette)
    assert (codes[:20] == 0).all()  # of equals the first
    assert (palette[codes[20:40], 3] == 255).all()
    other = image.copy()
    other[:20, :, :3] = 255 - other[:20, :, :3]  # hidden
    np.testing.assert_array_equal(dither(other, palette), codes)


@pytest.mark.parametrize("dither", [diffuse, ordered])
def test_any_layout_of_the_pixels(dither):
    image, palette = draw(5, 3, 7, (12, 14))
    expected = dither(image, palette)
    fixed = image.copy()
    fixed.setflags(write=False)
    for view in (np.asfortranarray(image), image[::-1][::-1], fixed, np.repeat(image, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(dither(view, palette), expected)


IMAGE, PALETTE = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint8)


@pytest.mark.parametrize("dither", [diffuse, ordered])
@pytest.mark.parametrize(
    ("image", "palette", "strength", "message"),
    [
        (IMAGE[0], PALETTE, 1, "image uint8"),
        (np.zeros((2, 3, 5), np.uint8), PALETTE, 1, "image uint8"),
        (IMAGE.astype(np.uint16), PALETTE, 1, "image uint16"),
        (IMAGE, PALETTE[:, :2], 1, r"palette uint8 .2, 2.; expected uint8 .n_colors, 3."),
        (IMAGE, PALETTE.astype(float), 1, "palette float64"),
        (IMAGE, PALETTE[:0], 1, "0 colors"),
        (IMAGE, np.zeros((257, 3), np.uint8), 1, "257 colors"),
        (IMAGE, PALETTE, 1.1, "strength 1.1; expected 0 to 1"),
        (IMAGE, PALETTE, math.nan, "strength nan"),
    ],
)
def test_contract(dither, image, palette, strength, message):
    with pytest.raises(ValueError, match=message):
        dither(image, palette, strength)


# The mask


def test_the_mask_has_each_threshold_once():
    assert sorted(blue_noise().ravel()) == list(range(SIDE**2))


@pytest.mark.parametrize("n_points", [200, 1000, 2048, 3500])
def test_the_noise_is_blue(n_points):
    """Points have little energy at low frequencies, of white noise 1 at each: no clumps that the eye sees."""
    points = (blue_noise() < n_points).astype(float)
    energy = np.abs(np.fft.fft2(points - points.mean())) ** 2 / (points.size * points.var())
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    rare = min(n_points, SIDE**2 - n_points) / SIDE**2
    low = 0.5 * math.sqrt(min(rare, 0.25))  # half of the frequency of as many points in a grid, or a quarter
    assert energy[(frequency > 0) & (frequency < low)].mean() < 0.15
