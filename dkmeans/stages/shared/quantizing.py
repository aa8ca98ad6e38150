"""Images of a source to a folder of files, or to coded images: what quantize is made of.

It is a fit and a pass over the images. Images that fit into the workers' memory are decoded once and held; of
others each pass decodes them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.claims import Claim, Finished, claim
from dkmeans.artefacts.codebook import centers_sha256
from dkmeans.artefacts.coded import MEASURED, CodedImages, CodedManifest
from dkmeans.artefacts.folder import (
    FileBatch,
    FolderManifest,
    ImageFolder,
    begin_files,
    claim_folder,
    commit_files,
)
from dkmeans.artefacts.index import read_index, write_index, write_skipped
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import LloydResult, State
from dkmeans.clustering.seeding import seed_centers
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collections import Skipping, SourceCollection, collect
from dkmeans.images.sources import Source
from dkmeans.stages.shared.coding import ImageRows, write_codes
from dkmeans.stages.shared.files import output_keys, refuse_originals
from dkmeans.stages.shared.remaking import Decoding, Given, PerImage, Quantizing, Remaking
from dkmeans.stages.shared.rows import decode_rows
from dkmeans.stages.shared.writing import (
    COLUMNS,
    PIXELS_PER_TASK,
    Batch,
    check_image_memory,
    json_value,
    run_pass,
    totals_of,
)
from dkmeans.storage.store import Store, open_store

__all__ = ["QuantizedImage", "Written", "write_archive", "write_folder"]


@dataclass(frozen=True, slots=True)
class QuantizedImage:
    """One image before and after.

    Attributes
    ----------
    name, key : str
        Its key in the source, and that of its file in the destination; both in coded images.
    height, width : int
        In pixels.
    source_bytes : int
        As stored; of an image in a stack its share.
    stored_bytes : int or None
        Of its file; None in coded images, which have one array for all.
    bits_per_pixel : float or None
        8 x stored_bytes / pixels.
    psnr : float or None
        In dB; None where nothing is lost.
    ssim : float or None
        None for images too small for a window of 3 x 3.
    mse : float
        Mean squared error over all values.
    n_source_colors, n_colors : int
        Distinct colors of the image before and after.
    inertia : float
        Sum of the squared distances of its pixels, or patches, to the centers before they are rounded to
        colors; in squared units of the stored values. Without the effect of dithering.
    n_iter : int or None
        Iterations to a palette of its own; None or 0 without one.
    converged : bool or None
        Whether these ended before ``max_iter``.
    seconds : float or None
        From the bytes of the image to those of its file, the way to storage included; measuring is not.
        None in coded images.
    """

    name: str
    key: str
    height: int
    width: int
    source_bytes: int
    stored_bytes: int | None
    bits_per_pixel: float | None
    psnr: float | None
    ssim: float | None
    mse: float
    n_source_colors: int
    n_colors: int
    inertia: float
    n_iter: int | None
    converged: bool | None
    seconds: float | None


@dataclass(frozen=True)
class Written:
    """What was written to `url`; the totals of `dkmeans.stages.quantize.QuantizeReport`."""

    url: str
    images: tuple[QuantizedImage, ...]
    n_skipped: int
    stored_bytes: int
    inertia: float
    n_iter: int
    converged: bool
    centers_sha256: str | None


def _image(name: str, key: str, height: int, width: int, found: dict[str, Any]) -> QuantizedImage:
    """One image of a table of measures, or of a record."""
    stored = found.get("stored_bytes")
    return QuantizedImage(
        name=name,
        key=key,
        height=height,
        width=width,
        bits_per_pixel=None if stored is None else 8 * stored / (height * width),
        **{column: found.get(column) for column in COLUMNS},  # type: ignore[arg-type]
    )


def _gather(
    config: QuantizeConfig,
    source: Source,
    held: Claim[Any],
    executor: Executor,
    reporter: Reporter,
) -> tuple[SourceCollection, Skipping]:
    """Find the images that can be used, by their headers."""
    keep, place = partial(write_skipped, held), held.store.url_of("skipped")
    skipping = Skipping(config.max_skipped, reporter, keep, place)
    options = (config.color, config.max_image_pixels, executor, skipping, reporter)
    return collect(source, *options), skipping


def _learn(
    config: QuantizeConfig,
    images: SourceCollection,
    space: FeatureSpace,
    executor: Executor,
    skipping: Skipping,
    reporter: Reporter,
) -> tuple[SourceCollection, LloydResult]:
    """Centers for all images, by the steps of fit, and the images without those that cannot be decoded."""
    images = images.in_memory(executor, skipping, reporter)
    drawn = (config.n_clusters, config.seed)
    images, rows = decode_rows(images, space, *drawn, executor, skipping, reporter)
    with reporter.stage("seeds", 1, "set") as advance:
        state = State(seed_centers(rows, config.n_clusters, config.init, config.seed))
        advance(1)
    with reporter.stage("iterations", config.max_iter, "iterations") as advance:

        def on_iteration(state: State) -> None:
            step = state.history[-1]
            advance(1, f"inertia {step.inertia:.6g}  shift {step.center_shift:.3g}")

        options = {"max_iter": config.max_iter, "tol": config.tol}
        result = lloyd(rows, state, on_iteration=on_iteration, **options)  # type: ignore[arg-type]
    if not result.converged:
        reporter.warn(f"not converged after {config.max_iter} iterations; --max-iter allows more")
    return images, result


def _cut(images: SourceCollection, executor: Executor) -> list[tuple[int, int]]:
    """Ranges of images for the tasks of the last pass; whatever the threads, so that records stay valid."""
    check_image_memory(int(images.sizes.max()), images.channels, executor)
    return plan.batches(images.sizes, PIXELS_PER_TASK)


def _batch(
    images: SourceCollection, cut: tuple[int, int], remaking: Remaking, files: FileBatch | None
) -> Batch:
    start, stop = cut
    source_bytes = tuple(images.encoded_bytes(each, each + 1) for each in range(start, stop))
    index = images.index
    return Batch(index.names[start:stop], index.sizes(*cut), source_bytes, remaking, files, full=True)


# Coded images


def write_archive(
    config: QuantizeConfig, source: Source, executor: ClusterConfig | Executor, reporter: Reporter
) -> Written:
    """Claim coded images, write their arrays, compare them with the originals, and commit them.

    Parameters
    ----------
    config : QuantizeConfig
    source : Source
    executor : ClusterConfig or Executor
    reporter : Reporter
    """
    store = open_store(config.destination)
    with claim(store, CodedManifest, config, source.fingerprint, [source.url]) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, "quantize") as workers:
                manifest = _encode(config, source, held, workers, reporter)
    return _of_coded(CodedImages(store, manifest))


def _encode(
    config: QuantizeConfig,
    source: Source,
    held: Claim[CodedManifest],
    executor: Executor,
    reporter: Reporter,
) -> CodedManifest:
    images, skipping = _gather(config, source, held, executor, reporter)
    space = FeatureSpace(images.dtype, images.channels, config.patch)
    images, result = _learn(config, images, space, executor, skipping, reporter)
    if space.patch is None:
        held.write_array("palette", space.to_pixels(result.centers))
    else:
        held.write_array("centers", result.centers)
    write_skipped(held, skipping.images)
    _write_index(held, images)
    rows = ImageRows(images, space)
    facts: dict[str, Any] = {
        "decoder": "tiles" if space.patch else "palette",
        "source": source.url,
        "space": space,
        "n_images": len(images.index),
        "n_skipped": len(skipping.images),
        "n_codes": rows.n_rows,
        "n_clusters": len(result.centers),
        "inertia": result.inertia,
        "n_iter": len(result.history),
        "converged": result.converged,
        "centers_sha256": centers_sha256(result.centers),
        "measures_columns": MEASURED,
        "digest": write_codes(held, rows, result.centers, executor, reporter),
    }
    coded = CodedImages(held.store, held.described(**facts))
    batches = []
    for cut in _cut(images, executor):
        remaking = Decoding(coded.part(*cut), images.part(*cut), result.centers, indexed=False)
        batches.append(_batch(images, cut, remaking, None))
    table, _ = run_pass(batches, executor, reporter)
    held.write_array("images/measures", np.ascontiguousarray(table[:, : len(MEASURED)]))
    return held.commit(**facts, **vars(totals_of(table, images.sizes)))


def _write_index(held: Claim[CodedManifest], images: SourceCollection) -> None:
    """Write the index; what an earlier run has written for other images goes."""
    if held.has_group("images"):
        if read_index(held.store).names == images.index.names:
            return
        held.discard("codes")
    held.discard("images")
    write_index(held, images.index)


def _of_coded(coded: CodedImages) -> Written:
    """The report of coded images that are complete."""
    found, index = coded.manifest, coded.index
    columns = [values.tolist() for values in coded.measures.values()]
    images = []
    for name, height, width, *row in zip(
        index.names, index.height.tolist(), index.width.tolist(), *columns, strict=True
    ):
        measures = {
            column: json_value(column, value) for column, value in zip(coded.measures, row, strict=True)
        }
        images.append(_image(name, name, height, width, measures))
    stored = sum(each.size for each in coded.store.list() if not each.key.startswith("claim/"))
    assert found.inertia is not None
    learned = (found.inertia, found.n_iter or 0, bool(found.converged), found.centers_sha256)
    return Written(coded.url, tuple(images), found.n_skipped, stored, *learned)


# Files


def write_folder(
    config: QuantizeConfig, source: Source, executor: ClusterConfig | Executor, reporter: Reporter
) -> Written:
    """Write one indexed PNG for each image.

    Parameters
    ----------
    config : QuantizeConfig
    source : Source
    executor : ClusterConfig or Executor
    reporter : Reporter

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
        _image(image["name"], image["key"], image["height"], image["width"], image)
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
    images, skipping = _gather(config, source, held, executor, reporter)
    if images.dtype != np.uint8:
        raise UsageError(
            f"{source.url} holds {images.dtype} images, the palette of a PNG holds 8 bits a channel. "
            "Pass --to archive."
        )
    keys = dict(zip(images.index.names, output_keys(images.index.names), strict=True))
    there = begin_files(held, folder, list(keys.values()), config, "destination")
    result, palettes = None, _own_palettes(config)
    if config.palette == "shared":
        space = FeatureSpace(images.dtype, images.channels)
        images, result = _learn(config, images, space, executor, skipping, reporter)
        palettes = Given(result.centers)
    batches = []
    for cut in _cut(images, executor):
        own = tuple(keys[name] for name in images.index.names[slice(*cut)])
        files = FileBatch(held, folder, cut[0], own, there)
        batches.append(_batch(images, cut, Quantizing(images.part(*cut), palettes, config.dither), files))
    table, skipped = run_pass(batches, executor, reporter)
    if skipped:
        skipping.add(skipped)
        images = images.without(skipped)
    write_skipped(held, skipping.images)
    facts = vars(totals_of(table, images.sizes))
    facts |= {"source": source.url, "n_images": len(images.index), "n_pixels": int(images.sizes.sum())}
    facts |= {"n_skipped": len(skipping.images), "n_clusters": config.n_clusters}
    facts["channels"] = images.channels
    facts |= _learned(config, table, result, reporter)
    return commit_files(held, (batch.files for batch in batches), **facts)


def _own_palettes(config: QuantizeConfig) -> PerImage | Given:
    return PerImage(config.n_clusters, config.seed, config.max_iter, config.tol)


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
