"""The report page: facts and pictures of each result, put into the template ``page.html``."""

from __future__ import annotations

import errno
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.coded import CodedImages
from dkmeans.config.stages import ReportConfig
from dkmeans.errors import StorageError, UsageError
from dkmeans.features.space import FeatureSpace
from dkmeans.report import facts, figures, plots, template
from dkmeans.report.facts import ImageFacts, ResultFacts
from dkmeans.report.figures import Picture
from dkmeans.report.subjects import Subject, open_subject
from dkmeans.storage.urls import is_local, resolve_url

__all__ = ["PageReport", "write_report"]

_SUFFIXES = (".html", ".htm")
_LABELED_COLORS = 64
_SWATCH_SIDE = 28  # pixels of a color without label
_MOST_CENTERS = 400
_GALLERY_PIXELS = 2_000_000
_CRISP = 240  # pixels; smaller pictures are enlarged without smoothing


@dataclass(frozen=True)
class PageReport:
    """The report of a page: where it is, and its numbers beside it in ``<stem>.json``."""

    page: str
    n_results: int
    page_bytes: int
    seconds: float


@dataclass(frozen=True)
class _Pair:
    """An original beside its result; `limit` is the value shown as white."""

    facts: ImageFacts
    original: Picture
    image: Picture
    details: tuple[Picture, Picture] | None
    limit: int

    @property
    def crisp(self) -> bool:
        return self.original.scale == 1 and self.original.width <= _CRISP

    @property
    def zoom(self) -> int:
        """Times that a small picture is enlarged."""
        return max(1, min(32, 256 // max(self.original.width, self.original.height)))


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
class _Section:
    """One result on the page; each curve as drawn for a light and for a dark page.

    There is no codebook where each image has its own palette, and no curves where no iterations were kept.
    """

    facts: ResultFacts
    pairs: tuple[_Pair, ...]
    codebook: _Codebook | None
    inertia: tuple[Picture, Picture] | None
    moved: tuple[Picture, Picture] | None


def write_report(config: ReportConfig) -> PageReport:
    """Write one self-contained HTML page about some results, and its numbers as JSON beside it.

    Parameters
    ----------
    config : ReportConfig

    Raises
    ------
    InputError
        If a result, or what it was made from, is missing or unfinished; or if it is a folder of files that
        another stage than quantize wrote.
    MismatchError
        If a dataset, codebook or source is no longer the one that a result was made from.
    UsageError
        If the page is no local path that ends in ``.html``.
    StorageError
        If the page cannot be written.
    """
    began = time.perf_counter()
    page = _check_page(config.page)
    subjects = [open_subject(url) for url in config.results]
    with _explained(page):  # before the work, not after it
        page.parent.mkdir(parents=True, exist_ok=True)
    sections = [_draw(subject, config.n_images) for subject in subjects]
    numbers = json.dumps([asdict(section.facts) for section in sections], indent=1, ensure_ascii=False)
    json_file = page.with_suffix(".json")
    values = {"title": config.title, "sections": sections, "numbers": json_file.name}
    html = template.render("page.html", **values).encode()
    _write({json_file: numbers.encode(), page: html})
    return PageReport(str(page), len(sections), len(html), time.perf_counter() - began)


def _check_page(page: str) -> Path:
    path = Path(resolve_url(page))
    if not is_local(page) or path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"found the page {page!r}; expected a local path that ends in .html.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; expected the path of a page to write.")
    return path


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an error of the file system into ours, with the remedy."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: writing it failed: {error.strerror}. {_remedy(error)}") from error


def _write(files: dict[Path, bytes]) -> None:
    """Write files whole: all data first, so that a full disk leaves the old ones in place."""
    parts = {path: path.with_name(f".{path.name}.{uuid.uuid4().hex}") for path in files}
    try:
        for path, data in files.items():
            with _explained(path):
                parts[path].write_bytes(data)
        for path, part in parts.items():
            with _explained(path):
                os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space, or choose another folder."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "A part of this path is a file, expected a folder; choose another path."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Give this user the right to write there, or choose another folder."
    return "Choose another path."


# Pictures


def _draw(subject: Subject, n_images: int) -> _Section:
    positions = facts.shown_positions(len(subject.result.index), n_images)
    pairs = tuple(_draw_pair(subject, position) for position in positions)
    found = facts.gather(subject, tuple(pair.facts for pair in pairs))
    book = _draw_codebook(subject, found)
    if not found.steps:
        return _Section(found, pairs, book, None, None)
    inertia = np.array([step.inertia for step in found.steps])
    moved = np.array([step.moved for step in found.steps])
    curves = plots.curve(inertia, "inertia"), plots.curve(moved, "rows moved", percent=True)
    return _Section(found, pairs, book, *curves)


def _draw_pair(subject: Subject, position: int) -> _Pair:
    original, image = subject.originals.image(position), subject.result.image(position)
    found = facts.measure_image(subject, position, original, image)
    limit = _display_limit(original)
    shown = [figures.eight_bits(pixels, limit) for pixels in (original, image)]
    details = None
    if found.detail is not None:
        top, left, height, width = found.detail
        parts = [figures.photo(pixels[top : top + height, left : left + width]) for pixels in shown]
        details = parts[0], parts[1]
    return _Pair(found, figures.photo(shown[0]), figures.photo(shown[1]), details, limit)


def _display_limit(values: NDArray[Any]) -> int:
    """The value to show as white: 255, or of 16-bit values the largest, for few use the whole range."""
    if values.dtype == np.uint8:
        return 255
    colors = values[..., :3] if values.shape[-1] == 4 else values
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
