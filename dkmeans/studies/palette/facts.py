"""The facts of the study of palettes: every number of its page, and the images that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.clustering.elbow import find_elbow
from dkmeans.config.stages import QuantizeConfig
from dkmeans.config.studies import PaletteConfig
from dkmeans.errors import InputError
from dkmeans.images.decode import SkippedImage, eight_bits
from dkmeans.images.sources import FileSource, open_source
from dkmeans.stages.quantize import QuantizeReport

__all__ = ["Made", "gather"]

_MOST_SHOWN = 4
_LIMIT = 255


@dataclass(frozen=True)
class Made:
    """All that the page shows.

    Attributes
    ----------
    facts : dict
        Numbers, see `dkmeans.report.study.Study`.
    photos : dict of int to list of ndarray
        For each position of an image that is shown, the image, and what is left of it with each number of
        colors; each of shape (height, width, 3), uint8.
    files : dict of int to list of str or None
        URLs of the files that they were read from; None of an image in a stack.
    folders : tuple of str
        URLs of all that was written.
    """

    facts: dict[str, Any]
    photos: dict[int, list[NDArray[np.uint8]]]
    files: dict[int, list[str | None]]
    folders: tuple[str, ...]


def gather(
    config: PaletteConfig,
    source: str,
    reports: dict[int, QuantizeReport],
    folders: dict[int, str],
    goals: dict[str, Any],
) -> Made:
    """Gather what quantize told about each number of colors, and the images that it wrote into `folders`.

    Parameters
    ----------
    config : PaletteConfig
    source : str
        URL of the originals.
    reports : dict of int to QuantizeReport
        By the number of colors.
    folders : dict of int to str
    goals : dict
        Facts of `dkmeans.studies.palette.goals`.
    """
    first = next(iter(reports.values()))
    names = [image.name for image in first.images]
    rows: list[dict[str, Any]] = [
        {
            "n_clusters": k,
            "inertia": report.inertia / _LIMIT**2,
            "psnr": report.mean_psnr,
            "ssim": report.mean_ssim,
            "stored_bytes": report.stored_bytes,
            "bits_per_pixel": report.bits_per_pixel,
            "images": [
                {
                    "inertia": image.inertia / _LIMIT**2,
                    "psnr": image.psnr,
                    "ssim": image.ssim,
                    "stored_bytes": image.stored_bytes,
                    "n_colors": image.n_colors,
                }
                for image in report.images
            ],
        }
        for k, report in reports.items()
    ]
    spread = np.linspace(0, len(names) - 1, min(_MOST_SHOWN, len(names)))
    shown = [int(position) for position in np.rint(spread)]
    facts = {
        "palette": config.palette,
        "source_bytes": first.source_bytes,
        "n_pixels": first.n_pixels,
        "n_images": len(names),
        **goals,
        "elbow": _elbow(rows, [row["inertia"] for row in rows]),
        "by_k": rows,
        "images": [
            {
                "name": image.name,
                "height": image.height,
                "width": image.width,
                "source_bytes": image.source_bytes,
                "n_colors": image.n_source_colors,
                "elbow": _elbow(rows, [row["images"][position]["inertia"] for row in rows]),
            }
            for position, image in enumerate(first.images)
        ],
    }
    places = [source, *folders.values()]
    photos = {position: [_read(place, position) for place in places] for position in shown}
    files = {position: [_file(place, position) for place in places] for position in shown}
    return Made(facts, photos, files, tuple(folders.values()))


def _elbow(rows: list[dict[str, Any]], inertia: list[float]) -> int | None:
    return find_elbow([row["n_clusters"] for row in rows], inertia)


def _read(url: str, position: int) -> NDArray[np.uint8]:
    """One image of a folder."""
    most = QuantizeConfig.model_fields["max_image_pixels"].default
    (image,) = open_source(url).part(position, position + 1).read("rgb", max_pixels=most)
    if isinstance(image, SkippedImage):
        raise InputError(f"{url}: {image.key}: {image.reason}. Run the study again with --overwrite.")
    return eight_bits(image.pixels)


def _file(url: str, position: int) -> str | None:
    """The URL of the file of one image."""
    found = open_source(url)
    return found.folder.url_of(found.files[position].key) if isinstance(found, FileSource) else None
