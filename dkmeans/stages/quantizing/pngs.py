"""Images to a folder of indexed PNG files under the same keys, one for each.

Besides them the folder holds one hidden folder, ``.dkmeans``: a record of each batch of files, by the options
that made them. So a run that resumes neither makes a file twice nor mixes files of other options.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dkmeans import __version__, plan
from dkmeans.artefacts import manifests
from dkmeans.artefacts.codebook import centers_sha256
from dkmeans.clustering.lloyd import LloydResult
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config import ClusterConfig, QuantizeConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.images.sources import SkippedImage, Source
from dkmeans.stages.quantizing.gathering import Found, Gathering
from dkmeans.stages.quantizing.images import Batch, QuantizedImage, Written, image_memory, write_images
from dkmeans.stages.quantizing.records import RECORDS
from dkmeans.stages.shared import export
from dkmeans.storage.store import Store, open_store

__all__ = ["write_folder"]

_PIXELS_PER_TASK = 1 << 20
"""As much work as a few million rows of a fit; whatever the threads, so that records stay valid."""
_BEGUN = "begun.json"


def write_folder(
    config: QuantizeConfig,
    source: Source,
    learn: Callable[[Gathering, Found], tuple[Found, LloydResult]],
    cluster: ClusterConfig | Executor,
    reporter: Reporter,
) -> Written:
    """Write one indexed PNG for each image.

    Parameters
    ----------
    config : QuantizeConfig
    source : Source
    learn : callable
        Gives the centers of a palette for all images, and the images without those that cannot be decoded.
    cluster : ClusterConfig or Executor
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
    with connect(cluster, reporter, "quantize") as workers:
        gathering = Gathering(config, workers, reporter)
        found = gathering.find(source)
        if found.dtype != "uint8":
            raise UsageError(
                f"{source.url} holds {found.dtype} images, the palette of a PNG holds 8 bits a channel. "
                "Pass --to archive."
            )
        keys = dict(zip(found.index.names, export.output_keys(found.index.names), strict=True))
        records, there = _begin(config, source, folder, list(keys.values()))
        result = None
        if config.palette == "shared":
            found, result = learn(gathering, found)
        tasks = _tasks(config, found, keys, folder, records, there, result, workers)
        with reporter.stage("images", len(tasks), "batches") as advance:
            made = [image for part in workers.run(tasks, advance) for image in part]
        if skipped := [image for image in made if isinstance(image, SkippedImage)]:
            found = gathering.leave_out(found, skipped)
    images = tuple(image for image in made if isinstance(image, QuantizedImage))
    return _written(config, folder, images, len(found.skipped), result, reporter)


def _check_place(folder: Store, source: str) -> None:
    """Refuse a folder that holds the source or lies in it."""
    export.refuse_originals(folder.url, source, "destination")
    if f"{folder.url}/".startswith(f"{source}/"):
        raise UsageError(
            f"the output {folder.url} lies in the source {source}: the next run would take its files for "
            "images. Choose another output."
        )


def _begin(
    config: QuantizeConfig, source: Source, folder: Store, keys: list[str]
) -> tuple[str, dict[str, int] | None]:
    """Where the records of these options go, and the files that an earlier run of them has left.

    Raises
    ------
    UsageError
        If files are in the way.
    """
    identity = [__version__, json.dumps(config.recorded(), sort_keys=True), source.fingerprint]
    records = f"{RECORDS}/{manifests.digest(identity)[:16]}"
    there = export.files_there(folder, keys)
    if config.overwrite:
        old = [found.key for found in folder.list(RECORDS)]
        folder.delete([*there, *old])
        there = {}
    elif not config.resume:
        export.refuse_files(folder, there, "destination")
    elif there and not folder.exists(f"{records}/{_BEGUN}"):
        raise UsageError(
            f"{folder.url} holds {min(there)}, which a run of other options or from other images has "
            "written. Resume with the same options, choose another folder, or pass --overwrite."
        )
    folder.put(f"{records}/{_BEGUN}", json.dumps(identity).encode())
    return records, there if config.resume else None


def _tasks(
    config: QuantizeConfig,
    found: Found,
    keys: dict[str, str],
    folder: Store,
    records: str,
    there: dict[str, int] | None,
    result: LloydResult | None,
    cluster: Executor,
) -> list[Any]:
    """The tasks that write the files, one for each batch of images."""
    need = image_memory(int(found.sizes.max()), 4 if config.color == "rgba" else 3)
    cluster.check_memory(need, "an image", "leave out the largest images")
    write = cluster.task(write_images)
    tasks = []
    for start, stop in plan.batches(found.sizes, _PIXELS_PER_TASK):
        names = found.index.names[start:stop]
        own = tuple(keys[name] for name in names)
        of_batch = None if there is None else {key: there[key] for key in own if key in there}
        batch = Batch(folder, names, own, f"{records}/{start}.json", of_batch)
        centers = None if result is None else result.centers
        tasks.append(write(found.source.part(start, stop), batch, config, centers))
    return tasks


def _written(
    config: QuantizeConfig,
    folder: Store,
    images: tuple[QuantizedImage, ...],
    n_skipped: int,
    result: LloydResult | None,
    reporter: Reporter,
) -> Written:
    stored_bytes = sum(image.stored_bytes or 0 for image in images)
    if result is not None:
        if not result.converged:
            reporter.warn(f"not converged after {config.max_iter} iterations; --max-iter allows more")
        learned = (result.inertia, len(result.history), result.converged, centers_sha256(result.centers))
        return Written(folder.url, images, n_skipped, stored_bytes, *learned)
    late = sum(not image.converged for image in images)
    if late:
        reporter.warn(
            f"{late} of {len(images)} palettes not converged after {config.max_iter} iterations; --max-iter "
            "allows more"
        )
    inertia, n_iter = sum(image.inertia for image in images), max(image.n_iter for image in images)
    return Written(folder.url, images, n_skipped, stored_bytes, inertia, n_iter, not late, None)
