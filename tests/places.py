"""What may lie at a URL that dkmeans did not write."""

from __future__ import annotations

from dkmeans import storage
from dkmeans.artefact import ROOT

__all__ = ["broken_root", "foreign_attributes", "foreign_file", "foreign_group", "nothing"]


def nothing(url):
    pass


def foreign_file(url):
    storage.write_object(url, "notes.txt", b"mine")


def foreign_group(url):
    storage.write_object(url, ROOT, b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')


def foreign_attributes(url):
    storage.write_object(url, ROOT, b'{"zarr_format":3,"node_type":"group","attributes":{"dkmeans":"x"}}')


def broken_root(url):
    storage.write_object(url, ROOT, b'{"zarr_format": 3, ')
