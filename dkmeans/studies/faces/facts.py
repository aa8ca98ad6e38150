"""Every number of the study of faces, from the artefacts that its stages have made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.codebook import Codebook, open_codebook
from dkmeans.artefacts.coded import CodedImages, open_coded
from dkmeans.artefacts.dataset import Dataset, open_dataset
from dkmeans.compute.executor import Executor
from dkmeans.compute.tree import reduced
from dkmeans.config.studies import FacesConfig
from dkmeans.features.histogram import Histogram
from dkmeans.features.levels import (
    N_GRAYS,
    Bins,
    bin_means,
    center_bins,
    code_bits,
    pack_codes,
    quantile_bins,
    squared_error,
    uniform_bins,
    unpack_codes,
)
from dkmeans.images.measures import psnr
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["STRATEGIES", "Levels", "Made", "Size", "open_made"]

STRATEGIES = {"kmeans": "k-means", "uniform": "uniform", "quantile": "quantile"}
"""How levels are chosen: key in the facts, and words; the one that the study is about first."""


@dataclass(frozen=True)
class Levels:
    """Gray levels chosen in one way.

    Attributes
    ----------
    bins : Bins
    shown : ndarray of shape (n_bins,), uint8
        What the pixels of each bin are shown as: their mean, or the center.
    """

    bins: Bins
    shown: NDArray[np.uint8]


@dataclass(frozen=True)
class Size:
    """The codebook of the gallery cut to one size: by any links, by those of near neighbors; a direct fit."""

    cut: Codebook
    linked: Codebook
    direct: Codebook


@dataclass(frozen=True)
class Made:
    """Everything that the study has made: artefacts, levels by strategy, codebooks, and all numbers."""

    config: FacesConfig
    dataset: Dataset
    codes: CodedImages
    gallery: Codebook
    levels: dict[str, Levels]
    sizes: tuple[Size, ...]
    facts: dict[str, Any]

    @property
    def urls(self) -> tuple[str, ...]:
        """Where all that was made lies."""
        books = (book for size in self.sizes for book in (size.cut, size.linked, size.direct))
        return self.dataset.url, self.codes.url, self.gallery.url, *(book.url for book in books)

    @property
    def noun(self) -> str:
        """The noun for the images."""
        return "faces" if self.config.source is None else "images"


def open_made(config: FacesConfig, out: str, cluster: Executor) -> Made:
    """Open what the stages of the study have written below `out`, and gather its numbers.

    Parameters
    ----------
    config : FacesConfig
    out : str
        URL.
    cluster : Executor
        Counts the gray values, and packs the codes.
    """
    dataset, codes = open_dataset(f"{out}/dataset.zarr"), open_coded(f"{out}/levels-codes.zarr")
    fitted, gallery = open_codebook(f"{out}/levels.zarr"), open_codebook(f"{out}/gallery.zarr")
    sizes = tuple(
        Size(
            *(
                open_codebook(f"{out}/{name}.zarr")
                for name in (f"cut-{k}", f"cut-{k}-neighbors", f"direct-{k}")
            )
        )
        for k in config.n_clusters
    )
    counts = _gray_counts(dataset, cluster)
    levels = _levels(config.levels, counts, fitted, codes)
    facts = {
        "images": _image_facts(config, dataset),
        "gray_counts": counts.tolist(),
        "levels": _level_facts(counts, levels, fitted),
        "bytes": _byte_facts(config.levels, dataset, codes, cluster),
        "gallery": _gallery_facts(config, gallery),
        "hierarchy": _hierarchy_facts(config, gallery, sizes),
    }
    return Made(config, dataset, codes, gallery, levels, sizes, facts)


def _image_facts(config: FacesConfig, dataset: Dataset) -> dict[str, Any]:
    assert dataset.patch is not None
    height, width = dataset.patch
    return {
        "source": config.source or "scikit-image's lfw_subset, the faces",
        "n_images": dataset.n_images,
        "height": height,
        "width": width,
        "n_pixels": dataset.manifest.n_pixels,
    }


def _gray_counts(dataset: Dataset, cluster: Executor) -> NDArray[np.int64]:
    """How often each gray value occurs, counted by tasks; shape (256,)."""
    array = dataset.pixels
    blocks = plan.fit_cuts(array.shape[0], 1, arrays.row_layout(array), cluster.n_threads())
    count = cluster.task(_count)
    tasks = [count(dataset.store, *block) for block in blocks]
    found: Histogram = reduced(cluster, Histogram.merge, tasks)
    counts = np.zeros(N_GRAYS, np.int64)
    counts[found.colors[:, 0]] = found.counts
    return counts


def _count(store: Store, start: int, stop: int) -> Histogram:
    return Histogram.of(arrays.read_rows(store, "pixels", start, stop))


def _levels(
    n_levels: int, counts: NDArray[np.int64], fitted: Codebook, codes: CodedImages
) -> dict[str, Levels]:
    """Levels by strategy; those of k-means are shown as its palette, as in the image files."""
    assert codes.palette is not None
    palette = codes.palette[:, 0]
    levels = {"kmeans": Levels(center_bins(counts, fitted.centers[:, 0]), np.sort(palette))}
    for name, make in (("quantile", quantile_bins), ("uniform", uniform_bins)):
        bins = make(counts, n_levels)
        levels[name] = Levels(bins, np.rint(bin_means(counts, bins)).astype(np.uint8))
    return levels


def _level_facts(counts: NDArray[np.int64], levels: dict[str, Levels], fitted: Codebook) -> dict[str, Any]:
    facts: dict[str, Any] = {name: _measured(counts, found) for name, found in levels.items()}
    best = min(levels, key=lambda name: facts[name]["mse"])
    facts["kmeans"] |= {name: getattr(fitted.manifest, name) for name in ("inertia", "n_iter", "converged")}
    facts["kmeans"]["centers"] = np.sort(fitted.centers[:, 0]).tolist()
    return {"n_levels": fitted.n_clusters, "best": STRATEGIES[best], **facts}


def _measured(counts: NDArray[np.int64], levels: Levels) -> dict[str, Any]:
    error = squared_error(counts, levels.bins, levels.shown)
    totals = np.bincount(levels.bins.labels, counts, minlength=levels.bins.n_bins)
    return {
        "n_levels": levels.bins.n_bins,
        "edges": levels.bins.edges.tolist(),
        "values": levels.shown.tolist(),
        "shares": (totals / counts.sum()).tolist(),
        "mse": error,
        "rmse": math.sqrt(error),
        "psnr": psnr(error, 255),  # of all pixels together
    }


def _byte_facts(n_levels: int, dataset: Dataset, codes: CodedImages, cluster: Executor) -> dict[str, Any]:
    """Bytes of each form, the bits that it takes a pixel, and how it compares with the image in memory."""
    n_pixels, bits = dataset.manifest.n_pixels, code_bits(n_levels)
    blocks = plan.cuts(n_pixels, max(8, arrays.row_layout(codes.codes).shard_rows // 8 * 8))
    pack = cluster.task(_pack)
    packed = sum(cluster.run([pack(codes.store, *block, bits) for block in blocks]))
    sizes = {
        "image": n_pixels,
        "labels": n_pixels * np.dtype(np.int32).itemsize,  # as scikit-learn's KMeans returns them
        "codes": n_pixels * codes.codes.dtype.itemsize,
        "packed": packed,
        "image_files": dataset.manifest.source_bytes,
        "image_stored": _stored_bytes(dataset.store, "pixels"),
        "codes_stored": _stored_bytes(codes.store, "codes"),
        "code_files": codes.manifest.image_bytes,
    }
    forms = {
        name: {"bytes": size, "bits_per_pixel": 8 * size / n_pixels, "share": size / n_pixels}
        for name, size in sizes.items()
    }
    return {"bits": bits, "palette": n_levels, **forms}


def _pack(store: Store, start: int, stop: int, bits: int) -> int:
    """Bytes of some codes, packed; they are unpacked again to see that nothing is lost."""
    codes = arrays.read_rows(store, "codes", start, stop)
    packed = pack_codes(codes, bits)
    if not np.array_equal(unpack_codes(packed, len(codes)), codes):
        raise AssertionError(f"codes {start} to {stop} do not come back from {bits} bits")
    return packed.nbytes


def _stored_bytes(store: Store, name: str) -> int:
    """Bytes of the chunks of an array as they are stored, without its metadata."""
    return sum(found.size for found in store.list(f"{name}/c"))


def _gallery_facts(config: FacesConfig, gallery: Codebook) -> dict[str, Any]:
    counts = gallery.counts
    return {
        "rows": config.gallery[0],
        "columns": config.gallery[1],
        **_fit_facts(gallery),
        "counts": np.sort(counts)[::-1].tolist(),
        "largest": int(counts.max()),
        "n_single": int((counts == 1).sum()),
    }


def _fit_facts(codebook: Codebook) -> dict[str, Any]:
    names = ("n_clusters", "inertia", "n_iter", "converged")
    return {name: getattr(codebook.manifest, name) for name in names}


def _hierarchy_facts(config: FacesConfig, gallery: Codebook, sizes: tuple[Size, ...]) -> dict[str, Any]:
    found, ratios = [], []
    for size in sizes:
        direct = size.direct.manifest.inertia
        one: dict[str, Any] = {"k": size.direct.n_clusters, "direct": _fit_facts(size.direct)}
        for name, codebook in (("cut", size.cut), ("linked", size.linked)):
            inertia = codebook.manifest.inertia
            one[name] = {"inertia": inertia, "ratio": inertia / direct if direct else None}
            ratios += [inertia / direct] if direct else []
        found.append(one)
    return {
        "n_clusters": gallery.n_clusters,
        "n_neighbors": config.n_neighbors,
        "n_components": sizes[0].linked.manifest.n_components,
        "least_ratio": min(ratios, default=1.0),
        "largest_ratio": max(ratios, default=1.0),
        "sizes": found,
    }
