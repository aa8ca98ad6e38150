"""Which images there are, and where their pixels lie when they are laid end to end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress, pairwise

import numpy as np
from numpy.typing import NDArray

from dkmeans.images.tags import NO_TAGS, ColorTags

__all__ = ["ImageIndex", "same_sizes"]


@dataclass(frozen=True)
class ImageIndex:
    """Which images there are and where their pixels lie.

    Attributes
    ----------
    names : tuple of str
        Keys relative to the source.
    height, width : ndarray of shape (n,), int32
        Sizes in pixels.
    tags : tuple of ColorTags
        Of each image its profile and density; empty if none has any. Equal ones are mostly one object.
    """

    names: tuple[str, ...]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    tags: tuple[ColorTags, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def offset(self) -> NDArray[np.int64]:
        """Row of the first pixel of each image, and the number of all pixels; shape (n + 1,)."""
        sizes = self.height.astype(np.int64) * self.width
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])

    def sizes(self, start: int, stop: int) -> NDArray[np.int32]:
        """Height and width of the images `start` to `stop`; shape (stop - start, 2)."""
        return np.stack([self.height[start:stop], self.width[start:stop]], axis=1)

    def tags_of(self, start: int, stop: int) -> tuple[ColorTags, ...]:
        """Profile and density of each of the images `start` to `stop`."""
        return self.tags[start:stop] if self.tags else (NO_TAGS,) * (stop - start)

    def first(self, n: int) -> ImageIndex:
        """The index of the first `n` of these images."""
        return ImageIndex(self.names[:n], self.height[:n], self.width[:n], self.tags[:n])

    def followed_by(self, other: ImageIndex) -> ImageIndex:
        """The index of these images and then those of `other`."""
        both = (self, other)
        tags = [each.tags_of(0, len(each)) for each in both] if self.tags or other.tags else []
        height, width = (
            np.concatenate([getattr(each, name) for each in both]) for name in ("height", "width")
        )
        return ImageIndex(self.names + other.names, height, width, tuple(chain.from_iterable(tags)))

    def leaving(self, names: Collection[str]) -> ImageIndex:
        """This index without the images of these names."""
        stay = np.array([name not in names for name in self.names], bool)
        kept = tuple(compress(self.names, stay)), tuple(compress(self.tags, stay))
        return ImageIndex(kept[0], self.height[stay], self.width[stay], kept[1])


def same_sizes(sizes: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Ranges (start, stop) of neighbors of one size; `sizes` has shape (n, 2)."""
    borders = np.flatnonzero((np.diff(sizes, axis=0) != 0).any(axis=1)) + 1
    return list(pairwise([0, *borders.tolist(), len(sizes)]))
