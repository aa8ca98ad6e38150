"""Pixels to codes and a palette: each pixel becomes the number of its nearest color."""

from __future__ import annotations

import numpy as np

from dkmeans.artefacts.codebook import Codebook
from dkmeans.artefacts.dataset import Dataset
from dkmeans.compute.executor import Executor
from dkmeans.config import ClusterConfig, CompressConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.stages.shared.coding import write_codes
from dkmeans.stages.shared.making import ResultReport, Work, make_result

__all__ = ["compress"]

_PNG_COLORS = 256


def compress(
    config: CompressConfig,
    cluster: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> ResultReport:
    """Write the code of each pixel, the palette, and if asked one indexed PNG per image.

    Parameters
    ----------
    config : CompressConfig
    cluster : ClusterConfig or Executor
    reporter : Reporter

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

    return make_result(config, "compress", "pixels", check, _write, cluster, reporter)


def _check_png(dataset: Dataset, codebook: Codebook) -> None:
    """Refuse a palette that no indexed PNG can hold."""
    if codebook.n_clusters > _PNG_COLORS:
        raise UsageError(
            f"--images: found {codebook.n_clusters} colors, an indexed PNG holds at most {_PNG_COLORS}. "
            f"Fit with --k {_PNG_COLORS} or less, or leave out --images."
        )
    if dataset.dtype != np.uint8:
        raise UsageError(
            f"--images: found {dataset.dtype} pixels, the palette of a PNG holds 8 bits a channel. "
            "Leave out --images and take palette[codes] from the result."
        )


def _write(work: Work) -> list[str]:
    """Write palette and codes; the digests of the codes."""
    palette = np.rint(work.codebook.centers).astype(work.dataset.dtype)
    work.claim.write_array("palette", palette)
    return write_codes(
        work.dataset.store, "pixels", work.codebook.centers, work.claim, work.cluster, work.reporter
    )
