"""JPEG without its end, with more behind it, of several pictures, of four inks."""

import io
import struct

import numpy as np
import pytest
import skimage.data
from PIL import Image

from dkmeans.errors import ImageError
from dkmeans.images.decode import decode, read_header

LIMIT = 10**6
PHOTO = np.ascontiguousarray(skimage.data.astronaut()[:70, :100])
KINDS = {
    "baseline": {},
    "gray": {},
    "fine": {"quality": 97, "subsampling": 0},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True},
}


def jpeg(kind):
    file = io.BytesIO()
    Image.fromarray(PHOTO[..., 0] if kind == "gray" else PHOTO).save(file, "JPEG", **KINDS[kind])
    return file.getvalue()


def read(data, color="auto"):
    return decode(data, "a.jpg", color, max_pixels=LIMIT)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_end_marker_may_lack(kind):
    data = jpeg(kind)
    whole = read(data)
    assert data.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(read(data[:-1]), whole)
    np.testing.assert_array_equal(read(data[:-2]), whole)
    np.testing.assert_array_equal(read(data[:-2] + bytes(1000)), whole)  # filled up with zeros
    np.testing.assert_array_equal(read(data + b"more behind it" * 100), whole)
    np.testing.assert_array_equal(read(data + data[: len(data) // 2] + bytes(50)), whole)  # half of another


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filled", [0, 1000])
def test_pixels_that_lack_are_refused(kind, filled):
    data = jpeg(kind)
    for lacking in (4, 5, 8, 20, 100, 500, len(data) // 2):
        with pytest.raises(ImageError, match="truncated"):
            read(data[:-lacking] + bytes(filled))


def test_a_progressive_image_is_refused_between_its_scans():
    data = jpeg("progressive")
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 3
    for start in scans[1:]:
        with pytest.raises(ImageError, match="truncated"):
            read(data[: data.rindex(b"\xff\xc4", 0, start)])  # before the table of the scan


def mpo():
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "MPO", save_all=True, append_images=[Image.fromarray(255 - PHOTO)])
    return file.getvalue()


def test_of_several_pictures_the_first_and_a_note():
    header = read_header(mpo(), "a", max_pixels=LIMIT)
    assert header.note == "2 pictures in one file (MPO), first one used"
    assert np.abs(read(mpo()).astype(int) - PHOTO).mean() < 6


def four_inks(transform):
    """A JPEG of CMYK, or of YCCK, which is made of it by calling the first three components YCbCr."""
    file = io.BytesIO()
    Image.fromarray(np.dstack([255 - PHOTO, 0 * PHOTO[..., :1]]), "CMYK").save(file, "JPEG", quality=95)
    data = file.getvalue()
    at = data.find(b"Adobe")
    if at < 0:  # APP14 tells the transform; Pillow writes none
        segment = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform)
        return data[:2] + segment + data[2:]
    return data[: at + 11] + bytes([transform]) + data[at + 12 :]


@pytest.mark.parametrize("transform", [0, 2])
def test_four_inks_as_pillow_converts_them_and_a_note(transform):
    data = four_inks(transform)
    want = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(read(data), want)
    header = read_header(data, "a", max_pixels=LIMIT)
    assert header.note == "CMYK, converted to sRGB without an ICC profile of inks, so its colors are a guess"
    assert header.channels == 3


@pytest.mark.parametrize(
    ("at", "value", "message"), [(0, 0xC3, "8 bits, of the kind SOF3"), (3, 12, "12 bits")]
)
def test_kinds_that_are_not_read_are_named(at, value, message):
    data = bytearray(jpeg("baseline"))
    data[data.index(b"\xff\xc0") + 1 + at] = value
    with pytest.raises(ImageError, match=f"JPEG of .*{message}"):
        read_header(bytes(data), "a", max_pixels=LIMIT)
