"""Encoding: lossless, deterministic, and read back by decoders that are not ours."""

import io
import struct
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dkmeans.errors import UsageError
from dkmeans.images.decode import decode
from dkmeans.images.effort import check_effort
from dkmeans.images.encode import compact, encode_indexed_png, encode_png
from dkmeans.images.tags import NO_TAGS, ColorTags

COLORS = {1: "gray", 3: "rgb", 4: "rgba"}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2"])
@pytest.mark.parametrize("channels", COLORS)
def test_png_is_lossless(channels, dtype):
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top, (7, 5, channels), endpoint=True).astype(dtype)
    for view in (pixels, pixels[::-1, ::2], np.asfortranarray(pixels)):
        data = encode_png(view)
        assert data == encode_png(view.copy())
        assert data[24] == 8 * pixels.itemsize
        np.testing.assert_array_equal(imagecodecs.png_decode(data).reshape(view.shape), view)
        np.testing.assert_array_equal(decode(data, "a", COLORS[channels], max_pixels=99), view)


def chunks_of(data):
    """Names and bodies, after their checksums."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(name + body)
        found.append((name, body))
        at += 12 + size
    return found


def header_of(data):
    """Width, height, bits, color type."""
    return struct.unpack(">IIBB", dict(chunks_of(data))[b"IHDR"][:10])


def unfiltered(lines, step):
    """Bytes of rows, by the words of the standard."""
    out = np.zeros((len(lines), lines.shape[1] - 1 + step), int)  # `step` zeros on the left
    above = np.zeros_like(out[0])
    for line, row in zip(lines.astype(int), out, strict=True):
        for x, value in enumerate(line[1:], step):
            left, up, corner = row[x - step], above[x], above[x - step]
            paeth = min((left, up, corner), key=lambda guess: abs(left + up - corner - guess))
            row[x] = (value + (0, left, up, (left + up) // 2, paeth)[line[0]]) % 256
        above = row
    return out[:, step:].astype(np.uint8)


def read_png(data):
    """Pixels of 8 bits as RGBA, (height, width, 4)."""
    chunks = dict(chunks_of(data))
    width, height, bits, kind = header_of(data)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    stream = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8)
    rows = unfiltered(stream.reshape(height, -1), max(1, samples * bits // 8))
    digits = np.unpackbits(rows, axis=1)[:, : width * samples * bits].reshape(height, width, samples, bits)
    values = digits @ (1 << np.arange(bits)[::-1])
    alpha = np.full((height, width, 1), 255)
    trns = chunks.get(b"tRNS", b"")
    if kind == 3:
        colors = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
        clear = np.frombuffer(trns.ljust(len(colors), b"\xff"), np.uint8)
        assert len(trns) <= len(colors)
        return np.concatenate([colors, clear[:, None]], axis=1)[values[..., 0]]
    assert b"PLTE" not in chunks
    if trns:
        assert kind == 0
        alpha = np.where(values == struct.unpack(">H", trns)[0], 0, 255)
    if kind in (4, 6):
        alpha = values[..., -1:]
    rgb = np.broadcast_to(values[..., : 3 if samples > 2 else 1] * 255 // (2**bits - 1), (height, width, 3))
    return np.concatenate([rgb, alpha], axis=2).astype(np.uint8)


def as_rgba(pixels):
    """Colors of 1 to 4 channels as RGBA."""
    channels = pixels.shape[-1]
    rgb = pixels if channels > 2 else np.repeat(pixels[..., :1], 3, axis=-1)
    alpha = pixels[..., -1:] if channels in (2, 4) else np.full_like(pixels[..., :1], 255)
    return np.concatenate([rgb[..., :3], alpha], axis=-1)


def random_palette(rng, k, channels):
    """Colors, duplicates among them; gray levels of few bits and alpha of few values as often as any."""
    palette = rng.integers(0, 256, (k, channels), dtype=np.uint8)
    if rng.random() < 0.5:
        palette[:] = palette // rng.choice([1, 17, 85, 255]) * rng.choice([17, 85, 255])
    if channels > 2 and rng.random() < 0.3:
        palette[:, 1] = palette[:, 2] = palette[:, 0]
    if channels in (2, 4):
        palette[:, -1] = rng.choice(rng.choice([0, 7, 128, 255, 255], 2), k)
    return palette


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(1, 256),
    st.integers(1, 4),
    st.integers(0, 10**6),
    st.integers(0, 6),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.sampled_from(["u1", "u2", "i8"]),
)
def test_indexed_png_is_its_palette_at_its_codes(k, channels, seed, effort, size, dtype):
    rng = np.random.default_rng(seed)
    palette = random_palette(rng, k, channels)
    codes = rng.integers(0, k, size).astype(dtype)
    data = encode_indexed_png(codes, palette, effort=effort)
    expected = as_rgba(palette)[codes]
    np.testing.assert_array_equal(read_png(data), expected)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), expected)
    assert data == encode_indexed_png(codes.copy(), palette, effort=effort)
    _, _, bits, kind = header_of(data)
    n_colors = len(np.unique(expected.reshape(-1, 4), axis=0))
    if kind == 3:
        chunks = dict(chunks_of(data))
        n_translucent = len(np.unique(expected[expected[..., 3] < 255], axis=0))
        assert len(chunks[b"PLTE"]) == 3 * n_colors
        assert len(chunks.get(b"tRNS", b"")) == n_translucent
        assert (b"tRNS" in chunks) == (n_translucent > 0)
        assert bits == next(bits for bits in (1, 2, 4, 8) if 2**bits >= n_colors)


GRAYS = {1: [0, 255], 2: [0, 85, 170, 255], 4: range(0, 256, 17), 8: range(256)}


@pytest.mark.parametrize("bits", GRAYS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_gray_is_gray_of_its_bits(bits, channels):
    levels = np.array(GRAYS[bits], np.uint8)[:, None]
    palette = as_rgba(levels)[:, [[0], [0, 3], [0, 1, 2], [0, 1, 2, 3]][channels - 1]]
    codes = np.add.outer(np.arange(50), np.arange(70)) % len(palette)
    data = encode_indexed_png(codes, palette)
    assert header_of(data) == (70, 50, bits, 0)
    np.testing.assert_array_equal(read_png(data), as_rgba(palette)[codes])


def test_one_clear_level_of_gray_needs_two_bytes_and_no_palette():
    palette = np.array([[0, 255], [170, 255], [255, 255], [85, 0]], np.uint8)
    codes = np.add.outer(np.arange(30), np.arange(40)) % 4
    data = encode_indexed_png(codes, palette)
    assert header_of(data)[2:] == (2, 0)
    assert dict(chunks_of(data))[b"tRNS"] == b"\0\1"
    palette[1, 0] = 85  # the same level also opaque: one number cannot tell them apart
    np.testing.assert_array_equal(read_png(encode_indexed_png(codes, palette)), as_rgba(palette)[codes])


def test_many_colors_on_few_pixels_need_no_palette():
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    codes = np.arange(256).reshape(16, 16)
    data = encode_indexed_png(codes, palette)
    assert header_of(data)[3] == 2
    np.testing.assert_array_equal(read_png(data), as_rgba(palette)[codes])


def old_file(codes, palette):
    """What Pillow makes of codes in the order of luma, by the better of two ways of zlib."""
    codes, palette = compact(codes, palette)
    image = Image.fromarray(codes).copy()
    image.putpalette(as_rgba(palette)[:, :3].tobytes())
    options = {"transparency": as_rgba(palette)[:, 3].tobytes()} if palette.shape[1] in (2, 4) else {}
    files = []
    for strategy in ({}, {"compress_type": 3}):
        file = io.BytesIO()
        image.save(file, format="PNG", **options, **strategy)
        files.append(file.getvalue())
    return min(files, key=len)


def made_images():
    """Codes and palettes: noise, ramps, stripes, blobs, drawings, of few and of many colors."""
    y, x = np.mgrid[:90, :120]
    rng = np.random.default_rng(0)
    smooth = np.sin(x / 17) + np.cos(y / 11) + np.sin((x + 2 * y) / 41)
    fields = {
        "flat": np.zeros_like(x),
        "ramp": x + y,
        "stripes": x // 7,
        "squares": x // 9 * 31 + y // 9 * 17,
        "smooth": np.interp(smooth, (smooth.min(), smooth.max()), (0, 255)).astype(int),
        "noise": rng.integers(0, 256, x.shape),
        "grain": np.interp(smooth + rng.normal(0, 0.1, x.shape), (-3, 3), (0, 255)).astype(int),
    }
    for k in (2, 16, 17, 256):
        for channels in (2, 3):
            palette = rng.integers(0, 256, (k, channels), dtype=np.uint8)
            for name, field in fields.items():
                yield f"{name}, {k} colors, {channels} channels", field % k, palette


@pytest.mark.parametrize("effort", [4, 6])
def test_no_file_is_larger_than_by_zlib(effort):
    ours = theirs = 0
    for name, codes, palette in made_images():
        data, old = encode_indexed_png(codes, palette, effort=effort), old_file(codes, palette)
        assert len(data) <= len(old), name
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), as_rgba(palette)[codes])
        ours, theirs = ours + len(data), theirs + len(old)
    assert ours < 0.93 * theirs


def test_each_effort_has_an_effect():
    y, x = np.mgrid[:250, :300]
    rng = np.random.default_rng(0)
    sizes = np.zeros(7, int)
    for noise in (0.01, 0.1):
        waves = np.sin(x / 37) + np.cos(y / 21) + rng.normal(0, noise, x.shape)
        codes = np.interp(waves, (-2.5, 2.5), (0, 199)).astype(int)
        palette = rng.integers(0, 256, (200, 3), dtype=np.uint8)  # so the luma tells nothing of neighbors
        sizes += [len(encode_indexed_png(codes, palette, effort=effort)) for effort in range(7)]
    assert (np.diff(sizes) < 0).all(), sizes


@pytest.mark.parametrize("effort", [7, 8, 9])
def test_oxipng_keeps_the_pixels_and_the_chunks(effort):
    pytest.importorskip("oxipng")
    palette = np.random.default_rng(0).integers(0, 256, (40, 4), dtype=np.uint8)
    codes = np.add.outer(np.arange(80) ** 2 // 50, np.arange(90)) % 40
    data = encode_indexed_png(codes, palette, GAMMA, effort=effort)
    assert data == encode_indexed_png(codes, palette, GAMMA, effort=effort)
    np.testing.assert_array_equal(read_png(data), as_rgba(palette)[codes])
    before = encode_indexed_png(codes, palette, GAMMA, effort=6)
    assert len(data) <= len(before)
    without_pixels = [[chunk for chunk in chunks_of(file) if chunk[0] != b"IDAT"] for file in (data, before)]
    assert without_pixels[0] == without_pixels[1]


def test_an_optimizer_that_is_missing_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "oxipng", None)
    for effort in (7, 8, 9):
        with pytest.raises(UsageError, match=r"--effort . needs pyoxipng.*pip install 'dkmeans\[oxipng\]'"):
            check_effort(effort)
    check_effort(6)


# Tags


def profile(space):
    """An iCCP chunk whose profile has no more than a header."""
    header = bytes(16) + space + bytes(108)
    return (b"iCCP", b"made\0\0" + zlib.compress(header))


GAMMA = ColorTags(((b"gAMA", struct.pack(">I", 45455)), (b"pHYs", struct.pack(">IIB", 11811, 11811, 1))))
RGB_TAGS = ColorTags((profile(b"RGB "), *GAMMA.chunks))
GRAY_TAGS = ColorTags((profile(b"GRAY"), *GAMMA.chunks))
COLORED = np.array([[250, 20, 30, 255], [9, 9, 9, 4]], np.uint8)
LEVELS = np.array([[0, 0, 0, 255], [255, 255, 255, 255]], np.uint8)
TRANSLUCENT = np.array([[40, 40, 40, 100], [255, 255, 255, 255]], np.uint8)


@pytest.mark.parametrize(
    ("palette", "tags", "kinds", "names"),
    [
        (COLORED, GAMMA, {3}, "gAMA pHYs PLTE tRNS"),
        (COLORED, RGB_TAGS, {3}, "iCCP gAMA pHYs PLTE tRNS"),
        (COLORED, GRAY_TAGS, {3}, "gAMA pHYs PLTE tRNS"),
        (LEVELS, GAMMA, {0}, "gAMA pHYs"),
        (LEVELS, RGB_TAGS, {3}, "iCCP gAMA pHYs PLTE"),
        (LEVELS, GRAY_TAGS, {0}, "iCCP gAMA pHYs"),
        (TRANSLUCENT, GRAY_TAGS, {4}, "iCCP gAMA pHYs"),
    ],
)
def test_tags_of_indexed_files(palette, tags, kinds, names):
    codes = np.add.outer(np.arange(60), np.arange(60)) // 5 % 2
    data = encode_indexed_png(codes, palette, tags)
    chunks = chunks_of(data)
    assert header_of(data)[3] in kinds
    assert [name.decode() for name, _ in chunks] == ["IHDR", *names.split(), "IDAT", "IEND"]
    assert set(chunks) >= {chunk for chunk in tags.chunks if chunk[0].decode() in names.split()}
    np.testing.assert_array_equal(read_png(data), palette[codes])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("tags", [NO_TAGS, GAMMA, RGB_TAGS, GRAY_TAGS])
@pytest.mark.parametrize("gray", [True, False])
def test_tags_of_other_files(channels, tags, gray):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, channels), dtype=np.uint8)
    if gray and channels > 2:
        pixels[..., 1] = pixels[..., 2] = pixels[..., 0]
    data = encode_png(pixels, tags)
    np.testing.assert_array_equal(read_png(data), as_rgba(pixels))
    kept = tags.chunks
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    if tags is RGB_TAGS:
        kind |= 2
    if tags is GRAY_TAGS and channels > 2:
        kind, kept = (kind & 4, kept) if gray else (kind, GAMMA.chunks)
    assert header_of(data)[3] == kind
    assert chunks_of(data)[1:-2] == list(kept)


U8 = np.uint8


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 2), U8), "shape"),
        (np.zeros((2, 2, 5), U8), "shape"),
        (np.zeros((0, 2, 3), U8), "shape"),
        (np.zeros((2, 2, 3), np.float32), "float32; expected uint8 or uint16"),
    ],
)
def test_png_contract(pixels, message):
    with pytest.raises(ValueError, match=message):
        encode_png(pixels)


@pytest.mark.parametrize(
    ("codes", "palette", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((257, 3), U8), "257 colors; expected 1 to 256"),
        (np.zeros((2, 2), int), np.zeros((0, 3), U8), "0 colors"),
        (np.zeros((2, 2), int), np.zeros((2, 5), U8), "palette uint8"),
        (np.zeros((2, 2), int), np.zeros((2, 3), np.uint16), "palette uint16"),
        (np.full((2, 2), 2), np.zeros((2, 3), U8), "codes 2 to 2; expected 0 to 1"),
        (np.full((2, 2), -1), np.zeros((2, 3), U8), "codes -1"),
        (np.zeros((2, 2)), np.zeros((2, 3), U8), "codes float64"),
        (np.zeros(4, int), np.zeros((2, 3), U8), "codes int64"),
    ],
)
def test_indexed_png_contract(codes, palette, message):
    with pytest.raises(ValueError, match=message):
        encode_indexed_png(codes, palette)


@pytest.mark.parametrize("channels", COLORS)
def test_compact_keeps_the_pixels(channels):
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (40, channels), dtype=np.uint8)
    palette[7] = palette[3]
    codes = rng.choice([0, 3, 7, 12, 30, 39], (9, 11))
    found, colors = compact(codes, palette)
    np.testing.assert_array_equal(colors[found], palette[codes])
    assert len(colors) == 5  # those that occur, each once
    assert found.dtype == np.uint8
    luma = colors[:, :3] @ [299, 587, 114] if channels > 1 else colors[:, 0].astype(int)
    assert (np.diff(luma) >= 0).all()
