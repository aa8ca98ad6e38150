"""Images of a source to a folder of indexed PNG files, each with a palette of its own or all with one."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np

from dkmeans.artefacts.claims import Finished
from dkmeans.artefacts.codebook import centers_sha256
from dkmeans.artefacts.files import Files, Wanted, begin_files, claim_folder
from dkmeans.artefacts.folder import FolderManifest, ImageFolder
from dkmeans.artefacts.former import Record, read_former, refuse_files
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.index import write_skipped
from dkmeans.artefacts.manifests import digest
from dkmeans.artefacts.refusals import recorded_options
from dkmeans.clustering.loop import LloydResult
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.events.words import counted
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collections import SourceCollection, widest
from dkmeans.images.decode import CHANNELS
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import Source, estimate_pixels
from dkmeans.stages.shared.asking import given_colors, palettes_for, recorded_with, tell_unmet
from dkmeans.stages.shared.canvas import Style
from dkmeans.stages.shared.files import choose_keys, refuse_originals
from dkmeans.stages.shared.gathering import gather_images, gather_more, state_of
from dkmeans.stages.shared.measured import COLUMNS, table_of, totals_of
from dkmeans.stages.shared.palettes import Given, Palettes
from dkmeans.stages.shared.quantized import Written, describe_image
from dkmeans.stages.shared.remaking import Quantizing
from dkmeans.stages.shared.writing import IfLarger, Remade, check_image_memory, remake_images
from dkmeans.storage.store import Store, open_store

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
        If more images than allowed cannot be read; the files that were written until then are there.
    InputError
        If a PNG is larger than its source and `if_larger` is ``error``, or no image gets a file.
    UsageError
        If files are in the way, or source and destination overlap.
    """
    folder = open_store(config.destination)
    _check_place(folder, source.url)
    given = given_colors(config)
    palettes = palettes_for(config, given)
    config = recorded_with(config, given)
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
            with connect(executor, reporter, "quantize", partial(estimate_pixels, source)) as workers:
                manifest, n_kept = _quantize(config, palettes, source, folder, held, workers, reporter)
    images = [
        describe_image(image["name"], image["key"], image["height"], image["width"], image)
        for image in ImageFolder(folder, manifest).records
    ]
    assert manifest.inertia is not None
    assert manifest.n_clusters is not None
    learned = (manifest.inertia, manifest.n_iter or 0, bool(manifest.converged), manifest.centers_sha256)
    counts = {name: getattr(manifest, name) for name in ("n_copied", "n_left_out", "n_gone")}
    counts["n_kept"] = len(images) if n_kept is None else n_kept
    found = (folder.url, tuple(images), manifest.n_skipped, manifest.image_bytes)
    return Written(*found, *learned, manifest.n_clusters, **counts)


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
) -> tuple[FolderManifest, int]:
    """Make what is not there as it should be; the manifest, and how many images were kept."""
    former, sources = read_former(folder), source.versions
    given = former.given(sources, prunes=config.prune)
    keys = choose_keys(sources, given, copies=_if_larger(config) == "copy")
    refuse_files(folder, former.strangers(key for pair in keys.values() for key in pair), "destination")
    result: LloydResult | None = None
    images: SourceCollection | None = None
    if config.palette == "shared":
        from dkmeans.stages.shared.learning import learn_centers  # here, as palettes per image need no fit

        images, skipping = gather_images(config, source, held, executor, reporter)
        space = FeatureSpace(images.dtype, images.channels, space=config.space)
        images, result = learn_centers(config, images, space, executor, skipping, reporter)
        palettes = Given(result.centers, config.space)
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
        done = _recolored(config, palettes, images, files, skipping, executor, reporter)
        skipping.add(done.skipped)
        made = done.records
    write_skipped(held, skipped)
    _tell_gone(files, made, source.url, reporter)
    all_made = [record.image for record in files.records(made)]
    facts = _facts(all_made, palettes.n_clusters, source.url)
    facts |= _learned(config, all_made, result, reporter)
    _tell_unmet(palettes, all_made, reporter)
    manifest = files.commit(made, source=source.url, n_skipped=len(skipped), **facts)
    return manifest, len(files.kept)


def _options(config: QuantizeConfig, result: LloydResult | None) -> str:
    """Digest of the options that decide the bytes of each file, and of the palette that all have."""
    options = {name: value for name, value in recorded_options(config).items() if name != "destination"}
    palette = "" if result is None else centers_sha256(result.centers)
    return digest([json.dumps(options, sort_keys=True), palette])


def _recolored(
    config: QuantizeConfig,
    palettes: Palettes,
    images: SourceCollection,
    files: Files,
    skipping: Skipping,
    executor: Executor,
    reporter: Reporter,
) -> Remade:
    """Make the images that are not kept."""
    check_image_memory(images.index, palettes.channels(images.channels), executor)

    style = Style(config.dither, config.dither_strength, config.effort)

    def remaking(start: int, stop: int) -> Quantizing:
        return Quantizing(images.index.names[start:stop], images.part(start, stop), palettes, style)

    return remake_images(
        images.index,
        remaking,
        executor,
        reporter,
        files=files,
        source_bytes=images.source_bytes,
        if_larger=_if_larger(config),
        watch=skipping.watch(),
    )


def _if_larger(config: QuantizeConfig) -> IfLarger:
    """What becomes of files that would be larger: no copy where colors are asked for that it may not have."""
    as_found = (config.color, config.profile, config.palette) == ("auto", "keep", "per-image")
    if "if_larger" in config.model_fields_set or (as_found and not config.keep):
        return config.if_larger
    return "keep"


def _tell_kept(files: Files, reporter: Reporter) -> None:
    n_left = len(files.wanted.sources) - len(files.kept)
    if files.kept and n_left:
        reporter.say(f"{counted(len(files.kept), 'images')} unchanged, {n_left:,} to make")
    elif files.former.records and n_left:
        reporter.say("the palette, the options or all images have changed: all images are made again")


def _tell_gone(files: Files, records: list[Record], source: str, reporter: Reporter) -> None:
    """Say which files no image stands for any more."""
    if found := sorted(str(each.key) for each in files.gone(records)):
        names = ", ".join(found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        what = "deleted" if files.prunes else "kept"
        more = "" if files.prunes else "; --update --prune deletes them"
        reporter.warn(
            f"{counted(len(found), 'files')} {what}, whose images are no longer in {source} or cannot be "
            f"read: {names}{more}"
        )
    if left := [str(each.image["name"]) for each in records if each.key is None]:
        names = ", ".join(left[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
        reporter.warn(f"{counted(len(left), 'images')} left out, as the PNG would be larger: {names}")


def _facts(made: list[dict[str, Any]], n_clusters: int, source: str) -> dict[str, Any]:
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
        "n_clusters": n_clusters,
        "channels": _widest(images),
        **vars(totals),
    }


def _tell_unmet(palettes: Palettes, made: list[dict[str, Any]], reporter: Reporter) -> None:
    """Say which images that have a file of their own are not as asked for."""
    images = [image for image in made if image["key"] is not None and not image["copied"]]
    if images:
        columns = dict(zip(COLUMNS, table_of(images).T, strict=True))
        tell_unmet(palettes, tuple(image["name"] for image in images), columns, _widest(images), reporter)


def _widest(images: list[dict[str, Any]]) -> int:
    """Channels that hold those of all images."""
    return CHANNELS[widest("auto", np.array([image["channels"] for image in images], np.int8))]


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
