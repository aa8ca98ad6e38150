"""The rows of some images for a fit, as tasks read them: pixels or patches, counted or as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.clustering.counted import Counted, count_part, merge_counted
from dkmeans.config import QuantizeConfig
from dkmeans.features.space import FeatureSpace
from dkmeans.images.sources import SkippedImage, Source

__all__ = ["count_rows", "merge_counts", "read_rows"]


def read_rows(part: Source, config: QuantizeConfig) -> tuple[list[SkippedImage], NDArray[Any] | None]:
    """The rows of some images, or those of them that cannot be decoded."""
    skipped, pieces = [], []
    for image in part.read(config.color, max_pixels=config.max_image_pixels):
        if isinstance(image, SkippedImage):
            skipped.append(image)
        else:
            pieces.append(FeatureSpace(image.dtype, image.shape[2], config.patch).to_rows(image))
    return skipped, np.concatenate(pieces) if not skipped else None


def count_rows(
    part: Source, config: QuantizeConfig, positions: NDArray[np.int64]
) -> tuple[list[SkippedImage], list[Counted]]:
    """The pixels at `positions` and the colors of some images, as `load_counted_rows` wants them."""
    skipped, rows = read_rows(part, config)
    return skipped, [] if rows is None else [count_part(rows, positions, "cpu")]


def merge_counts(
    parts: list[tuple[list[SkippedImage], list[Counted]]],
) -> tuple[list[SkippedImage], list[Counted]]:
    """What `count_rows` gives of several batches, together: images that are skipped, or counts."""
    skipped = [image for found, _ in parts for image in found]
    counted = [part for _, found in parts for part in found]
    if skipped or not counted:
        return skipped, []
    return [], [merge_counted(counted)]
