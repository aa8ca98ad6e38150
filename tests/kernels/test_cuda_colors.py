"""Colors counted and looked up on a GPU, and on the one that is emulated, against the CPU."""

import importlib
import sys

import numpy as np
import pytest
from gpu_checks import assert_same_array
from skimage import data

from dkmeans import kernels
from dkmeans.kernels.colors import color_labels, count_colors


@pytest.fixture(params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def cuda(request):
    if request.param == "emulated":
        request.getfixturevalue("emulated")
    problem = kernels.gpu_problem()
    assert problem is None, problem
    return importlib.import_module("dkmeans.kernels.cuda")


def check_colors(cuda, pixels):
    """Counts, and labels of each type, on the device and on the CPU."""
    cupy = sys.modules["cupy"]
    channels = pixels.shape[1]
    colors, times = count_colors(pixels, "gpu")
    for found, right in zip((colors, times), count_colors(pixels), strict=True):
        assert_same_array(found, right)
    labels = np.random.default_rng(0).permutation(len(colors)).astype(np.int32)
    assert_same_array(color_labels(pixels, colors, labels, "gpu"), color_labels(pixels, colors, labels))
    numbers = pixels.astype(np.int64) @ (1 << np.arange(8 * (channels - 1), -1, -8))
    for dtype in (np.uint8, np.uint16, np.int32):
        table = np.random.default_rng(0).integers(0, 1 << 8, 1 << 8 * channels).astype(dtype)
        found = cupy.asnumpy(cuda.look_up(pixels, cupy.asarray(table)))
        np.testing.assert_array_equal(found, table[numbers])
        assert found.dtype == dtype


def test_counts_beyond_2_to_32(cuda, monkeypatch):
    """As if so many pixels had been counted before."""
    cupy, before = sys.modules["cupy"], (1 << 32) - 3
    monkeypatch.setattr(cupy, "zeros", lambda shape, dtype: cupy.full(shape, before, dtype))
    photo = data.astronaut()[:40].reshape(
        -1, 3
    )  # some of its colors leave the table of a block, others do not
    counts = cupy.asnumpy(cuda.count_colors(photo))
    numbers = photo.astype(np.int64) @ (1 << np.arange(16, -1, -8))
    np.testing.assert_array_equal(counts, np.bincount(numbers, minlength=1 << 24) + before)
    assert counts.dtype == np.int64


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_pixels", [0, 1, 15, 16, 17, (1 << 15) + 5])
def test_colors_are_counted_as_on_the_cpu(cuda, channels, n_pixels):
    """Of few colors, and of so many that most find their place taken; with runs of equal ones."""
    rng = np.random.default_rng(n_pixels)
    for n_colors in (2, 40_000):
        palette = rng.integers(0, 256, (n_colors, channels), dtype=np.uint8)
        runs = np.repeat(rng.integers(0, n_colors, n_pixels), rng.integers(1, 30, n_pixels))[:n_pixels]
        check_colors(cuda, palette[runs])


def test_colors_of_a_photo_and_of_views_of_it(cuda):
    photo = data.astronaut()[:90]
    check_colors(cuda, photo.reshape(-1, 3))
    check_colors(cuda, photo[:, ::2, ::-1].reshape(-1, 3))
    check_colors(cuda, photo[..., 1].reshape(-1, 1)[::3])


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_may_begin_anywhere_on_the_device(cuda, channels):
    """A part of an array there is contiguous, and lies where no whole words can be read."""
    cupy = sys.modules["cupy"]
    pixels = np.random.default_rng(0).integers(0, 256, (1000, channels), dtype=np.uint8)
    on_device, table = cupy.asarray(pixels), np.arange(1 << 8 * channels, dtype=np.int32)
    numbers = pixels.astype(np.int64) @ (1 << np.arange(8 * (channels - 1), -1, -8))
    for start in (1, 8, 16):
        counts = cupy.asnumpy(cuda.count_colors(on_device[start:]))
        np.testing.assert_array_equal(counts, np.bincount(numbers[start:], minlength=1 << 8 * channels))
        labels = cupy.asnumpy(cuda.look_up(on_device[start:], cupy.asarray(table)))
        np.testing.assert_array_equal(labels, numbers[start:])


def test_one_color_fills_its_count(cuda):
    check_colors(cuda, np.full((1 << 16, 3), 255, np.uint8))
