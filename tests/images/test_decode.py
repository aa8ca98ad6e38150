"""Decoding: against arrays known before they were written, and against Pillow where it is exact."""

import io
import struct
import zlib
from contextlib import suppress

import imagecodecs
import numpy as np
import pytest
import skimage.data
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from images.tagged import read_tags
from PIL import Image, ImageFile, ImageOps
from pngs import write_png

from dkmeans.errors import ImageError
from dkmeans.images.decode import CHANNELS, IncompleteHeader, convert_color, decode, read_header

LIMIT = 10**6
rng = np.random.default_rng(0)
PHOTO = np.ascontiguousarray(skimage.data.astronaut()[:40, :56])
DEEP = rng.integers(0, 65536, (6, 9, 4), dtype=np.uint16)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(pixels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def pnm(kind, pixels, largest):
    dtype = ">u2" if largest > 255 else "u1"
    size = f"{pixels.shape[1]} {pixels.shape[0]}"
    return f"{kind}\n# a comment 1 2\n{size}\n{largest}\n".encode() + pixels.astype(dtype).tobytes()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png16(pixels, *chunks):
    """A 16-bit PNG written by hand, independent of every library: no filter, one IDAT."""
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0))
    body = header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def palette_image(transparency=None):
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 3)
    image.putpalette([255, 0, 0, 0, 255, 0, 10, 20, 30])
    return saved(image, "PNG", **({} if transparency is None else {"transparency": transparency}))


PALETTE = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30]], np.uint8)[np.arange(12).reshape(3, 4) % 3]
BITS = rng.integers(0, 2, (5, 11)).astype(bool)
G8, RGB8, RGBA8 = PHOTO[..., 0], PHOTO, np.dstack([PHOTO, PHOTO[..., 1]])

# What was written, and the gray, gray+alpha, RGB or RGBA pixels that must come back exactly.
EXACT = {
    "png gray": (saved(Image.fromarray(G8), "PNG"), G8[..., None]),
    "png rgb": (saved(Image.fromarray(RGB8), "PNG"), RGB8),
    "png rgba": (saved(Image.fromarray(RGBA8), "PNG"), RGBA8),
    "png gray+alpha": (saved(Image.fromarray(RGBA8[..., 2:], "LA"), "PNG"), RGBA8[..., 2:]),
    "png 1 bit": (saved(Image.fromarray(BITS), "PNG"), BITS[..., None] * np.uint8(255)),
    "png palette": (palette_image(), PALETTE),
    "png palette, bytes": (
        palette_image(bytes([7, 255, 0])),
        np.dstack([PALETTE, np.array([7, 255, 0], np.uint8)[np.arange(12).reshape(3, 4) % 3]]),
    ),
    "png palette, one": (
        palette_image(1),
        np.dstack([PALETTE, np.array([255, 0, 255], np.uint8)[np.arange(12).reshape(3, 4) % 3]]),
    ),
    "png rgb, transparent color": (
        saved(Image.fromarray(RGB8), "PNG", transparency=tuple(RGB8[0, 0].tolist())),
        np.dstack([RGB8, np.where((RGB8[0, 0] == RGB8).all(2), 0, 255).astype(np.uint8)]),
    ),
    "png gray, transparent": (
        saved(Image.fromarray(G8), "PNG", transparency=int(G8[0, 0])),
        np.dstack([G8, np.where(G8[0, 0] == G8, 0, 255).astype(np.uint8)]),
    ),
    **{f"png 16 bit x {c}": (png16(DEEP[..., :c]), DEEP[..., :c]) for c in (1, 2, 3, 4)},
    "png 16 bit, transparent": (
        png16(DEEP[..., :3], chunk(b"tRNS", DEEP[0, 0, :3].astype(">u2").tobytes())),
        np.dstack([DEEP[..., :3], np.where((DEEP[..., :3] == DEEP[0, 0, :3]).all(2), 0, 65535)]).astype("u2"),
    ),
    "tiff gray": (tiff(G8), G8[..., None]),
    "tiff white is zero": (tiff(G8, photometric="miniswhite"), 255 - G8[..., None]),
    "tiff rgb lzw": (tiff(RGB8, photometric="rgb", compression="lzw", predictor=True), RGB8),
    "tiff rgb planes": (
        tiff(RGB8.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
        RGB8,
    ),
    "tiff rgb tiles": (tiff(RGB8, photometric="rgb", tile=(16, 32), compression="zlib"), RGB8),
    "tiff rgba strips": (tiff(RGBA8, photometric="rgb", extrasamples=["unassalpha"], rowsperstrip=3), RGBA8),
    "tiff rgb + no alpha": (tiff(RGBA8, photometric="rgb", extrasamples=["unspecified"]), RGB8),
    "tiff palette": (saved(Image.open(io.BytesIO(palette_image())), "TIFF"), PALETTE),
    "tiff fax": (saved(Image.fromarray(BITS), "TIFF", compression="group4"), BITS[..., None] * np.uint8(255)),
    "tiff 16 gray": (tiff(DEEP[..., 0]), DEEP[..., :1]),
    "tiff 16 white is zero": (tiff(DEEP[..., 0], photometric="miniswhite"), 65535 - DEEP[..., :1]),
    "tiff 16 rgb big-endian": (tiff(DEEP[..., :3], photometric="rgb", byteorder=">"), DEEP[..., :3]),
    "tiff 16 rgba": (tiff(DEEP, photometric="rgb", extrasamples=["unassalpha"], compression="zlib"), DEEP),
    "bigtiff": (tiff(RGB8, photometric="rgb", bigtiff=True), RGB8),
    "webp lossless": (saved(Image.fromarray(RGB8), "WEBP", lossless=True), RGB8),
    "webp alpha": (saved(Image.fromarray(RGBA8), "WEBP", lossless=True, exact=True), RGBA8),
    "bmp": (saved(Image.fromarray(RGB8), "BMP"), RGB8),
    "bmp gray": (saved(Image.fromarray(G8), "BMP"), G8[..., None]),
    "pgm": (pnm("P5", G8, 255), G8[..., None]),
    "ppm": (pnm("P6", RGB8, 255), RGB8),
    "pgm 4 bits": (pnm("P5", np.arange(16).reshape(2, 8), 15), np.arange(0, 256, 17, "u1").reshape(2, 8, 1)),
    "pbm": (b"P1\n3 2\n1 0 1\n0 1 0\n", np.array([[0, 255, 0], [255, 0, 255]], np.uint8)[..., None]),
    "pgm 16": (pnm("P5", DEEP[..., 0], 65535), DEEP[..., :1]),
    "ppm 16": (pnm("P6", DEEP[..., :3], 65535), DEEP[..., :3]),
}  # fmt: skip


def expected(pixels, color):
    """The rules of color, written again with floats and lists of channels."""
    channels = list(np.moveaxis(pixels, 2, 0))
    top = np.iinfo(pixels.dtype).max
    alpha = channels.pop() if len(channels) in (2, 4) else np.full(pixels.shape[:2], top)
    if color == "auto":
        return pixels
    if color.startswith("gray") and len(channels) == 3:
        weighted = sum(np.float64(c) * w for c, w in zip(channels, (19595, 38470, 7471), strict=True))
        channels = [np.floor(weighted / 65536 + 0.5)]
    elif color.startswith("rgb") and len(channels) == 1:
        channels *= 3
    return np.dstack(channels + [alpha] * (color in ("gray-alpha", "rgba"))).astype(pixels.dtype)


@pytest.mark.parametrize("color", [*CHANNELS, "auto"])
@pytest.mark.parametrize("name", EXACT)
def test_lossless_files_come_back_exactly(name, color):
    data, pixels = EXACT[name]
    found = decode(data, "a.png", color, max_pixels=LIMIT)
    want = expected(pixels, color)
    assert found.dtype == want.dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, want)
    header = read_header(data, "a.png", max_pixels=LIMIT)
    assert (header.height, header.width, header.channels) == pixels.shape
    assert header.dtype == str(pixels.dtype)


@pytest.mark.parametrize(
    ("mode", "options"), [("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True})]
)
def test_jpeg_is_what_pillow_decodes(mode, options):
    data = saved(Image.fromarray(PHOTO).convert(mode), "JPEG", quality=90, **options)
    found = decode(data, "a.jpg", "rgb", max_pixels=LIMIT)
    np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert (
        np.abs(found.astype(int) - np.asarray(Image.fromarray(PHOTO).convert(mode).convert("RGB"))).mean() < 6
    )


@pytest.mark.parametrize("mode", ["RGB", "YCbCr"])
def test_jpeg_inside_tiff(mode):
    data = saved(Image.fromarray(PHOTO).convert(mode), "TIFF", compression="jpeg", quality=95)
    found = decode(data, "a.tif", "rgb", max_pixels=LIMIT)
    assert np.abs(found.astype(int) - PHOTO).mean() < 6


def test_cmyk_tiff_as_pillow_converts_it():
    image = Image.fromarray(PHOTO).convert("CMYK")
    found = decode(saved(image, "TIFF"), "a.tif", "rgb", max_pixels=LIMIT)
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))


def test_luma_is_pillows_for_8_bits():
    colors = np.concatenate([rng.integers(0, 256, (300, 300, 3)), np.full((1, 300, 3), 255)]).astype(np.uint8)
    want = np.asarray(Image.fromarray(colors).convert("L"))
    np.testing.assert_array_equal(convert_color(colors, "gray")[..., 0], want)


def test_luma_of_16_bits_is_exact_at_the_ends():
    for value in (0, 1, 32767, 65534, 65535):
        gray = np.full((1, 1, 3), value, np.uint16)
        assert convert_color(gray, "gray")[0, 0, 0] == value


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "PNG16", "TIFF16"])
def test_exif_orientation(kind, orientation):
    image = Image.fromarray(PHOTO)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "PNG16":
        data = png16(DEEP[..., :3], chunk(b"eXIf", exif.tobytes()[6:]))
    elif kind == "TIFF16":
        data = tiff(DEEP[..., :3], photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    elif kind == "TIFF":
        data = saved(image, kind, tiffinfo={274: orientation})
    else:
        data = saved(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    found = decode(data, "a", "rgb", max_pixels=LIMIT)
    if kind.endswith("16"):  # Pillow turns any 8 bits; so turn the high and the low byte
        turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
        method = turn.get(orientation)
        halves = []
        for half in (DEEP[..., :3] >> 8, DEEP[..., :3] & 255):
            part = Image.fromarray(half.astype(np.uint8))
            halves.append(np.asarray(part if method is None else part.transpose(method)).astype(np.uint16))
        want = halves[0] << 8 | halves[1]
    else:
        want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    np.testing.assert_array_equal(found, want)
    header = read_header(data, "a", max_pixels=LIMIT)
    assert (header.height, header.width) == found.shape[:2]


def frames(kind):
    first, second = Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)
    options = {"lossless": True} if kind == "WEBP" else {}
    return saved(first, kind, save_all=True, append_images=[second], **options)


@pytest.mark.parametrize(
    ("kind", "note"), [("PNG", "animation of 2"), ("WEBP", "animation of 2"), ("TIFF", "2 pages")]
)
def test_first_of_many_frames_with_a_note(kind, note):
    data = frames(kind)
    assert note in read_header(data, "a", max_pixels=LIMIT).note
    np.testing.assert_array_equal(decode(data, "a", "rgb", max_pixels=LIMIT), PHOTO)


REFUSED = {
    "empty": (b"", "empty .0 bytes.*expected PNG"),
    "text": (b"hello, this is no image", "begins with b'hello, t'"),
    "float tiff": (tiff(G8.astype(np.float32)), "32 bits of sample format 3; expected up to 16 bits"),
    "jpeg2000 tiff": (tiff(RGB8, photometric="rgb", compression="jpeg2000"), "compression 34712"),
    "plain ycbcr tiff": (saved(Image.fromarray(RGB8).convert("YCbCr"), "TIFF"), "photometric 6"),
    "no size": (b"P5\n0 4\n255\n", "4 x 0 pixels"),
    "wrong magic": (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "not at the beginning"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name):
    data, message = REFUSED[name]
    for call in (
        lambda: read_header(data, "x/a", max_pixels=LIMIT),
        lambda: decode(data, "x/a", "rgb", max_pixels=LIMIT),
    ):
        with pytest.raises(ImageError, match=message) as caught:
            call()
        assert str(caught.value).startswith("x/a: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*EXACT, "jpeg"])
def test_truncated_files_are_refused(name):
    data = saved(Image.fromarray(PHOTO), "JPEG") if name == "jpeg" else EXACT[name][0]
    for keep in (0.2, 0.4, 0.6):
        with pytest.raises(ImageError, match=r"truncated|damaged|header|empty"):
            decode(data[: int(len(data) * keep)], "a", "rgb", max_pixels=LIMIT)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "jpeg"])
def test_tiff_that_lacks_one_byte(compression):
    data = tiff(PHOTO, photometric="rgb", compression=compression)
    assert decode(data, "a", "rgb", max_pixels=LIMIT).shape == PHOTO.shape
    with pytest.raises(ImageError, match=f"truncated at byte {len(data) - 1}; expected at least {len(data)}"):
        read_header(data[:-1], "a", max_pixels=LIMIT)


def test_odd_metadata_neither_warns_nor_hides_the_pixels():
    data = png16(DEEP[..., :3], chunk(b"acTL", bytes(8)), chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\0"))
    np.testing.assert_array_equal(decode(data, "a", "rgb", max_pixels=LIMIT), DEEP[..., :3])


def test_a_header_decodes_no_pixels(monkeypatch):
    calls = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: calls.append(self))
    for data in SAMPLES:
        read_header(data, "a", max_pixels=LIMIT)
    assert not calls


def bomb(width, height, depth=8):
    """A PNG that is honest about its size and tiny in storage."""
    body = zlib.compress(bytes(1000))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("data", [bomb(20000, 20000), bomb(20000, 20000, 16), b"P6\n20000 20000\n65535\n\0"])
def test_bombs_are_refused_by_their_header(data):
    for call in (
        lambda: read_header(data, "a", max_pixels=10**8),
        lambda: decode(data, "a", "rgb", max_pixels=10**8),
    ):
        with pytest.raises(ImageError, match="20000 x 20000 = 400000000 pixels; expected at most 100000000"):
            call()
    if data.startswith(b"\x89"):  # beyond Pillow's own limit: no warning, no error
        assert read_header(data, "a", max_pixels=10**9).width == 20000


def test_max_pixels_is_inclusive():
    data = saved(Image.fromarray(PHOTO), "PNG")
    pixels = PHOTO.shape[0] * PHOTO.shape[1]
    assert decode(data, "a", "rgb", max_pixels=pixels).shape == PHOTO.shape
    with pytest.raises(ImageError, match="at most"):
        decode(data, "a", "rgb", max_pixels=pixels - 1)


def test_larger_than_pillows_limit_decodes_without_a_warning(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name in ("png rgb", "tiff rgb lzw", "bmp", "ppm"):
        data, pixels = EXACT[name]
        np.testing.assert_array_equal(decode(data, "a", "rgb", max_pixels=LIMIT), pixels)


def test_tiff_with_a_larger_jpeg_inside():
    small = tiff(PHOTO[:16, :16], photometric="rgb", compression="jpeg")
    large = imagecodecs.jpeg_encode(np.zeros((3000, 3000, 3), np.uint8))
    with tifffile.TiffFile(io.BytesIO(small)) as file:
        offsets, counts = (file.pages[0].tags[code].valueoffset for code in (273, 279))
    lying = bytearray(small + large)
    lying[offsets : offsets + 4] = struct.pack("<I", len(small))
    lying[counts : counts + 4] = struct.pack("<I", len(large))
    with pytest.raises(ImageError, match="JPEG of 3000 x 3000 inside"):
        decode(bytes(lying), "a", "rgb", max_pixels=LIMIT)


SAMPLES = [data for data, _ in EXACT.values()] + [
    saved(Image.fromarray(PHOTO), "JPEG", exif=Image.Exif()),
    saved(Image.fromarray(PHOTO).convert("CMYK"), "TIFF"),
    saved(Image.fromarray(PHOTO), "TIFF", compression="jpeg"),
    frames("PNG"),
    frames("TIFF"),
    saved(Image.fromarray(PHOTO), "GIF", transparency=3),
    saved(Image.fromarray(RGBA8), "AVIF"),
    saved(Image.fromarray(RGBA8), "ICO", bitmap_format="bmp", sizes=[(16, 16), (32, 32)]),
    saved(Image.fromarray(PHOTO), "JPEG2000"),
    saved(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
    saved(Image.fromarray(PHOTO), "MPO", save_all=True, append_images=[Image.fromarray(PHOTO)]),
    imagecodecs.jpeg2k_encode(DEEP[..., :3], level=0),
    tiff(RGBA8, photometric="rgb", extrasamples=["assocalpha"], compression="zlib"),
    tiff(PHOTO, photometric="cielab", planarconfig="contig"),
    tiff(G8.view(np.int8)),
    write_png(PHOTO, 2, interlaced=True, clear=bytes(6)),
    write_png(G8 % 4, 3, 2, interlaced=True, palette=np.arange(12), clear=b"\0\1"),
    pnm("P5", DEEP[..., 0] >> 4, 4095),
]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SAMPLES), st.data())
def test_a_beginning_gives_the_header_of_the_whole_or_asks_for_it(data, draw):
    length = draw.draw(st.integers(1, len(data)))
    whole = read_header(data, "a", max_pixels=LIMIT)
    with suppress(IncompleteHeader):
        assert read_header(data[:length], "a", max_pixels=LIMIT, whole=False) == whole


def only_image_errors(data):
    for name, body in read_tags(data).chunks:
        assert len(name) == 4
        assert body
    try:
        header = read_header(data, "a", max_pixels=LIMIT)
    except ImageError:
        header = None
    try:
        pixels = decode(data, "a", "auto", max_pixels=LIMIT)
    except ImageError:
        return
    assert header is not None
    assert pixels.shape == (header.height, header.width, header.channels)
    assert pixels.dtype == header.dtype


@settings(max_examples=1500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_files_raise_nothing_else(data, draw):
    damaged = bytearray(data)
    edges = st.integers(0, min(len(data), 400) - 1) | st.integers(0, len(data) - 1)
    for _ in range(draw.draw(st.integers(1, 4))):
        damaged[draw.draw(edges)] = draw.draw(st.sampled_from([0, 1, 255, 128]) | st.integers(0, 255))
    only_image_errors(bytes(damaged[: draw.draw(st.just(len(data)) | st.integers(0, len(data)))]))


MAGICS = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"II*\0\x08\0\0\0",
    b"MM\0+",
    b"RIFFabcdWEBPVP8X",
    b"BM",
    b"P6 ",
    b"GIF89a",
    b"\0\0\1\0\1\0",
    b"\0\0\0\x1cftypavif",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  \r\n\x87\n",
]


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.sampled_from(MAGICS), st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(magic, tail):
    only_image_errors(magic + tail)
