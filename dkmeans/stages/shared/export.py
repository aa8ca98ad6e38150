"""The last pass of compress and reconstruct: each image beside its original, and as a file if asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from dkmeans import plan
from dkmeans.artefacts.claims import Claim
from dkmeans.artefacts.dataset import Dataset
from dkmeans.artefacts.result import Result
from dkmeans.compute.executor import Executor
from dkmeans.config import CompressConfig, ReconstructConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.images.encode import compact, encode_indexed_png, encode_png
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, open_store
from dkmeans.storage.urls import resolve_url

__all__ = [
    "Exported",
    "check_image_folder",
    "export_images",
    "files_there",
    "output_keys",
    "refuse_files",
    "refuse_originals",
]

_PIXELS_PER_TASK = 4 << 20


@dataclass(frozen=True)
class Exported:
    """How near the images of a result are to the originals, and what their files take.

    Attributes
    ----------
    mean_psnr : float or None
        Mean peak signal-to-noise ratio in dB of the images that lost anything; None if none did.
    mse : float
        Mean squared error over all values of all images.
    n_exact : int
        Images that lost nothing.
    image_bytes : int
        Bytes of the image files written.
    """

    mean_psnr: float | None
    mse: float
    n_exact: int
    image_bytes: int


def output_keys(names: Sequence[str]) -> list[str]:
    """Keys of the PNG files: the same relative keys with the suffix ``.png``.

    Of images that differ in their suffix only, each keeps it: ``a.jpg`` and ``a.tif`` become
    ``a.jpg.png`` and ``a.tif.png``.
    """
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    # Case-folded, for file systems that do not tell A.png from a.png.
    times = Counter(stem.casefold() for stem in stems)
    return [
        f"{stem if times[stem.casefold()] == 1 else name}.png"
        for name, stem in zip(names, stems, strict=True)
    ]


def check_image_folder(config: CompressConfig | ReconstructConfig, dataset: Dataset) -> None:
    """Refuse a folder for images that holds the originals, or files in the way.

    Raises
    ------
    UsageError
        Naming the folder or the first such file.
    """
    if config.images is None:
        return
    refuse_originals(config.images, str(dataset.manifest["config"]["source"]), "--images")
    if not (config.overwrite or config.resume):
        folder = open_store(config.images)
        refuse_files(folder, files_there(folder, output_keys(dataset.index.names)), "--images")


def refuse_originals(folder: str, source: str, what: str) -> None:
    """Refuse a folder for images that holds the originals below the URL `source`, or is their place.

    Raises
    ------
    UsageError
        Naming the folder; `what` says where it was given.
    """
    url, originals = resolve_url(folder), resolve_url(source)
    if f"{originals}/".startswith(f"{url}/"):
        raise UsageError(f"{what}: {url} holds the originals of the dataset. Choose another folder.")


def files_there(folder: Store, keys: Sequence[str]) -> dict[str, int]:
    """The files of some keys that are in a folder already, and their sizes in bytes."""
    wanted = frozenset(keys)
    found = folder.list()
    return {file.key: file.size for file in found if file.key in wanted}


def refuse_files(folder: Store, there: Iterable[str], what: str) -> None:
    """Refuse files in the way.

    Raises
    ------
    UsageError
        Naming the first; `what` says where the folder was given.
    """
    if first := min(there, default=None):
        raise UsageError(
            f"{what}: {folder.url} already holds {first}; expected a place without it. "
            "Choose another folder, or pass --overwrite."
        )


def export_images(
    dataset: Dataset,
    result: Result,
    claim: Claim,
    images: str | None,
    cluster: Executor,
    reporter: Reporter,
) -> Exported:
    """Compare each image of a result with its original; write PNG files below the URL `images`, if given.

    Writes the array ``images/psnr`` of the result.
    """
    sizes = np.diff(dataset.offset)
    ranges = plan.batches(sizes, _PIXELS_PER_TASK)
    keys = output_keys(dataset.index.names)
    folder = open_store(images) if images else None
    finish = cluster.task(_finish_images)
    tasks = [finish(dataset, result, start, stop, folder, keys[start:stop]) for start, stop in ranges]
    with reporter.stage("images", len(tasks), "batches") as advance:
        parts = np.concatenate(cluster.run(tasks, advance))
    psnr, errors, n_bytes = parts.T
    claim.write_array("images/psnr", psnr)
    lossy = psnr[np.isfinite(psnr)]
    return Exported(
        mean_psnr=float(lossy.mean()) if len(lossy) else None,
        mse=float((errors * sizes).sum() / sizes.sum()),
        n_exact=int(len(psnr) - len(lossy)),
        image_bytes=int(n_bytes.sum()),
    )


def _finish_images(
    dataset: Dataset, result: Result, start: int, stop: int, folder: Store | None, keys: list[str]
) -> NDArray[np.float64]:
    """PSNR, mean squared error and bytes of file of the images `start` to `stop`; shape (n, 3)."""
    offset, sizes = dataset.offset[start : stop + 1], dataset.sizes(start, stop).tolist()
    first, last = int(offset[0]), int(offset[-1])
    originals = arrays.read_rows(dataset.store, "pixels", first, last)
    codes = arrays.read_rows(result.store, "codes", first, last) if result.palette is not None else None
    pixels = result.pixel_rows(first, last)
    limit = int(np.iinfo(dataset.dtype).max)
    measures = np.zeros((stop - start, 3))
    for position, size in enumerate(sizes):
        rows = slice(int(offset[position]) - first, int(offset[position + 1]) - first)
        error = mean_squared_error(originals[rows], pixels[rows])
        # Identical images would divide by zero, with a warning.
        psnr = peak_signal_noise_ratio(originals[rows], pixels[rows], data_range=limit) if error else np.inf
        n_bytes = 0
        if folder is not None:
            if codes is not None and result.palette is not None:
                data = encode_indexed_png(*compact(codes[rows].reshape(size), result.palette))
            else:
                data = encode_png(pixels[rows].reshape(*size, -1))
            folder.put(keys[position], data)
            n_bytes = len(data)
        measures[position] = psnr, error, n_bytes
    return measures
