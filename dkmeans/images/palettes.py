"""Files of colors to an array of them: images, GIMP palettes, Adobe color tables, texts of hex colors.

What a file is, its content tells; but a color table has no mark and is known by its name.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from dkmeans.config.colors import parse_color
from dkmeans.errors import ImageError, InputError
from dkmeans.images.decode import decode

__all__ = ["PNG_COLORS", "checked", "colors_of", "parse_palette"]

PNG_COLORS = 256
"""Colors of an indexed PNG."""
_PNG = b"\x89PNG\r\n\x1a\n"
_GIMP = b"GIMP Palette"
_TABLE = 768
"""Bytes of a color table, RGB; four more tell how many colors it has, and which of them is clear."""
_NO_COLOR = 0xFFFF
_MOST_PIXELS = 1 << 24
"""Pixels of an image whose colors are taken."""
_COMMENT = re.compile(r"(^|\s)(;|//|#(?=\s|$)).*")


def parse_palette(data: bytes, name: str) -> NDArray[np.uint8]:
    """Read the colors of a file, each once, in the order of the file.

    Parameters
    ----------
    data : bytes
        An image: the palette of an indexed PNG, unused colors too, else the colors that occur, in order of
        red, green, blue. A GIMP palette (.gpl). An Adobe color table (.act). Or a text of colors such as
        #f80, #ff8800 or #ff880080, with spaces, commas or lines between them, and comments behind ``;``,
        ``//``, or ``#`` and a space.
    name : str
        Of the file, for messages.

    Returns
    -------
    ndarray of shape (n_colors, 3 | 4), uint8
        RGB, or RGBA where a color is not opaque; 1 to 256 colors.

    Raises
    ------
    InputError
        If the file is none of these, damaged, or holds no color or more than 256.
    """
    try:
        colors = _colors(data, name)
    except ValueError as error:
        raise InputError(f"{name}: {error}. Fix the palette, or pass another.") from None
    return checked(colors, name)


def checked(colors: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Make a palette of colors: each once, in their order, and without alpha if all are opaque.

    Parameters
    ----------
    colors : ndarray of shape (n, 3 | 4), uint8
    name : str
        Where they are from, for messages.

    Returns
    -------
    ndarray of shape (n_colors, 3 | 4), uint8

    Raises
    ------
    InputError
        If there is none, or more than 256.
    """
    _, first = np.unique(colors, axis=0, return_index=True)
    found = colors[np.sort(first)]
    if not 1 <= len(found) <= PNG_COLORS:
        raise InputError(
            f"{name}: found {len(found)} colors, expected a palette of 1 to {PNG_COLORS}, as an indexed PNG "
            f"holds them. Choose some, or let dkmeans quantize --k {PNG_COLORS} make an image of so many."
        )
    is_opaque = found.shape[1] == 3 or bool((found[:, 3] == 255).all())
    return np.ascontiguousarray(found[:, :3] if is_opaque else found)


def colors_of(codes: Iterable[str]) -> NDArray[np.uint8]:
    """Give colors such as #rrggbb and #rrggbbaa as an array of shape (n_colors, 4), RGBA, uint8."""
    values = bytes.fromhex("".join(code[1:].ljust(8, "f") for code in codes))
    return np.frombuffer(values, np.uint8).reshape(-1, 4)


def _colors(data: bytes, name: str) -> NDArray[np.uint8]:
    """All colors of a file, RGB or RGBA; a `ValueError` if it is of no known kind."""
    if data.startswith(_GIMP):
        return _of_gimp(_text(data) or "")
    if name.lower().endswith(".act"):
        return _of_table(data)
    try:
        pixels = decode(data, name, "rgba", max_pixels=_MOST_PIXELS)
    except ImageError as error:
        text = _text(data)
        if text:
            return colors_of(_codes(text))
        others = "a GIMP palette (.gpl), a color table (.act), or lines such as #ff8800"
        raise InputError(f"{error} Palettes are images, or {others}.") from None
    if pixels.dtype != np.uint8:
        raise ValueError("found an image of 16 bits a channel, expected one of 8")
    return _plte(data) if data.startswith(_PNG) else _occurring(pixels)


def _plte(data: bytes) -> NDArray[np.uint8]:
    """The palette of an indexed PNG that can be decoded; of another PNG the colors that occur."""
    chunks = dict(_chunks(data))
    if b"PLTE" not in chunks or data[25] != 3:  # color type 3: the pixels are indices
        return _occurring(decode(data, "", "rgba", max_pixels=_MOST_PIXELS))
    rgb = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    alpha = np.full((len(rgb), 1), 255, np.uint8)
    given = np.frombuffer(chunks.get(b"tRNS", b""), np.uint8)[: len(rgb)]
    alpha[: len(given), 0] = given
    return np.concatenate([rgb, alpha], axis=1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk of a PNG before its pixels."""
    at = len(_PNG)
    while data[at + 4 : at + 8] != b"IDAT":
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += length + 12


def _occurring(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colors of pixels of shape (height, width, 4), by red, green, blue, alpha; hidden ones are one."""
    rows = np.where(pixels[..., 3:] > 0, pixels, 0).reshape(-1, 4)
    packed = np.unique(rows.view(">u4"))
    return packed.astype(">u4").view(np.uint8).reshape(-1, 4)


def _of_table(data: bytes) -> NDArray[np.uint8]:
    """The colors of an Adobe color table; the one that it calls clear has alpha 0."""
    if len(data) not in (_TABLE, _TABLE + 4):
        raise ValueError(
            f"found {len(data)} bytes, expected {_TABLE} or {_TABLE + 4}, as a color table (.act) has"
        )
    rgb = np.frombuffer(data, np.uint8, _TABLE).reshape(-1, 3)
    colors = np.concatenate([rgb, np.full((len(rgb), 1), 255, np.uint8)], axis=1)
    if len(data) == _TABLE:
        return colors
    count, clear = struct.unpack_from(">HH", data, _TABLE)
    count = count or len(rgb)
    if count > len(rgb) or (clear != _NO_COLOR and clear >= count):
        raise ValueError(
            f"found {count} colors of which number {clear} is clear, expected at most {len(rgb)}"
        )
    if clear != _NO_COLOR:
        colors[clear, 3] = 0
    return colors[:count]


def _text(data: bytes) -> str | None:
    """A file as text; None if it is none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if re.search(r"[\x00-\x08\x0e-\x1f]", text) else text


def _of_gimp(text: str) -> NDArray[np.uint8]:
    """The colors of a GIMP palette: red, green, blue, and alpha where it says so, before a name."""
    lines = text.splitlines()
    n_values = 4 if any(re.fullmatch(r"Channels:\s*RGBA\s*", line) for line in lines) else 3
    colors = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip() or re.match(r"\s*#|(Name|Columns|Channels):", line):
            continue
        match = re.match(r"\s*" + r"\s+".join([r"(\d{1,3})"] * n_values) + r"(\s|$)", line)
        values = [int(value) for value in match.groups()[:n_values]] if match else []
        if not values or max(values) > 255:
            raise ValueError(f"found {line[:40]!r} in line {number}, expected {n_values} numbers of 0 to 255")
        colors.append([*values, 255][:4])
    return np.array(colors, np.uint8).reshape(-1, 4)


def _codes(text: str) -> Iterator[str]:
    """The colors of a text, as `parse_color` gives them."""
    for number, line in enumerate(text.splitlines(), 1):
        for word in re.split(r"[\s,]+", _COMMENT.sub("", line)):
            try:
                if word:
                    yield parse_color(word)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}; or an image, or a GIMP palette") from None
