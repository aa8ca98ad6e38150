"""Every number of the report is gathered here, from manifests and arrays; nothing here draws or formats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.codebook import HISTORY, Codebook
from dkmeans.artefacts.coded import CodedImages
from dkmeans.artefacts.dataset import Dataset
from dkmeans.artefacts.folder import ImageFolder
from dkmeans.images import measures
from dkmeans.report.facts import Bytes, Color, ImageFacts, ResultFacts, Step
from dkmeans.report.subjects import Subject
from dkmeans.storage.store import Store

__all__ = ["gather", "measure_image", "shown_positions"]


def shown_positions(n_images: int, n_shown: int) -> list[int]:
    """At most `n_shown` positions, evenly spread over the index, with its first and last image."""
    spread = np.linspace(0, n_images - 1, min(n_shown, n_images))
    return [int(position) for position in np.rint(spread)]


def measure_image(
    subject: Subject, position: int, original: NDArray[Any] | str, image: NDArray[Any], why: str
) -> ImageFacts:
    """The numbers of one image; both arrays of shape (height, width, channels).

    In place of the original there may be the reason why it is missing.
    """
    table = subject.result.measures
    psnr = float(table["psnr"][position])
    # Of results of compress and reconstruct the structure was not measured; these have their originals.
    ssim = float(table["ssim"][position]) if "ssim" in table else measures.ssim(original, image)  # type: ignore[arg-type]
    return ImageFacts(
        position=position,
        name=subject.result.index.names[position],
        height=image.shape[0],
        width=image.shape[1],
        psnr=psnr if math.isfinite(psnr) else None,
        ssim=None if ssim is None or math.isnan(ssim) else ssim,
        detail=None if isinstance(original, str) else measures.worst_part(original, image),
        why=why,
        missing=original if isinstance(original, str) else None,
    )


def gather(
    subject: Subject, images: tuple[ImageFacts, ...], files: tuple[dict[str, Any], ...]
) -> ResultFacts:
    """All numbers of a result, of which `images` are shown and `files` listed."""
    result, originals = subject.result, subject.originals
    found = result.manifest
    stored = _bytes(subject)
    n_pixels = int(result.index.offset[-1])
    return ResultFacts(
        result=subject.url,
        channels=originals.channels,
        dtype=str(originals.dtype),
        n_images=found.n_images,
        n_pixels=n_pixels,
        mean_psnr=found.mean_psnr,
        n_exact=found.n_exact or 0,
        rmse=math.sqrt(found.mse or 0.0),
        bytes=stored,
        ratio_compressed=stored.raw / stored.compressed if stored.compressed else None,
        ratio_images=stored.raw / stored.images if stored.images else None,
        bits_per_pixel=8 * stored.stored / n_pixels,
        raw_bits_per_pixel=8 * originals.channels * originals.dtype.itemsize,
        images=images,
        files=files,
        colors=_colors(subject),
        **_coding(subject),
        **_similarity(subject, images),
        **_fit(subject),
    )


def _coding(subject: Subject) -> dict[str, Any]:
    """Name what the pixels or patches were replaced by."""
    result, codebook = subject.result, subject.codebook
    if isinstance(result, ImageFolder):
        own = result.manifest.centers_sha256 is None
        facts = {"on": "pixels", "patch": None, "own_palettes": own, "overlapping": False}
        return {**facts, "n_clusters": result.manifest.n_clusters}
    found = result.manifest
    space = codebook.manifest.space if codebook is not None else found.space
    assert space is not None
    return {
        "on": "patches" if space.patch else "pixels",
        "patch": space.patch,
        "own_palettes": False,
        "overlapping": found.decoder in ("overlap", "pixels"),
        "n_clusters": found.n_clusters,
    }


def _similarity(subject: Subject, images: tuple[ImageFacts, ...]) -> dict[str, Any]:
    """The mean SSIM, of all images where it was measured when they were made."""
    table = subject.result.measures
    if "ssim" in table:
        n_similar = int(np.isfinite(table["ssim"]).sum())
        return {"mean_ssim": subject.result.manifest.mean_ssim, "n_similar": n_similar}
    similar = [image.ssim for image in images if image.ssim is not None]
    return {"mean_ssim": float(np.mean(similar)) if similar else None, "n_similar": len(similar)}


def _fit(subject: Subject) -> dict[str, Any]:
    """How the centers were learned, and from what."""
    codebook, originals, found = subject.codebook, subject.originals, subject.result.manifest
    learned: Any = found if codebook is None else codebook.manifest
    names = ("n_iter", "converged", "inertia", "centers_sha256")
    facts = {name: getattr(learned, name) for name in names}
    if codebook is None or not isinstance(originals, Dataset):
        unknown = ("dataset", "codebook", "n_rows", "same_dataset", "max_iter", "gain_left")
        return {**facts, **dict.fromkeys(unknown), "source": originals.url, "steps": ()}
    fitted = codebook.manifest
    return {
        **facts,
        "source": None,
        "dataset": originals.url,
        "codebook": codebook.url,
        "n_rows": fitted.n_rows,
        "same_dataset": fitted.dataset_digest == originals.manifest.digest,
        "max_iter": fitted.max_iter,
        "gain_left": fitted.gain_left,
        "steps": _steps(codebook),
    }


def _bytes(subject: Subject) -> Bytes:
    result, originals = subject.result, subject.originals
    if isinstance(originals, Dataset):
        source = originals.manifest.source_bytes
    else:
        source = int(result.measures["source_bytes"].sum())
    raw = int(result.index.offset[-1]) * originals.channels * originals.dtype.itemsize
    if isinstance(result, ImageFolder):
        return Bytes(source, raw, None, None, None, result.manifest.image_bytes)
    codes = _stored_bytes(result.store, "codes")
    codebook = _stored_bytes(result.store, "centers" if result.palette is None else "palette")
    images = result.manifest.image_bytes if result.manifest.images else None
    return Bytes(source, raw, codes, codebook, codes + codebook, images)


def _stored_bytes(store: Store, name: str) -> int:
    """Bytes of the chunks of an array as they are stored, without its metadata."""
    return sum(found.size for found in store.list(f"{name}/c"))


def _colors(subject: Subject) -> tuple[Color, ...]:
    result = subject.result
    palette = result.palette if isinstance(result, CodedImages) else None
    if palette is None:
        return ()
    weights = [0.2126, 0.7152, 0.0722] if palette.shape[1] >= 3 else [1.0]  # of red, green, blue: Rec. 709
    order = np.argsort(palette[:, : len(weights)] @ np.array(weights), kind="stable").tolist()
    values = [tuple(int(value) for value in palette[k]) for k in order]
    if subject.codebook is None:
        return tuple(Color(color, None, None) for color in values)
    counts = subject.codebook.counts[order].tolist()
    return tuple(Color(color, n, n / sum(counts)) for color, n in zip(values, counts, strict=True))


def _steps(codebook: Codebook) -> tuple[Step, ...]:
    inertia, moved = (codebook.history[:, HISTORY.index(name)] for name in ("inertia", "moved"))
    n_rows = codebook.manifest.n_rows
    return tuple(Step(float(value), float(rows) / n_rows) for value, rows in zip(inertia, moved, strict=True))
