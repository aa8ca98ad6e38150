"""Images that can be used: stored in a dataset, or decoded from a source when they are asked for.

Stages ask either kind the same questions (`ImageCollection`). A source is collected by a pass over its
headers (`dkmeans.images.collecting`); an image whose header is fine and whose pixels are not shows when it is
decoded, and is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.compute.executor import Executor
from dkmeans.errors import InputError
from dkmeans.events.reporter import Reporter
from dkmeans.images.decode import CHANNELS, COLORS, Color, SkippedImage, eight_bits
from dkmeans.images.index import ImageIndex
from dkmeans.images.picture import Picture
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import FileSource, Source
from dkmeans.storage.access import count

__all__ = ["ImageCollection", "Images", "Part", "SourceCollection", "widest"]

_SHARE_FOR_IMAGES = 0.25
"""Part of the workers' memory that decoded images may take."""


class Images(Protocol):
    """Some images of a collection, small until a task has opened it."""

    def images(self) -> Iterator[NDArray[Any]]:
        """Yield the images in order; each of shape (height, width, channels), uint8 or uint16."""


class ImageCollection(Protocol):
    """Images of one type in a fixed order, wherever they lie."""

    @property
    def index(self) -> ImageIndex:
        """Names and sizes of the images."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value: uint8 or uint16."""

    @property
    def channels(self) -> int:
        """Values per pixel, 1 to 4; where images differ, as many as hold them all."""

    def part(self, start: int, stop: int) -> Images:
        """The images `start` to `stop`, for one task."""


@dataclass(frozen=True)
class Part:
    """Some images of a source, for one task.

    Attributes
    ----------
    source : Source
        These images alone.
    color : {"auto", "gray", "gray-alpha", "rgb", "rgba"}
        Channels of all images; "auto" for those that each has.
    max_pixels : int
        Of the largest image that is decoded.
    dtype : numpy dtype
        uint8 reduces 16-bit images to 8 bits.
    srgb : bool
        Whether colors of other profiles are converted to sRGB.
    held : list of list
        Their files, or the images decoded from them, among those of other images; tasks in a graph, and empty
        where each image is read from storage.
    picks : ndarray of shape (n_images, 2), int64
        Where in `held` each image lies: its batch, and its place there.
    decoded : bool
        Whether `held` are images.
    """

    source: Source
    color: Color
    max_pixels: int
    dtype: np.dtype[Any]
    srgb: bool
    held: list[Any]
    picks: NDArray[np.int64]  # not walked for tasks, as a list would be
    decoded: bool

    def read(self) -> Iterator[Picture | SkippedImage]:
        """Yield each image, or why it cannot be decoded."""
        chosen = [self.held[batch][place] for batch, place in self.picks.tolist()]
        if self.decoded:
            return iter(chosen)
        files = chosen if self.held else None
        found = self.source.read(self.color, max_pixels=self.max_pixels, files=files, srgb=self.srgb)
        return _counted(map(_reduced, found) if self.dtype == np.uint8 else found)

    def file(self, position: int) -> bytes | None:
        """The file of one image as it was found; None of an image in a stack.

        Raises
        ------
        InputError
            If it has changed meanwhile.
        """
        if not isinstance(self.source, FileSource):
            return None
        if self.held and not self.decoded:
            batch, place = self.picks[position].tolist()
            found = self.held[batch][place]
            if isinstance(found, bytes):
                return found
        return self.source.file(position)

    def images(self) -> Iterator[NDArray[Any]]:
        """Yield each image, which has been decoded before.

        Raises
        ------
        InputError
            If one cannot be decoded any more.
        """
        for image in self.read():
            if isinstance(image, SkippedImage):
                raise InputError(f"{image.key}: {image.reason}. Do not change the images meanwhile.")
            yield image.pixels


def _counted(images: Iterator[Picture | SkippedImage]) -> Iterator[Picture | SkippedImage]:
    """Yield the same images, and count those that are decoded."""
    for image in images:
        if not isinstance(image, SkippedImage):
            count(images_read=1)
        yield image


def _reduced(image: Picture | SkippedImage) -> Picture | SkippedImage:
    """The same image with 8 bits a channel."""
    if isinstance(image, SkippedImage) or image.pixels.dtype == np.uint8:
        return image
    return replace(image, pixels=eight_bits(image.pixels))


def _decode(part: Part) -> list[Picture | SkippedImage]:
    return list(part.read())


def _skipped(images: list[Picture | SkippedImage]) -> list[SkippedImage]:
    return [image for image in images if isinstance(image, SkippedImage)]


@dataclass(frozen=True)
class SourceCollection:
    """The images of a source that can be used, decoded when a task asks for them.

    Attributes
    ----------
    source : Source
        All images, those that are left out among them.
    color : {"auto", "gray", "gray-alpha", "rgb", "rgba"}
        Channels of all images; "auto" for those that each has.
    max_pixels : int
        Of the largest image that is decoded.
    index : ImageIndex
    dtype : numpy dtype
        uint8, to which 16-bit images are reduced, or uint16.
    own_channels : ndarray of shape (n_images,), int8
        Of each image as its file has it.
    places : ndarray of shape (n_images,), int64
        Which images of `source` these are, ascending.
    gone : frozenset of str
        Keys of the images that are left out.
    held : tuple of tasks
        Batches of files, or of images, in the workers' memory; empty where each is read from storage.
    picks : ndarray of shape (n_images, 2), int64
        Of each image its batch in `held`, and where it lies there.
    decoded : bool
        Whether `held` are images.
    srgb : bool
        Whether colors of other profiles are converted to sRGB.
    """

    source: Source
    color: Color
    max_pixels: int
    index: ImageIndex
    dtype: np.dtype[Any]
    own_channels: NDArray[np.int8]
    places: NDArray[np.int64]
    gone: frozenset[str]
    held: tuple[Any, ...]
    picks: NDArray[np.int64]
    decoded: bool = False
    srgb: bool = False

    @property
    def channels(self) -> int:
        """Values per pixel; where images differ, as many as hold them all."""
        return CHANNELS[widest(self.color, self.own_channels)]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Pixels of each image; shape (n_images,)."""
        return np.diff(self.index.offset)

    @property
    def source_bytes(self) -> list[int]:
        """Bytes of each image as it lies in storage."""
        return [self.source.part(place, place + 1).encoded_bytes for place in self.places.tolist()]

    def part(self, start: int, stop: int) -> Part:
        """The images `start` to `stop`, for one task."""
        first, last = int(self.places[start]), int(self.places[stop - 1]) + 1
        source = self.source.part(first, last)
        if last - first > stop - start:
            source = source.without(self.gone)
        if not self.held:
            return Part(source, self.color, self.max_pixels, self.dtype, self.srgb, [], self.picks[:0], False)
        picks = self.picks[start:stop] - [self.picks[start, 0], 0]
        held = self.held[self.picks[start, 0] : self.picks[stop - 1, 0] + 1]
        how = (self.color, self.max_pixels, self.dtype, self.srgb)
        return Part(source, *how, list(held), picks, self.decoded)

    def without(self, images: Sequence[SkippedImage]) -> SourceCollection:
        """This collection without some images.

        Raises
        ------
        InputError
            If none is left.
        """
        left = self.leaving({image.key for image in images})
        if not len(left.index):
            first = f"{images[0].key} ({images[0].reason})" if images else "there is none"
            raise InputError(f"{self.source.url}: no image can be used; the first: {first}.")
        return left

    def leaving(self, keys: Collection[str]) -> SourceCollection:
        """This collection without the images of these keys; perhaps none is left."""
        stay = np.array([name not in keys for name in self.index.names], bool)
        return replace(
            self,
            index=self.index.leaving(keys),
            own_channels=self.own_channels[stay],
            places=self.places[stay],
            picks=self.picks[stay],
            gone=self.gone | frozenset(keys),
        )

    def in_memory(self, executor: Executor, skipping: Skipping, reporter: Reporter) -> SourceCollection:
        """These images decoded and held by the workers if they fit, without those that cannot be decoded."""
        memory = executor.memory_bytes()
        n_bytes = int(self.index.offset[-1]) * self.channels * self.dtype.itemsize
        if memory is not None and n_bytes > _SHARE_FOR_IMAGES * memory:
            return self
        ranges = self.batches(executor)
        decode, look = executor.task(_decode), executor.task(_skipped)
        tasks = executor.persist([decode(self.part(*images)) for images in ranges])
        with reporter.stage("decoding", len(tasks), "batches") as advance:
            found = executor.run([look(task) for task in tasks], advance, skipping.watch())
        picks = [
            (batch, place) for batch, (start, stop) in enumerate(ranges) for place in range(stop - start)
        ]
        held = replace(self, held=tuple(tasks), picks=np.array(picks, np.int64), decoded=True)
        gone = [image for part in found for image in part]
        if not gone:
            return held
        skipping.add(gone)
        return held.without(gone)

    def batches(self, executor: Executor) -> list[tuple[int, int]]:
        """Ranges of images, each for one task; some for each thread."""
        n_pixels = int(self.index.offset[-1])
        return plan.batches(self.sizes, min(plan.PIXELS_PER_TASK, -(-n_pixels // executor.n_threads())))


def widest(color: Color, channels: NDArray[np.int8]) -> Color:
    """The color that holds all images: that which is asked for, or for "auto" what holds those they have."""
    if color != "auto":
        return color
    found = set(channels.tolist())
    return COLORS[(3 if found & {3, 4} else 1) + bool(found & {2, 4})]
