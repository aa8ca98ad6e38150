"""Colors and bytes as people write them."""

import re

import pytest

from dkmeans.config.colors import parse_color
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import UsageError

PLACES = {"source": "photos", "destination": "out"}


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("#f80", "#ff8800"),
        ("F80", "#ff8800"),
        ("#Ff8800", "#ff8800"),
        ("#ff880080", "#ff880080"),
        ("#ff8800ff", "#ff8800"),
        ("#ffffff", "#ffffff"),
        ("#ffffffff", "#ffffff"),
    ],
)
def test_a_color(text, color):
    assert parse_color(text) == color


@pytest.mark.parametrize(
    "text", ["", "#", "red", "#ff", "#ff88", "#ff880", "#ff88000", "##fff", "#ggg", "#fff "]
)
def test_what_is_no_color(text):
    with pytest.raises(ValueError, match="is no color; expected one such as #f80"):
        parse_color(text)


@pytest.mark.parametrize("given", ["#F00, #fff,#ff0000", ["#f00", "#fff"], ("ff0000", "ffffffff")])
def test_colors_to_keep(given):
    assert QuantizeConfig(**PLACES, keep=given).keep == ("#ff0000", "#ffffff")


@pytest.mark.parametrize(
    ("given", "n_bytes"),
    [
        (900, 900),
        ("900", 900),
        ("900B", 900),
        ("100kB", 100_000),
        ("100KiB", 102_400),
        (" 1.5 mib ", 3 << 19),
        ("1GB", 10**9),
    ],
)
def test_bytes(given, n_bytes):
    assert QuantizeConfig(**PLACES, max_bytes=given).max_bytes == n_bytes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"keep": ""}, "keep: found ''; '' is no color; expected one such as #f80"),
        ({"keep": "#fff,red"}, "keep: found '#fff,red'; 'red' is no color"),
        ({"keep": []}, "keep: found []; "),
        ({"max_bytes": "many"}, "max_bytes: found 'many'; expected bytes such as 100000, 100kB or 100KiB"),
        ({"max_bytes": "100 K"}, "max_bytes: found '100 K'; expected bytes"),
        ({"max_bytes": "0.5"}, "max_bytes: found 0; expected greater than or equal to 1"),
        ({"max_bytes": True}, "max_bytes: found True; expected bytes such as"),
        ({"quality": 29}, "quality: found 29; expected greater than or equal to 30"),
        ({"quality": 101}, "quality: found 101; expected less than or equal to 100"),
        ({"quality": "65-80"}, "quality: found '65-80'; expected a valid integer"),
        ({"min_psnr": 0}, "min_psnr: found 0; expected greater than 0"),
        ({"min_psnr": float("inf")}, "min_psnr: found inf; expected a finite number"),
        ({"min_ssim": 1.1}, "min_ssim: found 1.1; expected less than or equal to 1"),
        ({"k": 0}, "k: found 0; expected greater than or equal to 1"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(values, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        QuantizeConfig(**PLACES, **values)


def test_as_many_colors_as_an_indexed_png_holds_if_nothing_is_asked_for():
    assert QuantizeConfig(**PLACES).n_clusters == 256
