"""Indices of images: their rows, a beginning, and two of them in a row."""

from __future__ import annotations

import numpy as np

from dkmeans.images.index import ImageIndex
from dkmeans.images.tags import NO_TAGS, ColorTags


def make(names, tags=()):
    n = len(names)
    return ImageIndex(tuple(names), np.arange(1, n + 1, dtype=np.int32), np.full(n, 3, np.int32), tags)


def test_rows_are_laid_end_to_end():
    assert make("abc").offset.tolist() == [0, 3, 9, 18]
    assert make("").offset.tolist() == [0]


def test_a_beginning_and_what_follows():
    tags = ColorTags(((b"gAMA", b"1234"),))
    one, two = make("abc"), make("de", (tags, NO_TAGS))
    both = one.followed_by(two)
    assert both.names == ("a", "b", "c", "d", "e")
    assert both.sizes(0, 5).tolist() == [[1, 3], [2, 3], [3, 3], [1, 3], [2, 3]]
    assert both.tags == (NO_TAGS, NO_TAGS, NO_TAGS, tags, NO_TAGS)
    assert both.offset.tolist() == [0, 3, 9, 18, 21, 27]
    for begun, n in ((both.first(3), 3), (both.first(4), 4)):
        assert begun.names == both.names[:n]
        assert begun.offset.tolist() == both.offset.tolist()[: n + 1]
    assert one.followed_by(make("de")).tags == ()
    assert make("").followed_by(one).names == one.names
