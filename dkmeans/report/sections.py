"""A section of the report page: the facts of one result, and its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.coded import CodedImages
from dkmeans.artefacts.dataset import Dataset
from dkmeans.errors import MismatchError
from dkmeans.features.space import FeatureSpace
from dkmeans.report import facts, figures, gathering, plots
from dkmeans.report.facts import ImageFacts, ResultFacts
from dkmeans.report.figures import Picture
from dkmeans.report.files import FileTable, file_rows, file_table, shown_files
from dkmeans.report.links import relative
from dkmeans.report.subjects import Subject

__all__ = ["Pair", "Section", "draw"]

_LABELED_COLORS = 64
_SWATCH_SIDE = 28  # pixels of a color without label
_MOST_CENTERS = 400
_GALLERY_PIXELS = 2_000_000
_ZOOMED, _SMALL_ZOOMED = 512, 256  # pixels that small pictures are enlarged to, with details and without
_GAP = 10  # pixels between a picture and its details


@dataclass(frozen=True)
class Pair:
    """An original, where it is there, beside its result; `limit` is the value shown as white.

    `links` lead to the files of the two, where the page can reach them.
    """

    facts: ImageFacts
    original: Picture | None
    image: Picture
    details: tuple[Picture, Picture] | None
    alpha: bool
    limit: int
    links: tuple[str | None, str | None]

    @property
    def zoom(self) -> int:
        """Times that a small picture is enlarged, without smoothing."""
        room = _SMALL_ZOOMED if self.details is None else _ZOOMED
        return max(1, min(32, room // max(self.image.width, self.image.height)))

    @property
    def style(self) -> str:
        """How wide the picture is, and details beside it of which two are as high as it."""
        width = self.image.width * self.zoom
        if self.details is None:
            return f"--width:{width}px;--left:{width}px;--right:0px"
        aspect = self.details[0].width / self.details[0].height
        beside = round((self.image.height * self.zoom - _GAP) / 2 * aspect)
        return (
            f"--aspect:{aspect:.3f};--left:{width}fr;--right:{beside}fr;max-width:{width + beside + _GAP}px"
        )


@dataclass(frozen=True)
class _Swatch:
    """A color as the page shows it."""

    hex: str
    facts: facts.Color


@dataclass(frozen=True)
class _Codebook:
    """Pictures of the centers: of a palette a strip and swatches, of patches a gallery."""

    strip: Picture | None
    swatches: tuple[_Swatch, ...]
    gallery: Picture | None
    n_shown: int
    limit: int


@dataclass(frozen=True)
class Section:
    """One result on the page; each curve as drawn for a light and for a dark page.

    There is no codebook where each image has its own palette, no curves where no iterations were kept, and no
    table where it was not measured for each image what it gained and lost.
    """

    facts: ResultFacts
    pairs: tuple[Pair, ...]
    codebook: _Codebook | None
    inertia: tuple[Picture, Picture] | None
    moved: tuple[Picture, Picture] | None
    table: FileTable | None


def draw(subject: Subject, n_images: int, page: Path) -> Section:
    """Draw one result, of which at most `n_images` are shown, for a page at the path `page`."""
    files = file_rows(subject)
    if files:
        chosen = shown_files(files, n_images)
    else:
        chosen = [
            (position, "") for position in gathering.shown_positions(len(subject.result.index), n_images)
        ]
    pairs = tuple(_draw_pair(subject, *each, page) for each in chosen)
    found = gathering.gather(subject, tuple(pair.facts for pair in pairs), files)
    book = _draw_codebook(subject, found)
    table = file_table(subject, files, page) if files else None
    if not found.steps:
        return Section(found, pairs, book, None, None, table)
    inertia = np.array([step.inertia for step in found.steps])
    moved = np.array([step.moved for step in found.steps])
    curves = plots.curve(inertia, "inertia"), plots.curve(moved, "rows moved", percent=True)
    return Section(found, pairs, book, *curves, table)


def _draw_pair(subject: Subject, position: int, why: str, page: Path) -> Pair:
    image, originals = subject.result.image(position), subject.originals
    links: list[str | None] = [None, None]
    if subject.file_urls:
        links[1] = relative(subject.file_urls[position], str(page))
    original: NDArray[Any] | str
    if isinstance(originals, Dataset):
        original = originals.image(position)
    else:
        try:
            original = originals.image(position, image.shape[2])
        except MismatchError as error:
            original = str(error)
        url = originals.file_url(position)
        links[0] = None if url is None else relative(url, str(page))
    found = gathering.measure_image(subject, position, original, image, why)
    limit = _display_limit(image if isinstance(original, str) else original)
    shown = figures.eight_bits(image, limit)
    before, details = None, None
    if not isinstance(original, str):
        first = figures.eight_bits(original, limit)
        before = figures.photo(first)
        if found.detail is not None:
            top, left, height, width = found.detail
            part = np.s_[top : top + height, left : left + width]
            details = figures.photo(first[part]), figures.photo(shown[part])
    alpha = image.shape[2] in (2, 4)
    return Pair(found, before, figures.photo(shown), details, alpha, limit, (links[0], links[1]))


def _display_limit(values: NDArray[Any]) -> int:
    """The value to show as white: 255, or of 16-bit values the largest, for few use the whole range."""
    if values.dtype == np.uint8:
        return 255
    colors = values[..., :-1] if values.shape[-1] in (2, 4) else values
    return max(1, int(colors.max()))


def _draw_codebook(subject: Subject, found: ResultFacts) -> _Codebook | None:
    if found.colors:
        return _draw_palette(found)
    if not isinstance(subject.result, CodedImages):  # the files have their palettes themselves
        return None
    if subject.codebook is not None:
        book = subject.codebook
        return _draw_gallery(found, book.manifest.space, book.centers, book.counts)
    space, centers = subject.result.manifest.space, subject.result.centers
    assert space is not None
    assert centers is not None
    return _draw_gallery(found, space, centers, None)


def _draw_palette(found: ResultFacts) -> _Codebook:
    values = np.array([color.values for color in found.colors], found.dtype)
    limit = _display_limit(values)
    shown = figures.eight_bits(values, limit)
    counts = [color.count for color in found.colors if color.count is not None]
    strip = figures.share_strip(shown, np.array(counts, np.int64)) if counts else None
    if len(shown) > _LABELED_COLORS:
        squares = figures.gallery(shown[:, np.newaxis, np.newaxis], side=_SWATCH_SIDE)
        return _Codebook(strip, (), squares, len(shown), limit)
    swatches = tuple(
        _Swatch(_hex(color), one) for color, one in zip(shown.tolist(), found.colors, strict=True)
    )
    return _Codebook(strip, swatches, None, len(shown), limit)


def _hex(color: list[int]) -> str:
    return "#" + bytes(color * 3 if len(color) == 1 else color).hex()


def _draw_gallery(
    found: ResultFacts, space: FeatureSpace, centers: NDArray[np.float32], counts: NDArray[np.int64] | None
) -> _Codebook:
    assert found.patch is not None
    height, width = found.patch
    n_shown = min(_MOST_CENTERS, found.n_clusters, max(1, _GALLERY_PIXELS // (height * width)))
    order = np.arange(n_shown) if counts is None else np.argsort(-counts, kind="stable")[:n_shown]
    tiles = space.to_pixels(centers[order])
    limit = _display_limit(tiles)
    return _Codebook(None, (), figures.gallery(figures.eight_bits(tiles, limit)), n_shown, limit)
