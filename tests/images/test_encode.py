"""Encoding: lossless, deterministic, and read back by decoders that are not ours."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dkmeans.images.decode import decode
from dkmeans.images.encode import compact, encode_indexed_png, encode_png

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


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 256),
    st.sampled_from(list(COLORS)),
    st.integers(0, 99),
    st.sampled_from(["u1", "u2", "i8"]),
)
def test_indexed_png_is_its_palette_at_its_codes(k, channels, seed, dtype):
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (k, channels), dtype=np.uint8)  # duplicates too
    codes = rng.integers(0, k, (9, 11)).astype(dtype)
    data = encode_indexed_png(codes, palette)
    np.testing.assert_array_equal(decode(data, "a", COLORS[channels], max_pixels=99), palette[codes])
    bits, kind = struct.unpack_from("BB", data, 24)
    assert (bits, kind) == (next(bits for bits in (1, 2, 4, 8) if 2**bits >= k), 3)
    image = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(np.asarray(image), codes)
    rgb = palette[:, :3] if channels > 1 else np.repeat(palette, 3, axis=1)
    assert image.palette.palette == rgb.tobytes()  # order and length kept
    if channels == 4:
        length = data.index(b"tRNS")
        assert data[length + 4 : length + 4 + k] == palette[:, 3].tobytes()
    assert data == encode_indexed_png(codes, palette)


U8 = np.uint8


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 2), U8), "shape"),
        (np.zeros((2, 2, 2), U8), "shape"),
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
        (np.zeros((2, 2), int), np.zeros((2, 2), U8), "palette uint8"),
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
    luma = colors[:, :3] @ [0.299, 0.587, 0.114] if channels > 1 else colors[:, 0]
    assert (np.diff(luma.astype(float)) >= 0).all()


def test_the_smaller_of_two_files_is_taken():
    y, x = np.mgrid[:64, :64]
    for codes, k in (((x + y) // 16, 8), (np.random.default_rng(0).integers(0, 200, (64, 64)), 200)):
        palette = np.arange(3 * k, dtype=np.uint8).reshape(k, 3)
        image = Image.fromarray(codes.astype(np.uint8)).copy()
        image.putpalette(palette.tobytes())
        sizes = []
        for options in ({}, {"compress_type": 3}):
            file = io.BytesIO()
            image.save(file, format="PNG", **options)
            sizes.append(len(file.getvalue()))
        assert sizes[0] != sizes[1]
        assert len(encode_indexed_png(codes, palette)) == min(sizes)
