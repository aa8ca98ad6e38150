"""Every number of the report, taken from manifests and arrays; nothing here draws or formats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.codebook import HISTORY, Codebook, open_codebook
from dkmeans.artefacts.coded import CodedImages, open_coded
from dkmeans.artefacts.dataset import Dataset, open_dataset
from dkmeans.artefacts.manifests import digest
from dkmeans.errors import InputError, MismatchError
from dkmeans.images import measures
from dkmeans.storage.store import Store

__all__ = [
    "Bytes",
    "Color",
    "ImageFacts",
    "ResultFacts",
    "Step",
    "Trio",
    "gather",
    "measure_image",
    "open_trio",
    "shown_positions",
]


@dataclass(frozen=True)
class Trio:
    """A result, and the dataset and the codebook that it was made from."""

    result: CodedImages
    dataset: Dataset
    codebook: Codebook


@dataclass(frozen=True)
class ImageFacts:
    """One image of a result beside its original.

    Attributes
    ----------
    position : int
        Its place in the index.
    psnr : float or None
        In dB; None where nothing is lost.
    ssim : float or None
        Structural similarity; None for an image too small for a window of 3 x 3.
    detail : tuple of int or None
        Top, left, height and width of the part where the two differ most; None for a small image.
    """

    position: int
    name: str
    height: int
    width: int
    psnr: float | None
    ssim: float | None
    detail: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Bytes:
    """What the images take in each form.

    Attributes
    ----------
    source : int
        Files as ingest found them.
    raw : int
        Pixels without any compression.
    codes, codebook : int
        Arrays as stored: the codes, and the palette or centers that they point to.
    compressed : int
        Both together.
    images : int or None
        Files written beside the result; None where none were asked for.
    """

    source: int
    raw: int
    codes: int
    codebook: int
    compressed: int
    images: int | None


@dataclass(frozen=True)
class Color:
    """A color of a palette, and the pixels of the fit that are nearest to it."""

    values: tuple[int, ...]
    count: int
    share: float


@dataclass(frozen=True)
class Step:
    """One iteration of the fit; `moved` is the share of rows that changed their center."""

    inertia: float
    moved: float


@dataclass(frozen=True)
class ResultFacts:
    """All numbers of one result; `colors` from dark to light, empty for a codebook of patches."""

    result: str
    dataset: str
    codebook: str
    on: str
    n_clusters: int
    patch: tuple[int, int] | None
    channels: int
    dtype: str
    n_images: int
    n_pixels: int
    n_rows: int
    same_dataset: bool
    mean_psnr: float | None
    n_exact: int
    rmse: float
    mean_ssim: float | None
    bytes: Bytes
    ratio_compressed: float
    ratio_images: float | None
    bits_per_pixel: float
    raw_bits_per_pixel: int
    n_iter: int
    max_iter: int
    converged: bool
    inertia: float
    centers_sha256: str
    images: tuple[ImageFacts, ...]
    colors: tuple[Color, ...]
    steps: tuple[Step, ...]

    @property
    def limit(self) -> int:
        """Largest value that a pixel can have."""
        return int(np.iinfo(self.dtype).max)


def open_trio(url: str) -> Trio:
    """Open a result with its dataset and codebook.

    Raises
    ------
    InputError
        If one of the three is missing or unfinished.
    MismatchError
        If the dataset or codebook is another one than the result was made from.
    """
    result = open_coded(url)
    found = result.manifest
    if found.dataset is None or found.codebook is None:
        raise InputError(
            f"{result.url} was made by quantize; expected a result of compress or reconstruct, which has a "
            "dataset and a codebook to show."
        )
    dataset, codebook = open_dataset(found.dataset), open_codebook(found.codebook)
    if digest([dataset.manifest.digest, codebook.manifest.centers_sha256]) != found.input_digest:
        raise MismatchError(
            f"{result.url} was made from another dataset or codebook than {dataset.url} and {codebook.url} "
            "now are. Make the result again with --overwrite."
        )
    return Trio(result, dataset, codebook)


def shown_positions(n_images: int, n_shown: int) -> list[int]:
    """At most `n_shown` positions, evenly spread over the index, with its first and last image."""
    spread = np.linspace(0, n_images - 1, min(n_shown, n_images))
    return [int(position) for position in np.rint(spread)]


def measure_image(trio: Trio, position: int, original: NDArray[Any], image: NDArray[Any]) -> ImageFacts:
    """The numbers of one image; both arrays of shape (height, width, channels)."""
    psnr = float(trio.result.measures["psnr"][position])
    return ImageFacts(
        position=position,
        name=trio.dataset.index.names[position],
        height=original.shape[0],
        width=original.shape[1],
        psnr=psnr if math.isfinite(psnr) else None,
        ssim=measures.ssim(original, image),
        detail=measures.worst_part(original, image),
    )


def gather(trio: Trio, images: tuple[ImageFacts, ...]) -> ResultFacts:
    """All numbers of a result, of which `images` are shown."""
    result, dataset, codebook = trio.result, trio.dataset, trio.codebook
    found, fitted = result.manifest, codebook.manifest
    stored = _bytes(trio)
    n_pixels = dataset.manifest.n_pixels
    similar = [image.ssim for image in images if image.ssim is not None]
    return ResultFacts(
        result=result.url,
        dataset=dataset.url,
        codebook=codebook.url,
        on=codebook.on,
        n_clusters=codebook.n_clusters,
        patch=dataset.patch if codebook.on == "patches" else None,
        channels=dataset.channels,
        dtype=str(dataset.dtype),
        n_images=dataset.n_images,
        n_pixels=n_pixels,
        n_rows=fitted.n_rows,
        same_dataset=fitted.dataset_digest == dataset.manifest.digest,
        mean_psnr=found.mean_psnr,
        n_exact=found.n_exact or 0,
        rmse=math.sqrt(found.mse or 0.0),
        mean_ssim=float(np.mean(similar)) if similar else None,
        bytes=stored,
        ratio_compressed=stored.raw / stored.compressed,
        ratio_images=stored.raw / stored.images if stored.images else None,
        bits_per_pixel=8 * stored.compressed / n_pixels,
        raw_bits_per_pixel=8 * dataset.channels * dataset.dtype.itemsize,
        n_iter=fitted.n_iter,
        max_iter=fitted.max_iter,
        converged=fitted.converged,
        inertia=fitted.inertia,
        centers_sha256=fitted.centers_sha256,
        images=images,
        colors=_colors(trio),
        steps=_steps(codebook),
    )


def _bytes(trio: Trio) -> Bytes:
    result, dataset = trio.result, trio.dataset
    codes = _stored_bytes(result.store, "codes")
    codebook = _stored_bytes(result.store, "centers" if result.palette is None else "palette")
    return Bytes(
        source=dataset.manifest.source_bytes,
        raw=dataset.manifest.n_pixels * dataset.channels * dataset.dtype.itemsize,
        codes=codes,
        codebook=codebook,
        compressed=codes + codebook,
        images=result.manifest.image_bytes if result.manifest.images else None,
    )


def _stored_bytes(store: Store, name: str) -> int:
    """Bytes of the chunks of an array as they are stored, without its metadata."""
    return sum(found.size for found in store.list(f"{name}/c"))


def _colors(trio: Trio) -> tuple[Color, ...]:
    palette, counts = trio.result.palette, trio.codebook.counts
    if palette is None:
        return ()
    weights = [0.2126, 0.7152, 0.0722] if palette.shape[1] >= 3 else [1.0]  # of red, green, blue: Rec. 709
    order = np.argsort(palette[:, : len(weights)] @ np.array(weights), kind="stable")
    total = int(counts.sum())
    return tuple(
        Color(tuple(int(value) for value in palette[k]), int(counts[k]), int(counts[k]) / total)
        for k in order
    )


def _steps(codebook: Codebook) -> tuple[Step, ...]:
    inertia, moved = (codebook.history[:, HISTORY.index(name)] for name in ("inertia", "moved"))
    n_rows = codebook.manifest.n_rows
    return tuple(Step(float(value), float(rows) / n_rows) for value, rows in zip(inertia, moved, strict=True))
