"""Images of a source to a folder of indexed PNG files, each with a palette of its own or all with one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.claims import Claim, Finished
from dkmeans.artefacts.codebook import centers_sha256
from dkmeans.artefacts.files import begin_files, claim_folder
from dkmeans.artefacts.folder import HIDDEN, FolderManifest, ImageFolder
from dkmeans.artefacts.index import read_skipped, write_skipped
from dkmeans.clustering.loop import LloydResult
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.features.space import FeatureSpace
from dkmeans.images.sources import Source
from dkmeans.stages.shared.asking import given_colors, palettes_for, recorded_with, tell_unmet
from dkmeans.stages.shared.files import output_keys, refuse_originals
from dkmeans.stages.shared.learning import gather_images, learn_centers
from dkmeans.stages.shared.palettes import Given, Palettes
from dkmeans.stages.shared.quantized import Written, describe_image
from dkmeans.stages.shared.remaking import Quantizing
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
        If more images than allowed cannot be read; the files that were written until then are there.
    UsageError
        If files are in the way, or source and destination overlap.
    """
    folder = open_store(config.destination)
    _check_place(folder, source.url)
    given = given_colors(config)
    palettes = palettes_for(config, given)
    with claim_folder(folder, recorded_with(config, given), source.fingerprint) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, "quantize") as workers:
                manifest = _quantize(config, palettes, source, folder, held, workers, reporter)
    images = [
        describe_image(image["name"], image["key"], image["height"], image["width"], image)
        for image in ImageFolder(folder, manifest).records
    ]
    assert manifest.inertia is not None
    assert manifest.n_clusters is not None
    learned = (manifest.inertia, manifest.n_iter or 0, bool(manifest.converged), manifest.centers_sha256)
    skipped = tuple(read_skipped(folder.below(HIDDEN)))
    return Written(folder.url, tuple(images), skipped, manifest.image_bytes, *learned, manifest.n_clusters)


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
    palettes: Palettes,
    source: Source,
    folder: Store,
    held: Claim[FolderManifest],
    executor: Executor,
    reporter: Reporter,
) -> FolderManifest:
    images, skipping = gather_images(config, source, held, executor, reporter)
    files = begin_files(held, folder, output_keys(images.index.names), config, "destination")
    result: LloydResult | None = None
    if config.palette == "shared":
        space = FeatureSpace(images.dtype, images.channels)
        images, result = learn_centers(config, images, space, executor, skipping, reporter)
        palettes = Given(result.centers)
    channels = palettes.channels(images.channels)
    check_image_memory(int(images.sizes.max()), channels, executor)

    def remaking(start: int, stop: int) -> Quantizing:
        return Quantizing(images.part(start, stop), palettes, config.dither)

    table, skipped = remake_images(
        images.index,
        remaking,
        executor,
        reporter,
        files=files,
        source_bytes=images.source_bytes,
        watch=skipping.watch(),
    )
    if skipped:
        skipping.add(skipped)
        images = images.without(skipped)
    write_skipped(held, skipping.images)
    columns = dict(zip(COLUMNS, table.T, strict=True))
    tell_unmet(palettes, images.index.names, columns, images.channels, reporter)
    totals = totals_of(table, images.sizes)
    return files.commit(
        source=source.url,
        n_images=len(images.index),
        n_skipped=len(skipping.images),
        n_pixels=int(images.sizes.sum()),
        n_clusters=palettes.n_clusters,
        channels=channels,
        image_bytes=totals.image_bytes,
        mean_psnr=totals.mean_psnr,
        mean_ssim=totals.mean_ssim,
        mse=totals.mse,
        n_exact=totals.n_exact,
        **_learned(config, columns, result, reporter),
    )


def _learned(
    config: QuantizeConfig,
    found: dict[str, NDArray[np.float64]],
    result: LloydResult | None,
    reporter: Reporter,
) -> dict[str, Any]:
    """How good the palettes are: the one of all images, or all together."""
    if result is not None:
        shared = {"inertia": result.inertia, "n_iter": len(result.history), "converged": result.converged}
        return {**shared, "centers_sha256": centers_sha256(result.centers)}
    late = int((found["converged"] == 0).sum())
    if late:
        reporter.warn(
            f"{late} of {len(found['converged'])} palettes not converged after {config.max_iter} iterations; "
            "--max-iter allows more"
        )
    inertia, n_iter = sum(found["inertia"].tolist()), int(found["n_iter"].max())
    return {"inertia": inertia, "n_iter": n_iter, "converged": not late}
