"""Rows of a large image compressed in pieces: one stream that any decoder reads, the same on all threads."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans.compute.threads import sharing
from dkmeans.images import deflating
from dkmeans.images.deflating import compressed, deflated
from dkmeans.images.scanlines import FILTERS, filtered
from dkmeans.kernels.deflate import last_block


def raw_streams():
    """Deflate streams with their data: blocks that are stored, of fixed codes, of codes of their own."""
    texts = st.one_of(
        st.binary(max_size=400),
        st.builds(
            lambda part, times: part * times, st.binary(min_size=1, max_size=9), st.integers(1, 20_000)
        ),
        st.builds(
            lambda seed, n, top: np.random.default_rng(seed).integers(0, top, n, np.uint8).tobytes(),
            st.integers(0, 99),
            st.integers(0, 200_000),
            st.integers(1, 256),
        ),
    )

    def make(data, level, strategy):
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
        return data, packer.compress(data) + packer.flush()

    ways = [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE]
    return st.builds(make, texts, st.integers(0, 9), st.sampled_from(ways))


@settings(max_examples=150, deadline=None)
@given(st.lists(raw_streams(), min_size=1, max_size=4))
def test_streams_are_joined(pairs):
    *before, (_, last) = pairs
    joined = b"".join(deflating._open_ended(stream) for _, stream in before) + last
    assert zlib.decompress(joined, -15) == b"".join(data for data, _ in pairs)


def test_the_last_block_of_a_stream_made_by_hand():
    """Two stored blocks, b"a" and b"", and one of fixed codes with nothing but its end: 3 + 7 bits."""
    stored = b"\x00\x01\x00\xfe\xffa" + b"\x00\x00\x00\xff\xff"
    stream = stored + b"\x03\x00"
    assert zlib.decompress(stream, -15) == b"a"
    assert last_block(stream) == (8 * len(stored), 8 * len(stored) + 10)


def pixels(height, width):
    """Codes as of a photo: smooth, with some noise."""
    rng = np.random.default_rng(5)
    wave = np.add.outer(np.arange(height) // 40, np.arange(width) // 60) % 60
    return (wave + rng.integers(0, 3, (height, width))).astype(np.uint8)


@pytest.mark.parametrize("name", ["none", "sub", "bits"])
def test_pieces_are_one_stream_on_any_number_of_threads(name):
    rows = pixels(2500, 6000)  # 14.3 MiB, in three pieces
    choose = FILTERS[name](rows[:50], 1)
    whole = filtered(rows, 1, choose).tobytes()
    found = []
    for n_threads in (1, 2, 5):
        with sharing(n_threads):
            found.append(compressed(rows, 1, choose, 6))
    assert found[0] == found[1] == found[2]
    assert zlib.decompress(found[0]) == whole  # which compares the checksum too
    assert len(found[0]) <= 1.003 * len(deflated(np.frombuffer(whole, np.uint8), 6))


def test_a_small_image_is_one_piece():
    rows = pixels(300, 400)
    choose = FILTERS["bits"](rows, 1)
    assert compressed(rows, 1, choose, 6) == deflated(filtered(rows, 1, choose), 6)


def test_rows_longer_than_a_piece_are_pieces():
    rows = np.tile(pixels(3, 6000), (1, 1200))  # of 6.9 MiB each
    assert zlib.decompress(compressed(rows, 1, FILTERS["none"](rows, 1), 1)) == (
        np.insert(rows, 0, 0, axis=1).tobytes()
    )


def test_rows_are_filtered_alike_in_parts():
    rows = pixels(90, 50)
    for name, rule in FILTERS.items():
        choose = rule(rows, 1)
        parts = [filtered(rows, 1, choose, start, start + 30) for start in (0, 30, 60)]
        assert np.array_equal(np.concatenate(parts), filtered(rows, 1, choose)), name
