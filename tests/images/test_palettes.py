"""Files of colors, each written here byte by byte."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from dkmeans.errors import InputError
from dkmeans.images.palettes import checked, parse_palette

RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(rows, color_type, *chunks, depth=8):
    """A PNG of pixels as they are stored: a list of rows of bytes."""
    width = len(rows[0]) * 8 // depth // {0: 1, 2: 3, 3: 1, 6: 4}[color_type]
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def indexed(colors, codes=(0,), trns=None):
    chunks = [chunk(b"PLTE", bytes(np.array(colors, np.uint8)))]
    return png([codes], 3, *chunks, *([chunk(b"tRNS", bytes(trns))] if trns else []))


def table(colors, tail=b""):
    return bytes(np.array(colors, np.uint8)).ljust(768, b"\0") + tail


GPL = b"""GIMP Palette
Name: of a test
Columns: 2
# r g b
255   0   0\tred
  0 255   0
255 0 0 red again

  0   0 255 two words
"""
HEX = b"""; colors of a test
#f00          // red
#00ff00, 0000FF
# f00 is no color here, but a comment
#
#fff
"""


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (indexed([BLUE, RED, WHITE]), "a.png", [BLUE, RED, WHITE]),  # of which one occurs
        (indexed([BLUE, RED, BLUE]), "a.png", [BLUE, RED]),
        (indexed([BLUE, RED], trns=[255, 255]), "a.png", [BLUE, RED]),
        (indexed([BLUE, RED, WHITE], trns=[0, 128]), "a.png", [[*BLUE, 0], [*RED, 128], [*WHITE, 255]]),
        (png([[*WHITE, *RED], [*RED, *BLUE]], 2), "a.png", [BLUE, RED, WHITE]),
        # A palette that is only proposed, for displays of few colors.
        (png([[*WHITE, *RED]], 2, chunk(b"PLTE", bytes(BLUE))), "a.png", [RED, WHITE]),
        (png([[7, 200]], 0), "a", [[7, 7, 7], [200, 200, 200]]),
        (png([[*RED, 255, *BLUE, 0, *RED, 0]], 6), "a", [[0, 0, 0, 0], [*RED, 255]]),
        (b"P6\n2 1\n255\n" + bytes([*WHITE, *RED]), "a.ppm", [RED, WHITE]),
        (GPL, "a.gpl", [RED, GREEN, BLUE]),
        (GPL.replace(b"\n", b"\r\n"), "any name", [RED, GREEN, BLUE]),
        (
            b"GIMP Palette\nChannels: RGBA\n255 0 0 0 none\n0 0 255 255 blue\n",
            "a.gpl",
            [[*RED, 0], [*BLUE, 255]],
        ),
        (table([RED, GREEN]), "a.act", [RED, GREEN, [0, 0, 0]]),
        (table([RED, GREEN, BLUE], b"\0\2\xff\xff"), "A.ACT", [RED, GREEN]),
        (table([RED, GREEN, BLUE], b"\0\3\0\1"), "a.act", [[*RED, 255], [*GREEN, 0], [*BLUE, 255]]),
        (
            table([RED, GREEN], b"\0\0\xff\xff"),
            "a.act",
            [RED, GREEN, [0, 0, 0]],
        ),  # as older programs write it
        (HEX, "a.txt", [RED, GREEN, BLUE, WHITE]),
        (b"\xef\xbb\xbfff0000\r\n00ff00\r\n", "a.hex", [RED, GREEN]),
        (b"#ff0000ff #0000ff00", "a", [[*RED, 255], [*BLUE, 0]]),
        (b"#ff0000ff #0000ffFF", "a", [RED, BLUE]),
    ],
)
def test_palettes_of_every_kind(data, name, expected):
    found = parse_palette(data, name)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


GRAYS = [[gray] * 3 for gray in range(256)]


def test_as_many_colors_as_an_indexed_png_holds():
    np.testing.assert_array_equal(parse_palette(table(GRAYS), "a.act"), GRAYS)
    np.testing.assert_array_equal(parse_palette(indexed(GRAYS), "a.png"), GRAYS)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"", "a.png", "a.png: the file is empty"),
        (indexed([RED])[:-30], "a.png", "a.png: PNG truncated"),
        (
            indexed([RED]).replace(b"PLTE\xff", b"PLTE\xfe"),
            "a.png",
            "a.png: the checksum of the chunk PLTE is wrong",
        ),  # its checksum
        (
            png([[0] * 6], 2, depth=16),
            "a.png",
            "a.png: found an image of 16 bits a channel, expected one of 8",
        ),
        (
            png([[value, 0, 0] for value in range(256)] + [GREEN], 2),
            "a.png",
            "found 257 colors, expected a palette",
        ),
        (b"\x00\x01\x02 no text", "a.bin", "a.bin: the file begins with"),
        (b"GIMP Palette\nName: none\n", "a.gpl", "a.gpl: found 0 colors"),
        (b"GIMP Palette\n255 0\n", "a.gpl", "found '255 0' in line 2, expected 3 numbers of 0 to 255"),
        (b"GIMP Palette\n# one\n0 0 256 b\n", "a.gpl", "found '0 0 256 b' in line 3"),
        (b"GIMP Palette\nred\n", "a.gpl", "found 'red' in line 2"),
        (b"GIMP Palette\n\xff 0 0\n", "a.gpl", "a.gpl: "),
        (table([RED])[:-1], "a.act", "found 767 bytes, expected 768 or 772"),
        (table([RED], b"\x01\x01\xff\xff"), "a.act", "found 257 colors of which"),
        (table([RED], b"\0\1\0\1"), "a.act", "found 1 colors of which number 1 is clear"),
        (b"#f00\n#ff00\n", "a.txt", "a.txt: line 2: '#ff00' is no color; expected one such as #f80"),
        (b"#f00 red\n", "a.txt", "line 1: 'red' is no color"),
        (b"; nothing\n", "a.txt", "a.txt: found 0 colors"),
        (
            "\n".join(f"#{n:06x}" for n in range(300)).encode(),
            "a.txt",
            "found 300 colors, expected a palette of 1 to",
        ),
    ],
)
def test_what_is_no_palette_is_told(data, name, message):
    with pytest.raises(InputError) as caught:
        parse_palette(data, name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_colors_are_kept_once_in_their_order():
    colors = np.array([[3, 3, 3, 255], [1, 1, 1, 255], [3, 3, 3, 255]], np.uint8)
    np.testing.assert_array_equal(checked(colors, "a"), [[3, 3, 3], [1, 1, 1]])
    colors[1, 3] = 254
    np.testing.assert_array_equal(checked(colors, "a"), [[3, 3, 3, 255], [1, 1, 1, 254]])
