"""The measures are scikit-image's, however large the image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from dkmeans.compute.threads import sharing
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


@pytest.mark.parametrize("shape", [(23, 41, 3), (9, 9, 1), (5, 40, 3), (4, 4, 3), (3, 3, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_they_are_scikit_images(shape, dtype):
    first, other = pair(shape, dtype)
    found = measures.compare(first, other)
    limit, window = np.iinfo(dtype).max, min(7, min(shape[:2]) - 1 + min(shape[:2]) % 2)
    assert found.mse == pytest.approx(mean_squared_error(first, other))
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(first, other, data_range=limit))
    expected = structural_similarity(first, other, win_size=window, data_range=limit, channel_axis=-1)
    assert found.ssim == pytest.approx(expected, abs=1e-12)
    assert measures.ssim(first, other, band=8) == pytest.approx(expected, abs=1e-12)  # many bands


@pytest.mark.parametrize("shape", [(23, 41, 4), (600, 9, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_with_alpha_they_are_of_premultiplied_values(shape, dtype):
    first, other = pair(shape, dtype)
    limit = np.iinfo(dtype).max
    seen = [image.astype(float) for image in (first, other)]
    for image in seen:
        image[..., :-1] *= image[..., -1:] / limit
    found = measures.compare(first, other)
    assert found.mse == pytest.approx(mean_squared_error(*seen))
    assert found.psnr == pytest.approx(10 * math.log10(limit**2 / found.mse))
    expected = structural_similarity(*seen, win_size=7, data_range=limit, channel_axis=-1)
    assert found.ssim == pytest.approx(expected, abs=1e-12)


def test_what_nobody_sees_counts_nothing():
    image, other = pair((120, 130, 4), np.uint8)
    image[..., 3] = other[..., 3] = 255
    image[:60, :, 3] = other[:60, :, 3] = 0
    other[60:] = image[60:]
    assert measures.compare(image, other) == (0.0, None, 1.0)
    assert measures.mean_ciede2000(image, other) == 0
    other[90, 3, 0] ^= 1
    assert measures.worst_part(image, other)[0] >= 60


SHARMA = (  # a few of the pairs that Sharma, Wu and Dalal published: L, a, b of both, and their difference
    (50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425),
    (50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
)


def test_ciede2000(monkeypatch):
    """The formula by its authors' pairs, as if these were the colors of pixels."""
    table = {tuple(row[at : at + 3]) for row in SHARMA for at in (0, 3)}
    table = dict(enumerate(sorted(table)))
    number = {lab: position for position, lab in table.items()}
    monkeypatch.setattr(
        "skimage.color.rgb2lab", lambda rgb: np.array([table[round(x * 255)] for x in rgb[:, 0]])
    )
    first = np.array([[[number[row[:3]]] for row in SHARMA]], np.uint8)
    other = np.array([[[number[row[3:6]]] for row in SHARMA]], np.uint8)
    assert measures.mean_ciede2000(first, other) == pytest.approx(
        np.mean([row[6] for row in SHARMA]), abs=1e-4
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_ciede2000_of_images(dtype, channels):
    """That of all pixels by scikit-image; with alpha the mean of those over black and over white."""
    first, other = pair((20, 31, channels), dtype)
    first[:10], other[:10] = first[0, 0], other[0, 0]
    limit, expected = np.iinfo(dtype).max, []
    for ground in (0, 1):
        labs = []
        for image in (first / limit, other / limit):
            color, alpha = (image[..., :-1], image[..., -1:]) if channels in (2, 4) else (image, 1)
            shown = color * alpha + ground * (1 - alpha)
            labs.append(rgb2lab(np.broadcast_to(shown, (20, 31, 3))))
        expected.append(deltaE_ciede2000(*labs).mean())
    assert measures.mean_ciede2000(first, other) == pytest.approx(np.mean(expected))


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


def test_a_large_image_is_measured_alike_in_any_number_of_threads():
    """In parts of 1,024 rows, of which the last windows reach into the next one."""
    rng = np.random.default_rng(3)
    one = rng.integers(0, 256, (2100, 30, 3), np.uint8)
    other = np.clip(one + rng.integers(-9, 10, one.shape), 0, 255).astype(np.uint8)
    alone = measures.compare(one, other)
    with sharing(3):
        assert measures.compare(one, other) == alone
    assert alone.ssim == pytest.approx(
        structural_similarity(one, other, channel_axis=2, data_range=255), abs=1e-12
    )
    assert alone.mse == ((one.astype(float) - other) ** 2).mean()
