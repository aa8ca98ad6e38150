"""The plots of docs/performance.md: they are drawn, and show the figures that the page says."""

from __future__ import annotations

import re

import pytest
from draw_pictures import PICTURES, draw_before_and_after, draw_plot, read_figures
from PIL import Image

PAGE = (PICTURES.parent / "performance.md").read_text(encoding="utf-8")
FIGURES = read_figures()


def cells(page):
    """All numbers that stand in tables, as they are written; 1,708 is 1708."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return {
        float(found.replace(",", "")) for line in lines for found in re.findall(r"\d[\d,]*(?:\.\d+)?", line)
    }


def numbers(values):
    return [n for value in values for n in (value if isinstance(value, list) else [value])]


@pytest.mark.parametrize("name", FIGURES)
def test_a_plot_shows_what_the_page_says(name, tmp_path):
    figure = FIGURES[name]
    for values in figure["series"].values():
        assert set(numbers(values)) <= cells(PAGE)
    assert f"pictures/performance_{name}.svg" in PAGE
    draw_plot(figure, tmp_path / "one.svg")
    drawn = (tmp_path / "one.svg").read_bytes()
    draw_plot(figure, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == drawn
    assert (PICTURES / f"performance_{name}.svg").is_file()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_where_it_is_from(name):
    assert FIGURES[name]["hardware"]
    command = FIGURES[name]["command"]
    if command.startswith("make "):
        makefile = (PICTURES.parents[1] / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


def test_the_photo_before_and_after(tmp_path):
    draw_before_and_after(tmp_path / "photo.png")
    with Image.open(tmp_path / "photo.png") as drawn, Image.open(PICTURES / "before_after.png") as committed:
        assert drawn.size == committed.size
