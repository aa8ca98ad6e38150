"""One image to one PNG file at a place of its own: the folder that quantize makes, and the one file in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath

from dkmeans.compute.executor import Executor
from dkmeans.compute.in_process import InProcess
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.images.formats import SUFFIXES
from dkmeans.images.sources import FileSource, Source
from dkmeans.kernels import uses_gpu
from dkmeans.stages.shared.quantized import Written
from dkmeans.stages.shared.recoloring import write_folder
from dkmeans.stages.shared.targets import is_folder, open_target, put_target, taken
from dkmeans.storage.store import Store, open_store

__all__ = ["asks_for_file", "written_file"]

_SUFFIX = ".png"


def asks_for_file(config: QuantizeConfig, source: Source) -> bool:
    """Whether the destination is one PNG file rather than a folder: it has the suffix, and is no folder yet.

    Raises
    ------
    UsageError
        If it has the suffix of another image format, or there are more images than one.
    """
    url = config.destination
    suffix = PurePosixPath(url).suffix.lower()
    if config.to != "png" or suffix not in SUFFIXES or is_folder(url):
        return False
    one = isinstance(source, FileSource) and [source.folder.url_of(file.key) for file in source.files]
    if one != [source.url]:
        raise UsageError(
            f"destination: found {url}, the name of one file, but {source.url} is no single image; expected "
            "a folder. Leave out its suffix, or make a folder of that name first."
        )
    if suffix != _SUFFIX:
        name = PurePosixPath(url).with_suffix(_SUFFIX).name
        raise UsageError(
            f"destination: found {url}; expected {_SUFFIX}, the one format that is written, or a folder. "
            f"Give {name} instead."
        )
    return True


@contextmanager
def written_file(
    config: QuantizeConfig, source: Source, executor: ClusterConfig | Executor, reporter: Reporter
) -> Iterator[tuple[Written, str]]:
    """Write the file; meanwhile the folder that it was made in is there too, as a path beside the report.

    The image is one task, so it is done in this process; a cluster that is asked for is told to be of no use.

    Raises
    ------
    DeviceError
        If ``device="gpu"`` and there is none.
    InputError
        If the image cannot be read.
    UsageError
        If a file is there already, or it is the source.
    """
    if isinstance(executor, ClusterConfig) and executor.model_fields_set - {"device"}:
        reporter.say("one image is one task: it is done in this process")
    if executor.device == "gpu":
        uses_gpu("gpu")  # refuses to go on without one, as for a folder
    here = InProcess(device=executor.device)
    place, name = open_target(config.destination, "destination")
    _refuse(config, place, name, source)
    with tempfile.TemporaryDirectory(prefix="dkmeans-") as folder:
        # That it cannot be read is told of the image, rather than of how many may be skipped.
        own = {"destination": folder, "overwrite": False, "resume": False, "max_skipped": 1}
        if config.if_larger == "copy" and PurePosixPath(source.url).suffix.lower() != _SUFFIX:
            own["if_larger"] = "keep"  # the bytes of another format are no PNG
        written = write_folder(config.model_copy(update=own), source, here, reporter)
        (image,) = written.images
        data = open_store(folder).get(image.key)
        put_target(place, name, data, "destination", overwrite=config.overwrite)
        yield replace(written, url=place.url_of(name), images=(replace(image, key=name),)), folder


def _refuse(config: QuantizeConfig, place: Store, name: str, source: Source) -> None:
    """Refuse to write over the source, or over any other file unless that is asked for."""
    if config.update:
        raise UsageError("--update is for a folder of images, found one file. Pass --overwrite instead.")
    url = place.url_of(name)
    if url == source.url:
        raise UsageError(f"the destination {url} is the source; expected another file. Choose another name.")
    if place.exists(name) and not config.overwrite:
        raise taken(place, name, "destination")
