"""What the numbers of an image mean: its profile and density, as the chunks of a PNG that hold them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NO_TAGS", "ColorTags", "read_tags"]


@dataclass(frozen=True)
class ColorTags:
    """PNG chunks, name and body, in the order in which they are written before the pixels."""

    chunks: tuple[tuple[bytes, bytes], ...] = ()


NO_TAGS = ColorTags()


def read_tags(data: bytes) -> ColorTags:
    """The tags of an image file, by its bytes."""
    return NO_TAGS
