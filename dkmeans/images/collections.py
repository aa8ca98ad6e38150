"""Images that can be used: stored in a dataset, or decoded from a source when they are asked for.

Stages ask either kind the same questions (`ImageCollection`). A source is collected by a pass over its
headers; an image whose header is fine and whose pixels are not shows when it is decoded, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.compute.executor import Executor
from dkmeans.errors import DkmeansError, InputError, SkippedError
from dkmeans.events.reporter import Reporter
from dkmeans.images.decode import CHANNELS, Color, ImageHeader, SkippedImage
from dkmeans.images.index import ImageIndex
from dkmeans.images.sources import FileSource, Source

__all__ = ["ImageCollection", "Images", "Part", "Skipping", "SourceCollection", "collect"]

_FILES_PER_TASK = 256
_NAMED = 20
"""Images that are named one by one when they are skipped."""
_SHARE_FOR_FILES, _SHARE_FOR_IMAGES = 0.125, 0.25
"""Parts of the workers' memory that files, and images decoded from them, may take."""


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
        """Values per pixel: 1, 3 or 4."""

    def part(self, start: int, stop: int) -> Images:
        """The images `start` to `stop`, for one task."""


class Skipping:
    """Images that cannot be used: each is named aloud, kept in a list, and counted.

    Parameters
    ----------
    max_skipped : int
        So many may be left out.
    reporter : Reporter
    keep : callable
        ``keep(skipped)`` stores the list, before there are too many.
    place : str
        URL of that list, for the message.
    """

    def __init__(
        self,
        max_skipped: int,
        reporter: Reporter,
        keep: Callable[[Sequence[SkippedImage]], None],
        place: str,
    ) -> None:
        self.max_skipped = max_skipped
        self.reporter = reporter
        self.keep = keep
        self.place = place
        self.images: list[SkippedImage] = []

    def add(self, images: Sequence[SkippedImage]) -> None:
        """Leave out some more.

        Raises
        ------
        SkippedError
            If these are too many.
        """
        for image in images:
            self.reporter.event("skipped", image=image.key, reason=image.reason)
        for image in images[:_NAMED]:
            self.reporter.warn(f"skipped {image.key}: {image.reason}")
        if len(images) > _NAMED:
            self.reporter.warn(f"skipped {len(images) - _NAMED} more, listed in {self.place}")
        self.images += images
        n_skipped = len(self.images)
        if n_skipped > self.max_skipped:
            self.keep(self.images)
            raise SkippedError(
                f"{n_skipped} images cannot be used, --max-skipped allows {self.max_skipped}; the first: "
                f"{self.first}. All are listed in {self.place}. Mend or remove them and pass --overwrite, or "
                f"go on with --resume --max-skipped {n_skipped}."
            )

    @property
    def first(self) -> str:
        """Name and reason of the first image that is left out."""
        return f"{self.images[0].key} ({self.images[0].reason})" if self.images else "none"


@dataclass(frozen=True)
class Part:
    """Some images of a source, for one task.

    Attributes
    ----------
    source : Source
        These images alone.
    held : list of list
        Their files, or the images decoded from them, among those of other images; tasks in a graph, and empty
        where each image is read from storage.
    picks : tuple of (int, int)
        Where in `held` each image lies.
    decoded : bool
        Whether `held` are images.
    """

    source: Source
    color: Color
    max_pixels: int
    held: list[Any]
    picks: tuple[tuple[int, int], ...]
    decoded: bool

    def read(self) -> Iterator[NDArray[Any] | SkippedImage]:
        """Yield each image, or why it cannot be decoded."""
        chosen = [self.held[batch][place] for batch, place in self.picks]
        if self.decoded:
            return iter(chosen)
        files = chosen if self.held else None
        return self.source.read(self.color, max_pixels=self.max_pixels, files=files)

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
            batch, place = self.picks[position]
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
            yield image


def _decode(part: Part) -> list[NDArray[Any] | SkippedImage]:
    return list(part.read())


def _skipped(images: list[NDArray[Any] | SkippedImage]) -> list[SkippedImage]:
    return [image for image in images if isinstance(image, SkippedImage)]


def _fetch(source: FileSource) -> list[bytes | DkmeansError]:
    return source.fetch()


def _read_headers(source: Source, max_pixels: int, files: Any = None) -> list[ImageHeader | SkippedImage]:
    return source.headers(max_pixels=max_pixels, files=files)


@dataclass(frozen=True)
class SourceCollection:
    """The images of a source that can be used, decoded when a task asks for them.

    Attributes
    ----------
    source : Source
        All images, those that are left out among them.
    color : {"rgb", "gray", "rgba"}
    max_pixels : int
        Of the largest image that is decoded.
    index : ImageIndex
    dtype : numpy dtype
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
    """

    source: Source
    color: Color
    max_pixels: int
    index: ImageIndex
    dtype: np.dtype[Any]
    places: NDArray[np.int64]
    gone: frozenset[str]
    held: tuple[Any, ...]
    picks: NDArray[np.int64]
    decoded: bool = False

    @property
    def channels(self) -> int:
        """Values per pixel: 1, 3 or 4."""
        return CHANNELS[self.color]

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
            return Part(source, self.color, self.max_pixels, [], (), False)
        picks = self.picks[start:stop] - [self.picks[start, 0], 0]
        held = self.held[self.picks[start, 0] : self.picks[stop - 1, 0] + 1]
        places = tuple((batch, place) for batch, place in picks.tolist())
        return Part(source, self.color, self.max_pixels, list(held), places, self.decoded)

    def without(self, images: Sequence[SkippedImage]) -> SourceCollection:
        """This collection without some images.

        Raises
        ------
        InputError
            If none is left.
        """
        gone = {image.key for image in images}
        stay = np.array([name not in gone for name in self.index.names], bool)
        if not stay.any():
            first = f"{images[0].key} ({images[0].reason})" if images else "there is none"
            raise InputError(f"{self.source.url}: no image can be used; the first: {first}.")
        names = tuple(name for name in self.index.names if name not in gone)
        index = ImageIndex(names, self.index.height[stay], self.index.width[stay])
        rest = {"places": self.places[stay], "picks": self.picks[stay], "gone": self.gone | gone}
        return replace(self, index=index, **rest)

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
            found = executor.run([look(task) for task in tasks], advance)
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


def _too_small(header: ImageHeader, patch: tuple[int, int] | None) -> str | None:
    """Why an image holds no patch; None if it does, or none is wanted."""
    if patch is None or (header.height >= patch[0] and header.width >= patch[1]):
        return None
    return f"{header.height}x{header.width} pixels, smaller than the patch of {patch[0]}x{patch[1]}"


def collect(
    source: Source,
    color: Color,
    max_pixels: int,
    executor: Executor,
    skipping: Skipping,
    reporter: Reporter,
    patch: tuple[int, int] | None = None,
) -> SourceCollection:
    """Find the images of a source by their headers; no pixel is decoded.

    Files that all fit into an eighth of the workers' memory are read once and held; of others the headers are
    read first, and each file when its pixels are wanted.

    Parameters
    ----------
    source : Source
    color : {"rgb", "gray", "rgba"}
    max_pixels : int
        Of the largest image that is decoded.
    executor : Executor
    skipping : Skipping
        Takes the images that cannot be used.
    reporter : Reporter
    patch : (int, int) or None
        Smaller images are left out.

    Raises
    ------
    InputError
        If no image can be used, or they are of mixed depth.
    SkippedError
        If more than allowed cannot be used.
    """
    if source.ignored:
        names = ", ".join(source.ignored[:3])
        reporter.warn(f"{len(source.ignored)} files are no images that can be used, and left out: {names}")
    every, held = _headers(source, max_pixels, executor, reporter)
    for place, header in enumerate(every):
        if isinstance(header, ImageHeader) and (problem := _too_small(header, patch)):
            every[place] = SkippedImage(header.key, problem)
    headers = [header for header in every if isinstance(header, ImageHeader)]
    _tell_notes(headers, reporter)
    index = ImageIndex(
        tuple(header.key for header in every),
        np.array([getattr(header, "height", 0) for header in every], np.int32),
        np.array([getattr(header, "width", 0) for header in every], np.int32),
    )
    places = np.arange(len(every))
    picks = np.stack(np.divmod(places, _FILES_PER_TASK), axis=1)
    dtype = np.dtype(headers[0].dtype if headers else np.uint8)
    found = SourceCollection(source, color, max_pixels, index, dtype, places, frozenset(), held, picks)
    if gone := [header for header in every if isinstance(header, SkippedImage)]:
        skipping.add(gone)
        found = found.without(gone)
    _check_one_depth(source.url, headers)
    return found


def _headers(
    source: Source, max_pixels: int, executor: Executor, reporter: Reporter
) -> tuple[list[ImageHeader | SkippedImage], tuple[Any, ...]]:
    """The header of each image, or why it has none; and the tasks that hold the files, if they fit."""
    memory, read = executor.memory_bytes(), executor.task(_read_headers)
    starts = range(0, len(source), _FILES_PER_TASK)
    parts = [source.part(start, start + _FILES_PER_TASK) for start in starts]
    held: tuple[Any, ...] = ()
    fits = memory is None or source.encoded_bytes <= _SHARE_FOR_FILES * memory
    if fits and isinstance(source, FileSource):
        fetch = executor.task(_fetch)
        held = tuple(executor.persist([fetch(part) for part in parts]))
        tasks = [read(part, max_pixels, files) for part, files in zip(parts, held, strict=True)]
    else:
        tasks = [read(part, max_pixels) for part in parts]
    with reporter.stage("headers", len(tasks), "batches") as advance:
        found = executor.run(tasks, advance)
    return [header for part in found for header in part], held


def _tell_notes(headers: list[ImageHeader], reporter: Reporter) -> None:
    notes = [f"{header.key}: {header.note}" for header in headers if header.note]
    for note in notes[:_NAMED]:
        reporter.warn(note)
    if len(notes) > _NAMED:
        reporter.warn(f"{len(notes) - _NAMED} more images have parts that are not used")


def _check_one_depth(url: str, headers: list[ImageHeader]) -> None:
    """Refuse 8-bit and 16-bit images together: one array, and one palette, holds one type."""
    examples = {header.dtype: header.key for header in reversed(headers)}
    if len(examples) > 1:
        raise InputError(
            f"{url} holds 8-bit images ({examples['uint8']}) and 16-bit ones ({examples['uint16']}); "
            "expected one depth. Take them from separate folders."
        )
