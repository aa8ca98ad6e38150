"""Images of a source to coded images: codes of pixels or patches, and the centers of all of them."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np

from dkmeans.artefacts.claims import Finished, Terms, claim
from dkmeans.artefacts.codebook import centers_sha256
from dkmeans.artefacts.coded import MEASURED, CodedImages, CodedManifest
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.index import read_index, write_index, write_skipped
from dkmeans.artefacts.manifests import digest
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collections import SourceCollection
from dkmeans.images.sources import Source, estimate_pixels
from dkmeans.kernels.exact import MAX_FEATURES
from dkmeans.stages.shared.coding import ImageRows, write_codes
from dkmeans.stages.shared.gathering import gather_images, state_of
from dkmeans.stages.shared.learning import learn_centers
from dkmeans.stages.shared.measured import json_value, totals_of
from dkmeans.stages.shared.quantized import Written, describe_image
from dkmeans.stages.shared.remaking import Decoding
from dkmeans.stages.shared.writing import check_image_memory, remake_images
from dkmeans.storage.store import open_store

__all__ = ["check_patch", "write_archive"]


def write_archive(
    config: QuantizeConfig, source: Source, executor: ClusterConfig | Executor, reporter: Reporter
) -> Written:
    """Claim coded images, write their arrays, compare them with the originals, and commit them."""
    store = open_store(config.destination)
    # Its palette is of all images.
    terms: Terms[CodedManifest] = Terms(input_state=state_of(source), changed="anew")
    with claim(store, CodedManifest, config, source.fingerprint, [source.url], terms) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, "quantize", partial(estimate_pixels, source)) as workers:
                manifest = _encode(config, source, held, workers, reporter)
    return _of_coded(CodedImages(store, manifest))


def check_patch(patch: tuple[int, int] | None, channels: int) -> None:
    """Refuse patches that the exact arithmetic cannot hold.

    Raises
    ------
    UsageError
    """
    n_features = channels * prod(patch or (1, 1))
    if n_features > MAX_FEATURES:
        raise UsageError(
            f"a patch has {n_features} values, the exact arithmetic takes at most {MAX_FEATURES}. Pass a "
            "smaller --patch."
        )


def _encode(
    config: QuantizeConfig,
    source: Source,
    held: Claim[CodedManifest],
    executor: Executor,
    reporter: Reporter,
) -> CodedManifest:
    if held.before == "other":
        reporter.warn(
            f"{source.url} has changed since this archive was begun, and all its images share what they are "
            "coded by: everything is made again"
        )
    images, skipping = gather_images(config, source, held, executor, reporter)
    check_patch(config.patch, images.channels)
    space = FeatureSpace(images.dtype, images.channels, config.patch, config.space)
    images, result = learn_centers(config, images, space, executor, skipping, reporter)
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
        "digest": digest(write_codes(held, rows, result.centers, executor, reporter)),
    }
    coded = CodedImages(held.store, held.described(**facts))

    def remaking(start: int, stop: int) -> Decoding:
        return Decoding(coded.part(start, stop), images.part(start, stop), result.centers, indexed=False)

    check_image_memory(images.index, images.channels, executor)
    done = remake_images(images.index, remaking, executor, reporter, source_bytes=images.source_bytes)
    table = done.table
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
        images.append(describe_image(name, name, height, width, measures))
    stored = sum(each.size for each in coded.store.list() if not each.key.startswith("claim/"))
    assert found.inertia is not None
    learned = (found.inertia, found.n_iter or 0, bool(found.converged), found.centers_sha256)
    return Written(coded.url, tuple(images), found.n_skipped, stored, *learned, found.n_clusters)
