"""PNG against samples known before they were written, by a writer of our own."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pngs import SAMPLES, SIGNATURE, chunk, chunks_of, write_png

from dkmeans.errors import ImageError
from dkmeans.images.decode import decode, read_header

LIMIT = 10**6
rng = np.random.default_rng(0)
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PALETTE = rng.integers(0, 256, (256, 3))
RGB = rng.integers(0, 256, (6, 7, 3))


def read(data, color="auto"):
    return decode(data, "a.png", color, max_pixels=LIMIT)


def scaled(samples, depth):
    """Samples on the range of 8 or 16 bits, by exact arithmetic."""
    top = 65535 if depth == 16 else 255
    assert top % (2**depth - 1) == 0
    return (samples.astype(int) * (top // (2**depth - 1))).astype(np.uint16 if depth == 16 else np.uint8)


KINDS = [(kind, depth, clear) for kind in DEPTHS for depth in DEPTHS[kind] for clear in {False, kind < 4}]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "depth", "clear"), KINDS)
def test_every_kind_and_depth(kind, depth, clear, interlaced, capfd):
    for size in ((1, 1), (2, 3), (5, 8), (9, 11), (33, 17)):
        samples = rng.integers(0, 2**depth, (*size, SAMPLES[kind]))
        top = 65535 if depth == 16 else 255
        options, want = {}, scaled(samples, depth)
        if kind == 3:
            options["palette"] = PALETTE[: 2**depth]
            want = PALETTE[samples[..., 0]].astype(np.uint8)
            if clear:
                alphas = rng.integers(0, 255, 2 ** (depth - 1)).astype(np.uint8)  # those behind are opaque
                options["clear"] = alphas.tobytes()
                want = np.dstack([want, np.append(alphas, np.full(256, 255, np.uint8))[samples[..., 0]]])
        elif clear:
            color = samples[0, 0]
            options["clear"] = color.astype(">u2").tobytes()
            want = np.dstack([want, np.where((samples == color).all(axis=2), 0, top)])
        data = write_png(samples, kind, depth, interlaced=interlaced, **options)
        found = read(data)
        np.testing.assert_array_equal(found, want)
        assert found.dtype == scaled(samples, depth).dtype
        header = read_header(data, "a", max_pixels=LIMIT)
        assert (header.height, header.width, header.channels) == want.shape
    assert capfd.readouterr() == ("", "")  # libpng writes its warnings there


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 4, 8, 16]))
def test_interlace_of_any_size(height, width, depth):
    samples = np.random.default_rng(height * 32 + width).integers(0, 2**depth, (height, width, 1))
    np.testing.assert_array_equal(read(write_png(samples, 0, depth, interlaced=True)), scaled(samples, depth))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparency_compares_samples_and_only_the_bits_of_the_depth(depth):
    samples = np.arange(2**depth).reshape(1, -1, 1)
    for clear in (0, 1, 2**depth - 1):
        for beyond in (0, 1):
            data = write_png(samples, 0, depth, clear=struct.pack(">H", clear + beyond * 2**depth))
            assert np.flatnonzero(read(data)[0, :, 1] == 0).tolist() == [clear]


BIG = zlib.compress(b"a" * 2_000_000)
ANCILLARY = {
    "text": chunk(b"zTXt", b"Comment\0\0" + BIG),
    "international text": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BIG),
    "large profile": chunk(b"iCCP", b"big\0\0" + zlib.compress(bytes(1_500_000))),
    "bad profile": chunk(b"iCCP", b"bad\0\0no stream"),
    "wrong checksum": chunk(b"tEXt", b"Comment\0hi", crc=1),
    "wrong checksum of gamma": chunk(b"gAMA", struct.pack(">I", 45455), crc=1),
    "gamma of 0": chunk(b"gAMA", bytes(4)),
    "wrong length": chunk(b"pHYs", b"\0"),
    "twice": 2 * chunk(b"sRGB", b"\0"),
    "bad exif": chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\0"),
    "private": chunk(b"vpAg", bytes(9)),
}


@pytest.mark.parametrize("name", ANCILLARY)
@pytest.mark.parametrize("place", ["before", "after"])
def test_what_pixels_do_not_need_stops_nothing_and_says_nothing(name, place, capfd):
    data = write_png(RGB, 2, **{place: [ANCILLARY[name]]})
    np.testing.assert_array_equal(read(data), RGB)
    assert read_header(data, "a", max_pixels=LIMIT).note == ""
    assert capfd.readouterr() == ("", "")


def broken(data, name):
    """`data` with a wrong checksum of its first chunk of this name."""
    at = data.index(name)
    end = at + 4 + struct.unpack(">I", data[at - 4 : at])[0]
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE", b"IDAT"])
def test_a_wrong_checksum_of_what_pixels_need_is_refused(name):
    data = write_png(rng.integers(0, 256, (5, 6, 1)), 3, palette=PALETTE)
    with pytest.raises(ImageError, match=f"checksum of the chunk {name.decode()} is wrong"):
        read(broken(data, name))


@pytest.mark.parametrize("clear", [struct.pack(">H", 1), b"\0\1\2"])
def test_damaged_transparency_is_left_out_and_said(clear):
    samples = np.arange(4).reshape(1, 4, 1)
    data = write_png(samples, 0, 2, clear=clear)
    data = data if len(clear) == 3 else broken(data, b"tRNS")
    header = read_header(data, "a", max_pixels=LIMIT)
    assert (header.channels, header.note) == (1, "its transparency (tRNS) is damaged and left out")
    np.testing.assert_array_equal(read(data), samples * 85)


def test_palette_that_is_opaque_or_short():
    samples = np.array([[0, 1, 2, 255]])[..., None]
    opaque = write_png(samples, 3, palette=PALETTE, clear=b"\xff\xff")
    assert read_header(opaque, "a", max_pixels=LIMIT).channels == 3
    short = write_png(samples, 3, palette=PALETTE[:2])
    np.testing.assert_array_equal(read(short)[0], [*PALETTE[:2], [0, 0, 0], [0, 0, 0]])
    with pytest.raises(ImageError, match=r"palette .PLTE. of 0 bytes"):
        read(write_png(samples, 3))


LINES = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in RGB)
STREAMS = {
    "too much": zlib.compress(LINES + bytes(50)),
    "bytes behind": zlib.compress(LINES) + b"junk",
    "no checksum": zlib.compress(LINES)[:-4],
}


@pytest.mark.parametrize("name", STREAMS)
def test_pixels_that_are_all_there(name, capfd):
    data = write_png(RGB, 2, idat=STREAMS[name])
    np.testing.assert_array_equal(read(data), RGB)
    assert capfd.readouterr() == ("", "")


LACKING = {
    "short": (zlib.compress(LINES[:-1]), "131 of the 132 bytes of its pixels"),
    "wrong checksum": (zlib.compress(LINES)[:-4] + b"abcd", "incorrect data check"),
    "no filter": (zlib.compress(b"\7" + LINES[1:]), "filter"),
    "no stream": (b"hello", "incorrect header check"),
}


@pytest.mark.parametrize("name", LACKING)
def test_pixels_that_are_not_all_there(name, capfd):
    stream, message = LACKING[name]
    with pytest.raises(ImageError, match=message):
        read(write_png(RGB, 2, idat=stream))
    assert capfd.readouterr() == ("", "")


def test_parts_of_the_file_that_may_lack():
    data = write_png(RGB, 2, parts=7)
    np.testing.assert_array_equal(read(data), RGB)
    for lacking in (1, 4, 11, 12):  # of IEND
        np.testing.assert_array_equal(read(data[:-lacking]), RGB)
    np.testing.assert_array_equal(read(data + b"trailing"), RGB)
    with pytest.raises(ImageError, match="truncated in its chunk IDAT"):
        read(data[:-13])
    with pytest.raises(ImageError, match=r"truncated before its pixels|truncated in its chunk"):
        read(data[:40])


def test_the_header_is_read_from_what_precedes_the_pixels():
    data = write_png(RGB, 2, clear=bytes(6))
    beginning = data[: data.index(b"IDAT") + 4]
    assert read_header(beginning, "a", max_pixels=LIMIT, whole=False).channels == 4


PIXELS = chunk(b"IDAT", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (write_png(RGB, 2, before=[chunk(b"CgBI", bytes(4))]), "Apple's own.*CgBI"),
        (write_png(RGB, 2, before=[chunk(b"ABCD", b"")]), "unknown kind, with the chunk ABCD"),
        (SIGNATURE + chunk(b"IHDR", bytes(12)) + PIXELS, "12 bytes; expected 13"),
        (SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 3, 0, 0, 0, 0)) + PIXELS, "3 bits"),
        (SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 2)) + PIXELS, "interlace 2"),
    ],
)
def test_refused(data, message):
    with pytest.raises(ImageError, match=message):
        read_header(data, "a", max_pixels=LIMIT)


def test_what_is_compressed_cannot_grow_beyond_the_header():
    bomb = zlib.compress(bytes(10**8))
    assert read(write_png(np.zeros((3, 3, 1), int), 0, idat=bomb)).shape == (3, 3, 1)


def test_animation_is_said():
    data = write_png(RGB, 2, before=[chunk(b"acTL", struct.pack(">II", 12, 0))])
    assert read_header(data, "a", max_pixels=LIMIT).note == "animation of 12 frames, first one used"


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt"])
def test_orientation_in_the_text_that_preceded_exif_chunks(name):
    exif = Image.Exif()
    exif[0x0112] = 6
    text = f"\nexif\n    {len(exif.tobytes())}\n{exif.tobytes().hex()}\n".encode()
    body = b"Raw profile type exif\0" + (b"\0" + zlib.compress(text) if name == b"zTXt" else text)
    data = write_png(RGB, 2, before=[chunk(name, body)])
    np.testing.assert_array_equal(read(data), np.rot90(RGB, -1))


def test_the_writer_of_these_tests_writes_what_pillow_reads():
    for kind, depth in [(0, 8), (2, 8), (6, 8), (0, 1)]:
        samples = rng.integers(0, 2**depth, (13, 9, SAMPLES[kind]))
        for interlaced in (False, True):
            data = write_png(samples, kind, depth, interlaced=interlaced)
            found = np.asarray(Image.open(io.BytesIO(data))).reshape(samples.shape)
            np.testing.assert_array_equal(found, samples)
    assert [name for name, _ in chunks_of(data)] == [b"IHDR", b"IDAT", b"IEND"]
