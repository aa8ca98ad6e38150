"""Labels are those of the reference, colors counted or not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dkmeans.clustering import labels as module
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
    for _ in range(2):  # and from what is remembered
        again = label_rows(palette[numbers], centers, "cpu", run="a run")
        np.testing.assert_array_equal(again, found)
        assert again.dtype == np.int32
    module.forget_colors("a run")
    assert not module._KNOWN


def test_colors_are_looked_for_once_in_a_run(monkeypatch):
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (1000, 3)).astype(np.uint8)
    centers, looked = exact.snap(colors[:9].astype(float), colors.dtype), []
    load = module.kernels.load
    monkeypatch.setattr(
        module.kernels, "load", lambda rows, *device: looked.append(len(rows)) or load(rows, *device)
    )
    for last in (500, 700, 600):
        rows = colors[rng.integers(last, size=COUNTED)]
        rows[:last] = colors[:last]
        labels = label_rows(rows, centers, "cpu", run="a run")
        np.testing.assert_array_equal(labels[:last], reference.assign(colors[:last], centers))
    assert looked == [len(np.unique(colors[:500], axis=0)), len(np.unique(colors[:700], axis=0)) - looked[0]]
    for number in range(9):
        label_rows(colors.repeat(600, axis=0), centers, "cpu", run=f"run {number}")
    assert list(module._KNOWN) == ["run 7", "run 8"]
    for number in range(9):
        module.forget_colors(f"run {number}")


def test_threads_share_what_is_remembered():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 64, (8 * COUNTED, 3)).astype(np.uint8)
    centers = exact.snap(rng.uniform(0, 64, (50, 3)), rows.dtype)
    parts = np.split(rows, 8)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: label_rows(part, centers, "cpu", run="shared"), parts))
    module.forget_colors("shared")
    np.testing.assert_array_equal(np.concatenate(found), label_rows(rows, centers, "cpu"))


def test_codes_take_as_few_bytes_as_hold_them():
    for n_clusters, dtype in [(1, "u1"), (256, "u1"), (257, "u2"), (65_536, "u2"), (65_537, "u4")]:
        assert choose_code_dtype(n_clusters) == np.dtype(dtype)
