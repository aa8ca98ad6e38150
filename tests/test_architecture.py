"""The page about the house is the one that the code draws."""

from __future__ import annotations

from architecture import PAGE, draw


def test_the_page_is_drawn_from_the_code():
    assert PAGE.read_text(encoding="utf-8") == draw(), "make architecture draws it anew"
