"""Patches to codes, and images put together from the nearest centers of their patches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.dataset import DatasetPart
from dkmeans.artefacts.decoders import pack_masks
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import ReconstructConfig
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.features import patches
from dkmeans.stages.shared.making import ResultReport, Work, make_result
from dkmeans.storage import arrays

__all__ = ["reconstruct"]


def reconstruct(
    config: ReconstructConfig,
    executor: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> ResultReport:
    """Write the code of each patch, and what puts the images together; if asked PNG files.

    A pixel is the mean of the centers that cover it; where no kept patch lies it is zero.

    Parameters
    ----------
    config : ReconstructConfig
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
        If the output is there already.
    StorageError
        If storage refuses or fails.
    """
    return make_result(config, "reconstruct", "patches", lambda *_: None, _write, executor, reporter)


def _write(work: Work) -> dict[str, Any]:
    """Write the centers, and which patches of each image have codes."""
    work.claim.write_array("centers", work.codebook.centers)
    work.claim.write_array("code_offset", work.dataset.patch_offset)
    work.claim.write_array("mask", _masks(work))
    return {"stride": work.dataset.stride}


def _masks(work: Work) -> NDArray[np.uint8]:
    """One bit for each patch of each image, set where it is not blank; an image has whole bytes."""
    dataset, first = work.dataset, work.reused.n_masked
    arrays.check_whole(dataset.store, "pixels")
    task = work.executor.task(_find_masks)
    ranges = plan.batches(np.diff(dataset.offset[first:]), plan.PIXELS_PER_TASK)
    parts = [dataset.part(first + start, first + stop) for start, stop in ranges]
    with work.reporter.stage("masks", len(parts), "batches") as advance:
        found = work.executor.run([task(part) for part in parts], advance)
    return np.concatenate([work.reused.mask, *found])


def _find_masks(part: DatasetPart) -> NDArray[np.uint8]:
    dataset = part.dataset
    assert dataset.patch is not None
    threshold = dataset.manifest.blank_threshold
    return np.concatenate(
        [
            pack_masks(patches.find_kept(stack, dataset.patch, dataset.stride, threshold))
            for stack in part.stacks()
        ]
    )
