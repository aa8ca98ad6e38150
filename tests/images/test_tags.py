"""What files say of their numbers, and the conversion to sRGB against formulas."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import skimage.data
import tifffile
from images.tagged import read_tags
from PIL import Image, ImageCms
from pngs import chunk, write_png

from dkmeans.errors import ImageError
from dkmeans.images.tags import NO_TAGS, ColorTags, to_srgb

PHOTO = np.ascontiguousarray(skimage.data.astronaut()[:40, :56])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3_PRIMARIES = (0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1)
P3 = imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.3290, 1), primaries=P3_PRIMARIES, gamma=2.2)
GRAY = imagecodecs.cms_profile("gray", whitepoint=(0.3457, 0.3585, 1), gamma=1.8)
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
GAMMA = struct.pack(">I", 55555)
CHROMA = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)  # of P3


def iccp(icc, name=b"p"):
    return name + b"\0\0" + zlib.compress(icc)


def profile_of(tags):
    return zlib.decompress(dict(tags.chunks)[b"iCCP"].split(b"\0\0", 1)[1])


def png(*chunks, pixels=PHOTO):
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    return write_png(pixels, kind, before=[chunk(name, body) for name, body in chunks])


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_chunks_of_a_png_in_the_order_in_which_they_are_written():
    given = [
        (b"pHYs", struct.pack(">IIB", 2835, 3000, 1)),
        (b"cHRM", CHROMA),
        (b"tEXt", b"a\0b"),
        (b"gAMA", GAMMA),
        (b"sRGB", b"\1"),
        (b"cICP", bytes([12, 13, 0, 1])),
        (b"iCCP", iccp(P3)),
    ]
    tags = read_tags(png(*given))
    assert tags.chunks == tuple(found for found in reversed(given) if found[0] != b"tEXt")
    assert tags.space == "rgb"
    assert read_tags(png()) == NO_TAGS
    assert NO_TAGS.space is None


DAMAGED = {
    "no stream": (b"iCCP", b"p\0\0hello"),
    "no name": (b"iCCP", b"\0\0" + zlib.compress(P3)),
    "no profile": (b"iCCP", iccp(bytes(1_500_000))),
    "a bomb": (b"iCCP", iccp(bytes(10**8))),
    "a profile of Lab": (b"iCCP", iccp(LAB)),
    "a profile of gray": (b"iCCP", iccp(GRAY)),
    "gamma of 0": (b"gAMA", bytes(4)),
    "short gamma": (b"gAMA", bytes(3)),
    "no intent": (b"sRGB", b"\7"),
    "no density": (b"pHYs", bytes(9)),
    "primaries of 0": (b"cHRM", bytes(32)),
    "YCbCr": (b"cICP", bytes([1, 13, 1, 1])),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_left_out_alone(name):
    known = (b"sRGB", b"\0") if DAMAGED[name][0] != b"sRGB" else (b"gAMA", GAMMA)
    assert read_tags(png(DAMAGED[name], known)).chunks == (known,)


def test_a_wrong_checksum_leaves_a_chunk_out():
    data = write_png(PHOTO, 2, before=[chunk(b"gAMA", GAMMA, crc=1), chunk(b"sRGB", b"\0")])
    assert read_tags(data).chunks == ((b"sRGB", b"\0"),)


def test_a_profile_of_gray_belongs_to_gray():
    assert read_tags(png((b"iCCP", iccp(GRAY)), pixels=PHOTO[..., :1])).space == "gray"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "AVIF", "PNG"])
def test_profiles_of_every_format(kind):
    assert profile_of(read_tags(saved(Image.fromarray(PHOTO), kind, icc_profile=P3))) == P3


def test_profile_of_a_gif():
    parts = b"".join(bytes([len(P3[at : at + 255])]) + P3[at : at + 255] for at in range(0, len(P3), 255))
    data = saved(Image.fromarray(PHOTO), "GIF")
    at = data.index(b"\x2c", 13 + 768)  # before the frame
    found = read_tags(data[:at] + b"\x21\xff\x0bICCRGBG1012" + parts + b"\0" + data[at:])
    assert profile_of(found) == P3


def density(data):
    body = dict(read_tags(data).chunks).get(b"pHYs")
    return body and struct.unpack(">IIB", body)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "BMP", "PNG"])
def test_density_in_pixels_per_meter(kind):
    # 300 / 0.0254 = 11811.02..., 150 / 0.0254 = 5905.51...
    assert density(saved(Image.fromarray(PHOTO), kind, dpi=(300, 150))) == (11811, 5906, 1)


def test_density_by_centimeters_and_by_ratio():
    image = Image.fromarray(PHOTO)
    data = saved(image, "JPEG", dpi=(300, 150))
    at = data.index(b"JFIF") + 7
    assert density(data[:at] + b"\2" + struct.pack(">HH", 100, 50) + data[at + 5 :]) == (10000, 5000, 1)
    assert density(data[:at] + b"\0" + struct.pack(">HH", 4, 3) + data[at + 5 :]) == (4, 3, 0)
    assert density(data[:at] + b"\0" + struct.pack(">HH", 1, 1) + data[at + 5 :]) is None
    file = io.BytesIO()
    tifffile.imwrite(file, PHOTO, photometric="rgb", resolution=(100, 50), resolutionunit="centimeter")
    assert density(file.getvalue()) == (10000, 5000, 1)


def test_density_is_turned_with_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert density(saved(Image.fromarray(PHOTO), "JPEG", dpi=(300, 150), exif=exif)) == (5906, 11811, 1)


def test_colors_of_avif_by_numbers():
    data = saved(Image.fromarray(PHOTO), "AVIF")
    at = data.index(b"colrnclx") + 8
    for numbers, want in [
        ((12, 13), ((b"cICP", bytes([12, 13, 0, 1])),)),
        ((1, 13), ((b"sRGB", b"\0"),)),
        ((2, 2), ()),
    ]:
        assert read_tags(data[:at] + struct.pack(">HH", *numbers) + data[at + 4 :]).chunks == want


def srgb(linear):
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


# Linear Display P3 to linear sRGB: both have the white of D65.
TO_SRGB = np.array(
    [[1.2249402, -0.2249402, 0], [-0.0420570, 1.0420570, 0], [-0.0196376, -0.0786361, 1.0982736]]
)
COLORS = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("told", ["profile", "primaries", "numbers"])
def test_to_srgb_is_the_formula(told, channels, dtype):
    tags = {
        "profile": ColorTags(((b"iCCP", iccp(P3)),)),
        "primaries": ColorTags(((b"gAMA", struct.pack(">I", round(100000 / 2.2))), (b"cHRM", CHROMA))),
        "numbers": ColorTags(((b"cICP", bytes([12, 4, 0, 1])),)),
    }[told]
    top = np.iinfo(dtype).max
    pixels = (COLORS[..., :channels].astype(dtype) * (top // 255)).copy()
    pixels[0, 0], pixels[0, 1] = top, 0
    found = to_srgb(pixels, tags)
    assert (found.dtype, found.shape) == (dtype, pixels.shape)
    want = top * srgb((pixels[..., :3] / top) ** 2.2 @ TO_SRGB.T)
    difference = np.abs(found[..., :3] - want)
    assert difference.max() <= top / 255  # of dark colors: littleCMS has linear light in 16 bits
    assert difference.mean() <= top / 255 / 3
    assert found[0, 0].min() >= top - 1
    assert not found[0, 1, :3].any()
    np.testing.assert_array_equal(found[..., 3:], pixels[..., 3:])


@pytest.mark.parametrize("channels", [1, 2])
def test_gray_to_srgb_stays_gray(channels):
    pixels = COLORS[..., :channels]
    for tags in (ColorTags(((b"iCCP", iccp(GRAY)),)), ColorTags(((b"gAMA", GAMMA),))):
        found = to_srgb(pixels, tags)
        assert np.abs(found[..., 0] - 255 * srgb((pixels[..., 0] / 255) ** 1.8)).max() < 1.5
        np.testing.assert_array_equal(found[..., 1:], pixels[..., 1:])


def test_what_is_srgb_stays_as_it_is():
    for chunks in ((), ((b"sRGB", b"\0"), (b"gAMA", GAMMA)), ((b"cICP", bytes([1, 13, 0, 1])),)):
        assert to_srgb(COLORS, ColorTags(chunks)) is COLORS
    np.testing.assert_array_equal(to_srgb(COLORS, ColorTags(((b"iCCP", iccp(SRGB)),))), COLORS)


def test_hdr_is_refused():
    with pytest.raises(ImageError, match=r"primaries 9 and the transfer 16 .* expected primaries 1, 9"):
        to_srgb(COLORS, ColorTags(((b"cICP", bytes([9, 16, 0, 1])),)))
