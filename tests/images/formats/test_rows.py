"""Rows of a PNG that are unfiltered some at a time."""

import numpy as np
import pytest
from pngs import SAMPLES, chunks_of, write_png

from dkmeans.images.formats import rows


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("kind", "depth"), [(0, 2), (0, 8), (0, 16), (2, 8), (3, 4), (4, 16), (6, 8), (6, 16)]
)
@pytest.mark.parametrize("strip", [1, 50, 333])
def test_strips_make_no_difference(strip, kind, depth, interlaced, monkeypatch):
    samples = np.random.default_rng(strip).integers(0, 2**depth, (23, 17, SAMPLES[kind]))
    data = write_png(samples, kind, depth, interlaced=interlaced)
    monkeypatch.setattr(rows, "_STRIP", strip)
    found = rows.unpack(dict(chunks_of(data))[b"IDAT"], (23, 17), depth, kind, interlaced=interlaced)
    np.testing.assert_array_equal(found, samples)
