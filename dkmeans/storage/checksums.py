"""Checksums of what lies in storage: CRC-32C of each chunk of rows, and of metadata.

They find damage, not forgery: a flipped bit, a part that is missing, a file in the place of another. Zarr's
own checksums are inside the chunks, so two chunks that have changed places look right to them.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

__all__ = ["of_bytes", "of_chunks", "of_json", "packed", "unpacked"]


def of_bytes(data: bytes) -> int:
    """CRC-32C of some bytes."""
    return int(google_crc32c.value(data))


def of_json(value: Any) -> int:
    """CRC-32C of a value as JSON with sorted keys, whatever the layout of the file that it was read from."""
    return of_bytes(json.dumps(value, sort_keys=True).encode())


def of_chunks(values: NDArray[Any], chunk_rows: int) -> NDArray[np.uint32]:
    """CRC-32C of each chunk of `chunk_rows` rows: of its values in memory, little-endian and row-major.

    Of text it is that of the JSON list. 24 GB/s on one core of a Xeon, a few percent of what zstd takes.
    """
    starts = range(0, len(values), chunk_rows)
    if values.dtype.kind == "T":
        texts = [[str(text) for text in values[start : start + chunk_rows]] for start in starts]
        return np.array([of_json(text) for text in texts], np.uint32)
    rows = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    parts = [rows[start : start + chunk_rows].reshape(-1).view(np.uint8) for start in starts]
    return np.array([google_crc32c.value(part) for part in parts], np.uint32)


def packed(table: NDArray[np.uint32]) -> str:
    """Checksums as text for JSON: base64 of little-endian integers of 32 bits."""
    return base64.b64encode(table.astype("<u4").tobytes()).decode()


def unpacked(text: str) -> NDArray[np.uint32]:
    """The checksums that `packed` has made text of."""
    return np.frombuffer(base64.b64decode(text), "<u4").astype(np.uint32)
