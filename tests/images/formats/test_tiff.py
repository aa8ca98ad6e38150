"""TIFF against the samples that were written, and colors computed by hand."""

import io
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
import tifffile
from lab import lab_to_srgb
from PIL import Image, ImageCms

from dkmeans.errors import ImageError
from dkmeans.images.decode import decode, eight_bits, read_header

LIMIT = 10**6
rng = np.random.default_rng(0)
PHOTO = np.ascontiguousarray(skimage.data.astronaut()[:40, :56])
DEEP = rng.integers(0, 65536, (6, 9, 4), dtype=np.uint16)


def tiff(pixels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def read(data):
    return decode(data, "a.tif", "auto", max_pixels=LIMIT)


def header(data):
    return read_header(data, "a.tif", max_pixels=LIMIT)


def packed(values, bits):
    """A gray TIFF of one strip whose samples take `bits` bits, each row from a byte's beginning."""
    height, width = values.shape
    rows = (values[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    body = np.packbits(rows.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, 1),
        (273, 0),
        (277, 1),
        (278, height),
        (279, len(body)),
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        code.to_bytes(2, "little") + b"\4\0\1\0\0\0" + (start if code == 273 else value).to_bytes(4, "little")
        for code, value in tags
    )
    return b"II*\0\x08\0\0\0" + len(tags).to_bytes(2, "little") + entries + bytes(4) + body


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 9, 10, 12, 14])
def test_any_number_of_bits_fills_the_range(bits):
    values = rng.integers(0, 2**bits, (5, 7))
    values[0, :2] = 0, 2**bits - 1
    found = read(packed(values, bits))[..., 0]
    top = 255 if bits <= 8 else 65535
    assert found.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert np.abs(found - values * top / (2**bits - 1)).max() <= 0.5
    assert found[0, :2].tolist() == [0, top]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_alpha_that_was_multiplied_in_is_divided_out(dtype, planar):
    top = np.iinfo(dtype).max
    straight = rng.integers(0, top + 1, (20, 30, 4)).astype(dtype)
    straight[0, :, 3], straight[1, :, 3] = 0, top
    alpha = straight[..., 3:].astype(float)
    stored = straight.copy()
    stored[..., :3] = np.rint(straight[..., :3] * alpha / top)
    order = stored if planar == "contig" else stored.transpose(2, 0, 1)
    data = tiff(order, photometric="rgb", extrasamples=["assocalpha"], planarconfig=planar)
    found = read(data)
    assert header(data).channels == 4
    np.testing.assert_array_equal(found[..., 3], straight[..., 3])
    np.testing.assert_array_equal(found[1], straight[1])  # opaque: as stored
    assert not found[0].any()
    seen = alpha[..., 0] > 0
    # Half a step of what was stored, and half a step of rounding.
    assert (
        np.abs(found[..., :3] - straight[..., :3].astype(float))[seen] <= 0.5 * top / alpha[seen] + 0.5
    ).all()
    exact = stored[..., :3].astype(float)[seen] * top / alpha[seen]
    assert np.abs(found[..., :3][seen] - np.minimum(exact, top)).max() <= 0.5


def test_gray_with_alpha_that_was_multiplied_in():
    data = tiff(np.array([[[10, 20], [0, 0], [255, 255], [9, 3]]], np.uint8), photometric="minisblack",
                extrasamples=["assocalpha"], planarconfig="contig")  # fmt: skip
    # 10 * 255 / 20 = 127.5; the last is brighter than its alpha allows.
    assert read(data).tolist() == [[[128, 20], [0, 0], [255, 255], [255, 3]]]


@pytest.mark.parametrize("wide", [True, False])
def test_palette_of_16_and_of_8_bits(wide):
    palette = rng.integers(1, 256, (3, 256)).astype(np.uint16)
    indices = rng.integers(0, 256, (7, 8)).astype(np.uint8)
    data = tiff(indices, photometric="palette", colormap=palette * 256 if wide else palette)
    np.testing.assert_array_equal(read(data), palette.T[indices])
    assert header(data).channels == 3


def test_palette_with_alpha():
    image = Image.fromarray(rng.integers(0, 4, (5, 6), dtype=np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 10, 20, 30, 1, 2, 3])
    image = image.convert("PA")
    alpha = rng.integers(0, 256, (5, 6), dtype=np.uint8)
    image.putalpha(Image.fromarray(alpha))
    file = io.BytesIO()
    image.save(file, "TIFF")
    want = np.asarray(image.convert("RGBA"))
    np.testing.assert_array_equal(read(file.getvalue()), want)
    np.testing.assert_array_equal(want[..., 3], alpha)


@pytest.mark.parametrize("photometric", [8, 9])
def test_lab_becomes_srgb(photometric):
    lightness = rng.integers(0, 256, (6, 7)).astype(np.uint8)
    ab = rng.integers(-60, 60, (6, 7, 2))
    lightness[0, :2], ab[0, :2] = [255, 0], 0
    stored = ab.astype(np.int8).view(np.uint8) if photometric == 8 else (ab + 128).astype(np.uint8)
    data = tiff(np.dstack([lightness, stored]), photometric=photometric, planarconfig="contig")
    found = read(data)
    want = lab_to_srgb(np.dstack([lightness / 2.55, ab]))
    assert found[0, :2].tolist() == [[255] * 3, [0] * 3]
    assert np.abs(found - want).max() < 2
    assert header(data).note == "Lab, converted to sRGB"


def test_inks_of_16_bits_are_those_of_8():
    inks = np.asarray(Image.fromarray(PHOTO).convert("CMYK"))
    data = tiff(inks.astype(np.uint16) * 257, photometric="separated", planarconfig="contig")
    np.testing.assert_array_equal(read(data), np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")))
    assert (header(data).dtype, header(data).channels) == ("uint8", 3)
    assert "a guess; 16 bits of CMYK reduced to 8" in header(data).note


def test_signed_samples_of_8_bits_are_taken_as_all_readers_take_them():
    values = rng.integers(0, 256, (5, 6), dtype=np.uint8)
    data = tiff(values.view(np.int8))
    np.testing.assert_array_equal(read(data)[..., 0], values)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), values)
    assert "signed" in header(data).note


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32])
def test_integers_that_fit_into_16_bits(dtype):
    values = rng.integers(0, 32768, (5, 6)).astype(dtype)
    np.testing.assert_array_equal(read(tiff(values))[..., 0], values)
    values[2, 3] = -1 if dtype != np.uint32 else 65536
    with pytest.raises(ImageError, match=r"values from .*expected 0 to 65535"):
        read(tiff(values))


def test_channels_that_are_no_alpha_are_left_out_and_said():
    extra = ["unspecified", "unassalpha"]
    data = tiff(DEEP[..., [0, 1, 2, 3, 3]], photometric="rgb", extrasamples=extra, planarconfig="contig")
    np.testing.assert_array_equal(read(data), DEEP)
    assert header(data).note == "1 channels that are no alpha, left out"


@pytest.mark.parametrize("thumbnails", [1, 2])
def test_a_first_page_that_is_a_thumbnail_is_passed_over(thumbnails):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for _ in range(thumbnails):
            writer.write(PHOTO[::4, ::4], photometric="rgb", subfiletype=1)
        writer.write(PHOTO, photometric="rgb")
        writer.write(255 - PHOTO, photometric="rgb")
    data = file.getvalue()
    np.testing.assert_array_equal(read(data), PHOTO)
    found = header(data)
    assert (found.height, found.width) == PHOTO.shape[:2]
    assert f"TIFF of {thumbnails + 2} pages, page {thumbnails + 1} used" in found.note


def test_a_page_that_is_a_thumbnail_of_nothing_is_taken():
    np.testing.assert_array_equal(read(tiff(PHOTO, photometric="rgb", subfiletype=1)), PHOTO)


def test_a_count_of_bytes_that_is_far_too_large():
    data = bytearray(tiff(PHOTO, photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        at = file.pages[0].tags[279].valueoffset
    data[at : at + 4] = (10**8).to_bytes(4, "little")
    np.testing.assert_array_equal(read(bytes(data)), PHOTO)
    with pytest.raises(ImageError, match="truncated"):
        read(bytes(data[:-1]))


def test_odd_tags_are_told_by_nobody_but_us():
    data = bytearray(packed(np.zeros((5, 8), int), 8))
    data[8 + 2 + 5 * 12] = 255  # the code of the tag that says where the strips lie
    code = f"""if True:
        from dkmeans.images.decode import decode
        try:
            decode({bytes(data)!r}, "a", "auto", max_pixels=100)
        except Exception as error:
            print(error)
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("a: ")
    assert told.stderr == ""


REFUSED = {
    "a raw photo": (tiff(DEEP[..., 0], extratags=[(50706, 1, 4, b"\1\4\0\0", True)]), "a DNG, a raw photo"),
    "filters of a sensor": (tiff(DEEP[..., 0], photometric="cfa"), "photometric 32803 .CFA."),
    "floats": (tiff(PHOTO[..., 0].astype(np.float16)), "16 bits of sample format 3"),
    "a mask": (tiff(PHOTO[..., 0], photometric=4), "photometric 4 .MASK."),
    "Lab of 16 bits": (tiff(DEEP[..., :3], photometric="cielab", planarconfig="contig"), "16 bits of"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_its_kind(name):
    data, message = REFUSED[name]
    with pytest.raises(ImageError, match=message):
        header(data)


def test_eight_bits_round_to_nearest():
    values = np.arange(65536, dtype=np.uint16)
    assert np.abs(eight_bits(values) - values / 257).max() <= 0.5
    np.testing.assert_array_equal(eight_bits(np.arange(256, dtype=np.uint16) * 257), np.arange(256))
    assert eight_bits(PHOTO) is PHOTO


def test_an_icc_profile_that_is_not_of_inks_changes_nothing():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(read(tiff(PHOTO, photometric="rgb", iccprofile=icc)), PHOTO)
    assert header(tiff(PHOTO, photometric="rgb", iccprofile=icc)).note == ""
