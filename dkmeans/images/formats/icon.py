"""Icons and cursors of Windows: the largest picture in the file, a PNG or a bitmap with a mask."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.IcoImagePlugin import IcoFile

from dkmeans.images.formats.found import Found, Refused
from dkmeans.images.formats.png import open_png
from dkmeans.images.formats.rows import SIGNATURE

__all__ = ["open_icon"]

_HEAD, _ENTRY, _BITMAP = struct.Struct("<HHH"), struct.Struct("<BBBBHHII"), struct.Struct("<IiiHH")


def open_icon(data: bytes) -> Found:
    """Read the list of pictures, and the header of the largest."""
    _, _, count = _HEAD.unpack_from(data)
    listed = [_ENTRY.unpack_from(data, _HEAD.size + i * _ENTRY.size) for i in range(count)]
    # 0 stands for 256; of one size that with the most bits.
    entry = max(listed, key=lambda entry: (entry[0] or 256, entry[1] or 256, entry[5]))
    size, start = entry[6:]
    picture = data[start : start + size]
    if len(picture) < size:
        raise Refused(f"icon truncated at byte {len(data)}; expected at least {start + size} bytes")
    note = f"icon of {count} pictures, the largest used" if count > 1 else ""
    if picture.startswith(SIGNATURE):
        found = open_png(picture)
        return replace(found, note="; ".join(filter(None, [note, found.note])))
    _, width, height, _, _ = _BITMAP.unpack_from(picture)
    alone = _HEAD.pack(0, 1, 1) + _ENTRY.pack(*entry[:7], _HEAD.size + _ENTRY.size) + picture

    def load() -> NDArray[Any]:
        return np.asarray(IcoFile(io.BytesIO(alone)).frame(0).convert("RGBA"))

    return Found(height // 2, width, 4, "uint8", load, note=note)  # its height counts the mask too
