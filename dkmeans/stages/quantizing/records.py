"""Records of the files that quantize has written: one for each batch, in a hidden folder beside them.

A record holds what was measured of each image and the checksum of its file, and a checksum of itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dkmeans.errors import InputError
from dkmeans.storage import checksums
from dkmeans.storage.store import Store, StoredObject

__all__ = ["RECORDS", "damaged_files", "read_record", "write_record"]

RECORDS = ".dkmeans"
"""Folder of the records, below that of the files."""


def write_record(store: Store, key: str, images: Sequence[dict[str, Any]], files: Sequence[int]) -> None:
    """Write the record of a batch.

    Parameters
    ----------
    store : Store
        Of the files.
    key : str
        Of the record.
    images : sequence of dict
        What is known of each image, its `key` and `stored_bytes` among it.
    files : sequence of int
        CRC-32C of their files.
    """
    record = {"images": list(images), "files": list(files)}
    data = json.dumps({**record, "crc32c": checksums.of_json(record)})
    store.put(key, data.encode())


def read_record(store: Store, key: str) -> dict[str, Any]:
    """The record of a batch.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    record = json.loads(store.get(key))
    if not isinstance(record, dict) or record.pop("crc32c", None) != checksums.of_json(record):
        raise ValueError(f"{key} has another checksum than was written")
    return record


def damaged_files(store: Store, record: dict[str, Any]) -> list[str]:
    """Keys of the files of a batch that are gone, or are not as they were written.

    Raises
    ------
    StorageError
        If storage refuses or fails.
    """
    listed = [StoredObject(image["key"], image["stored_bytes"]) for image in record["images"]]
    damaged = []
    for found, data, expected in zip(listed, store.get_many(listed), record["files"], strict=True):
        if isinstance(data, bytes):
            if checksums.of_bytes(data) != expected:
                damaged.append(found.key)
        elif isinstance(data, InputError):
            damaged.append(found.key)
        else:
            raise data
    return damaged
