"""Patches to codes, and images put together from the nearest centers of their patches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.claims import Claim
from dkmeans.artefacts.dataset import Dataset
from dkmeans.compute.executor import Executor
from dkmeans.config import ClusterConfig, ReconstructConfig
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.features import patches
from dkmeans.kernels.exact import grid_integers
from dkmeans.stages.shared.coding import write_codes, written
from dkmeans.stages.shared.making import ResultReport, Work, make_result
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["reconstruct"]


def reconstruct(
    config: ReconstructConfig,
    cluster: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> ResultReport:
    """Write the code of each patch, the pixels put together from the centers, and if asked PNG files.

    A pixel is the mean of the centers that cover it; where no kept patch lies it is zero.

    Parameters
    ----------
    config : ReconstructConfig
    cluster : ClusterConfig or Executor
    reporter : Reporter

    Raises
    ------
    InputError
        If dataset or codebook is missing or unfinished, or they do not fit (`MismatchError`).
    UsageError
        If the output is there already.
    StorageError
        If storage refuses or fails.
    """
    return make_result(config, "reconstruct", "patches", lambda *_: None, _write, cluster, reporter)


def _write(work: Work) -> list[str]:
    """Write codes, and pixels cut like those of the dataset; the digests of the pixels."""
    dataset, centers, claim = work.dataset, work.codebook.centers, work.claim
    write_codes(dataset.store, "patches", centers, claim, work.cluster, work.reporter)
    arrays.check_whole(dataset.store, "pixels")
    pixels = dataset.pixels
    claim.create_array(
        "pixels", shape=pixels.shape, dtype=pixels.dtype, chunks=pixels.chunks, shards=pixels.shards
    )
    n_shards = len(plan.cuts(pixels.shape[0], arrays.row_layout(pixels).shard_rows))
    finished = frozenset(arrays.finished_shards(claim.store, "pixels"))
    options = {"dataset": dataset, "centers": centers, "claim": claim, "finished": finished}
    with work.reporter.stage("overlap-add", n_shards, "shards") as advance:
        blocks = work.cluster.map_shards(_write_shard, n_shards, advance, **options)
    claim.seal("pixels", [block[0].table for block in blocks])
    return [block[0].digest for block in blocks]


def _write_shard(
    shards: NDArray[np.int64],
    dataset: Dataset,
    centers: NDArray[np.float32],
    claim: Claim,
    finished: frozenset[int],
) -> NDArray[np.object_]:
    """Put together the images of one shard of pixels, and write it unless it is there."""
    pixels = arrays.open_array(claim.store, "pixels")
    shard_rows = arrays.row_layout(pixels).shard_rows
    shard = int(shards[0])
    start, stop = shard * shard_rows, min((shard + 1) * shard_rows, pixels.shape[0])
    if shard in finished:
        rows = arrays.read_part(pixels, start, stop)
    else:
        spans = plan.image_spans(dataset.offset, start, stop)
        first, last = spans[0].index, spans[-1].index
        whole = np.concatenate(_images(dataset, centers, claim.store, first, last + 1))
        rows = whole[spans[0].start : spans[0].start + stop - start]
        claim.write_rows("pixels", start, rows, pixels)
    return written(rows, pixels.chunks[0])


def _images(
    dataset: Dataset, centers: NDArray[np.float32], store: Store, start: int, stop: int
) -> list[NDArray[Any]]:
    """The pixels, (n, channels), of the images `start` to `stop` as the codebook gives them back."""
    assert dataset.patch is not None
    size = (*dataset.patch, dataset.channels)
    integers = grid_integers(centers, dataset.dtype).reshape(-1, *size)
    offset = dataset.patch_offset
    codes = arrays.read_rows(store, "codes", int(offset[start]), int(offset[stop]))
    pieces = []
    at = 0
    for stack in dataset.stacks(start, stop):
        mask = patches.kept(stack, dataset.patch, dataset.stride, dataset.blank_threshold)
        n_codes = int(mask.sum())
        chosen = codes[at : at + n_codes]
        at += n_codes
        images = patches.overlap_add(chosen, mask, integers, stack.shape[1:], dataset.stride, dataset.dtype)
        pieces.append(images.reshape(-1, dataset.channels))
    return pieces
