"""Pixels to codes and a palette: each pixel becomes the number of its nearest color."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from dkmeans import arrays, artefact, export, storage
from dkmeans.cluster import Cluster, connect
from dkmeans.clustering.predict import write_codes
from dkmeans.codebook import Codebook, open_codebook
from dkmeans.config import ClusterConfig, CompressConfig
from dkmeans.dataset import Dataset, open_dataset, write_index
from dkmeans.errors import UsageError
from dkmeans.events import SILENT, Reporter
from dkmeans.result import Result

__all__ = ["CompressReport", "compress"]

_PNG_COLORS = 256


@dataclass(frozen=True)
class CompressReport:
    """What compress wrote; see `dkmeans.export.Exported` for the measures."""

    result: str
    n_images: int
    n_pixels: int
    n_clusters: int
    mean_psnr: float | None
    mse: float
    n_exact: int
    image_bytes: int
    digest: str
    seconds: float


def compress(
    config: CompressConfig,
    cluster: ClusterConfig | Cluster = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> CompressReport:
    """Write the code of each pixel, the palette, and if asked one indexed PNG per image.

    Parameters
    ----------
    config : CompressConfig
    cluster : ClusterConfig or Cluster
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
    began = time.perf_counter()
    dataset, codebook = open_dataset(config.dataset), open_codebook(config.codebook)
    codebook.check_fits(dataset, "pixels")
    _check_png(config, dataset, codebook)
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
    facts = {name: manifest[name] for name in CompressReport.__dataclass_fields__ if name in manifest}
    return CompressReport(result=url, seconds=time.perf_counter() - began, **facts)


def _check_png(config: CompressConfig, dataset: Dataset, codebook: Codebook) -> None:
    if config.images is None:
        return
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


def _write(
    config: CompressConfig,
    dataset: Dataset,
    codebook: Codebook,
    claim: artefact.Claim,
    cluster: Cluster,
    reporter: Reporter,
) -> None:
    if not claim.has_group("images"):
        write_index(claim, dataset.index)
    palette = np.rint(codebook.centers).astype(dataset.dtype)
    arrays.write_array(claim.url, "palette", palette)
    digests = write_codes(dataset.url, "pixels", codebook.centers, claim.url, cluster, reporter)
    result = Result(claim.url, {"on": "pixels"})
    exported = export.export_images(dataset, result, claim, config.images, cluster, reporter)
    claim.commit(
        {
            "on": "pixels",
            "n_images": dataset.n_images,
            "n_pixels": int(dataset.manifest["n_pixels"]),
            "n_clusters": codebook.n_clusters,
            **vars(exported),
            "digest": artefact.digest(digests),
        }
    )
