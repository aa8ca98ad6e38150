"""Pictures of the report against arrays of which every pixel is known."""

import io

import numpy as np
import pytest
from PIL import Image

from dkmeans.report import figures


def decode(picture):
    with Image.open(io.BytesIO(picture.data)) as image:
        assert image.size == (picture.width, picture.height)
        return np.array(image)


def test_eight_bits_leaves_8_bit_values_alone():
    values = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    np.testing.assert_array_equal(figures.eight_bits(values, 255), values)


def test_eight_bits_scales_16_bit_colors_by_the_limit_and_alpha_by_its_own_range():
    pixel = np.array([[0, 2000, 4000, 65535]], np.uint16)
    assert figures.eight_bits(pixel, 4000).tolist() == [[0, 128, 255, 255]]


def test_eight_bits_clips_what_exceeds_the_limit():
    assert figures.eight_bits(np.array([[500]], np.uint16), 400).tolist() == [[255]]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_photo_keeps_a_small_image_as_it_is(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, channels), dtype=np.uint8)
    picture = figures.photo(pixels)
    assert picture.scale == 1
    np.testing.assert_array_equal(decode(picture).reshape(pixels.shape), pixels)


def test_photo_makes_a_wide_image_smaller_by_averaging():
    pixels = np.zeros((10, 1600, 1), np.uint8)
    pixels[:, ::2] = 200
    picture = figures.photo(pixels)
    assert (picture.width, picture.height, picture.scale) == (800, 5, 2)
    assert (decode(picture) == 100).all()


def test_gallery_puts_known_centers_where_they_belong():
    tiles = np.arange(1, 9, dtype=np.uint8).reshape(8, 1, 1, 1) * np.ones((1, 32, 32, 1), np.uint8)
    tiles[0, 0, 0] = 99
    pixels = decode(figures.gallery(tiles))
    # 8 squares at twice their size in 2 rows, with gaps of 2 transparent pixels.
    assert pixels.shape == (2 * 66 - 2, 4 * 66 - 2, 4)
    assert (pixels[:2, :2] == [99, 99, 99, 255]).all()
    pixels[:2, :2] = [1, 1, 1, 255]
    for number in range(1, 9):
        top, left = 66 * ((number - 1) // 4), 66 * ((number - 1) % 4)
        assert (pixels[top : top + 64, left : left + 64] == [number, number, number, 255]).all()
        pixels[top : top + 64, left : left + 64] = 0
    assert (pixels == 0).all()


@pytest.mark.parametrize("n_tiles", [1, 2, 7, 100, 400])
@pytest.mark.parametrize("size", [(1, 1), (5, 5), (2, 40), (40, 2), (3, 1500)])
def test_gallery_shows_every_tile_once(n_tiles, size):
    tiles = np.full((n_tiles, *size, 3), 7, np.uint8)
    pixels = decode(figures.gallery(tiles))
    covered, area = int((pixels[..., 3] == 255).sum()), n_tiles * size[0] * size[1]
    zoom = round((covered / area) ** 0.5)
    assert covered == area * zoom**2


def test_gallery_keeps_the_alpha_of_rgba():
    tiles = np.full((1, 2, 2, 4), 9, np.uint8)
    assert (decode(figures.gallery(tiles)) == 9).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_puts_tiles_in_rows_of_the_columns_asked_for(channels):
    tiles = np.random.default_rng(0).integers(0, 256, (7, 2, 3, channels), dtype=np.uint8)
    pixels = decode(figures.grid(tiles, columns=5, zoom=4))
    assert pixels.shape == (2 * 10 - 2, 5 * 14 - 2, 4)
    for number, tile in enumerate(tiles):
        top, left = 10 * (number // 5), 14 * (number % 5)
        shown = pixels[top : top + 8, left : left + 12]
        expected = np.kron(tile, np.ones((4, 4, 1), np.uint8))
        np.testing.assert_array_equal(shown[..., :3], np.broadcast_to(expected, (8, 12, 3)))
        assert (shown[..., 3] == 255).all()
        shown[...] = 0
    assert (pixels == 0).all()  # the gaps, and the end of the last row


def test_photo_fits_into_the_size_asked_for():
    picture = figures.photo(np.zeros((300, 200, 3), np.uint8), largest=(100, 90))
    assert (picture.width, picture.height) == (60, 90)


def test_share_strip_gives_each_color_its_share():
    colors = np.array([[10], [20], [30], [40]], np.uint8)
    pixels = decode(figures.share_strip(colors, np.array([50, 0, 25, 25]), width=100))
    values, counts = np.unique(pixels, return_counts=True)
    assert values.tolist() == [10, 30, 40]
    assert counts.tolist() == [50, 25, 25]
    assert (np.diff(pixels[0].astype(int)) >= 0).all()


def test_share_strips_lie_below_each_other():
    red, blue = np.array([[255, 0, 0]], np.uint8), np.array([[0, 0, 255]], np.uint8)
    both = np.concatenate([red, blue])
    picture = figures.share_strips([(red, np.array([7])), (both, np.array([1, 3]))])
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGBA"))
    assert pixels.shape == (2 * 24 + 2, 1080, 4)
    assert (pixels[:24, :, :3] == red).all()
    assert (pixels[24:26, :, 3] == 0).all()
    assert (pixels[26:, :270, :3] == red).all()
    assert (pixels[26:, 270:, :3] == blue).all()
