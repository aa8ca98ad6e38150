"""An archive, or a result of compress or reconstruct, to image files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts import manifests
from dkmeans.artefacts.archive import Archive, row_offset
from dkmeans.artefacts.result import Result
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config import ClusterConfig, DecodeConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.encode import compact, encode_indexed_png, encode_png
from dkmeans.images.index import ImageIndex
from dkmeans.stages.shared import export
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store

__all__ = ["DecodeReport", "decode"]

_PIXELS_PER_TASK = 4 << 20
_PNG_COLORS = 256


@dataclass(frozen=True)
class DecodeReport:
    """What decode wrote.

    Attributes
    ----------
    images : str
        URL of the folder.
    n_images, n_written : int
        Images there are, and those of them that were not there before.
    n_pixels : int
    image_bytes : int
        Of the files of all images.
    seconds : float
    """

    images: str
    n_images: int
    n_written: int
    n_pixels: int
    image_bytes: int
    seconds: float


def decode(
    config: DecodeConfig,
    cluster: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> DecodeReport:
    """Write one PNG for each image, indexed where it has a palette of at most 256 8-bit colors.

    Neither the originals nor a dataset or codebook are needed. Codes of patches side by side give exactly
    their centers, rounded.

    Parameters
    ----------
    config : DecodeConfig
        With ``resume`` files that are there stay: of an archive that was not changed they are whole.
    cluster : ClusterConfig or Executor
    reporter : Reporter

    Raises
    ------
    InputError
        If the archive is missing, unfinished, damaged or something else.
    UsageError
        If files are in the way.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    coded = _open(config.archive)
    folder = open_store(config.images)
    index = coded.index
    keys = export.output_keys(index.names)
    there = _check_place(config, coded, folder, keys)
    sizes = np.diff(index.offset)
    with connect(cluster, reporter, "decode") as workers:
        largest = int(sizes.max()) * 4 * 2
        workers.check_memory(4 * largest, "an image", "decode on larger workers")
        write = workers.task(_write_images)
        tasks = [
            write(coded, _wanted(index, coded, keys, there, *images), folder)
            for images in plan.batches(sizes, _PIXELS_PER_TASK)
        ]
        with reporter.stage("images", len(tasks), "batches") as advance:
            n_bytes = workers.run(tasks, advance)
    return DecodeReport(
        images=folder.url,
        n_images=len(index),
        n_written=len(keys) - len(there),
        n_pixels=int(sizes.sum()),
        image_bytes=sum(n_bytes) + sum(there.values()),
        seconds=time.perf_counter() - began,
    )


def _open(url: str) -> Archive | Result:
    store = open_store(url)
    manifest = manifests.read_manifest(store)
    if manifest["kind"] not in ("archive", "result"):
        raise InputError(
            f"{store.url} is a {manifest['kind']}; expected an archive of quantize, or a result of compress "
            "or reconstruct."
        )
    coded = Archive(store, manifest) if manifest["kind"] == "archive" else Result(store, manifest)
    arrays.check_whole(store, "pixels" if isinstance(coded, Result) and coded.palette is None else "codes")
    return coded


def _check_place(
    config: DecodeConfig, coded: Archive | Result, folder: Store, keys: list[str]
) -> dict[str, int]:
    """Refuse a folder in which something would be lost; the files that are there and stay."""
    if config.overwrite and config.resume:
        raise UsageError("found both --overwrite and --resume; expected at most one of them.")
    if f"{folder.url}/".startswith(f"{coded.url}/") or f"{coded.url}/".startswith(f"{folder.url}/"):
        raise UsageError(f"the output {folder.url} and the input {coded.url} overlap. Choose another output.")
    there = export.files_there(folder, keys)
    if not (config.overwrite or config.resume):
        export.refuse_files(folder, there, "images")
    return there if config.resume else {}


@dataclass(frozen=True)
class _Wanted:
    """Images of one task.

    Attributes
    ----------
    keys : list of (str or None)
        Of their files; None for one that is there already.
    sizes : ndarray of shape (n, 2)
        Height and width of each.
    offset : ndarray of shape (n + 1,)
        First row of each, and the one after the last.
    """

    keys: list[str | None]
    sizes: NDArray[np.int32]
    offset: NDArray[np.int64]


def _wanted(
    index: ImageIndex, coded: Archive | Result, keys: list[str], there: dict[str, int], start: int, stop: int
) -> _Wanted:
    offset = row_offset(index, coded.patch if isinstance(coded, Archive) else None)
    return _Wanted(
        [None if key in there else key for key in keys[start:stop]],
        np.stack([index.height[start:stop], index.width[start:stop]], axis=1),
        offset[start : stop + 1],
    )


def _write_images(coded: Archive | Result, wanted: _Wanted, folder: Store) -> int:
    """Write the files of some images; their bytes."""
    if not any(wanted.keys):
        return 0
    first = int(wanted.offset[0])
    by_code = isinstance(coded, Archive) or coded.palette is not None
    rows = arrays.read_rows(coded.store, "codes" if by_code else "pixels", first, int(wanted.offset[-1]))
    total = 0
    for position, key in enumerate(wanted.keys):
        if key is not None:
            own = rows[wanted.offset[position] - first : wanted.offset[position + 1] - first]
            data = _encode(coded, own, (int(wanted.sizes[position, 0]), int(wanted.sizes[position, 1])))
            folder.put(key, data)
            total += len(data)
    return total


def _encode(coded: Archive | Result, rows: NDArray[Any], size: tuple[int, int]) -> bytes:
    palette = coded.palette
    if palette is not None and palette.dtype == np.uint8 and len(palette) <= _PNG_COLORS:
        return encode_indexed_png(*compact(rows.reshape(size), palette))
    if isinstance(coded, Archive):
        return encode_png(coded.decode(rows, size))
    return encode_png((rows if palette is None else palette[rows]).reshape(*size, -1))
