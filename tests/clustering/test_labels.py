"""Labels are those of the reference, colors counted or not."""

from __future__ import annotations

import numpy as np
import pytest

from dkmeans.clustering.labels import choose_code_dtype, label_rows
from dkmeans.features.histogram import COUNTED
from dkmeans.kernels import exact, reference


@pytest.mark.parametrize(
    ("n_rows", "channels"), [(5000, 1), (5000, 3), (5000, 4), (COUNTED, 1), (COUNTED, 3)]
)
def test_labels_are_those_of_the_reference(n_rows, channels):
    """Of many gray or RGB pixels each color is looked for once."""
    rng = np.random.default_rng(channels)
    palette = rng.integers(0, 256, (300, channels)).astype(np.uint8)
    numbers = rng.integers(300, size=n_rows)
    # Twice the same center, and two with a color in the middle: ties go to the lowest index.
    centers = exact.snap(np.vstack([palette[:9].astype(float) + 0.25, palette[:2] + 0.25]), palette.dtype)
    found = label_rows(palette[numbers], centers, "cpu")
    np.testing.assert_array_equal(found, reference.assign(palette, centers)[numbers])
    assert found.dtype == np.int32


def test_codes_take_as_few_bytes_as_hold_them():
    for n_clusters, dtype in [(1, "u1"), (256, "u1"), (257, "u2"), (65_536, "u2"), (65_537, "u4")]:
        assert choose_code_dtype(n_clusters) == np.dtype(dtype)
