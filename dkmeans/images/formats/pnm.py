"""PBM, PGM and PPM, binary and plain, of any largest value."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.images.formats.found import Found, Refused

__all__ = ["open_pnm"]

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P(?:([14])%b(\d+)%b(\d+)|([2356])%b(\d+)%b(\d+)%b(\d+))\s" % (*[_GAP] * 5,))
_COMMENT = re.compile(rb"#[^\r\n]*")


def open_pnm(data: bytes) -> Found:
    """Read the header: values up to 255 become uint8, and beyond that uint16, scaled to its range."""
    header = _HEADER.match(data)
    if header is None:
        raise Refused("the PNM header is broken; expected width, height and largest value")
    bit, bit_width, bit_height, kind, *numbers = header.groups()
    width, height = (int(number) for number in (numbers[:2] if kind else (bit_width, bit_height)))
    largest = int(numbers[2]) if kind else 1
    if not 1 <= largest <= 65535:
        raise Refused(f"PNM with values up to {largest}; expected a largest value of 1 to 65535")
    shape = height, width, 3 if kind in (b"3", b"6") else 1

    def load() -> NDArray[Any]:
        body = memoryview(data)[header.end() :]
        if (kind or bit) in (b"1", b"2", b"3"):
            values = _plain(bytes(body), shape, largest, bits=kind is None)
        else:
            values = _packed(body, shape) if kind is None else _binary(body, shape, largest)
        if kind is None:
            values = 1 - values  # 1 is black
        return _scaled(values, largest)

    return Found(height, width, shape[2], "uint8" if largest <= 255 else "uint16", load)


def _binary(body: memoryview, shape: tuple[int, int, int], largest: int) -> NDArray[Any]:
    dtype = np.dtype("u1" if largest <= 255 else ">u2")
    _expect(len(body) // dtype.itemsize, int(np.prod(shape)))
    return np.frombuffer(body, dtype, int(np.prod(shape))).reshape(shape)


def _packed(body: memoryview, shape: tuple[int, int, int]) -> NDArray[Any]:
    height, width, _ = shape
    row = -(-width // 8)
    _expect(len(body) // row, height, "rows")
    bits = np.unpackbits(np.frombuffer(body, np.uint8, height * row).reshape(height, row), axis=1)
    return bits[:, :width].reshape(shape)


def _plain(body: bytes, shape: tuple[int, int, int], largest: int, *, bits: bool) -> NDArray[Any]:
    count = int(np.prod(shape))
    body = _COMMENT.sub(b" ", body)
    # The digits of bits need no space between them.
    words = list(b"".join(body.split()).decode("ascii")) if bits else body.split()
    _expect(len(words), count)
    values = np.array(words[:count], dtype=np.int64)
    for value in (values.min(), values.max()):
        if not 0 <= value <= largest:
            raise Refused(f"PNM with the value {value}; expected 0 to {largest}")
    return values.reshape(shape)


def _expect(found: int, count: int, what: str = "values") -> None:
    if found < count:
        raise Refused(f"PNM truncated: {found} {what}; expected {count}")


def _scaled(values: NDArray[Any], largest: int) -> NDArray[Any]:
    """Values 0 to `largest` on the whole range of the type; those beyond it, which are wrong, are cut."""
    dtype = np.uint8 if largest <= 255 else np.uint16
    top = np.iinfo(dtype).max
    if largest == top:
        return values.astype(dtype)
    table = np.rint(np.minimum(np.arange(top + 1), largest) / largest * top).astype(dtype)
    scaled: NDArray[Any] = np.take(table, values)
    return scaled
