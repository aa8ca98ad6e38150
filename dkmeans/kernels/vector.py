"""Sixteen rows or centers at a time in vector registers: limits and distances; see `writer`."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from dkmeans.kernels.jit import inlined, intrinsic
from dkmeans.kernels.rounded import squares_of_words
from dkmeans.kernels.writer import BEST, INT32, INT64, LANES, LIMIT, NORM, Writer, cgutils

__all__ = [
    "in_range",
    "lanes_below",
    "lower_limits",
    "lowest_bit",
    "near_ties",
    "prefetch",
    "row_offset",
    "squared_distances",
    "within_limits",
]

_CHAINS = 4


@inlined
def row_offset(row: Any, n_features: Any) -> Any:
    """Find the first feature of a row in flat tiles; the others follow 16 apart.

    Unsigned, as Numba looks at the sign of every index that has one, and then writes no vector code.
    """
    lane = np.uint64(row) % np.uint64(LANES)
    return (np.uint64(row) - lane) * np.uint64(n_features) + lane


@intrinsic
def lower_limits(typing_: Any, state: Any, gamma: Any, margin: Any) -> Any:
    """Lower the limit of each row: no center farther than it from the origin can be as near as the best.

    `gamma` is that of the distances from the origin, `margin` that of the scores, 0 if they are of bytes.
    """
    signature = types.void(state, types.float32, types.float32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "state gamma margin")
        distance, error = w.distance_and_margin(w.load(w.row(BEST)), w.values["margin"])
        limit = builder.fadd(w.load(w.row(NORM)), w.root(builder.fadd(distance, error)))
        wider = w.multiply_add(w.constant(4.0), w.everywhere(w.values["gamma"]), w.constant(1.0))
        limit = builder.fmul(limit, wider)
        w.store(w.smaller(limit, w.load(w.row(LIMIT))), w.row(LIMIT))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def near_ties(typing_: Any, state: Any, rank: Any, margin: Any) -> Any:
    """Give the bits of the rows whose second (or third) best score is within the error of the best.

    `rank` is the row of `state` that has it, ``SECOND`` or ``THIRD``.
    """
    signature = types.int32(state, types.intp, types.float32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "state rank margin")
        best = w.load(w.row(BEST))
        _, error = w.distance_and_margin(best, w.values["margin"])
        other = w.load(w.at("state", builder.mul(w.values["rank"], INT64(LANES))))
        return w.bits(builder.fcmp_ordered("<=", other, builder.fadd(best, error)))

    return signature, codegen


@intrinsic
def within_limits(typing_: Any, state: Any, value: Any) -> Any:
    """Give the bits of the rows whose limit is at least `value`."""
    signature = types.int32(state, types.float32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "state value")
        value = w.everywhere(w.values["value"])
        return w.bits(builder.fcmp_ordered(">=", w.load(w.row(LIMIT)), value))

    return signature, codegen


@intrinsic
def squared_distances(
    typing_: Any, tiles: Any, at: Any, vector: Any, start: Any, width: Any, out: Any, to: Any
) -> Any:
    """Compute the squared distances of the 16 columns of a tile to the vector from `start` on.

    Both are floats or, see `rounded`, words: the type of the arrays tells which.
    """
    signature = types.void(tiles, types.intp, vector, types.intp, width, out, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "tiles at vector start width out to")
        if w.types["tiles"].dtype == types.int32:
            w.store(squares_of_words(w), w.at("out", w.values["to"]))
            return context.get_dummy_value()
        first, values = w.at("tiles", w.values["at"]), w.at("vector", w.values["start"])
        # Several sums, as one would wait for each of its additions.
        totals = [w.variable(w.constant(0.0)) for _ in range(_CHAINS)]

        def body(feature: Any, number: int) -> None:
            column = w.load(builder.gep(first, [w.lane_offset(feature)]))
            gap = builder.fsub(column, w.everywhere(builder.load(builder.gep(values, [feature]))))
            total = totals[number % _CHAINS]
            builder.store(w.multiply_add(gap, gap, builder.load(total)), total)

        w.features(body)
        sums = [builder.load(total) for total in totals]
        while len(sums) > 1:
            sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        w.store(sums[0], w.at("out", w.values["to"]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def in_range(typing_: Any, values: Any, at: Any, low: Any, high: Any) -> Any:
    """Give the bits of the 16 values from `at` on that lie in (low, high]."""
    signature = types.int32(values, types.intp, types.float32, types.float32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "values at low high")
        found = w.load(w.at("values", w.values["at"]))
        over = builder.fcmp_ordered(">", found, w.everywhere(w.values["low"]))
        under = builder.fcmp_ordered("<=", found, w.everywhere(w.values["high"]))
        return w.bits(builder.and_(over, under))

    return signature, codegen


@intrinsic
def lanes_below(typing_: Any, values: Any, at: Any, limits: Any, first: Any) -> Any:
    """Give the bits of the 16 values from `at` on that are below the limits from `first` on."""
    signature = types.int32(values, types.intp, limits, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "values at limits first")
        found, limits = w.load(w.at("values", w.values["at"])), w.load(w.at("limits", w.values["first"]))
        return w.bits(builder.fcmp_ordered("<", found, limits))

    return signature, codegen


@intrinsic
def prefetch(typing_: Any, array: Any, at: Any) -> Any:
    """Ask for the line of the cache that has element `at`, which will be read soon; it need not exist."""
    signature = types.void(array, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "array at")
        address = builder.bitcast(w.at("array", w.values["at"]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, INT32, INT32, INT32])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(ask, [address, INT32(0), INT32(3), INT32(1)])  # to read, into the nearest cache, data
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def lowest_bit(typing_: Any, bits: Any) -> Any:
    """Find the lowest bit that is set."""
    signature = types.intp(types.int32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sext(builder.cttz(args[0], ir.Constant(ir.IntType(1), 1)), INT64)

    return signature, codegen
