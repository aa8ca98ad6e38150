"""Small files that were read for their headers, kept by this process until their pixels are wanted.

So each is read once where header and pixels are wanted of the same worker; elsewhere it is read again. No
result depends on it.
"""

from __future__ import annotations

import threading
from collections import defaultdict

__all__ = ["put", "take"]

_MOST_BYTES = 64 << 20
_LOCK = threading.Lock()
_FILES: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
_SIZES: defaultdict[str, int] = defaultdict(int)


def put(reading: str, key: str, data: bytes) -> None:
    """Keep a file of one reading of a source, if there is room; what is left of other readings goes first."""
    if len(data) > _MOST_BYTES:
        return
    with _LOCK:
        for other in [name for name in _FILES if name != reading]:
            if sum(_SIZES.values()) + len(data) > _MOST_BYTES:
                del _FILES[other], _SIZES[other]
        if sum(_SIZES.values()) + len(data) <= _MOST_BYTES and key not in _FILES[reading]:
            _FILES[reading][key] = data
            _SIZES[reading] += len(data)


def take(reading: str, key: str) -> bytes | None:
    """A file that was kept, which is then forgotten; None if it was not."""
    with _LOCK:
        data = _FILES[reading].pop(key, None) if reading in _FILES else None
        if data is not None:
            _SIZES[reading] -= len(data)
        return data
