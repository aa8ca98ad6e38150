"""SHA-256 of the parts of an array, kept beside it: they tell what is the same without reading it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dkmeans.artefacts.held import Claim
from dkmeans.errors import InputError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["read_digests", "write_digests"]


def write_digests(claim: Claim[Any], name: str, digests: Sequence[str]) -> None:
    """Write the array `name` of the given SHA-256, in hex: shape (n, 32), uint8."""
    claim.discard(name)  # what an earlier run left may have another number of rows
    rows = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8)
    claim.write_array(name, rows.reshape(-1, 32))


def read_digests(store: Store, name: str) -> list[str] | None:
    """The SHA-256, in hex, of the array `name`; None where it is gone or damaged."""
    try:
        return [row.tobytes().hex() for row in arrays.read_rows(store, name)]
    except InputError:
        return None
