"""Inks with a profile: its colors, which are made up here, come out, and the profile goes no further."""

import io
import itertools
import struct

import numpy as np
import pytest
import tifffile
from images.tagged import read_tags
from lab import lab_to_srgb
from PIL import Image

from dkmeans.images.decode import decode, read_header

# What the 16 mixtures of full inks look like: L from 0 to 255, a and b around 128.
LOOKS = np.random.default_rng(5).integers([60, 110, 110], [200, 146, 146], (16, 3))
LOOKS[0] = 255, 128, 128  # paper
LOOKS[1::2] = 0, 128, 128  # whatever has black


def profile():
    """An ICC profile of version 2 with one table, of 8 bits: 16 mixtures of inks to Lab."""
    straight = bytes(range(256))
    table = (
        b"mft1"
        + bytes(4)
        + bytes([4, 3, 2, 0])
        + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    )
    table += 4 * straight + LOOKS.astype(np.uint8).tobytes() + 3 * straight
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    start = 128 + 4 + 2 * 12
    tags = struct.pack(">I4sII", 2, b"A2B0", start, len(table)) + struct.pack(
        ">4sII", b"wtpt", start + len(table), 20
    )
    head = struct.pack(
        ">I4sI4s4s4s", start + len(table) + 20, bytes(4), 0x02100000, b"prtr", b"CMYK", b"Lab "
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + tags + table + white


def flat(inks):
    return np.full((16, 16, 4), 255, np.uint8) * np.array(inks, np.uint8)


def jpeg(inks, icc):
    file = io.BytesIO()
    Image.fromarray(flat(inks), "CMYK").save(file, "JPEG", quality=100, icc_profile=icc)
    return file.getvalue()


def tiff(inks, icc, dtype=np.uint8):
    file = io.BytesIO()
    pixels = flat(inks).astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    tifffile.imwrite(file, pixels, photometric="separated", planarconfig="contig", iccprofile=icc)
    return file.getvalue()


@pytest.mark.parametrize("made", [jpeg, tiff, lambda inks, icc: tiff(inks, icc, np.uint16)])
def test_inks_look_as_their_profile_says(made):
    for place, inks in enumerate(itertools.product([0, 1], repeat=4)):
        data = made(inks, profile())
        lightness, a, b = LOOKS[place].tolist()
        want = lab_to_srgb(np.array([lightness / 2.55, a - 128, b - 128]))
        found = decode(data, "a", "auto", max_pixels=1000)
        assert np.abs(found - want).max() <= 3, inks
        assert read_header(data, "a", max_pixels=1000).note.startswith(
            "CMYK, converted to sRGB by its ICC profile"
        )
        chunks = dict(read_tags(data).chunks)
        assert chunks[b"sRGB"] == b"\1"
        assert b"iCCP" not in chunks


@pytest.mark.parametrize("made", [jpeg, tiff])
def test_a_damaged_profile_counts_as_none(made):
    data = made((1, 0, 1, 0), profile()[:100])
    want = Image.new("CMYK", (1, 1), (255, 0, 255, 0)).convert("RGB").getpixel((0, 0))
    assert np.abs(decode(data, "a", "auto", max_pixels=1000) - np.array(want)).max() <= 1
    assert "without an ICC profile" in read_header(data, "a", max_pixels=1000).note
    assert not {b"iCCP", b"sRGB"} & {name for name, _ in read_tags(data).chunks}
