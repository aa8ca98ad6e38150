"""The lines at the end of quantize, from numbers by hand."""

from __future__ import annotations

import pytest

from dkmeans.events import words
from dkmeans.images.decode import SkippedImage
from dkmeans.stages.shared.quantized import QuantizedImage
from dkmeans.stages.shared.summary import gain_lines, quality_lines, skipped_lines


def image(name, source_bytes, stored_bytes, psnr=30.0, copied=False):
    rest = dict.fromkeys(["bits_per_pixel", "ssim", "mse", "n_source_colors", "n_colors", "inertia"], 0)
    rest |= dict.fromkeys(["n_iter", "converged", "seconds"])
    return QuantizedImage(
        name, f"{name}.png", 2, 3, source_bytes, stored_bytes, psnr=psnr, copied=copied, **rest
    )


def test_bytes_and_the_images_that_gained_the_least_and_the_most():
    images = [image("a", 1000, 900), image("b", 2048, 512), image("c", 500, 510)]
    assert gain_lines(images, 3548, 1922) == [
        "3 images, 3.46 KiB -> 1.88 KiB, -46 %",
        "smallest gain: +2.0 % (c); largest: -75 % (b)",
    ]


def test_one_image_is_no_smallest_and_no_largest():
    assert gain_lines([image("a", 1000, 750)], 1000, 750) == ["1 image, 0.977 KiB -> 750 B, -25 %"]


def test_an_archive_has_no_bytes_of_each_image():
    assert gain_lines([image("a", 1000, None)] * 2000, 10_000, 5000) == [
        "2,000 images, 9.77 KiB -> 4.88 KiB, -50 %"
    ]


def test_images_that_were_copied_are_counted_and_the_first_named():
    images = [image("a", 1000, 900), *(image(name, 100, 100, copied=True) for name in "bc")]
    line = "3 images, 1.17 KiB -> 1.07 KiB, -8.3 %; 2 copied as they were smaller"
    assert gain_lines(images, 1200, 1100)[0] == f"{line} (b, ...)"
    assert gain_lines(images[:2], 1200, 1100)[0].endswith("; 1 copied as it was smaller (b)")


def test_the_worst_image_by_its_name():
    images = [image("a", 1, 1, 40.0), image("b", 1, 1, 31.04), image("c", 1, 1, None)]
    line = "mean PSNR 35.5 dB, worst 31.0 dB (b)"
    assert quality_lines(images, 35.52, 1) == [f"{line}; 1 lost nothing"]
    assert quality_lines(images[:2], 35.52, 0) == [line]


def test_one_image_and_images_that_lost_nothing():
    assert quality_lines([image("a", 1, 1, 38.25)], 38.25, 0) == ["PSNR 38.2 dB"]
    assert quality_lines([image("a", 1, 1, None)], None, 1) == ["it lost nothing"]
    assert quality_lines([image("a", 1, 1, None)] * 2, None, 2) == ["none lost anything"]


def test_skipped_images_by_the_first_and_its_reason():
    first, second = (
        SkippedImage("a\n.png", "no image; expected one. Mend it."),
        SkippedImage("b.png", "too large"),
    )
    assert skipped_lines([]) == []
    assert skipped_lines([first]) == ["skipped: 1 ('a\\n.png': no image)"]
    assert skipped_lines([second, first]) == ["skipped: 2 (b.png: too large; ...)"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.2273, "-23 %"),
        (0.004, "+0.4 %"),
        (0.0994, "+9.9 %"),
        (0.0998, "+10 %"),
        (-1e-6, "0 %"),
        (3, "+300 %"),
    ],
)
def test_a_change_in_percent(value, text):
    assert words.change(value) == text
