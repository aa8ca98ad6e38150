"""Say which images of a collection are not as one may think: reduced, of another profile, without alpha."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dkmeans.compute.executor import Executor
from dkmeans.events.reporter import Reporter
from dkmeans.images.collections import Part, SourceCollection
from dkmeans.images.decode import ImageHeader, SkippedImage
from dkmeans.images.picture import profile_of
from dkmeans.images.skipping import NAMED

__all__ = ["tell_depths", "tell_lost_alpha", "tell_notes", "tell_profiles"]


def tell_notes(headers: Sequence[ImageHeader], reporter: Reporter) -> None:
    """Say what of the images is not used."""
    notes = [f"{header.key}: {header.note}" for header in headers if header.note]
    for note in notes[:NAMED]:
        reporter.warn(note)
    if len(notes) > NAMED:
        reporter.warn(f"{len(notes) - NAMED} more images have parts that are not used")


def tell_depths(dtype: np.dtype[Any], headers: Sequence[ImageHeader], reporter: Reporter) -> None:
    """Say which images have more bits than are kept of them."""
    deep = [header.key for header in headers if header.dtype == "uint16"]
    if dtype == np.uint8 and deep:
        why = "an indexed PNG holds 8" if len(deep) == len(headers) else "the others have 8"
        reporter.warn(
            f"{len(deep)} of {len(headers)} images have 16 bits a channel, {why}: they are rounded to 8; the "
            f"first: {deep[0]}"
        )


def tell_profiles(headers: Sequence[ImageHeader], reporter: Reporter) -> None:
    """Say that equal numbers of these images are different colors."""
    meaning = {tags: profile_of(tags) for tags in {header.tags for header in headers}}
    examples = {meaning[header.tags]: header.key for header in reversed(headers)}
    counts = Counter(meaning[header.tags] for header in headers).most_common()
    if len(counts) > 1:
        named = [f"{times} in sRGB or without one" for profile, times in counts if not profile]
        named += [f"{times} as {examples[profile]}" for profile, times in counts if profile]
        reporter.warn(
            f"the images have {len(counts)} color profiles and are taken together by their numbers alone: "
            f"{', '.join(named[:4])}{', ...' if len(named) > 4 else ''}. --profile srgb converts them."
        )


def _has_seen_alpha(part: Part) -> list[bool]:
    """Of each image whether a pixel of it is not opaque."""
    return [
        not isinstance(image, SkippedImage)
        and bool((image.pixels[..., -1] != np.iinfo(image.pixels.dtype).max).any())
        for image in part.read()
    ]


def tell_lost_alpha(images: SourceCollection, executor: Executor, reporter: Reporter) -> None:
    """Say which images lose alpha that shows: their hidden colors show instead."""
    pairs = zip(images.index.names, images.own_channels.tolist(), strict=True)
    opaque = {name for name, channels in pairs if channels in (1, 3)}
    whole = replace(images.leaving(opaque), color="auto")
    if not len(whole.index):
        return
    ranges, look = whole.batches(executor), executor.task(_has_seen_alpha)
    with reporter.stage("alpha", len(ranges), "batches") as advance:
        found = executor.run([look(whole.part(*images)) for images in ranges], advance)
    lost = [
        name
        for name, loses in zip(whole.index.names, (each for part in found for each in part), strict=True)
        if loses
    ]
    if lost:
        reporter.warn(
            f"--color {images.color} drops alpha that is not opaque everywhere, so that hidden colors show, "
            f"from {len(lost)} of {len(images.index)} images; the first: {lost[0]}. --color auto keeps it."
        )
