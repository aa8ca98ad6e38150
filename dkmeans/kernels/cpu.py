"""The Lloyd step on one chunk in Numba: single-threaded, without the GIL, exact.

The scan keeps four rows against blocks of sixteen centers, in float64, whose scores are exact integers up
to `gemm.SLAB` features (see there); wider rows go through `gemm`. So no label needs a second look.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels import gemm
from dkmeans.kernels.exact import ChunkStats, fraction_bits, grid_integers

__all__ = ["assign", "farthest", "lloyd_chunk"]

_LANES = 16
_ROWS = 4


@numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy", fastmath={"contract"})
def _scan(rows: Any, middle: Any, blocks: Any, biases: Any, labels: Any) -> None:
    """The center of lowest score of each row; the rows come in a multiple of four."""
    n_rows, n_features = rows.shape
    # One accumulator array per row: LLVM keeps such small arrays in vector registers, a 2-D one not.
    tile_0, tile_1 = np.empty(_LANES), np.empty(_LANES)
    tile_2, tile_3 = np.empty(_LANES), np.empty(_LANES)
    for first in range(0, n_rows, _ROWS):
        least_0 = least_1 = least_2 = least_3 = np.inf
        label_0 = label_1 = label_2 = label_3 = 0
        for block in range(blocks.shape[0]):
            for lane in range(_LANES):
                tile_0[lane] = tile_1[lane] = tile_2[lane] = tile_3[lane] = biases[block, lane]
            for feature in range(n_features):
                value_0 = np.float64(rows[first, feature]) - middle
                value_1 = np.float64(rows[first + 1, feature]) - middle
                value_2 = np.float64(rows[first + 2, feature]) - middle
                value_3 = np.float64(rows[first + 3, feature]) - middle
                for lane in range(_LANES):
                    center = blocks[block, feature, lane]
                    tile_0[lane] += value_0 * center
                    tile_1[lane] += value_1 * center
                    tile_2[lane] += value_2 * center
                    tile_3[lane] += value_3 * center
            for lane in range(_LANES):
                at = block * _LANES + lane
                if tile_0[lane] < least_0:
                    least_0, label_0 = tile_0[lane], at
                if tile_1[lane] < least_1:
                    least_1, label_1 = tile_1[lane], at
                if tile_2[lane] < least_2:
                    least_2, label_2 = tile_2[lane], at
                if tile_3[lane] < least_3:
                    least_3, label_3 = tile_3[lane], at
        labels[first], labels[first + 1] = label_0, label_1
        labels[first + 2], labels[first + 3] = label_2, label_3


@numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")
def _sum_up(rows: Any, labels: Any, weights: Any, sums: Any, counts: Any) -> Any:
    """Add each row to its cluster; the sum of all squares. `weights` is empty for weight one."""
    squares = np.int64(0)
    for row in range(rows.shape[0]):
        label = labels[row]
        weight = weights[row] if weights.size else np.int64(1)
        counts[label] += weight
        for feature in range(rows.shape[1]):
            value = np.int64(rows[row, feature])
            sums[label, feature] += weight * value
            squares += weight * value * value
    return squares


def _blocks(integers: NDArray[np.int64], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Centers in blocks (n_blocks, n_features, 16) times -2^(F+1), and biases |m|^2; inf in empty lanes."""
    shifted = gemm.shifted_centers(np, integers, dtype)
    n_clusters, n_features = shifted.shape
    n_blocks = -(-n_clusters // _LANES)
    padded = np.zeros((n_blocks * _LANES, n_features))
    padded[:n_clusters] = shifted * -float(1 << (fraction_bits(dtype) + 1))
    biases = np.full(n_blocks * _LANES, np.inf)
    biases[:n_clusters] = (shifted * shifted).sum(axis=1)
    blocks = padded.reshape(n_blocks, _LANES, n_features).transpose(0, 2, 1)
    return np.ascontiguousarray(blocks), biases.reshape(n_blocks, _LANES)


def assign(rows: NDArray[Any], centers: NDArray[np.float32]) -> NDArray[np.int32]:
    """Index of the nearest center of each row, the lowest on ties; shape (n_rows,)."""
    integers = grid_integers(centers, rows.dtype)
    if rows.shape[1] > gemm.SLAB:
        labels: NDArray[np.int32] = gemm.nearest(np, rows, integers)[0]
        return labels
    blocks, biases = _blocks(integers, rows.dtype)
    middle = float(1 << (8 * rows.dtype.itemsize - 1))
    labels = np.empty(len(rows), np.int32)
    even = len(rows) - len(rows) % _ROWS
    _scan(np.ascontiguousarray(rows[:even]), middle, blocks, biases, labels[:even])
    if even < len(rows):
        tail = np.zeros((_ROWS, rows.shape[1]), rows.dtype)
        tail[: len(rows) - even] = rows[even:]
        last = np.empty(_ROWS, np.int32)
        _scan(tail, middle, blocks, biases, last)
        labels[even:] = last[: len(rows) - even]
    return labels


def lloyd_chunk(
    rows: NDArray[Any],
    centers: NDArray[np.float32],
    hint: NDArray[np.int32] | None = None,
    weights: NDArray[np.int64] | None = None,
) -> tuple[ChunkStats, NDArray[np.int32]]:
    """Assign a chunk of rows and sum it up; see `dkmeans.kernels.reference.lloyd_chunk`."""
    labels = assign(rows, centers)
    sums = np.zeros(centers.shape, np.int64)
    counts = np.zeros(len(centers), np.int64)
    times = np.empty(0, np.int64) if weights is None else weights
    squares = int(_sum_up(np.ascontiguousarray(rows), labels, times, sums, counts))
    moved = len(rows) if hint is None else int(np.count_nonzero(labels != hint))
    return ChunkStats(sums, counts, squares, moved), labels


def farthest(
    rows: NDArray[Any], centers: NDArray[np.float32], n: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The `n` distinct rows farthest from their centers; see `dkmeans.kernels.reference.farthest`."""
    distances = gemm.nearest(np, rows, grid_integers(centers, rows.dtype))[1]
    return pick_farthest(rows, distances, n)


def pick_farthest(
    rows: NDArray[Any], distances: NDArray[np.int64], n: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The `n` distinct rows of largest distance; the lexicographically smallest first on ties."""
    wanted = n
    while True:
        # The wanted-th largest distance bounds the candidates; duplicates among them may ask for more.
        floor = np.partition(distances, -wanted)[-wanted] if wanted < len(distances) else -1
        near_top = distances >= floor
        distinct, first = np.unique(rows[near_top], axis=0, return_index=True)
        if len(distinct) >= n or wanted >= len(distances):
            break
        wanted *= 2
    kept = distances[near_top][first]
    order = np.argsort(-kept, kind="stable")[:n]
    return kept[order], distinct[order]
