"""Images of a source to a folder of indexed PNG files, each with a palette of its own or all with one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.claims import Claim, Finished
from dkmeans.artefacts.codebook import centers_sha256
from dkmeans.artefacts.files import begin_files, claim_folder
from dkmeans.artefacts.folder import FolderManifest, ImageFolder
from dkmeans.artefacts.index import write_skipped
from dkmeans.clustering.loop import LloydResult
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collections import SourceCollection
from dkmeans.images.sources import Source
from dkmeans.stages.shared.files import output_keys, refuse_originals
from dkmeans.stages.shared.learning import gather_images, learn_centers
from dkmeans.stages.shared.quantized import Written, describe_image
from dkmeans.stages.shared.remaking import Given, PerImage, Quantizing
from dkmeans.stages.shared.writing import COLUMNS, check_image_memory, remake_images, totals_of
from dkmeans.storage.store import Store, open_store

__all__ = ["write_folder"]


def write_folder(
    config: QuantizeConfig, source: Source, executor: ClusterConfig | Executor, reporter: Reporter
) -> Written:
    """Write one indexed PNG for each image.

    Raises
    ------
    SkippedError
        If more images than allowed cannot be read; the files of the others are there.
    UsageError
        If files are in the way, source and destination overlap, or the images are no 8-bit ones.
    """
    folder = open_store(config.destination)
    _check_place(folder, source.url)
    with claim_folder(folder, config, source.fingerprint) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, "quantize") as workers:
                manifest = _quantize(config, source, folder, held, workers, reporter)
    images = [
        describe_image(image["name"], image["key"], image["height"], image["width"], image)
        for image in ImageFolder(folder, manifest).records
    ]
    assert manifest.inertia is not None
    learned = (manifest.inertia, manifest.n_iter or 0, bool(manifest.converged), manifest.centers_sha256)
    return Written(folder.url, tuple(images), manifest.n_skipped, manifest.image_bytes, *learned)


def _check_place(folder: Store, source: str) -> None:
    """Refuse a folder that holds the source or lies in it."""
    refuse_originals(folder, source, "destination")
    if f"{folder.url}/".startswith(f"{source}/"):
        raise UsageError(
            f"the output {folder.url} lies in the source {source}: the next run would take its files for "
            "images. Choose another output."
        )


def _quantize(
    config: QuantizeConfig,
    source: Source,
    folder: Store,
    held: Claim[FolderManifest],
    executor: Executor,
    reporter: Reporter,
) -> FolderManifest:
    images, skipping = gather_images(config, source, held, executor, reporter)
    _check_depth(images)
    files = begin_files(held, folder, output_keys(images.index.names), config, "destination")
    result: LloydResult | None = None
    palettes: PerImage | Given = PerImage(config.n_clusters, config.seed, config.max_iter, config.tol)
    if config.palette == "shared":
        space = FeatureSpace(images.dtype, images.channels)
        images, result = learn_centers(config, images, space, executor, skipping, reporter)
        palettes = Given(result.centers)
    check_image_memory(int(images.sizes.max()), images.channels, executor)

    def remaking(start: int, stop: int) -> Quantizing:
        return Quantizing(images.part(start, stop), palettes, config.dither)

    table, skipped = remake_images(
        images.index, remaking, executor, reporter, files=files, source_bytes=images.source_bytes
    )
    if skipped:
        skipping.add(skipped)
        images = images.without(skipped)
    write_skipped(held, skipping.images)
    totals = totals_of(table, images.sizes)
    return files.commit(
        source=source.url,
        n_images=len(images.index),
        n_skipped=len(skipping.images),
        n_pixels=int(images.sizes.sum()),
        n_clusters=config.n_clusters,
        channels=images.channels,
        image_bytes=totals.image_bytes,
        mean_psnr=totals.mean_psnr,
        mean_ssim=totals.mean_ssim,
        mse=totals.mse,
        n_exact=totals.n_exact,
        **_learned(config, table, result, reporter),
    )


def _check_depth(images: SourceCollection) -> None:
    """Refuse images that no indexed PNG can hold."""
    if images.dtype != np.uint8:
        raise UsageError(
            f"{images.source.url} holds {images.dtype} images, the palette of a PNG holds 8 bits a channel. "
            "Pass --to archive."
        )


def _learned(
    config: QuantizeConfig, table: NDArray[np.float64], result: LloydResult | None, reporter: Reporter
) -> dict[str, Any]:
    """How good the palettes are: the one of all images, or all together."""
    if result is not None:
        shared = {"inertia": result.inertia, "n_iter": len(result.history), "converged": result.converged}
        return {**shared, "centers_sha256": centers_sha256(result.centers)}
    found = dict(zip(COLUMNS, table.T, strict=True))
    late = int((found["converged"] == 0).sum())
    if late:
        reporter.warn(
            f"{late} of {len(table)} palettes not converged after {config.max_iter} iterations; --max-iter "
            "allows more"
        )
    inertia, n_iter = sum(found["inertia"].tolist()), int(found["n_iter"].max())
    return {"inertia": inertia, "n_iter": n_iter, "converged": not late}
