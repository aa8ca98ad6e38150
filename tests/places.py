"""What may lie at a URL that dkmeans did not write."""

from __future__ import annotations

from dkmeans.artefacts.manifests import ROOT
from dkmeans.storage.store import Store

__all__ = ["broken_root", "foreign_attributes", "foreign_file", "foreign_group", "nothing"]


def nothing(url):
    pass


def foreign_file(url):
    Store(url).put("notes.txt", b"mine")


def foreign_group(url):
    Store(url).put(ROOT, b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')


def foreign_attributes(url):
    Store(url).put(ROOT, b'{"zarr_format":3,"node_type":"group","attributes":{"dkmeans":"x"}}')


def broken_root(url):
    Store(url).put(ROOT, b'{"zarr_format": 3, ')
