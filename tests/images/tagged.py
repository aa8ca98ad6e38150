"""What an image file says of its numbers, as a decoder of it finds it."""

from __future__ import annotations

from dkmeans.images.formats import find
from dkmeans.images.tags import NO_TAGS, ColorTags, tags_of


def read_tags(data: bytes) -> ColorTags:
    """The tags; none of a file that is refused, as whoever decodes it says."""
    try:
        found = find(data, whole=True)
    except Exception:
        return NO_TAGS
    assert found is not None
    return tags_of(found)
