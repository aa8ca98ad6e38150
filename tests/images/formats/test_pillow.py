"""GIF, AVIF, HEIC, JPEG 2000 and BMP: what a format allows, against drawn pixels and a second reader."""

import io
import itertools
import struct
import sys

import imagecodecs
import numpy as np
import pytest
import skimage.data
from PIL import Image

from dkmeans.errors import ImageError
from dkmeans.images.decode import decode, read_header

LIMIT = 10**6
PHOTO = np.ascontiguousarray(skimage.data.astronaut()[:40, :56])
COLORS = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30], [200, 210, 220]], np.uint8)
INDICES = np.arange(35).reshape(5, 7) % 4


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(data):
    return decode(data, "a", "auto", max_pixels=LIMIT)


def header(data):
    return read_header(data, "a", max_pixels=LIMIT)


def lzw(indices, size):
    """Codes of GIF that never grow: the table is cleared before it does."""
    clear, bits, codes = 1 << size, size + 1, []
    for place, index in enumerate(indices):
        codes += [clear] * (place % ((1 << size) - 2) == 0) + [index]
    codes.append(clear + 1)
    stream = "".join(f"{code:0{bits}b}"[::-1] for code in codes)
    body = bytes(int(stream[at : at + 8][::-1], 2) for at in range(0, len(stream), 8))
    blocks = b"".join(
        bytes([len(body[at : at + 255])]) + body[at : at + 255] for at in range(0, len(body), 255)
    )
    return bytes([size]) + blocks + b"\0"


def frame(indices, *, left=0, top=0, clear=None):
    height, width = indices.shape
    control = b"" if clear is None else b"\x21\xf9\x04\1\0\0" + bytes([clear]) + b"\0"
    return (
        control + b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0) + lzw(indices.reshape(-1), 2)
    )


def gif(*frames, height=5, width=7):
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0b10000001, 0, 0)
        + COLORS.tobytes()
        + b"".join(frames)
        + b";"
    )


def test_gif():
    np.testing.assert_array_equal(read(gif(frame(INDICES))), COLORS[INDICES])
    assert (header(gif(frame(INDICES))).channels, header(gif(frame(INDICES))).note) == (3, "")


def test_gif_with_a_clear_color():
    alpha = np.where(INDICES == 2, 0, 255)
    np.testing.assert_array_equal(read(gif(frame(INDICES, clear=2))), np.dstack([COLORS[INDICES], alpha]))
    assert header(gif(frame(INDICES, clear=2))).channels == 4


def test_gif_shows_its_first_frame_where_it_lies_on_the_canvas():
    data = gif(frame(INDICES[:2, :3], left=2, top=1, clear=3), frame(INDICES))
    found = read(data)
    assert found.shape == (5, 7, 4)
    part = found[1:3, 2:5]
    np.testing.assert_array_equal(part[..., :3], COLORS[INDICES[:2, :3]])
    np.testing.assert_array_equal(part[..., 3], np.where(INDICES[:2, :3] == 3, 0, 255))
    around = found[..., 3].copy()
    around[1:3, 2:5] = 0
    assert not around.any()
    assert header(data).note == "animation of 2 frames, first one used"


@pytest.mark.parametrize("channels", [3, 4])
def test_avif_is_what_another_decoder_makes_of_it(channels):
    image = Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]])[..., :channels])
    data = saved(image, "AVIF", quality=90)
    np.testing.assert_array_equal(read(data), imagecodecs.avif_decode(data))
    assert header(data).channels == channels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(PHOTO), "AVIF", exif=exif, quality=90)
    found = read(data)
    assert found.shape == (header(data).height, header(data).width, 3)
    turned = PHOTO.transpose(1, 0, 2) if orientation >= 5 else PHOTO
    turned = turned[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]
    assert np.abs(found.astype(int) - turned).mean() < 8


def test_avif_animations_and_more_bits_are_said():
    first, second = Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)
    assert header(saved(first, "AVIF", save_all=True, append_images=[second])).note.startswith(
        "animation of 2"
    )
    data = imagecodecs.avif_encode(PHOTO.astype(np.uint16) * 4, bitspersample=10, level=95)
    assert header(data).note == "10 bits reduced to 8"
    assert np.abs(read(data).astype(int) - PHOTO).mean() < 8


def test_heic_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    with pytest.raises(ImageError, match=r"pip install 'dkmeans\[heif\]'"):
        read(data)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_heic_is_what_its_package_makes_of_it(channels):
    heif = pytest.importorskip("pillow_heif")
    pixels = np.dstack([PHOTO, PHOTO[..., 0]])[..., :channels]
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    file = io.BytesIO()
    heif.from_pillow(image).save(file, quality=90)
    found = read(file.getvalue())
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).mean() < 6


def test_heic_of_several_pictures():
    heif = pytest.importorskip("pillow_heif")
    several = heif.from_pillow(Image.fromarray(PHOTO))
    several.add_from_pillow(Image.fromarray(255 - PHOTO))
    file = io.BytesIO()
    several.save(file, quality=90, save_all=True, primary_index=1)
    assert header(file.getvalue()).note == "2 pictures in one file, the main one used"
    assert np.abs(read(file.getvalue()).astype(int) - (255 - PHOTO)).mean() < 6


# The writer knows no gray and alpha of more than 8 bits.
@pytest.mark.parametrize(("channels", "bits"), [(2, 8), *itertools.product([1, 3, 4], [8, 12, 16])])
def test_jpeg_2000(channels, bits):
    dtype = np.uint8 if bits == 8 else np.uint16
    pixels = np.random.default_rng(bits).integers(0, 2**bits, (6, 9, channels)).astype(dtype)
    data = imagecodecs.jpeg2k_encode(pixels.squeeze(), level=0, bitspersample=bits, codecformat="jp2")
    found = read(data)
    top = np.iinfo(dtype).max
    assert found.dtype == dtype
    assert np.abs(found - pixels * (top / (2**bits - 1))).max() <= 0.5
    assert header(data).channels == channels


def test_bmp_is_gray_where_all_its_colors_are():
    assert header(saved(Image.fromarray(PHOTO[..., 0]), "BMP")).channels == 1
    assert header(saved(Image.fromarray(PHOTO).quantize(16), "BMP")).channels == 3
