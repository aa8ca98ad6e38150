"""Pixels to codes and a palette: each pixel becomes the number of its nearest color."""

from __future__ import annotations

from typing import Any

import numpy as np

from dkmeans.artefacts.codebook import Codebook
from dkmeans.artefacts.dataset import Dataset
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import CompressConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.palettes import PNG_COLORS
from dkmeans.stages.shared.making import ResultReport, Work, make_result

__all__ = ["compress"]


def compress(
    config: CompressConfig,
    executor: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> ResultReport:
    """Write the code of each pixel, the palette, and if asked one indexed PNG per image.

    Parameters
    ----------
    config : CompressConfig
        URLs of what is read and written, and the options.
    executor : ClusterConfig or Executor
        Where the tasks run: a cluster to start or to connect to, `InProcess` or `Distributed`.
    reporter : Reporter
        Told of progress; by default nobody is.

    Returns
    -------
    ResultReport
        Number of codes, quality (mean PSNR in dB, mean squared error of a value), bytes of the PNG files, and
        seconds.

    Raises
    ------
    InputError
        If dataset or codebook is missing or unfinished, or they do not fit (`MismatchError`).
    UsageError
        If the output is there already, or the palette is too large for a PNG.
    StorageError
        If storage refuses or fails.
    """

    def check(dataset: Dataset, codebook: Codebook) -> None:
        if config.images is not None:
            _check_png(dataset, codebook)

    return make_result(config, "compress", "pixels", check, _write, executor, reporter)


def _check_png(dataset: Dataset, codebook: Codebook) -> None:
    """Refuse a palette that no indexed PNG can hold."""
    if codebook.n_clusters > PNG_COLORS:
        raise UsageError(
            f"--images: found {codebook.n_clusters} colors, an indexed PNG holds at most {PNG_COLORS}. "
            f"Fit with --k {PNG_COLORS} or less, or leave out --images."
        )
    if dataset.dtype != np.uint8:
        raise UsageError(
            f"--images: found {dataset.dtype} pixels, the palette of a PNG holds 8 bits a channel. "
            "Leave out --images and take palette[codes] from the result."
        )


def _write(work: Work) -> dict[str, Any]:
    """Write the palette."""
    space = work.dataset.space("pixels")
    work.claim.write_array("palette", space.to_pixels(work.codebook.centers))
    return {}
