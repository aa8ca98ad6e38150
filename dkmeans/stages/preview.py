"""The plan of a stage: rows, bytes, blocks and memory, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dkmeans import plan
from dkmeans.artefacts.dataset import open_dataset
from dkmeans.config.base import StageConfig
from dkmeans.config.stages import CompressConfig, FitConfig, IngestConfig, ReconstructConfig, SweepConfig
from dkmeans.errors import InputError
from dkmeans.images.collecting import one_color, one_dtype
from dkmeans.images.decode import CHANNELS, ImageHeader
from dkmeans.images.sources import open_source
from dkmeans.storage.urls import resolve_url

__all__ = ["Shapes", "plan_compress", "plan_fit", "plan_ingest", "plan_reconstruct", "plan_sweep"]


@dataclass(frozen=True)
class _Shape:
    """How large a dataset is, or at most will be: blank patches are not known before ingest."""

    n_images: int
    n_pixels: int
    n_patches: int
    channels: int
    n_features: int
    itemsize: int
    shard_mib: float

    @property
    def row_itemsize(self) -> int:
        """Bytes of a value of a row in memory: premultiplied colors take two."""
        return 2 if self.channels in (2, 4) else self.itemsize


class Shapes:
    """How large datasets are, or will be.

    Parameters
    ----------
    made : sequence of IngestConfig
        Of the datasets that the job itself makes; the headers of their images are read, nothing is written.
    """

    def __init__(self, made: Sequence[StageConfig]) -> None:
        configs = [config for config in made if isinstance(config, IngestConfig)]
        self._made = {resolve_url(config.dataset): _scan(config) for config in configs}

    def of(self, url: str) -> _Shape:
        """The shape of the dataset at `url`.

        Raises
        ------
        InputError
            If it is missing, and not made by the job.
        """
        url = resolve_url(url)
        return self._made[url] if url in self._made else _stored(url)


def _scan(config: IngestConfig) -> _Shape:
    """The shape of a dataset from the headers of its images."""
    found = open_source(config.source).headers(max_pixels=config.max_image_pixels)
    headers = [header for header in found if isinstance(header, ImageHeader)]
    if not headers:
        raise InputError(f"{config.source}: no image can be read. Check the folder.")
    channels = CHANNELS[one_color(config.color, headers)]
    n_patches = n_features = 0
    if config.patch:
        (down, across), (step_down, step_across) = config.patch, config.stride
        n_features = down * across * channels
        n_patches = sum(
            ((header.height - down) // step_down + 1) * ((header.width - across) // step_across + 1)
            for header in headers
            if header.height >= down and header.width >= across
        )
    n_pixels = sum(header.height * header.width for header in headers)
    itemsize = one_dtype(headers).itemsize
    return _Shape(len(headers), n_pixels, n_patches, channels, n_features, itemsize, config.shard_mib)


def _stored(url: str) -> _Shape:
    """The shape of a dataset that is there already."""
    dataset = open_dataset(url)
    facts = dataset.manifest
    size = dataset.patch
    return _Shape(
        n_images=dataset.n_images,
        n_pixels=facts.n_pixels,
        n_patches=facts.n_patches,
        channels=dataset.channels,
        n_features=size[0] * size[1] * dataset.channels if size else 0,
        itemsize=dataset.dtype.itemsize,
        shard_mib=facts.shard_mib,
    )


def _rows(shape: _Shape, on: str) -> tuple[int, int]:
    """Number of rows, and values in a row."""
    return (shape.n_pixels, shape.channels) if on == "pixels" else (shape.n_patches, shape.n_features)


def _layout(shape: _Shape, on: str) -> plan.RowLayout:
    n_rows, n_features = _rows(shape, on)
    return plan.layout_rows(n_rows, max(1, n_features * shape.itemsize), shape.shard_mib)


def plan_ingest(config: IngestConfig, shapes: Shapes) -> dict[str, Any]:
    """Plan an ingest; bytes are of the decoded arrays, what is stored is compressed."""
    shape = shapes.of(config.dataset)
    made: dict[str, Any] = {"dataset": config.dataset, "n_images": shape.n_images}
    for on in ("pixels", "patches"):
        n_rows, n_features = _rows(shape, on)
        made[f"n_{on}"] = n_rows
        made[f"{on}_bytes"] = n_rows * n_features * shape.itemsize
        made[f"{on}_tasks"] = len(plan.cuts(n_rows, _layout(shape, on).shard_rows))
    return made


def plan_fit(config: FitConfig, shapes: Shapes) -> dict[str, Any]:
    """Plan a fit."""
    return _plan_fit(config, config.codebook, config.n_clusters, shapes)


def plan_sweep(config: SweepConfig, shapes: Shapes) -> dict[str, Any]:
    """Plan a sweep: its largest fit."""
    return _plan_fit(config, config.sweep, max(config.n_clusters), shapes)


def _plan_fit(config: FitConfig | SweepConfig, codebook: str, most: int, shapes: Shapes) -> dict[str, Any]:
    shape = shapes.of(config.dataset)
    n_rows, n_features = _rows(shape, config.on)
    if not n_rows:
        raise InputError(f"{config.dataset} holds no {config.on}. Ingest with --patch, or fit on pixels.")
    # For one thread; more of them share the rows in as many more blocks, and where memory is plenty these are
    # larger.
    cuts = plan.fit_cuts(n_rows, n_features * shape.row_itemsize, _layout(shape, config.on), 1)
    memory = plan.fit_memory(n_rows, n_features, shape.row_itemsize, most, cuts[0][1])
    return {
        "codebook": codebook,
        "n_rows": n_rows,
        "n_features": n_features,
        "n_clusters": most,
        "n_blocks": len(cuts),
        "distances_per_iteration": n_rows * most,
        **{f"memory_{name}_bytes": size for name, size in memory.items()},
    }


def plan_compress(config: CompressConfig, shapes: Shapes) -> dict[str, Any]:
    """Plan the codes of pixels."""
    return _plan_codes(config.result, shapes.of(config.dataset), "pixels")


def plan_reconstruct(config: ReconstructConfig, shapes: Shapes) -> dict[str, Any]:
    """Plan the codes of patches."""
    return _plan_codes(config.result, shapes.of(config.dataset), "patches")


def _plan_codes(result: str, shape: _Shape, on: str) -> dict[str, Any]:
    n_rows, _ = _rows(shape, on)
    rows = plan.block_rows(n_rows, _layout(shape, on))
    return {"result": result, "n_codes": n_rows, "n_blocks": len(plan.cuts(n_rows, rows))}
