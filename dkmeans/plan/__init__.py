"""Pure arithmetic on rows, shards and bytes: which task owns what; `cost` has what that takes.

Rows are cut into shards; a task owns whole shards of its output and reads whatever input these need.
No Dask, no Zarr, no storage here: integers in, integers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PIXELS_PER_TASK",
    "ImageSpan",
    "RowLayout",
    "batches",
    "block_rows",
    "cuts",
    "fit_block_rows",
    "fit_cuts",
    "fit_memory",
    "image_spans",
    "in_cuts",
    "label_memory",
    "layout_rows",
    "shard_memory",
]

MIB = 1 << 20
PIXELS_PER_TASK = 4 << 20
"""Of whole images that one task decodes, looks through or puts together."""
_CHUNK_BYTES = MIB
_SHARD_ROWS = 1 << 22
_BLOCK_ROWS = 1 << 20
_FIT_BLOCK_ROWS = 1 << 21
_FIT_BLOCK_BYTES = 128 * MIB
_MOST_BLOCKS = 1 << 12


@dataclass(frozen=True)
class RowLayout:
    """How an array of rows is cut: `shard_rows` is a multiple of `chunk_rows`."""

    chunk_rows: int
    shard_rows: int


@dataclass(frozen=True)
class ImageSpan:
    """The part of one image that lies in a range of rows.

    Attributes
    ----------
    index : int
        The image.
    start, stop : int
        Its first row in the range and the one after its last, counted from the image's own first row.
    at : int
        Where that part begins, counted from the first row of the range.
    """

    index: int
    start: int
    stop: int
    at: int


def layout_rows(n_rows: int, row_bytes: int, shard_mib: float) -> RowLayout:
    """The chunks and shards of an array of `n_rows` rows of `row_bytes` bytes.

    A chunk, the smallest part that can be read by itself, is about 1 MiB. A shard, one object in
    storage and one task of ingest, is about `shard_mib` MiB, or 4 Mi rows where rows are narrow, but at
    least one row and no larger than the array needs.
    """
    shard_rows = max(1, min(int(shard_mib * MIB) // row_bytes, _SHARD_ROWS, n_rows))
    n_chunks = max(1, round(shard_rows * row_bytes / _CHUNK_BYTES))
    chunk_rows = -(-shard_rows // n_chunks)
    return RowLayout(chunk_rows, chunk_rows * -(-shard_rows // chunk_rows))


def block_rows(n_rows: int, layout: RowLayout) -> int:
    """Rows of one block of labels: whole chunks, no more than a shard, about 1 Mi rows.

    The arithmetic decides the cost of a block, not its bytes: narrow rows come in more blocks than shards.
    Of very large arrays the blocks are larger, so that there are about 4,096.
    """
    wanted = max(_BLOCK_ROWS, n_rows // _MOST_BLOCKS)
    return min(layout.shard_rows, layout.chunk_rows * max(1, wanted // layout.chunk_rows))


def cuts(n_rows: int, shard_rows: int) -> list[tuple[int, int]]:
    """The ranges of rows (start, stop) of the shards: every row once, each border on a shard's."""
    return [(start, min(start + shard_rows, n_rows)) for start in range(0, n_rows, shard_rows)]


def fit_cuts(
    n_rows: int, row_bytes: int, layout: RowLayout, n_threads: int, scale: int = 1
) -> list[tuple[int, int]]:
    """The blocks of a fit: about equal, as many for each thread, of at most about 128 MiB or 2 Mi rows.

    A step lists the centers near each center once a block, whatever its rows: few large blocks cost less
    than many small ones. With 10,000 centers a list takes as long as 0.8 Mi rows, so where memory is plenty
    blocks are `scale` times as large. Borders lie between chunks, so that none is read twice.
    """
    most = fit_block_rows(row_bytes, scale)
    n_blocks = n_threads * -(-n_rows // (n_threads * most))
    wanted = -(-n_rows // n_blocks)
    return cuts(n_rows, layout.chunk_rows * -(-wanted // layout.chunk_rows))


def fit_block_rows(row_bytes: int, scale: int = 1) -> int:
    """Most rows of a block of a fit, see `fit_cuts`."""
    return max(1, min(scale * _FIT_BLOCK_ROWS, scale * _FIT_BLOCK_BYTES // row_bytes))


def in_cuts(positions: NDArray[np.int64], ranges: Sequence[tuple[int, int]]) -> list[NDArray[np.int64]]:
    """Which of some ascending positions lie in each of `ranges`, counted from where it starts."""
    borders = [np.searchsorted(positions, cut) for cut in ranges]
    return [positions[low:high] - start for (low, high), (start, _) in zip(borders, ranges, strict=True)]


def image_spans(offset: NDArray[np.int64], start: int, stop: int) -> list[ImageSpan]:
    """The parts of images that lie in rows `start` to `stop`, in order; `offset` has shape (n + 1,)."""
    if stop <= start:
        return []
    first = int(np.searchsorted(offset, start, side="right")) - 1
    last = int(np.searchsorted(offset, stop, side="left"))
    spans = []
    for index in range(first, last):
        low, high = max(int(offset[index]), start), min(int(offset[index + 1]), stop)
        if low < high:
            spans.append(ImageSpan(index, low - int(offset[index]), high - int(offset[index]), low - start))
    return spans


def batches(sizes: Sequence[int] | NDArray[np.int64], limit: int) -> list[tuple[int, int]]:
    """Consecutive ranges (start, stop) of items whose sizes add up to at most `limit`, or single items."""
    ranges: list[tuple[int, int]] = []
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and total + size > limit:
            ranges.append((start, index))
            start, total = index, 0
        total += int(size)
    if len(sizes) > start:
        ranges.append((start, len(sizes)))
    return ranges


def fit_memory(
    n_rows: int, n_features: int, itemsize: int, n_clusters: int, rows_of_block: int
) -> dict[str, int]:
    """Bytes that a fit needs: all rows, one block in work, and the sums of one block.

    Returns
    -------
    dict of str to int
        ``rows`` (all blocks, with 8 bytes a row for label and order), ``block`` (one block while it is read
        or sorted), ``sums`` (what one block returns).
    """
    held = min(rows_of_block, n_rows)
    return {
        "rows": n_rows * (n_features * itemsize + 8),
        "block": held * (2 * n_features * itemsize + 16),
        "sums": n_clusters * (n_features + 1) * 8,
    }


def label_memory(n_rows: int, n_features: int, itemsize: int) -> int:
    """Bytes that a task takes to label a block: the rows as read and as sorted, label and order of each."""
    return n_rows * (2 * n_features * itemsize + 24)


def shard_memory(n_rows: int, row_bytes: int, largest_image: int) -> int:
    """Bytes that a task takes to write a shard: its rows, their pieces, one image decoded and as a file."""
    return 2 * n_rows * row_bytes + 2 * largest_image
