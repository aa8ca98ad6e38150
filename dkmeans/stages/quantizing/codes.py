"""What the tasks of an archive do: codes of images, and the images of codes beside the originals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.archive import Archive
from dkmeans.artefacts.claims import Claim
from dkmeans.clustering.labels import code_dtype, label_rows
from dkmeans.clustering.palette import count
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import InputError
from dkmeans.images.measures import compare
from dkmeans.images.sources import SkippedImage, Source
from dkmeans.stages.quantizing.rows import image_rows
from dkmeans.storage import arrays, checksums

__all__ = ["MEASURES", "measure_images", "write_codes"]

MEASURES = ("source_bytes", "mse", "psnr", "ssim", "n_source_colors", "n_colors", "inertia")
"""Columns of the array ``images/measures``; NaN where there is no number."""
_SLICE = 1 << 18
"""Rows whose distances are computed at a time."""


def _images(part: Source, config: QuantizeConfig) -> Iterator[NDArray[Any]]:
    """The images of `part`, which all have been decoded before.

    Raises
    ------
    InputError
        If one cannot be decoded any more.
    """
    for image in part.read(config.color, max_pixels=config.max_image_pixels):
        if isinstance(image, SkippedImage):
            raise InputError(f"{image.key}: {image.reason}. Do not change the images meanwhile.")
        yield image


def write_codes(
    claim: Claim,
    part: Source,
    spans: list[plan.ImageSpan],
    start: int,
    stop: int,
    config: QuantizeConfig,
    centers: NDArray[np.float32],
    device: str,
) -> NDArray[np.uint32]:
    """Label the rows `start` to `stop`, which are of the images of `part`, and write their codes.

    Returns
    -------
    ndarray of shape (1,), uint32
        The checksum of the codes, which are one chunk.
    """
    pieces = [
        image_rows(image, config.patch)[span.start : span.stop]
        for span, image in zip(spans, _images(part, config), strict=True)
    ]
    codes = label_rows(np.concatenate(pieces), centers, device).astype(code_dtype(len(centers)))
    assert len(codes) == stop - start
    claim.write_rows("codes", start, codes)
    return checksums.of_chunks(codes, len(codes))


def measure_images(
    archive: Archive,
    part: Source,
    offset: NDArray[np.int64],
    sizes: NDArray[np.int32],
    config: QuantizeConfig,
    centers: NDArray[np.float32],
) -> NDArray[np.float64]:
    """The measures of some images of an archive, whose codes begin at `offset`; shape (n, n_measures)."""
    codes = arrays.read_rows(archive.url, "codes", int(offset[0]), int(offset[-1]))
    found = []
    for position, original in enumerate(_images(part, config)):
        own = codes[offset[position] - offset[0] : offset[position + 1] - offset[0]]
        image = archive.decode(own, (int(sizes[position, 0]), int(sizes[position, 1])))
        source_bytes = part.part(position, position + 1).encoded_bytes
        inertia = _inertia(image_rows(original, config.patch), own, centers)
        n_colors = (_n_colors(original), _n_colors(image))
        found.append((source_bytes, *compare(original, image), *n_colors, inertia))
    return np.array(found, np.float64)  # None becomes NaN


def _n_colors(image: NDArray[Any]) -> int:
    pixels = image.reshape(-1, image.shape[2])
    return len(count(pixels).values if image.dtype == np.uint8 else np.unique(pixels, axis=0))


def _inertia(rows: NDArray[Any], codes: NDArray[Any], centers: NDArray[np.float32]) -> float:
    """Sum of the squared distances of rows to their centers."""
    total = 0.0
    for start in range(0, len(rows), _SLICE):
        part = slice(start, start + _SLICE)
        gaps = rows[part] - centers[codes[part]].astype(np.float64)
        total += float(np.einsum("ij,ij->", gaps, gaps))
    return total
