"""What a job would do: rows, bytes, blocks and memory of each stage, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dkmeans import plan
from dkmeans.artefacts.dataset import open_dataset
from dkmeans.config import FitConfig, IngestConfig, JobConfig, SweepConfig
from dkmeans.errors import InputError
from dkmeans.images.decode import CHANNELS, ImageHeader
from dkmeans.images.sources import open_source
from dkmeans.storage.urls import resolve_url

__all__ = ["preview"]

_UNPLANNED = ("cut", "quantize", "decode", "dictionary", "palette", "faces")


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


def preview(job: JobConfig) -> dict[str, Any]:
    """The plan of a job; reads the headers of its images, and writes nothing.

    Returns
    -------
    dict
        Per stage a list of plans. Bytes are of the decoded arrays; what is stored is compressed.

    Raises
    ------
    InputError
        If a source, or a dataset that the job itself does not make, is missing.
    """
    shapes = {resolve_url(stage.dataset): _scan(stage) for stage in job.ingest}

    def shape_of(url: str) -> _Shape:
        url = resolve_url(url)
        return shapes[url] if url in shapes else _stored(url)

    plans: dict[str, Any] = {
        "ingest": [_plan_ingest(stage, shape_of(stage.dataset)) for stage in job.ingest],
        "fit": [_plan_fit(stage, stage.codebook, shape_of(stage.dataset)) for stage in job.fit],
        "sweep": [_plan_fit(stage, stage.sweep, shape_of(stage.dataset)) for stage in job.sweep],
        "compress": [_plan_codes(stage.result, shape_of(stage.dataset), "pixels") for stage in job.compress],
        "reconstruct": [
            _plan_codes(stage.result, shape_of(stage.dataset), "patches") for stage in job.reconstruct
        ],
    }
    for name in _UNPLANNED:
        plans[name] = [{"plan": f"none: {name} finds out as it goes"} for _ in getattr(job, name)]
    return {name: found for name, found in plans.items() if found}


def _scan(config: IngestConfig) -> _Shape:
    """The shape of a dataset from the headers of its images."""
    found = open_source(config.source).headers(max_pixels=config.max_image_pixels)
    headers = [header for header in found if isinstance(header, ImageHeader)]
    if not headers:
        raise InputError(f"{config.source}: no image can be read. Check the folder.")
    channels = CHANNELS[config.color]
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
    itemsize = np.dtype(headers[0].dtype).itemsize
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


def _plan_ingest(config: IngestConfig, shape: _Shape) -> dict[str, Any]:
    made: dict[str, Any] = {"dataset": config.dataset, "n_images": shape.n_images}
    for on in ("pixels", "patches"):
        n_rows, n_features = _rows(shape, on)
        made[f"n_{on}"] = n_rows
        made[f"{on}_bytes"] = n_rows * n_features * shape.itemsize
        made[f"{on}_tasks"] = len(plan.cuts(n_rows, _layout(shape, on).shard_rows))
    return made


def _plan_fit(config: FitConfig | SweepConfig, codebook: str, shape: _Shape) -> dict[str, Any]:
    """The plan of a fit; of several, that of the largest."""
    n_rows, n_features = _rows(shape, config.on)
    if not n_rows:
        raise InputError(f"{config.dataset} holds no {config.on}. Ingest with --patch, or fit on pixels.")
    # For one thread; more of them share the rows in as many more blocks.
    cuts = plan.fit_cuts(n_rows, n_features * shape.itemsize, _layout(shape, config.on), 1)
    most = config.n_clusters if isinstance(config, FitConfig) else max(config.n_clusters)
    memory = plan.fit_memory(n_rows, n_features, shape.itemsize, most, cuts[0][1])
    return {
        "codebook": codebook,
        "n_rows": n_rows,
        "n_features": n_features,
        "n_clusters": most,
        "n_blocks": len(cuts),
        "distances_per_iteration": n_rows * most,
        **{f"memory_{name}_bytes": size for name, size in memory.items()},
    }


def _plan_codes(result: str, shape: _Shape, on: str) -> dict[str, Any]:
    n_rows, _ = _rows(shape, on)
    rows = plan.block_rows(n_rows, _layout(shape, on))
    return {"result": result, "n_codes": n_rows, "n_blocks": len(plan.cuts(n_rows, rows))}
