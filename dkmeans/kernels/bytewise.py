"""Scores of bytes in integers, four features an instruction: for rows of uint8 where the machine has VNNI.

The instruction ``vpdpbusd`` adds to each of sixteen int32 four products of an unsigned and a signed byte.
Four features of a row make a word of 32 bits; a tile holds, word by word, those of its sixteen rows. A center
c is rounded to a multiple of 1/256 and split into two signed bytes,

    c = 128 + h + l / 256 + e ,   |e| <= 1/512 ,

so that h.x and l.x are exact. The score of a center, less what all centers have in common, is

    s = |c|^2 / 2 - h.x - l.x / 256 = (|x - c|^2 - |x|^2) / 2 + 128 sum x + e.x ,

and the distance follows from |x|^2 - 256 sum x, which is exact, too. The error of s is at most sum x / 512
for e, and the rounding of five float32 operations on numbers below 2^16 d, d the number of features. Two
scores, or 2 s for a squared distance, are together wrong by less than

    sum x (2^-8 + 2^-11) + 2^-20 255^2 d ,

the row ``ERROR`` of the state. It leaves more near ties than the error of floats; two exact distances decide
most of them.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from dkmeans.kernels.jit import cpu_features
from dkmeans.kernels.writer import ERROR, FLOATS, INT32, INT64, INTS, LANES, NORM, SQUARE, Writer

__all__ = ["WORD", "has_byte_products", "load_words", "multiply_add", "scores_of_words", "words_of_centers"]

WORD = 4
"""Features of a word."""
_BYTES = ir.VectorType(ir.IntType(8), WORD * LANES)


def has_byte_products() -> bool:
    """Tell whether machine code may use ``vpdpbusd`` on registers of 512 bits, and so is faster in bytes."""
    return {"avx512vnni", "avx512vbmi"} <= cpu_features()


def multiply_add(w: Writer, sums: Any, unsigned: Any, signed: Any) -> Any:
    """Add the products of the bytes of two vectors of words to sums of int32."""
    b = w.builder
    if has_byte_products():
        # The instruction itself, as the types of LLVM's own name for it differ between versions.
        llvm.initialize_native_asmparser()
        kind = ir.FunctionType(INTS, [INTS, INTS, INTS])
        return b.asm(kind, "vpdpbusd $3, $2, $0", "=v,0,v,v", [sums, unsigned, signed], side_effect=False)
    for shift in range(0, 32, 8):
        one = b.and_(b.lshr(unsigned, w.whole(shift)), w.whole(255))
        other = b.ashr(b.shl(signed, w.whole(24 - shift)), w.whole(24))
        sums = b.add(sums, b.mul(one, other))
    return sums


def load_words(w: Writer) -> None:
    """Write a tile of bytes as words; the squares and the error of each row to the state.

    `home` has the words of the pivot less 128, words of ones where a byte is a feature, and the square of
    the pivot.
    """
    b = w.builder
    first = w.at("tiles", w.values["at"])
    n_words = b.udiv(b.add(w.values["n_features"], INT64(WORD - 1)), INT64(WORD))
    turned = ir.Constant(
        ir.VectorType(INT32, WORD * LANES), [LANES * f + lane for lane in range(LANES) for f in range(WORD)]
    )
    squares, sums, products = (w.variable(w.whole(0)) for _ in range(3))

    def body(number: Any, _: int) -> None:
        offset = b.mul(number, INT64(WORD * LANES))
        read = w.load(b.gep(first, [offset]), _BYTES)
        words = b.bitcast(b.shuffle_vector(read, read, turned), INTS)
        one = b.load(w.at("home", b.add(n_words, number)))
        ones = w.everywhere(one)
        words = b.and_(words, w.everywhere(b.mul(one, INT32(255))))  # what is no feature is not zero
        w.store(words, w.at("tile", offset))
        less = b.xor(words, w.whole(-0x7F7F7F80))  # the bytes less 128
        b.store(multiply_add(w, b.load(squares), words, less), squares)
        b.store(multiply_add(w, b.load(sums), words, ones), sums)
        pivot = w.everywhere(b.load(w.at("home", number)))
        b.store(multiply_add(w, b.load(products), words, pivot), products)

    w.features(body, WORD)
    sum_ = b.load(sums)
    shifted = b.shl(sum_, w.whole(7))
    square, product = b.add(b.load(squares), shifted), b.add(b.load(products), shifted)
    pivot_square = w.everywhere(b.load(w.at("home", b.add(n_words, n_words))))
    gap = b.add(b.sub(square, b.shl(product, w.whole(1))), pivot_square)
    w.store(w.root(b.sitofp(gap, FLOATS)), w.row(NORM))
    w.store(b.sitofp(b.sub(square, b.shl(sum_, w.whole(8))), FLOATS), w.row(SQUARE))
    width = b.sitofp(b.trunc(w.values["n_features"], INT32), ir.FloatType())
    rounding = b.fmul(w.everywhere(width), w.constant(255.0**2 * 2.0**-20))
    error = w.multiply_add(b.sitofp(sum_, FLOATS), w.constant(2.0**-8 + 2.0**-11), rounding)
    w.store(error, w.row(ERROR))


def scores_of_words(w: Writer, numbers: list[Any]) -> list[Any]:
    """Score the candidates at the positions `numbers` of the list: a vector of float32 for each."""
    b = w.builder
    n_words = b.udiv(b.add(w.values["n_features"], INT64(WORD - 1)), INT64(WORD))
    stride = b.mul(n_words, INT64(2))
    members = [b.sext(b.load(w.at("members", number)), INT64) for number in numbers]
    starts = [w.at("planes", b.mul(member, stride)) for member in members]
    sums = [(w.variable(w.whole(0)), w.variable(w.whole(0))) for _ in numbers]

    def body(number: Any, _: int) -> None:
        words = w.load(w.at("tile", b.mul(number, INT64(WORD * LANES))), INTS)
        for pair, start in zip(sums, starts, strict=True):
            for plane, total in enumerate(pair):
                place = b.add(b.shl(number, INT64(1)), INT64(plane))
                center = w.everywhere(b.load(b.gep(start, [place])))
                b.store(multiply_add(w, b.load(total), words, center), total)

    w.features(body, WORD)
    scores = []
    for number, (high, low) in zip(numbers, sums, strict=True):
        bias = w.everywhere(b.load(w.at("biases", number)))
        score = b.fsub(bias, b.sitofp(b.load(high), FLOATS))
        scores.append(w.multiply_add(b.sitofp(b.load(low), FLOATS), w.constant(-(2.0**-8)), score))
    return scores


def words_of_centers(integers: NDArray[np.int64], bits: int) -> NDArray[np.int32]:
    """Split centers on the grid 2^-`bits` into the words of their two bytes; shape (n * n_words * 2,).

    One more center, of zeros, stands behind them: what fills up a group.
    """
    n_clusters, n_features = integers.shape
    n_words = -(-n_features // WORD)
    rounded = (integers + (1 << (bits - 9)) >> (bits - 8)) - (128 << 8)
    low = ((rounded + 128) & 255) - 128
    planes = np.zeros((n_clusters + 1, n_words * WORD, 2), np.int8)
    planes[:-1, :n_features, 0] = (rounded - low) >> 8
    planes[:-1, :n_features, 1] = low
    words = planes.reshape(-1, n_words, WORD, 2).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(words).reshape(-1).view(np.int32)
