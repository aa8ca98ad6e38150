"""The metadata of arrays: made in memory, and put in place by themselves.

zarr.create_array() would also write the metadata of every group above an array, which makes a half-written
artefact visible.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.errors import InputError
from dkmeans.storage import checksums
from dkmeans.storage.store import Store

if TYPE_CHECKING:
    from zarr.codecs import Crc32cCodec, ZstdCodec

__all__ = [
    "ABOUT",
    "codecs",
    "damaged",
    "encode_node",
    "make_node",
    "node_key",
    "read_node",
    "same_layout",
    "seal_node",
]

ABOUT = "dkmeans"
"""Attribute of an array that holds what dkmeans notes of it."""

# Zstd of level 19 makes codes smallest of the codecs that unpack 100 MB/s. Measured on the codes of 24
# photos, 9.4 million pixels with 16 and 256 colors and 590,000 patches of 4x4 with 1,024 centers, in % of the
# bytes that they take in memory:
#
# ============================  ====  ====  ====
# zstd 3                        19.2  44.3  40.9
# zstd 9                        17.1  42.0  38.7
# zstd 19                       15.0  37.5  34.3
# gzip 9                        16.5  40.3  37.8
# Blosc, zstd 9, no shuffle     15.0  37.5  34.5
# Blosc, zstd 9, bytes          15.0  37.5  39.3
# Blosc, zstd 9, bits           20.7  68.9  50.1
# lzma (unpacks 40 to 80 MB/s)  14.6  36.9  30.6
# ============================  ====  ====  ====
#
# It packs 1 to 2 MB/s and unpacks 300 to 600; zstd 9 packs 22 to 29 and zstd 3 90 to 180. That is right for
# an archive, and too slow for the codes of compress, whose pixels are labelled many times faster.
_SMALL_LEVEL = 19
_LEVEL = 0
"""Zarr's default, which is zstd's level 3."""


def node_key(name: str) -> str:
    """Key of the metadata of the array `name`."""
    return f"{name}/zarr.json"


def make_node(
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...] | None,
    shards: tuple[int, ...] | None,
    dimensions: tuple[str, ...] | None,
    *,
    small: bool,
) -> dict[str, Any]:
    """The metadata of an array as JSON has them."""
    import zarr  # here, as jobs without arrays need not wait for it

    scratch: dict[str, Any] = {}
    zarr.create_array(
        zarr.storage.MemoryStore(scratch),
        shape=shape,
        dtype=dtype,
        chunks=tuple(max(1, size) for size in chunks or shape),
        shards=shards,
        dimension_names=dimensions,
        compressors=codecs(_SMALL_LEVEL if small else _LEVEL),
    )
    return dict(json.loads(scratch["zarr.json"].to_bytes()))


def codecs(level: int) -> tuple[ZstdCodec | Crc32cCodec, ...]:
    """Zstd, and a checksum of what it gives, which every reader compares.

    It costs a thirtieth of zstd's own, one of the unpacked bytes, which takes half as long as unpacking them.
    """
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return ZstdCodec(level=level), Crc32cCodec()


def same_layout(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two metadata are of arrays of one layout; what the axes are called does not matter."""
    layouts = [
        {key: value for key, value in node.items() if key not in ("attributes", "dimension_names")}
        for node in (one, other)
    ]
    return layouts[0] == layouts[1]


def seal_node(node: dict[str, Any], table: NDArray[np.uint32]) -> dict[str, Any]:
    """Metadata with the checksums of the chunks of the array."""
    return {**node, "attributes": {ABOUT: {"crc32c": checksums.packed(table)}}}


def encode_node(node: dict[str, Any]) -> bytes:
    """Metadata as they are stored."""
    return json.dumps(node, indent=1, sort_keys=True).encode()


def read_node(store: Store, name: str) -> dict[str, Any]:
    """The metadata of an array or group.

    Raises
    ------
    InputError
        If they are gone or damaged.
    """
    try:
        return dict(json.loads(store.get(node_key(name))))
    except (ValueError, TypeError) as error:
        raise damaged(store.url, name, "zarr.json", f"{error}") from error


def damaged(url: str, name: str, what: str, why: str) -> InputError:
    """The error for a part of an array that is not as it was written; `what` is its key below the array."""
    return InputError(
        f"{url}: {what} of the array {name} is damaged: {why.rstrip('.')}. Restore it from a copy, or "
        "make the output again with --overwrite; `dkmeans verify` tells what else is damaged."
    )
