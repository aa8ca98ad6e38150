"""Rows as a histogram of colors: the fit, the sample and the number of rows are those of the pixels."""

from __future__ import annotations

import numpy as np
import pytest
from dask.delayed import delayed

from dkmeans import kernels
from dkmeans.clustering.counted import count_part, count_stored_rows, load_counted_rows, merge_counted
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State, iterate
from dkmeans.compute.in_process import InProcess
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

UINT8 = np.dtype(np.uint8)
HERE = InProcess()


@pytest.fixture(params=[1, 3])
def pixels(request):
    return np.random.default_rng(0).integers(0, 40, (3000, request.param)).astype(np.uint8)


def test_parts_are_counted_and_their_pixels_kept(pixels):
    cuts, positions = [(0, 1000), (1000, 3000)], [np.array([0, 7]), np.array([1999])]
    parts = [count_part(pixels[slice(*cut)], kept, "cpu") for cut, kept in zip(cuts, positions, strict=True)]
    merged = merge_counted(parts)
    colors, counts = np.unique(pixels, axis=0, return_counts=True)
    np.testing.assert_array_equal(merged.histogram.colors, colors)
    np.testing.assert_array_equal(merged.histogram.counts, counts)
    np.testing.assert_array_equal(np.concatenate(merged.kept), pixels[[0, 7, 2999]])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fit_of_counted_parts_is_that_of_the_pixels(pixels, threads):
    cluster, positions = InProcess(threads), np.array([3, 1200, 2999])
    count = delayed(count_part)
    tasks = [count(pixels[:1200], np.array([3]), "cpu"), count(pixels[1200:], np.array([0, 1799]), "cpu")]
    rows = load_counted_rows(tasks, 3000, pixels.shape[1], UINT8, cluster, positions)
    assert rows.n_rows == 3000
    np.testing.assert_array_equal(rows.take(positions), pixels[positions])
    first = State(pixels[:4].astype(np.float32))
    found = lloyd(rows, first, max_iter=30, tol=0)
    expected = iterate(kernels.load(pixels), first, max_iter=30, tol=0)
    np.testing.assert_array_equal(found.centers, expected.centers)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.inertia == expected.inertia
    assert [step.moved for step in found.history] == [step.moved for step in expected.history]


def test_many_colors_are_shared_among_threads():
    pixels = np.random.default_rng(1).integers(0, 256, (100_000, 3)).astype(np.uint8)
    n_colors = len(np.unique(pixels, axis=0))
    rows = load_counted_rows(
        [delayed(count_part)(pixels, np.array([5]), "cpu")],
        len(pixels),
        3,
        UINT8,
        InProcess(2),
        np.array([5]),
    )
    assert len(rows.blocks) == 2
    assert rows.cuts[-1][1] == n_colors
    assert rows.n_rows == len(pixels)


def test_stored_pixels_are_read_once(tmp_path, pixels):
    shape, width = pixels.shape, pixels.shape[1]
    array = arrays.create_array(
        Store(str(tmp_path / "a")),
        "pixels",
        shape=shape,
        dtype=UINT8,
        chunks=(100, width),
        shards=(500, width),
    )
    array[:] = pixels
    positions = np.array([0, 499, 500, 2999])
    rows = count_stored_rows(Store(str(tmp_path / "a")), "pixels", HERE, positions)
    np.testing.assert_array_equal(rows.take(positions), pixels[positions])
    assert (rows.n_rows, rows.dtype, rows.resident) == (3000, UINT8, True)
    with pytest.raises(AssertionError):
        rows.take(np.array([1]))  # was not kept
