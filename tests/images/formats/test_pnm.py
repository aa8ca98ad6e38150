"""PBM, PGM and PPM against values written as text or bytes by hand."""

import numpy as np
import pytest

from dkmeans.errors import ImageError
from dkmeans.images.decode import decode, read_header

rng = np.random.default_rng(0)


def read(data):
    return decode(data, "a.pgm", "auto", max_pixels=10**6)


def written(kind, values, largest):
    head = f"P{kind}\n# 1 2 3\n{values.shape[1]} {values.shape[0]}\n{largest}\n".encode()
    if kind in (2, 3):
        return head + b" # a comment\n".join(b"%d" % value for value in values.reshape(-1).tolist())
    return head + values.astype(">u2" if largest > 255 else "u1").tobytes()


@pytest.mark.parametrize("largest", [1, 2, 15, 100, 255, 256, 1023, 4095, 65534, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_any_largest_value_fills_the_range(kind, largest):
    values = rng.integers(0, largest + 1, (4, 5, 1 if kind in (2, 5) else 3))
    values[0, 0], values[0, 1] = 0, largest
    top = 255 if largest <= 255 else 65535
    found = read(written(kind, values, largest))
    assert found.dtype == (np.uint8 if top == 255 else np.uint16)
    assert found.shape == values.shape
    assert np.abs(found - values * top / largest).max() <= 0.5
    assert (found[0, 0].max(), found[0, 1].min()) == (0, top)
    assert read_header(written(kind, values, largest), "a", max_pixels=100).channels == values.shape[2]


@pytest.mark.parametrize("width", [1, 7, 8, 9, 17])
def test_bits_are_black_where_they_are_1(width):
    bits = rng.integers(0, 2, (3, width))
    packed = b"P4 %d 3\n" % width + np.packbits(bits.astype(np.uint8), axis=1).tobytes()
    plain = b"P1 %d 3\n" % width + "".join(map(str, bits.reshape(-1))).encode()
    for data in (packed, plain):
        np.testing.assert_array_equal(read(data)[..., 0], np.where(bits == 1, 0, 255))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"P5 2 2 255\n123", "3 values; expected 4"),
        (b"P5 2 2 65535\n1234567", "3 values; expected 4"),
        (b"P2 2 2 9\n1 2 3", "3 values; expected 4"),
        (b"P4 9 2\n123", "1 rows; expected 2"),
        (b"P2 2 1 9\n1 -2", "value -2; expected 0 to 9"),
        (b"P2 2 1 9\n1 10", "value 10; expected 0 to 9"),
        (b"P1 2 1\n1 2", "value 2; expected 0 to 1"),
        (b"P2 2 1 0\n0 0", "up to 0"),
        (b"P5 2 1 65536\n0000", "up to 65536"),
        (b"P5 2\n", "header is broken"),
    ],
)
def test_refused(data, message):
    with pytest.raises(ImageError, match=message):
        read(data)
