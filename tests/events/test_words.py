"""Numbers as people read them."""

from __future__ import annotations

import pytest

from dkmeans.events import words


@pytest.mark.parametrize(
    ("n", "unit", "text"),
    [
        (1, "images", "1 image"),
        (2, "images", "2 images"),
        (0, "images", "0 images"),
        (1200, "batches", "1,200 batches"),
        (1, "batches", "1 batch"),
        (1, "pass", "1 pass"),
    ],
)
def test_one_of_many_is_in_the_singular(n, unit, text):
    assert words.counted(n, unit) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("elbow", None, "none"),
        ("converged", True, "yes"),
        ("copied", False, "no"),
        ("n_rows", 910724, "910,724"),
        ("stored_bytes", 2042336, "1.95 MiB"),
        ("seconds", 1.1590345660006278, "1.16 s"),
        ("iteration_seconds", [0.0004, 75.2], "0.400 ms, 1 min 15 s"),
        ("mean_psnr", 29.19591969582556, "29.2 dB"),
        ("inertia", 212428352.1356501, "2.12 × 10⁸"),
        ("mse", 77.84469352588343, "77.8"),
        ("mse", float("inf"), "inf"),
        ("mse", float("nan"), "nan"),
        ("dtype", "uint8", "uint8"),
        ("shards", {"pixels": {"finished": 1, "total": 1200}}, "pixels 1 of 1,200"),
        ("shards", {}, "none"),
        ("n_clusters", [2, 4], "2, 4"),
    ],
)
def test_a_value_of_a_report(name, value, text):
    assert words.shown(name, value) == text
