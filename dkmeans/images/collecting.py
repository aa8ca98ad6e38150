"""Find the images of a source by a pass over their headers, and say what is not as one may think."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dkmeans.compute.executor import Executor
from dkmeans.errors import DkmeansError
from dkmeans.events.reporter import Reporter
from dkmeans.images.collections import SourceCollection, widest
from dkmeans.images.decode import Color, ImageHeader, SkippedImage
from dkmeans.images.index import ImageIndex
from dkmeans.images.picture import in_srgb
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import FileSource, Source
from dkmeans.images.tags import NO_TAGS, ColorTags
from dkmeans.images.telling import tell_depths, tell_lost_alpha, tell_notes, tell_profiles

__all__ = ["collect", "one_color", "one_dtype"]

_FILES_PER_TASK = 256
_SHARE_FOR_FILES = 0.125
"""Part of the workers' memory that files may take."""


def collect(
    source: Source,
    color: Color,
    max_pixels: int,
    executor: Executor,
    skipping: Skipping,
    reporter: Reporter,
    *,
    patch: tuple[int, int] | None = None,
    alike: bool = True,
    eight_bit: bool = False,
    srgb: bool = False,
) -> SourceCollection:
    """Find the images of a source by their headers; of most no pixel is decoded.

    Files that all fit into an eighth of the workers' memory are read once and held; of others the headers are
    read first, and each file when its pixels are wanted. Where `color` drops alpha, the images that have it
    are decoded once, to say which of them lose by that.

    Parameters
    ----------
    source : Source
    color : {"auto", "gray", "rgb", "rgba"}
        Channels of the images; "auto" for those that they have.
    max_pixels : int
        Of the largest image that is decoded.
    executor : Executor
    skipping : Skipping
        Takes the images that cannot be used.
    reporter : Reporter
        Is told what is left out, reduced or dropped.
    patch : (int, int) or None
        Smaller images are left out.
    alike : bool
        Whether all images get the same channels, those that hold them all; else "auto" leaves each its own.
    eight_bit : bool
        Whether 16-bit images are reduced to 8 bits even if all are such.
    srgb : bool
        Whether colors of other profiles are converted to sRGB.

    Raises
    ------
    InputError
        If no image can be used.
    SkippedError
        If more than allowed cannot be used; the pass ends there.
    """
    for line in source.ignored.lines():
        reporter.warn(line)
    skipping.n_found = len(source)
    every, held = _read_all_headers(source, max_pixels, patch, executor, skipping, reporter)
    headers = [header for header in every if isinstance(header, ImageHeader)]
    tell_notes(headers, reporter)
    places = np.arange(len(every))
    found = SourceCollection(
        source=source,
        color=one_color(color, headers) if alike else color,
        max_pixels=max_pixels,
        index=_index_of(every, srgb),
        dtype=np.dtype(np.uint8) if eight_bit else one_dtype(headers),
        own_channels=np.array([getattr(header, "channels", 0) for header in every], np.int8),
        places=places,
        gone=frozenset(),
        held=held,
        picks=np.stack(np.divmod(places, _FILES_PER_TASK), axis=1),
        srgb=srgb,
    )
    if gone := [header for header in every if isinstance(header, SkippedImage)]:
        skipping.add(gone)
        found = found.without(gone)
    tell_depths(found.dtype, headers, reporter)
    if alike and not srgb:
        tell_profiles(headers, reporter)
    if color in ("gray", "rgb"):
        tell_lost_alpha(found, executor, reporter)
    return found


def one_color(color: Color, headers: Sequence[ImageHeader]) -> Color:
    """The color that all images get, so that they are alike: what is asked for, or what holds them all.

    Gray with alpha becomes RGBA, which all that comes after takes.
    """
    found = widest(color, np.array([header.channels for header in headers], np.int8))
    return "rgba" if found == "gray-alpha" else found


def one_dtype(headers: Sequence[ImageHeader]) -> np.dtype[Any]:
    """The type that all images get: uint16 if each has 16 bits a channel, else uint8."""
    return np.dtype(min((header.dtype for header in headers), key=np.dtype, default="uint8"))


# Headers


def _fetch(source: FileSource) -> list[bytes | DkmeansError]:
    return source.fetch()


def _read_headers(
    source: Source, max_pixels: int, patch: tuple[int, int] | None, files: Any = None
) -> list[ImageHeader | SkippedImage]:
    return [_large_enough(header, patch) for header in source.headers(max_pixels=max_pixels, files=files)]


def _large_enough(
    header: ImageHeader | SkippedImage, patch: tuple[int, int] | None
) -> ImageHeader | SkippedImage:
    """The header, or why the image holds no patch, if one is wanted."""
    if patch is None or isinstance(header, SkippedImage):
        return header
    if header.height >= patch[0] and header.width >= patch[1]:
        return header
    size, wanted = f"{header.height}x{header.width} pixels", f"{patch[0]}x{patch[1]}"
    return SkippedImage(header.key, f"{size}, smaller than the patch of {wanted}")


def _read_all_headers(
    source: Source,
    max_pixels: int,
    patch: tuple[int, int] | None,
    executor: Executor,
    skipping: Skipping,
    reporter: Reporter,
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
        tasks = [read(part, max_pixels, patch, files) for part, files in zip(parts, held, strict=True)]
    else:
        tasks = [read(part, max_pixels, patch) for part in parts]
    with reporter.stage("headers", len(tasks), "batches") as advance:
        found = executor.run(tasks, advance, skipping.watch())
    return [header for part in found for header in part], held


def _index_of(headers: Sequence[ImageHeader | SkippedImage], srgb: bool) -> ImageIndex:
    """Names, sizes and tags of all images; of those that cannot be used the sizes are 0."""
    return ImageIndex(
        tuple(header.key for header in headers),
        np.array([getattr(header, "height", 0) for header in headers], np.int32),
        np.array([getattr(header, "width", 0) for header in headers], np.int32),
        _tags_of(headers, srgb),
    )


def _tags_of(headers: Sequence[ImageHeader | SkippedImage], srgb: bool) -> tuple[ColorTags, ...]:
    """What the files that are made of these images tell; empty where no file tells anything."""
    found = [header.tags if isinstance(header, ImageHeader) else NO_TAGS for header in headers]
    if not any(tags.chunks for tags in found):
        return ()
    told = {tags: in_srgb(tags) if srgb else tags for tags in set(found)}
    return tuple(told[tags] for tags in found)
