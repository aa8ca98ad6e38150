"""Icons: the largest picture, whatever it is stored as."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from pngs import write_png

from dkmeans.errors import ImageError
from dkmeans.images.decode import decode, read_header

rng = np.random.default_rng(0)


def icon(*pictures, kind=1):
    """An icon of (width, height, bits, file) each."""
    start = 6 + 16 * len(pictures)
    head = struct.pack("<HHH", 0, kind, len(pictures))
    for width, height, bits, file in pictures:
        head += struct.pack("<BBBBHHII", width % 256, height % 256, 0, 0, 1, bits, len(file), start)
        start += len(file)
    return head + b"".join(file for *_, file in pictures)


def bitmap(rgba):
    """A bitmap of 32 bits from the bottom to the top, and a mask of nothing."""
    height, width = rgba.shape[:2]
    head = struct.pack("<IiiHHIIiiII", 40, width, 2 * height, 1, 32, 0, 0, 0, 0, 0, 0)
    return head + rgba[::-1, :, [2, 1, 0, 3]].tobytes() + bytes(4 * -(-width // 32) * height)


def read(data):
    return decode(data, "a.ico", "auto", max_pixels=10**5)


SMALL = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
LARGE = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", [1, 2])
def test_a_bitmap(kind):
    data = icon((16, 16, 32, bitmap(SMALL)), kind=kind)
    np.testing.assert_array_equal(read(data), SMALL)
    header = read_header(data, "a", max_pixels=256)
    assert (header.height, header.width, header.channels, header.note) == (16, 16, 4, "")


def test_the_largest_picture_whose_size_is_written_as_0():
    data = icon((16, 16, 32, bitmap(SMALL)), (256, 256, 24, write_png(LARGE, 2)))
    np.testing.assert_array_equal(read(data), LARGE)
    header = read_header(data, "a", max_pixels=2**16)
    assert (header.channels, header.note) == (3, "icon of 2 pictures, the largest used")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), LARGE)


@pytest.mark.parametrize("file", [write_png(LARGE, 2), bitmap(np.dstack([LARGE, LARGE[..., 0]]))])
def test_the_size_that_counts_is_that_of_the_picture(file):
    with pytest.raises(ImageError, match="256 x 256 = 65536 pixels; expected at most 65535"):
        read_header(icon((16, 16, 32, file)), "a", max_pixels=65535)


def test_truncated():
    with pytest.raises(ImageError, match="icon truncated"):
        read(icon((16, 16, 32, bitmap(SMALL)))[:-1])
    with pytest.raises(ImageError, match="damaged"):
        read(icon((16, 16, 32, b""))[:20])
