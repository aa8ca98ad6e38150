"""The table: formats are told by how files begin, and what is not read is named."""

import io

import numpy as np
import pytest
from PIL import Image

from dkmeans.errors import ImageError
from dkmeans.images.decode import read_header
from dkmeans.images.formats import FORMATS, SUFFIXES, kind_of

PIXELS = Image.fromarray(np.zeros((3, 4, 3), np.uint8))


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "TIFF", "WebP", "GIF", "AVIF", "ICO", "BMP", "PPM", "JPEG2000"]
)
def test_kind_by_the_first_bytes(kind):
    file = io.BytesIO()
    PIXELS.save(file, kind, **({"sizes": [PIXELS.size]} if kind == "ICO" else {}))
    named = {"PPM": "PGM/PPM/PBM", "JPEG2000": "JPEG 2000"}.get(kind, kind)
    assert kind_of(file.getvalue()[:1024]) == named
    assert named in [row.name for row in FORMATS]


def test_kind_of_avif_that_calls_itself_something_else_first():
    assert kind_of(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"
    assert kind_of(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic") == "HEIC"


OTHERS = {
    "an SVG drawing": [
        b"<svg xmlns='a'>",
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by hand -->\n<svg>',
    ],
    "a PDF document": [b"%PDF-1.7"],
    "a Photoshop document": [b"8BPS\0\1"],
    "a JPEG XL image": [b"\xff\x0a\xfa", b"\0\0\0\x0cJXL \r\n\x87\n"],
    "a raw photo of a camera": [
        b"II*\0\x10\0\0\0CR\2\0",
        b"\0\0\0\x18ftypcrx \0\0\0\1",
        b"FUJIFILMCCD-RAW 0201",
        b"IIRO\x08\0\0\0",
    ],
    "a video": [b"\0\0\0\x18ftypisom", b"\0\0\0\x14ftypqt  ", b"\x1a\x45\xdf\xa3", b"RIFF1234AVI LIST"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_read_is_named(name):
    for data in OTHERS[name]:
        assert kind_of(data) is None
        with pytest.raises(ImageError, match=f"this is {name}.*which is not read; expected PNG, JPEG"):
            read_header(data + bytes(50), "a", max_pixels=100)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"BMW is a maker of cars.", b"P5 is a gene", b"<html><svg>", b"GIF", b"II*"]
)
def test_other_files_are_no_images(data):
    assert kind_of(data) is None
    with pytest.raises(ImageError, match=r"is empty|is no image"):
        read_header(data, "a", max_pixels=100)


def test_suffixes_are_lower_case_and_belong_to_one_format():
    assert len(set(SUFFIXES)) == len(SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
