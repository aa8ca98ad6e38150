"""The rows of some images for a fit, as tasks read them: pixels or patches, counted or as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.config.stages import QuantizeConfig
from dkmeans.features import tiles
from dkmeans.features.colors import count_colors, merge_colors
from dkmeans.images.sources import SkippedImage, Source

__all__ = ["count_rows", "image_rows", "merge_counts", "read_rows"]

_Kept = tuple[list[NDArray[Any]], tuple[NDArray[np.uint8], NDArray[np.int64]]]


def image_rows(image: NDArray[Any], patch: tuple[int, int] | None) -> NDArray[Any]:
    """An image of shape (height, width, channels) as rows: its pixels, or its patches side by side."""
    return tiles.cut(image, patch) if patch else image.reshape(-1, image.shape[2])


def read_rows(part: Source, config: QuantizeConfig) -> tuple[list[SkippedImage], NDArray[Any] | None]:
    """The rows of some images, or those of them that cannot be decoded."""
    skipped, pieces = [], []
    for image in part.read(config.color, max_pixels=config.max_image_pixels):
        if isinstance(image, SkippedImage):
            skipped.append(image)
        else:
            pieces.append(image_rows(image, config.patch))
    return skipped, np.concatenate(pieces) if not skipped else None


def count_rows(
    part: Source, config: QuantizeConfig, positions: NDArray[np.int64]
) -> tuple[list[SkippedImage], list[_Kept]]:
    """The pixels at `positions` and the colors of some images, as `counted_parts` wants them."""
    skipped, rows = read_rows(part, config)
    return skipped, [] if rows is None else [([rows[positions]], count_colors(rows))]


def merge_counts(
    parts: list[tuple[list[SkippedImage], list[_Kept]]],
) -> tuple[list[SkippedImage], list[_Kept]]:
    """What `count_rows` gives of several batches, together: images that are skipped, or counts."""
    skipped = [image for found, _ in parts for image in found]
    counted = [part for _, found in parts for part in found]
    if skipped or not counted:
        return skipped, []
    kept = [piece for pieces, _ in counted for piece in pieces]
    return [], [(kept, merge_colors([counts for _, counts in counted]))]
