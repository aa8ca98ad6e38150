"""Images of a source that can be used: what quantize begins with."""

from __future__ import annotations

from functools import partial
from typing import Any

from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.index import write_skipped
from dkmeans.artefacts.manifests import digest
from dkmeans.compute.executor import Executor
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import InputError
from dkmeans.events.reporter import Reporter
from dkmeans.images.collecting import collect
from dkmeans.images.collections import SourceCollection
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import Source

__all__ = ["gather_images", "gather_more", "state_of"]


def state_of(source: Source) -> str:
    """Digest of the versions of all images: another one when any was added, changed or removed."""
    return digest([f"{key} {version}" for key, version in source.versions.items()])


def gather_images(
    config: QuantizeConfig,
    source: Source,
    held: Claim[Any],
    executor: Executor,
    reporter: Reporter,
) -> tuple[SourceCollection, Skipping]:
    """Find the images that can be used, by their headers.

    Those of one palette or archive are alike; else each has its own channels. Palettes of PNG have 8 bits.
    """
    skipping = _skipping(config, held, reporter)
    return _collected(config, source, skipping, executor, reporter), skipping


def gather_more(
    config: QuantizeConfig,
    source: Source,
    held: Claim[Any],
    executor: Executor,
    reporter: Reporter,
) -> tuple[SourceCollection | None, Skipping]:
    """Find images that can be used, beside others that were made before: None if there is none."""
    skipping = _skipping(config, held, reporter)
    try:
        return _collected(config, source, skipping, executor, reporter), skipping
    except InputError:
        if len(skipping.images) < len(source):
            raise
        return None, skipping


def _skipping(config: QuantizeConfig, held: Claim[Any], reporter: Reporter) -> Skipping:
    keep, place = partial(write_skipped, held), held.store.url_of("skipped")
    again = "--resume" if config.to == "png" else "--overwrite"
    return Skipping(config.max_skipped, reporter, keep, place, again)


def _collected(
    config: QuantizeConfig, source: Source, skipping: Skipping, executor: Executor, reporter: Reporter
) -> SourceCollection:
    files = config.to == "png"
    options = (config.color, config.max_image_pixels, executor, skipping, reporter)
    alike = not files or config.palette == "shared"
    return collect(source, *options, alike=alike, eight_bit=files, srgb=config.profile == "srgb")
