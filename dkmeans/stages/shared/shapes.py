"""How large datasets and codebooks are, or at most will be, before any of them is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.codebook import open_codebook
from dkmeans.artefacts.dataset import open_dataset
from dkmeans.config.base import StageConfig
from dkmeans.config.stages import FitConfig, IngestConfig
from dkmeans.errors import InputError
from dkmeans.features.patches import count_windows
from dkmeans.images.collecting import one_color, one_dtype
from dkmeans.images.decode import CHANNELS, ImageHeader
from dkmeans.images.sources import FileSource, Source, open_source, sampled
from dkmeans.storage.urls import resolve_url

__all__ = ["Shape", "Shapes"]


@dataclass(frozen=True)
class Shape:
    """How large a dataset is, or at most will be: blank patches are not known before ingest.

    Attributes
    ----------
    offset : ndarray of shape (n_images + 1,), int64
        Where the pixels of each image begin.
    encoded : mapping of str to (int, int)
        Pixels and bytes of the source by its format: ``jpeg``, ``png`` (all other files) and ``stack``.
    """

    n_images: int
    n_pixels: int
    n_patches: int
    channels: int
    n_features: int
    itemsize: int
    shard_mib: float
    offset: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64), compare=False)
    encoded: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False)

    @property
    def row_itemsize(self) -> int:
        """Bytes of a value of a row in memory: premultiplied colors take two."""
        return 2 if self.channels in (2, 4) else self.itemsize

    def rows(self, on: str) -> tuple[int, int]:
        """Number of rows, and values in a row."""
        return (self.n_pixels, self.channels) if on == "pixels" else (self.n_patches, self.n_features)

    def layout(self, on: str) -> plan.RowLayout:
        """How the array of rows is cut."""
        n_rows, n_features = self.rows(on)
        return plan.layout_rows(n_rows, max(1, n_features * self.itemsize), self.shard_mib)

    def task_rows(self, on: str, *, labels: bool = False) -> int:
        """Rows of a shard, or of a block of labels, of an array that has many of them."""
        row_bytes = max(1, self.rows(on)[1] * self.itemsize)
        layout = plan.layout_rows(1 << 40, row_bytes, self.shard_mib)
        return plan.block_rows(1, layout) if labels else layout.shard_rows

    def bytes_of(self, on: str) -> int:
        """Bytes of the array of rows, as decoded."""
        n_rows, n_features = self.rows(on)
        return n_rows * n_features * self.itemsize

    def shards(self, on: str) -> int:
        """Number of objects that the array of rows is."""
        return len(plan.cuts(self.rows(on)[0], self.layout(on).shard_rows))


class Shapes:
    """How large datasets and codebooks are, or will be.

    Parameters
    ----------
    made : iterable of StageConfig
        Of the stages of the job that come first, which make some of them: of datasets the headers of their
        images are read; nothing is written.
    n_looked_at : int or None
        So many headers are read at most, and the other images taken to be like these; None for all.
    """

    def __init__(self, made: Iterable[StageConfig] = (), n_looked_at: int | None = None) -> None:
        self._datasets: dict[str, Shape] = {}
        self._codebooks: dict[str, int] = {}
        for config in made:
            if isinstance(config, IngestConfig):
                self._datasets[resolve_url(config.dataset)] = _scan(config, n_looked_at)
            if isinstance(config, FitConfig):
                self._codebooks[resolve_url(config.codebook)] = config.n_clusters

    def of(self, url: str) -> Shape:
        """The shape of the dataset at `url`.

        Raises
        ------
        InputError
            If it is missing, and not made by the job.
        """
        url = resolve_url(url)
        return self._datasets[url] if url in self._datasets else _stored(url)

    def n_clusters(self, url: str) -> int:
        """The number of centers of the codebook at `url`.

        Raises
        ------
        InputError
            If it is missing, and not made by the job.
        """
        url = resolve_url(url)
        return self._codebooks[url] if url in self._codebooks else open_codebook(url).n_clusters


def _scan(config: IngestConfig, n_looked_at: int | None) -> Shape:
    """The shape of a dataset from the headers of its images, or of some of them."""
    every = open_source(config.source)
    source = every if n_looked_at is None else sampled(every, n_looked_at)
    shape = _scan_all(config, source)
    return shape if len(source) == len(every) else _repeated(shape, len(every) / len(source))


def _repeated(shape: Shape, times: float) -> Shape:
    """The shape of so many times the images."""
    n_images, n_pixels = round(times * shape.n_images), round(times * shape.n_pixels)
    return replace(
        shape,
        n_images=n_images,
        n_pixels=n_pixels,
        n_patches=round(times * shape.n_patches),
        offset=np.linspace(0, n_pixels, n_images + 1).astype(np.int64),
        encoded={
            kind: (round(times * pixels), round(times * n_bytes))
            for kind, (pixels, n_bytes) in shape.encoded.items()
        },
    )


def _scan_all(config: IngestConfig, source: Source) -> Shape:
    found = source.headers(max_pixels=config.max_image_pixels)
    headers = [header for header in found if isinstance(header, ImageHeader)]
    if not headers:
        raise InputError(f"{config.source}: no image can be read. Check the folder.")
    if config.patch:  # ingest leaves out what is smaller
        down, across = config.patch
        headers = [each for each in headers if each.height >= down and each.width >= across] or headers
    channels = CHANNELS[one_color(config.color, headers)]
    n_patches = n_features = 0
    if config.patch:
        n_features = config.patch[0] * config.patch[1] * channels
        for header in headers:
            down, across = count_windows(header.height, header.width, config.patch, config.stride)
            n_patches += max(0, down) * max(0, across)
    sizes = np.array([header.height * header.width for header in headers], np.int64)
    encoded: dict[str, tuple[int, int]] = {}
    files = {each.key: each.size for each in source.files} if isinstance(source, FileSource) else {}
    if not files:
        encoded["stack"] = int(sizes.sum()), source.encoded_bytes
    for header, size in zip(headers, sizes.tolist(), strict=True):
        if header.key in files:
            kind = "jpeg" if header.key.lower().endswith((".jpg", ".jpeg")) else "png"
            pixels, n_bytes = encoded.get(kind, (0, 0))
            encoded[kind] = pixels + size, n_bytes + files[header.key]
    return Shape(
        len(headers),
        int(sizes.sum()),
        n_patches,
        channels,
        n_features,
        one_dtype(headers).itemsize,
        config.shard_mib,
        np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        encoded,
    )


def _stored(url: str) -> Shape:
    """The shape of a dataset that is there already."""
    dataset = open_dataset(url)
    facts = dataset.manifest
    size = dataset.patch
    return Shape(
        n_images=dataset.n_images,
        n_pixels=facts.n_pixels,
        n_patches=facts.n_patches,
        channels=dataset.channels,
        n_features=size[0] * size[1] * dataset.channels if size else 0,
        itemsize=dataset.dtype.itemsize,
        shard_mib=facts.shard_mib,
        offset=np.asarray(dataset.offset, np.int64),
    )
