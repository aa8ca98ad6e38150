"""The plan of a stage before anything is written: rows, bytes, blocks, memory, requests, seconds.

Rows, bytes and blocks are what the stage will have. Requests are those that it makes of an object store
without faults, as counted of each kind (tests/stages/test_preview.py counts them again). Seconds are what the
rates of a machine make of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dkmeans import plan
from dkmeans.config.stages import CompressConfig, FitConfig, IngestConfig, ReconstructConfig, SweepConfig
from dkmeans.errors import InputError
from dkmeans.features.histogram import countable
from dkmeans.plan.cost import Iterations, StagePlan, StepRate, expected_iterations, shared_seconds
from dkmeans.stages.shared.setting import Setting, asked
from dkmeans.stages.shared.shapes import Shape

__all__ = ["plan_compress", "plan_fit", "plan_ingest", "plan_reconstruct", "plan_sweep"]

_COLORS = 20.0, 0.6
"""Distinct colors of so many pixels of photos: about 20 times their number to the power of 0.6."""
_SHARED_PIXELS = 1 << 20
"""Pixels up to which colors are counted in one block, whose counts need not be added up."""
_PALETTE = 256
"""Colors up to which seeds are the best of several starts."""


def plan_ingest(config: IngestConfig, setting: Setting) -> StagePlan:
    """Plan an ingest."""
    shape, rates = setting.shapes.of(config.dataset), setting.rates
    shards = shape.shards("pixels")
    out = {on: shape.bytes_of(on) for on in ("pixels", "patches")}
    decoding = sum(
        max(pixels * rates.decode_ns[kind] / 1e9, n_bytes / plan.MIB / rates.decode_mib[kind])
        for kind, (pixels, n_bytes) in shape.encoded.items()
    ) * (1 + _straddling(shape) / max(1, shape.n_pixels))
    writing = setting.writes(config.dataset, out["pixels"])
    parts = {
        "headers": shape.n_images * rates.header_seconds,
        "pixels": setting.shared(decoding + writing, shape.n_pixels, shape.task_rows("pixels")),
    }
    own = 59 + 20  # requests of the driver, GET and PUT
    gets, puts = 59 + 3 * shards, 20 + shards
    if config.patch:
        n = shape.shards("patches")
        cutting = rates.cut_ns * out["patches"] / shape.itemsize / 1e9
        moving = setting.reads(config.dataset, 2 * out["pixels"]) + setting.writes(
            config.dataset, out["patches"]
        )
        parts["patches"] = setting.shared(cutting + moving, shape.n_patches, shape.task_rows("patches"))
        own += 24 + 4
        gets, puts = gets + 24 + 13 * n, puts + 4 + n
    largest = int(np.diff(shape.offset).max(initial=0)) * shape.channels * shape.itemsize
    on = "patches" if out["patches"] > out["pixels"] else "pixels"
    rows_of_shard = min(shape.layout(on).shard_rows, shape.rows(on)[0])
    task = plan.shard_memory(rows_of_shard, shape.rows(on)[1] * shape.itemsize, largest)
    encoded = sum(n_bytes for _, n_bytes in shape.encoded.values())
    listed = 1 + (len(shape.encoded) if "stack" in shape.encoded else shape.n_images)
    return StagePlan(
        "ingest",
        config.dataset,
        n_images=shape.n_images,
        n_rows=shape.n_patches or shape.n_pixels,
        n_features=shape.n_features or shape.channels,
        bytes_in=encoded + (2 * out["pixels"] if config.patch else 0),
        bytes_out=sum(out.values()),
        n_blocks=shape.shards(on),
        memory_bytes=setting.memory(0, task),
        n_gets=asked(config.dataset, gets) + asked(config.source, listed),
        n_puts=asked(config.dataset, puts),
        parts=_with_requests(setting, config.dataset, parts, own),
    )


def _straddling(shape: Shape) -> int:
    """Pixels of images that straddle borders of shards: each is decoded once more for each border."""
    borders = np.arange(shape.layout("pixels").shard_rows, shape.n_pixels, shape.layout("pixels").shard_rows)
    inside = np.searchsorted(shape.offset, borders, side="right") - 1
    straddled = shape.offset[inside] < borders
    return int(np.diff(shape.offset)[inside[straddled]].sum())


def _with_requests(setting: Setting, url: str, parts: dict[str, float], n: int) -> dict[str, float]:
    """Add the requests of the driver, one after the other; those of tasks are in what reading takes."""
    return {**parts, "requests": setting.requests(url, n)}


def plan_fit(config: FitConfig, setting: Setting) -> StagePlan:
    """Plan a fit."""
    return _plan_fit(config, config.codebook, [config.n_clusters], setting, "fit")


def plan_sweep(config: SweepConfig, setting: Setting) -> StagePlan:
    """Plan a sweep: rows read once, seeds drawn once for the most clusters, a fit for each number."""
    return _plan_fit(config, config.sweep, config.n_clusters, setting, "sweep")


def _plan_fit(
    config: FitConfig | SweepConfig, url: str, numbers: Sequence[int], setting: Setting, stage: str
) -> StagePlan:
    shape, most, n_fits = setting.shapes.of(config.dataset), max(numbers), len(numbers)
    n_rows, n_features = shape.rows(config.on)
    if not n_rows:
        raise InputError(f"{config.dataset} holds no {config.on}. Ingest with --patch, or fit on pixels.")
    cuts = plan.fit_cuts(
        n_rows, n_features * shape.row_itemsize, shape.layout(config.on), setting.machine.n_threads
    )
    distinct = _n_colors(n_rows, shape.channels) if _counts(config.on, shape) else n_rows
    memory = plan.fit_memory(distinct, n_features, shape.row_itemsize, most, cuts[0][1])
    rounds = [expected_iterations(config.on, k, config.max_iter, config.min_gain) for k in numbers]
    steps = [setting.rates.step(n_features, k) for k in numbers]
    total = Iterations(
        sum(each.least for each in rounds),
        sum(each.expected for each in rounds),
        sum(each.most for each in rounds),
    )
    gets, puts = (46, 9) if stage == "fit" else (98 + 44 * n_fits, 21 + 9 * n_fits)
    own = gets + puts
    gets += len(cuts) + 2 * shape.shards(config.on)
    parts = {
        "rows": _reading(config, shape, setting),
        **_seeding(config, n_features, most, setting),
        "iterations": sum(
            _iterating(config, url, (distinct, n_features * shape.row_itemsize), step, each, setting)
            for step, each in zip(steps, rounds, strict=True)
        ),
    }
    return StagePlan(
        stage,
        url,
        n_images=shape.n_images,
        n_rows=n_rows,
        n_features=n_features,
        n_clusters=most,
        bytes_in=shape.bytes_of(config.on),
        bytes_out=sum(k * (n_features * 4 + 8) for k in numbers),
        n_blocks=len(cuts),
        memory_bytes=setting.memory(memory["rows"], memory["block"] + memory["sums"]),
        iterations=total,
        n_gets=asked(url, gets + 2 * total.expected),
        n_puts=asked(url, puts + total.expected),
        parts=_with_requests(setting, url, parts, own),
    )


def _reading(config: FitConfig | SweepConfig, shape: Shape, setting: Setting) -> float:
    """Seconds to read the rows, and where colors are counted to count them and to add up the counts."""
    n_rows, rates = shape.rows(config.on)[0], setting.rates
    work = setting.reads(config.dataset, shape.bytes_of(config.on))
    threads = setting.machine.n_threads
    if not _counts(config.on, shape):
        return work / threads
    tables = _blocks_of_thread(n_rows, shape.channels, threads) + (2 if n_rows > _SHARED_PIXELS else 0)
    return (work + rates.count_ns * n_rows / 1e9) / threads + rates.table_seconds * tables


def _seeding(
    config: FitConfig | SweepConfig, n_features: int, n_clusters: int, setting: Setting
) -> dict[str, float]:
    """Seconds of the first centers; "k-means||" loads dask-ml, but for the few colors of a palette."""
    if config.init == "random" or getattr(config, "start", None):
        return {"seeds": 0.0}
    parts = {"seeds": setting.rates.step(n_features, n_clusters).seed_seconds}
    if config.init == "k-means||" and not (n_clusters <= _PALETTE and n_features <= 4):
        parts["dask-ml"] = setting.rates.start_seconds["seeds"]
    return parts


def _iterating(
    config: FitConfig | SweepConfig,
    url: str,
    rows: tuple[int, int],
    step: StepRate,
    rounds: Iterations,
    setting: Setting,
) -> float:
    """Seconds of a first search and of all iterations of one fit, with a checkpoint after each.

    `rows` are their number and the bytes of each.
    """
    n_rows, threads = rows[0], setting.machine.n_threads
    one = n_rows * step.row_ns / 1e9 / threads + step.block_seconds * _blocks_of_thread(*rows, threads)
    one += setting.rates.round_seconds[setting.machine.kind]
    if not config.checkpoint_seconds:
        one += setting.requests(url, 3)
    return n_rows * step.label_ns / 1e9 / threads + rounds.expected * one


def _blocks_of_thread(n_rows: int, row_bytes: int, threads: int) -> int:
    """Blocks of a fit that each thread has."""
    return max(1, -(-n_rows // (threads * plan.fit_block_rows(row_bytes))))


def _counts(on: str, shape: Shape) -> bool:
    """Whether the rows are pixels whose colors are counted."""
    return on == "pixels" and countable(np.dtype(f"u{shape.itemsize}"), shape.channels)


def _n_colors(n_pixels: int, channels: int) -> int:
    """About how many distinct colors so many pixels of photos have."""
    factor, power = _COLORS
    return min(n_pixels, 1 << 8 * channels, round(factor * math.pow(n_pixels, power)))


def plan_compress(config: CompressConfig, setting: Setting) -> StagePlan:
    """Plan the codes of pixels."""
    shape, rates = setting.shapes.of(config.dataset), setting.rates
    k = setting.shapes.n_clusters(config.codebook)

    def labelling(n_rows: int) -> float:
        step = rates.step(shape.channels, k)
        if not _counts("pixels", shape):
            return n_rows * step.label_ns / 1e9
        colors = _n_colors(n_rows, shape.channels)
        return (n_rows * rates.lookup_ns + colors * step.label_ns) / 1e9

    return _plan_codes(config, "compress", "pixels", shape, k, labelling, rates.indexed_ns, setting)


def plan_reconstruct(config: ReconstructConfig, setting: Setting) -> StagePlan:
    """Plan the codes of patches."""
    shape, rates = setting.shapes.of(config.dataset), setting.rates
    if not shape.n_patches:
        raise InputError(f"{config.dataset} holds no patches. Ingest with --patch.")
    k = setting.shapes.n_clusters(config.codebook)

    def labelling(n_rows: int) -> float:
        return n_rows * rates.step(shape.n_features, k).label_ns / 1e9

    return _plan_codes(config, "reconstruct", "patches", shape, k, labelling, rates.full_ns, setting)


def _plan_codes(
    config: CompressConfig | ReconstructConfig,
    stage: str,
    on: str,
    shape: Shape,
    k: int,
    labelling: Callable[[int], float],
    encode_ns: float,
    setting: Setting,
) -> StagePlan:
    rates, (n_rows, n_features) = setting.rates, shape.rows(on)
    rows = plan.block_rows(n_rows, shape.layout(on))
    n_blocks = len(plan.cuts(n_rows, rows))
    code_itemsize = np.min_scalar_type(k - 1).itemsize
    code_bytes = n_rows * code_itemsize

    def coding(n: int) -> float:
        read = setting.reads(config.dataset, n * n_features * shape.itemsize)
        return read + labelling(n) + setting.writes(config.result, n * code_itemsize)

    # Many rows share colors, so that a block takes more than its part of all.
    block = coding(min(n_rows, shape.task_rows(on, labels=True)))
    parts = {"codes": shared_seconds(coding(n_rows), setting.machine.n_threads, block)}
    made = setting.reads(config.dataset, shape.bytes_of("pixels")) + setting.reads(config.result, code_bytes)
    made += shape.n_pixels * rates.compare_ns / 1e9
    if on == "patches":
        made += rates.join_ns * n_rows * n_features / 1e9
    gets, puts = (110, 21) if on == "pixels" else (136, 25)
    own = gets + puts
    gets, puts = gets + (8 if on == "pixels" else 9) * n_blocks, puts + n_blocks
    out = code_bytes
    encoding = 0.0
    if config.images is not None:
        encoding = shape.n_images * rates.file_seconds + shape.n_pixels * encode_ns / 1e9
        out += shape.n_pixels * (1 if on == "pixels" else shape.channels * shape.itemsize)
        own += 27 + 6
        gets, puts = gets + 27 + 2 * shape.n_images, puts + 6 + shape.n_images
    parts["images"] = setting.shared(made + encoding, shape.n_pixels, plan.PIXELS_PER_TASK)
    return StagePlan(
        stage,
        config.result,
        n_images=shape.n_images,
        n_rows=n_rows,
        n_features=n_features,
        n_clusters=k,
        bytes_in=shape.bytes_of(on) + shape.bytes_of("pixels") + code_bytes,
        bytes_out=out,
        n_blocks=n_blocks,
        memory_bytes=setting.memory(0, plan.label_memory(min(rows, n_rows), n_features, shape.row_itemsize)),
        n_gets=asked(config.result, gets),
        n_puts=asked(config.result, puts),
        parts=_with_requests(setting, config.result, parts, own),
    )
