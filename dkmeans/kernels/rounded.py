"""Squared distances of one row of bytes to sixteen centers, four features an instruction.

Where a row needs more centers than the list of its pivot has, it is compared with all of them, tile by tile.
Few of these are near, so that it is enough to know about where they lie: centers are rounded to whole numbers
c', which with x make

    |x - c'|^2 = |x|^2 - 256 sum x + |c'|^2 - 2 x.(c' - 128) ,

in int32 without an error for up to 2^14 features. No center is farther from c' than the largest |c - c'|, the
`blur`; the distances of those that could be nearest are then computed on their grid.

A tile has the words of c' - 128, four features by sixteen centers, and then the sixteen |c'|^2; a row has
its words and the rest of the sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.bytewise import WORD, multiply_add
from dkmeans.kernels.jit import inlined
from dkmeans.kernels.writer import FLOATS, INTS, LANES, Writer

__all__ = ["describe_row", "squares_of_words", "tiles_of_words", "words_per_row"]


def words_per_row(n_features: int) -> int:
    """Count the words of a row, and of a center in a tile."""
    return -(-n_features // WORD) + 1


def tiles_of_words(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Lay out whole numbers below 256, whole tiles of them; flat, `words_per_row` for each of the rows."""
    n_rows, n_features = values.shape
    n_words = words_per_row(n_features)
    rounded = values.astype(np.int16) - 128
    laid = np.zeros((n_rows, (n_words - 1) * WORD), np.int8)
    laid[:, :n_features] = rounded
    words = np.empty((n_rows // LANES, n_words, LANES), np.int32)
    words[:, :-1] = laid.view(np.int32).reshape(-1, LANES, n_words - 1).transpose(0, 2, 1)
    squares = np.einsum("kj,kj->k", values, values, dtype=np.float64)
    words[:, -1] = squares.reshape(-1, LANES)
    return words.reshape(-1)


@inlined
def describe_row(row: Any, bytes_: Any, words: Any) -> None:
    """Write the words of a row of floats, whole numbers below 256; its bytes are in the memory of `words`."""
    rest = np.int64(0)
    for feature in range(np.uint64(row.size)):
        value = np.int64(row[feature])
        bytes_[feature] = np.uint8(value)
        rest += value * (value - 256)
    words[words.size - 1] = np.int32(rest)


def squares_of_words(w: Writer) -> Any:
    """Compute the squared distances of the 16 columns of the tile at `at` to the row at `start`."""
    b = w.builder
    first, row = w.at("tiles", w.values["at"]), w.at("vector", w.values["start"])
    n_words = w.count(WORD)
    products = w.variable(w.whole(0))

    def body(number: Any, _: int) -> None:
        words = w.everywhere(b.load(b.gep(row, [number])))
        columns = w.load(b.gep(first, [w.lane_offset(number)]), INTS)
        b.store(multiply_add(w, b.load(products), words, columns), products)

    w.features(body, WORD)
    rest = w.everywhere(b.load(b.gep(row, [n_words])))
    squares = b.add(w.load(b.gep(first, [w.lane_offset(n_words)]), INTS), rest)
    return b.sitofp(b.sub(squares, b.shl(b.load(products), w.whole(1))), FLOATS)
