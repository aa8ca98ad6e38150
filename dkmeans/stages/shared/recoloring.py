"""Images of a source to a folder of indexed PNG files, each with a palette of its own or all with one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from dkmeans.artefacts.claims import Claim, Finished
from dkmeans.artefacts.codebook import centers_sha256
from dkmeans.artefacts.files import Files, Wanted, begin_files, claim_folder
from dkmeans.artefacts.folder import FolderManifest, ImageFolder
from dkmeans.artefacts.former import Record, read_former, refuse_files
from dkmeans.artefacts.index import write_skipped
from dkmeans.artefacts.manifests import digest
from dkmeans.clustering.loop import LloydResult
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collections import SourceCollection
from dkmeans.images.sources import Source
from dkmeans.stages.shared.files import choose_keys, refuse_originals
from dkmeans.stages.shared.learning import gather_images, gather_more, learn_centers, state_of
from dkmeans.stages.shared.quantized import Written, describe_image
from dkmeans.stages.shared.remaking import Given, PerImage, Quantizing
from dkmeans.stages.shared.writing import Remade, check_image_memory, remake_images, table_of, totals_of
from dkmeans.storage.store import Store, open_store
from dkmeans.storage.urls import resolve_url

__all__ = ["write_folder"]

_NAMED = 3
"""Files that are named in a message."""


def write_folder(
    config: QuantizeConfig, source: Source, executor: ClusterConfig | Executor, reporter: Reporter
) -> Written:
    """Write one indexed PNG for each image.

    Images that an earlier run has made by the same options, and that have not changed since, are kept.

    Raises
    ------
    SkippedError
        If more images than allowed cannot be read; the files of the others are there.
    InputError
        If a PNG is larger than its source and `if_larger` is ``error``, or no image gets a file.
    UsageError
        If files are in the way, source and destination overlap, or the images are no 8-bit ones.
    """
    folder = open_store(config.destination)
    _check_place(folder, source.url)
    claimed = claim_folder(
        folder,
        config,
        source.fingerprint,
        input_state=state_of(source),
        updates=config.update,
        prunes=config.prune,
    )
    n_kept = None
    with claimed as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, "quantize") as workers:
                manifest, n_kept = _quantize(config, source, folder, held, workers, reporter)
    images = [
        describe_image(image["name"], image["key"], image["height"], image["width"], image)
        for image in ImageFolder(folder, manifest).records
    ]
    assert manifest.inertia is not None
    learned = (manifest.inertia, manifest.n_iter or 0, bool(manifest.converged), manifest.centers_sha256)
    counts = {name: getattr(manifest, name) for name in ("n_copied", "n_left_out", "n_gone")}
    counts["n_kept"] = len(images) if n_kept is None else n_kept
    return Written(folder.url, tuple(images), manifest.n_skipped, manifest.image_bytes, *learned, **counts)


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
) -> tuple[FolderManifest, int]:
    """Make what is not there as it should be; the manifest, and how many images were kept."""
    former, sources = read_former(folder), source.versions
    given = former.given(sources, prunes=config.prune)
    keys = choose_keys(sources, given, copies=config.if_larger == "copy")
    refuse_files(folder, former.strangers(key for pair in keys.values() for key in pair), "destination")
    result: LloydResult | None = None
    images: SourceCollection | None = None
    if config.palette == "shared":
        images, skipping = gather_images(config, source, held, executor, reporter)
        _check_depth(images)
        space = FeatureSpace(images.dtype, images.channels)
        images, result = learn_centers(config, images, space, executor, skipping, reporter)
    wanted = Wanted(sources, _options(config, result), keys)
    files = begin_files(held, former, wanted, "destination", prunes=config.prune)
    _tell_kept(files, reporter)
    rest, skipped = source.without(files.kept.keys()), []
    if len(rest):
        if not files.kept and result is None:
            images, skipping = gather_images(config, rest, held, executor, reporter)
        elif result is None:
            images, skipping = gather_more(config, rest, held, executor, reporter)
        skipped = skipping.images
    made: list[Record] = []
    if images is None:
        files.begin()
    else:
        _check_depth(images)
        done = _recolored(config, images, result, files, executor, reporter)
        skipping.add(done.skipped)
        made = done.records
    write_skipped(held, skipped)
    _tell_gone(files, made, source.url, reporter)
    all_made = [record.image for record in files.records(made)]
    facts = {**_facts(config, all_made, source.url), **_learned(config, all_made, result, reporter)}
    manifest = files.commit(made, source=source.url, n_skipped=len(skipped), **facts)
    return manifest, len(files.kept)


def _options(config: QuantizeConfig, result: LloydResult | None) -> str:
    """Digest of the options that decide the bytes of each file, and of the palette that all have."""
    options = {name: value for name, value in config.recorded().items() if name != "destination"}
    options["source"] = resolve_url(config.source)
    palette = "" if result is None else centers_sha256(result.centers)
    return digest([json.dumps(options, sort_keys=True), palette])


def _recolored(
    config: QuantizeConfig,
    images: SourceCollection,
    result: LloydResult | None,
    files: Files,
    executor: Executor,
    reporter: Reporter,
) -> Remade:
    """Make the images that are not kept."""
    palettes: PerImage | Given = PerImage(config.n_clusters, config.seed, config.max_iter, config.tol)
    if result is not None:
        palettes = Given(result.centers)
    check_image_memory(int(images.sizes.max()), images.channels, executor)

    def remaking(start: int, stop: int) -> Quantizing:
        return Quantizing(images.part(start, stop), palettes, config.dither)

    if_larger = config.if_larger
    if if_larger == "copy" and config.color != QuantizeConfig.model_fields["color"].default:
        if_larger = "keep"  # the channels were asked for, and the original may have others
    sizes = images.source_bytes
    return remake_images(
        images.index, remaking, executor, reporter, files=files, source_bytes=sizes, if_larger=if_larger
    )


def _tell_kept(files: Files, reporter: Reporter) -> None:
    n_left = len(files.wanted.sources) - len(files.kept)
    if files.kept and n_left:
        reporter.say(f"{len(files.kept)} images are as they were, {n_left} are made")
    elif files.former.records and n_left:
        reporter.say("the palette, the options or all images are others than before: all images are made")


def _tell_gone(files: Files, records: list[Record], source: str, reporter: Reporter) -> None:
    """Say which files no image stands for any more."""
    if found := sorted(str(each.key) for each in files.gone(records)):
        names = ", ".join(found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        what = "deleted" if files.prunes else "kept"
        more = "" if files.prunes else "; --update --prune deletes them"
        reporter.warn(
            f"{len(found)} files of images that {source} holds no more, or that cannot be read, are {what}: "
            f"{names}{more}"
        )
    if left := [str(each.image["name"]) for each in records if each.key is None]:
        names = ", ".join(left[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
        reporter.warn(f"{len(left)} images are left out, as their PNG would be larger: {names}")


def _facts(config: QuantizeConfig, made: list[dict[str, Any]], source: str) -> dict[str, Any]:
    """What the manifest tells of all images together."""
    images = [image for image in made if image["key"] is not None]
    if not made:
        raise InputError(f"{source}: no image can be used. Each is named above.")
    if not images:
        raise InputError(
            "no image gets a file: the PNG of each would be larger than its source. Pass --if-larger copy or "
            "keep, or fewer colors."
        )
    sizes = np.array([image["height"] * image["width"] for image in images], np.int64)
    totals = totals_of(table_of(images), sizes)
    return {
        "n_images": len(images),
        "n_left_out": len(made) - len(images),
        "n_copied": sum(bool(image["copied"]) for image in images),
        "n_pixels": int(sizes.sum()),
        "n_clusters": config.n_clusters,
        "channels": images[0]["channels"],
        **vars(totals),
    }


def _check_depth(images: SourceCollection) -> None:
    """Refuse images that no indexed PNG can hold."""
    if images.dtype != np.uint8:
        raise UsageError(
            f"{images.source.url} holds {images.dtype} images, the palette of a PNG holds 8 bits a channel. "
            "Pass --to archive."
        )


def _learned(
    config: QuantizeConfig, made: list[dict[str, Any]], result: LloydResult | None, reporter: Reporter
) -> dict[str, Any]:
    """How good the palettes are: the one of all images, or all together."""
    if result is not None:
        shared = {"inertia": result.inertia, "n_iter": len(result.history), "converged": result.converged}
        return {**shared, "centers_sha256": centers_sha256(result.centers)}
    late = sum(not image["converged"] for image in made)
    if late:
        reporter.warn(
            f"{late} of {len(made)} palettes not converged after {config.max_iter} iterations; --max-iter "
            "allows more"
        )
    inertia = sum(image["inertia"] for image in made if image["key"] is not None)
    return {"inertia": inertia, "n_iter": max(image["n_iter"] for image in made), "converged": not late}
