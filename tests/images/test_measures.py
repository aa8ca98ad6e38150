"""The measures are scikit-image's, however large the image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from dkmeans.images import measures


def pair(shape, dtype):
    rng = np.random.default_rng(0)
    limit = np.iinfo(dtype).max
    first = rng.integers(0, limit, shape, endpoint=True)
    noise = rng.integers(-limit // 9, limit // 9, shape)
    return first.astype(dtype), np.clip(first + noise, 0, limit).astype(dtype)


def test_psnr_by_hand():
    assert measures.psnr(0.0, 255) is None
    assert measures.psnr(255.0**2, 255) == 0
    assert measures.psnr(1.0, 255) == pytest.approx(20 * math.log10(255))
    assert measures.psnr(1.0, 65_535) == pytest.approx(20 * math.log10(65_535))


@pytest.mark.parametrize("shape", [(23, 41, 3), (9, 9, 1), (5, 40, 3), (4, 4, 4), (3, 3, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_they_are_scikit_images(shape, dtype):
    first, other = pair(shape, dtype)
    found = measures.compare(first, other)
    limit, window = np.iinfo(dtype).max, min(7, min(shape[:2]) - 1 + min(shape[:2]) % 2)
    assert found.mse == pytest.approx(mean_squared_error(first, other))
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(first, other, data_range=limit))
    expected = structural_similarity(first, other, win_size=window, data_range=limit, channel_axis=-1)
    assert found.ssim == pytest.approx(expected, abs=1e-12)
    assert measures.ssim(first, other, tile=8) == pytest.approx(expected, abs=1e-12)  # many tiles


def test_the_same_and_the_tiny():
    image, other = pair((8, 8, 3), np.uint8)
    assert measures.compare(image, image) == (0.0, None, 1.0)
    assert measures.compare(image[:2], image[:2]) == (0.0, None, None)
    assert measures.compare(image[:2], other[:2]).ssim is None


def test_the_worst_part_by_hand():
    """An image of 200 x 800 pixels is looked at in cells of 50 x 100; an error in one is found there."""
    image = np.zeros((200, 800, 3), np.uint8)
    other = image.copy()
    other[120, 450] = 9
    assert measures.worst_part(image, other) == (100, 400, 50, 100)
    other[10, 20] = 10
    assert measures.worst_part(image, other) == (0, 0, 50, 100)
    assert measures.worst_part(image[:95], other[:95]) is None
