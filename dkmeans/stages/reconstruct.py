"""Patches to codes, and images put together from the nearest centers of their patches."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import arrays, artefact, export, plan, storage
from dkmeans.cluster import Cluster, connect
from dkmeans.clustering.predict import write_codes
from dkmeans.codebook import Codebook, open_codebook
from dkmeans.config import ClusterConfig, ReconstructConfig
from dkmeans.dataset import Dataset, open_dataset, write_index
from dkmeans.events import SILENT, Reporter
from dkmeans.features import patches
from dkmeans.kernels.exact import grid_integers
from dkmeans.result import Result

__all__ = ["ReconstructReport", "reconstruct"]


@dataclass(frozen=True)
class ReconstructReport:
    """What reconstruct wrote; see `dkmeans.export.Exported` for the measures."""

    result: str
    n_images: int
    n_patches: int
    n_clusters: int
    mean_psnr: float | None
    mse: float
    n_exact: int
    image_bytes: int
    digest: str
    seconds: float


def reconstruct(
    config: ReconstructConfig,
    cluster: ClusterConfig | Cluster = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> ReconstructReport:
    """Write the code of each patch, the pixels put together from the centers, and if asked PNG files.

    A pixel is the mean of the centers that cover it; where no kept patch lies it is zero.

    Parameters
    ----------
    config : ReconstructConfig
    cluster : ClusterConfig or Cluster
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
    began = time.perf_counter()
    dataset, codebook = open_dataset(config.dataset), open_codebook(config.codebook)
    codebook.check_fits(dataset, "patches")
    export.check_image_folder(config, dataset)
    url = storage.resolve_url(config.result)
    digest = artefact.digest([dataset.manifest["digest"], codebook.manifest["centers_sha256"]])
    with (
        artefact.claim(url, "result", config, digest, [dataset.url, codebook.url]) as claim,
        connect(cluster, reporter) as workers,
    ):
        if not claim.finished:
            _write(config, dataset, codebook, claim, workers, reporter)
    manifest = artefact.read_manifest(url, "result")
    facts = {name: manifest[name] for name in ReconstructReport.__dataclass_fields__ if name in manifest}
    return ReconstructReport(result=url, seconds=time.perf_counter() - began, **facts)


def _write(
    config: ReconstructConfig,
    dataset: Dataset,
    codebook: Codebook,
    claim: artefact.Claim,
    cluster: Cluster,
    reporter: Reporter,
) -> None:
    if not claim.has_group("images"):
        write_index(claim, dataset.index)
    write_codes(dataset.url, "patches", codebook.centers, claim.url, cluster, reporter)
    digests = _write_pixels(dataset, codebook, claim.url, cluster, reporter)
    result = Result(claim.url, {"on": "patches"})
    exported = export.export_images(dataset, result, claim, config.images, cluster, reporter)
    claim.commit(
        {
            "on": "patches",
            "n_images": dataset.n_images,
            "n_patches": int(dataset.manifest["n_patches"]),
            "n_clusters": codebook.n_clusters,
            **vars(exported),
            "digest": artefact.digest(digests),
        }
    )


def _write_pixels(
    dataset: Dataset, codebook: Codebook, url: str, cluster: Cluster, reporter: Reporter
) -> list[str]:
    """The array ``pixels`` of the result, cut like that of the dataset; digests of its shards."""
    pixels = dataset.pixels
    arrays.create_array(
        url, "pixels", shape=pixels.shape, dtype=pixels.dtype, chunks=pixels.chunks, shards=pixels.shards
    )
    shard_rows = arrays.row_layout(pixels).shard_rows
    n_shards = len(plan.cuts(pixels.shape[0], shard_rows))
    finished = frozenset(arrays.finished_shards(url, "pixels"))
    with reporter.stage("overlap-add", n_shards, "shards") as advance:
        digests = cluster.map_shards(
            _write_shard,
            n_shards,
            advance,
            dataset=Dataset(dataset.url, dataset.manifest),
            centers=codebook.centers,
            url=url,
            finished=finished,
        )
    return [str(found[0]) for found in digests]


def _write_shard(
    shards: NDArray[np.int64],
    dataset: Dataset,
    centers: NDArray[np.float32],
    url: str,
    finished: frozenset[int],
) -> NDArray[np.object_]:
    """Put together the images of one shard of pixels, and write it unless it is there; its digest."""
    pixels = arrays.open_array(url, "pixels")
    shard_rows = arrays.row_layout(pixels).shard_rows
    shard = int(shards[0])
    start, stop = shard * shard_rows, min((shard + 1) * shard_rows, pixels.shape[0])
    if shard in finished:
        rows = np.asarray(pixels[start:stop])
    else:
        spans = plan.image_spans(dataset.offset, start, stop)
        first, last = spans[0].index, spans[-1].index
        whole = np.concatenate(_images(dataset, centers, url, first, last + 1))
        rows = whole[spans[0].start : spans[0].start + stop - start]
        arrays.write_rows(url, "pixels", start, rows)
    return np.array([hashlib.sha256(rows.tobytes()).hexdigest()], dtype=object)


def _images(
    dataset: Dataset, centers: NDArray[np.float32], url: str, start: int, stop: int
) -> list[NDArray[Any]]:
    """The pixels, (n, channels), of the images `start` to `stop` as the codebook gives them back."""
    assert dataset.patch is not None
    size = (*dataset.patch, dataset.channels)
    integers = grid_integers(centers, dataset.dtype).reshape(-1, *size)
    offset = dataset.patch_offset
    codes = arrays.read_rows(url, "codes", int(offset[start]), int(offset[stop]))
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
