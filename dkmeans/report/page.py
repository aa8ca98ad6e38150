"""The report page: facts and pictures of each result, put into the template ``page.html``."""

from __future__ import annotations

import errno
import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from dkmeans.config.stages import ReportConfig
from dkmeans.errors import StorageError, UsageError
from dkmeans.report import template
from dkmeans.report.facts import ResultFacts
from dkmeans.report.layout import csv_file, csv_uri
from dkmeans.report.links import relative
from dkmeans.report.sections import draw
from dkmeans.report.subjects import Subject, open_subject
from dkmeans.storage.urls import is_local, resolve_url

__all__ = ["PageReport", "check_page", "write_page", "write_report"]

_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class PageReport:
    """The report of a page: where it is, and its numbers beside it in ``<stem>.json``."""

    page: str
    n_results: int
    page_bytes: int
    seconds: float


def write_report(config: ReportConfig) -> PageReport:
    """Write one self-contained HTML page about some results, and its numbers as JSON beside it.

    Parameters
    ----------
    config : ReportConfig
        Path of the page, URLs of the results, and the options.

    Returns
    -------
    PageReport
        Where the page lies, how many results it shows, its bytes, and seconds.

    Raises
    ------
    InputError
        If a result, or what it was made from, is missing or unfinished; or if it is a folder of files that
        another stage than quantize wrote. An original of quantize that is gone is told on the page.
    MismatchError
        If a dataset or codebook is no longer the one that a result was made from.
    UsageError
        If the page is no local path that ends in ``.html``.
    StorageError
        If the page cannot be written.
    """
    check_page(config.page)
    return write_page(config, [open_subject(url) for url in config.results])


def write_page(config: ReportConfig, subjects: Sequence[Subject]) -> PageReport:
    """Write the page and its numbers for results that are open; see `write_report`."""
    began = time.perf_counter()
    page = check_page(config.page)
    with _explained(page):  # before the work, not after it
        page.parent.mkdir(parents=True, exist_ok=True)
    sections = [draw(subject, config.n_images, page) for subject in subjects]
    numbers = json.dumps([asdict(section.facts) for section in sections], indent=1, ensure_ascii=False)
    json_file = page.with_suffix(".json")
    html = template.render(
        "page.html",
        title=config.title,
        sections=sections,
        numbers=json_file.name,
        link=lambda url: relative(url, str(page)),
        csv_uri=csv_uri,
        glance=_glance([section.facts for section in sections]),
    ).encode()
    _write({json_file: numbers.encode(), page: html})
    return PageReport(str(page), len(sections), len(html), time.perf_counter() - began)


def _glance(results: Sequence[ResultFacts]) -> bytes:
    """The table of all results as a CSV file."""
    titles = (
        *("Result", "Clusters", "Images", "Mean PSNR", "Mean SSIM", "Source bytes", "Raw bytes"),
        *("Bytes of codes and codebook", "Bytes of image files", "Bits per pixel", "Iterations"),
        *("Converged", "Inertia", "Centers SHA-256"),
    )
    rows = [
        (
            *(facts.result, facts.n_clusters, facts.n_images, facts.mean_psnr, facts.mean_ssim),
            *(facts.bytes.source, facts.bytes.raw, facts.bytes.compressed, facts.bytes.images),
            *(facts.bits_per_pixel, facts.n_iter, facts.converged, facts.inertia, facts.centers_sha256),
        )
        for facts in results
    ]
    return csv_file([titles, *rows])


def check_page(page: str) -> Path:
    """The path of a page that can be asked for.

    Raises
    ------
    UsageError
        If it is no local path that ends in ``.html``.
    """
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
