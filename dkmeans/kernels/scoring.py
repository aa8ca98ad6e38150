"""Load a tile of sixteen rows, and score centers for all of them at once; see `writer`.

A tile is searched as floats or, where `bytewise` can, as bytes: the type of the array tells which.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from dkmeans.kernels.bytewise import load_words, scores_of_words
from dkmeans.kernels.jit import intrinsic
from dkmeans.kernels.writer import (
    BEST,
    BITS,
    ERROR,
    FLOATS,
    INT32,
    INT64,
    INTS,
    LANES,
    LIMIT,
    NORM,
    SECOND,
    SQUARE,
    THIRD,
    Writer,
)

__all__ = ["GROUP", "load_tile", "reset", "score_group"]

GROUP = 4
"""Candidates that `nearest` takes at a time: independent chains of additions."""


@intrinsic
def load_tile(
    typing_: Any,
    tiles: Any,
    at: Any,
    origin: Any,
    start: Any,
    n_features: Any,
    width: Any,
    home: Any,
    tile: Any,
    state: Any,
) -> Any:
    """Write x, a tile of integers less the vector from `start` on, as floats; |x|^2 and |x| to `state`.

    If `tile` is one of bytes, see `bytewise.load_words`.
    """
    signature = types.void(tiles, types.intp, origin, types.intp, types.intp, width, home, tile, state)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        names = "tiles at origin start n_features width home tile state"
        w = Writer(context, builder, signature, args, names)
        if w.types["tile"].dtype == types.uint8:
            load_words(w)
            return context.get_dummy_value()
        narrow = ir.VectorType(ir.IntType(w.types["tiles"].dtype.bitwidth), LANES)
        first, zero = w.at("tiles", w.values["at"]), w.at("origin", w.values["start"])
        square = w.variable(w.constant(0.0))

        def body(feature: Any, number: int) -> None:
            offset = w.lane_offset(feature)
            integers = builder.zext(w.load(builder.gep(first, [offset]), narrow), INTS)
            value = builder.sitofp(integers, FLOATS)
            value = builder.fsub(value, w.everywhere(builder.load(builder.gep(zero, [feature]))))
            w.store(value, w.at("tile", offset))
            builder.store(w.multiply_add(value, value, builder.load(square)), square)

        w.features(body)
        w.store(builder.load(square), w.row(SQUARE))
        w.store(w.root(builder.load(square)), w.row(NORM))
        w.store(w.constant(0.0), w.row(ERROR))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def reset(typing_: Any, tile: Any, state: Any, found: Any) -> Any:
    """Begin the search of a tile: nothing found, no limit; no third best where none is looked for."""
    signature = types.void(tile, state, found)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "tile state found")
        for row in (BEST, SECOND, LIMIT):
            w.store(w.constant(float("inf")), w.row(row))
        in_bytes = w.types["tile"].dtype == types.uint8
        w.store(w.constant(float("inf") if in_bytes else float("-inf")), w.row(THIRD))
        for row in range(2):
            w.store(ir.Constant(INTS, [0] * LANES), w.at("found", row * LANES))
        return context.get_dummy_value()

    return signature, codegen


def _scores_of_floats(w: Writer, numbers: list[Any]) -> list[Any]:
    """Score the candidates at the positions `numbers` of the list: biases[j] + x . gaps[j]."""
    builder = w.builder
    scores = [w.variable(w.everywhere(builder.load(w.at("biases", number)))) for number in numbers]
    starts = [w.at("gaps", builder.mul(number, w.values["n_features"])) for number in numbers]

    def body(feature: Any, number: int) -> None:
        values = w.load(w.at("tile", w.lane_offset(feature)))
        for score, start in zip(scores, starts, strict=True):
            center = w.everywhere(builder.load(builder.gep(start, [feature])))
            builder.store(w.multiply_add(values, center, builder.load(score)), score)

    w.features(body)
    return [builder.load(score) for score in scores]


class _Ranks:
    """The number of the second best candidate, and the third best score."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.number = writer.load(writer.at("found", LANES), INTS)
        self.third = writer.load(writer.row(THIRD))

    def place(self, score: Any, number: Any, second: Any) -> Any:
        """Put in a score that is not the best; give the second best."""
        builder = self.writer.builder
        less = builder.fcmp_ordered("<", score, second)
        self.third = self.writer.smaller(builder.select(less, second, score), self.third)
        self.number = builder.select(less, number, self.number)
        return builder.select(less, score, second)

    def store(self) -> None:
        """Write what is kept."""
        self.writer.store(self.number, self.writer.at("found", LANES))
        self.writer.store(self.third, self.writer.row(THIRD))


@intrinsic
def score_group(
    typing_: Any,
    tile: Any,
    gaps: Any,
    planes: Any,
    members: Any,
    biases: Any,
    at: Any,
    n_features: Any,
    width: Any,
    state: Any,
    found: Any,
) -> Any:
    """Score the `GROUP` candidates from `at` on, and tell whether one is the best so far of any row.

    `state` keeps the best and the second best score of each row, `found` the number of the best candidate. A
    tile of floats is scored by the gaps of the list, one of bytes by the planes of the centers themselves;
    its scores are less exact, so the number of the second best and the third best score are kept, too.
    """
    signature = types.boolean(
        tile, gaps, planes, members, biases, types.intp, types.intp, width, state, found
    )

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        names = "tile gaps planes members biases at n_features width state found"
        w = Writer(context, builder, signature, args, names)
        numbers = [builder.add(w.values["at"], INT64(number)) for number in range(GROUP)]
        in_bytes = w.types["tile"].dtype == types.uint8
        scores = scores_of_words(w, numbers) if in_bytes else _scores_of_floats(w, numbers)
        ranks = _Ranks(w) if in_bytes else None
        best, second = w.load(w.row(BEST)), w.load(w.row(SECOND))
        index = w.load(w.at("found"), INTS)
        improved = None
        for value, number in zip(scores, numbers, strict=True):
            less = builder.fcmp_ordered("<", value, best)
            place = w.everywhere(builder.trunc(number, INT32))
            behind = builder.select(less, best, value)
            if ranks is None:
                second = w.smaller(behind, second)
            else:
                second = ranks.place(behind, builder.select(less, index, place), second)
            best = builder.select(less, value, best)
            index = builder.select(less, place, index)
            improved = less if improved is None else builder.or_(improved, less)
        if ranks is not None:
            ranks.store()
        w.store(best, w.row(BEST))
        w.store(second, w.row(SECOND))
        w.store(index, w.at("found"))
        return builder.icmp_signed("!=", builder.bitcast(improved, BITS), BITS(0))

    return signature, codegen
