"""What may lie at a URL that dkmeans did not write."""

from __future__ import annotations

from dkmeans.artefacts.manifests import ROOT
from dkmeans.storage import objects

__all__ = ["broken_root", "foreign_attributes", "foreign_file", "foreign_group", "nothing"]


def nothing(url):
    pass


def foreign_file(url):
    objects.write_object(url, "notes.txt", b"mine")


def foreign_group(url):
    objects.write_object(url, ROOT, b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')


def foreign_attributes(url):
    objects.write_object(url, ROOT, b'{"zarr_format":3,"node_type":"group","attributes":{"dkmeans":"x"}}')


def broken_root(url):
    objects.write_object(url, ROOT, b'{"zarr_format": 3, ')
