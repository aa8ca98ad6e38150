"""Sixteen rows at a time in vector registers: the inner operations of the Lloyd step on CPU.

Numba's own loops leave most of a vector unit idle, so these few operations are written as LLVM vector
instructions. LLVM maps <16 x float> to what the machine has: one register of AVX-512, two of AVX2, four of
NEON. The lanes of a vector are rows (or centers), so that minima are taken lane by lane and never across.

A `tile` is 16 rows laid out feature by feature, shape (n_features, 16). `width` is the number of features:
an int, or a tuple of that many Nones, whose type lets the loop over the features be unrolled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils

from dkmeans.kernels.jit import inlined, intrinsic

__all__ = [
    "GROUP",
    "LANES",
    "in_range",
    "lanes_below",
    "load_tile",
    "lower_limits",
    "lowest_bit",
    "near_ties",
    "reset",
    "row_offset",
    "score_group",
    "squared_distances",
    "within_limits",
]

LANES = 16
GROUP = 4
"""Candidates that `nearest` takes at a time: independent chains of additions."""

# Rows of the state of a tile, each of 16 lanes of float32.
STATES = 5
BEST, SECOND, LIMIT, NORM, SQUARE = range(STATES)

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS, _BITS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_INT32, LANES), ir.IntType(LANES)
_UNROLLED = 80
"""Features up to which the loop is written out; above, it takes `_STEP` at a time."""
_STEP = 8
_CHAINS = 4


@inlined
def row_offset(row: Any, n_features: Any) -> Any:
    """Find the first feature of a row in flat tiles; the others follow 16 apart.

    Unsigned, as Numba looks at the sign of every index that has one, and then writes no vector code.
    """
    lane = np.uint64(row) % np.uint64(LANES)
    return (np.uint64(row) - lane) * np.uint64(n_features) + lane


cgutils: Any = _cgutils


class _Writer:
    """Writes vector instructions for one intrinsic; arguments by name, arrays as pointers."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any, names: str) -> None:
        self.builder = builder
        self.types = dict(zip(names.split(), signature.args, strict=True))
        self.values = dict(zip(names.split(), args, strict=True))
        for name, kind in self.types.items():
            if isinstance(kind, types.Array):
                self.values[name] = context.make_array(kind)(context, builder, self.values[name]).data

    def at(self, name: str, offset: Any = 0) -> Any:
        """Find the address of element `offset` of an array."""
        return self.builder.gep(self.values[name], [_INT64(offset) if isinstance(offset, int) else offset])

    def load(self, address: Any, kind: Any = _FLOATS) -> Any:
        return self.builder.load(self.builder.bitcast(address, kind.as_pointer()), align=1)

    def store(self, vector: Any, address: Any) -> None:
        self.builder.store(vector, self.builder.bitcast(address, vector.type.as_pointer()), align=1)

    def row(self, number: int) -> Any:
        """Find the address of a row of the array ``state``."""
        return self.at("state", number * LANES)

    def everywhere(self, value: Any) -> Any:
        """Make a vector with `value` in all lanes."""
        kind = ir.VectorType(value.type, LANES)
        alone = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, _INT32(0))
        return self.builder.shuffle_vector(alone, alone, ir.Constant(_INTS, [0] * LANES))

    def constant(self, value: float) -> Any:
        return ir.Constant(_FLOATS, [value] * LANES)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Compute a b + c, fused where the machine can."""
        product = self.builder.fmul(a, b, flags=("contract",))
        return self.builder.fadd(product, c, flags=("contract",))

    def root(self, value: Any) -> Any:
        name = f"llvm.sqrt.v{LANES}f32"
        kind = ir.FunctionType(_FLOATS, [_FLOATS])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [value])

    def smaller(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def bits(self, mask: Any) -> Any:
        """Give a vector of booleans as the bits of an int32, the first lane lowest."""
        return self.builder.zext(self.builder.bitcast(mask, _BITS), _INT32)

    def variable(self, vector: Any) -> Any:
        """Make a variable that starts as `vector`; LLVM keeps it in a register."""
        return cgutils.alloca_once_value(self.builder, vector)

    def features(self, body: Callable[[Any, int], None]) -> None:
        """Call `body` with each feature: written out for a narrow width that is known, else in a loop."""
        width = self.types["width"]
        known = width.count if isinstance(width, types.UniTuple) else None
        if known is not None and known <= _UNROLLED:
            for feature in range(known):
                body(_INT64(feature), feature)
            return
        count = self.values["width"] if known is None else _INT64(known)
        steps = self.builder.udiv(count, _INT64(_STEP))
        with cgutils.for_range(self.builder, steps) as loop:
            first = self.builder.mul(loop.index, _INT64(_STEP))
            for number in range(_STEP):
                body(self.builder.add(first, _INT64(number)), number)
        first = self.builder.mul(steps, _INT64(_STEP))
        with cgutils.for_range(self.builder, self.builder.sub(count, first)) as loop:
            body(self.builder.add(first, loop.index), 0)

    def lane_offset(self, feature: Any) -> Any:
        return self.builder.mul(feature, _INT64(LANES))

    def distance_and_margin(self, best: Any, gamma: Any) -> tuple[Any, Any]:
        """Compute the squared distance 2 s + |x|^2 of a score, and the margin 8 gamma (|x| + b)^2 of two."""
        square, norm = self.load(self.row(SQUARE)), self.load(self.row(NORM))
        distance = self.multiply_add(self.constant(2.0), best, square)
        positive = self.builder.fcmp_ordered(">", distance, self.constant(0.0))
        distance = self.builder.select(positive, distance, self.constant(0.0))
        sum_ = self.builder.fadd(norm, self.root(distance))
        eight = self.builder.fmul(self.constant(8.0), self.everywhere(gamma))
        return distance, self.builder.fmul(eight, self.builder.fmul(sum_, sum_))


@intrinsic
def load_tile(
    typing_: Any, tiles: Any, at: Any, origin: Any, start: Any, width: Any, tile: Any, state: Any
) -> Any:
    """Write x, a tile of integers less the vector from `start` on, as floats; |x|^2 and |x| to `state`."""
    signature = types.void(tiles, types.intp, origin, types.intp, width, tile, state)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = _Writer(context, builder, signature, args, "tiles at origin start width tile state")
        narrow = ir.VectorType(ir.IntType(w.types["tiles"].dtype.bitwidth), LANES)
        first, zero = w.at("tiles", w.values["at"]), w.at("origin", w.values["start"])
        square = w.variable(w.constant(0.0))

        def body(feature: Any, number: int) -> None:
            offset = w.lane_offset(feature)
            integers = builder.zext(w.load(builder.gep(first, [offset]), narrow), _INTS)
            value = builder.sitofp(integers, _FLOATS)
            value = builder.fsub(value, w.everywhere(builder.load(builder.gep(zero, [feature]))))
            w.store(value, w.at("tile", offset))
            builder.store(w.multiply_add(value, value, builder.load(square)), square)

        w.features(body)
        w.store(builder.load(square), w.row(SQUARE))
        w.store(w.root(builder.load(square)), w.row(NORM))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def reset(typing_: Any, state: Any, found: Any) -> Any:
    """Begin the search of a tile: nothing found, no limit."""
    signature = types.void(state, found)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = _Writer(context, builder, signature, args, "state found")
        for row in (BEST, SECOND, LIMIT):
            w.store(w.constant(float("inf")), w.row(row))
        w.store(ir.Constant(_INTS, [0] * LANES), w.at("found"))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def score_group(
    typing_: Any, tile: Any, candidates: Any, biases: Any, at: Any, width: Any, state: Any, found: Any
) -> Any:
    """Score the `GROUP` candidates from `at` on, and tell whether one is the best so far of any row.

    The score of candidate j is biases[j] + x . candidates[j]. `state` keeps the best and the second best
    score of each row, `found` the number of the best candidate.
    """
    signature = types.boolean(tile, candidates, biases, types.intp, width, state, found)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = _Writer(context, builder, signature, args, "tile candidates biases at width state found")
        at = w.values["at"]
        count = w.values["width"]
        stride = _INT64(w.types["width"].count) if isinstance(w.types["width"], types.UniTuple) else count
        numbers = [builder.add(at, _INT64(number)) for number in range(GROUP)]
        scores = [w.variable(w.everywhere(builder.load(w.at("biases", number)))) for number in numbers]
        starts = [w.at("candidates", builder.mul(number, stride)) for number in numbers]

        def body(feature: Any, number: int) -> None:
            values = w.load(w.at("tile", w.lane_offset(feature)))
            for score, start in zip(scores, starts, strict=True):
                center = w.everywhere(builder.load(builder.gep(start, [feature])))
                builder.store(w.multiply_add(values, center, builder.load(score)), score)

        w.features(body)
        best, second = w.load(w.row(BEST)), w.load(w.row(SECOND))
        index = w.load(w.at("found"), _INTS)
        improved = None
        for score, number in zip(scores, numbers, strict=True):
            value = builder.load(score)
            less = builder.fcmp_ordered("<", value, best)
            second = w.smaller(builder.select(less, best, value), second)
            best = builder.select(less, value, best)
            index = builder.select(less, w.everywhere(builder.trunc(number, _INT32)), index)
            improved = less if improved is None else builder.or_(improved, less)
        w.store(best, w.row(BEST))
        w.store(second, w.row(SECOND))
        w.store(index, w.at("found"))
        return builder.icmp_signed("!=", builder.bitcast(improved, _BITS), _BITS(0))

    return signature, codegen


@intrinsic
def lower_limits(typing_: Any, state: Any, gamma: Any) -> Any:
    """Lower the limit of each row: no center farther than it from the origin can be as near as the best."""
    signature = types.void(state, types.float32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = _Writer(context, builder, signature, args, "state gamma")
        distance, error = w.distance_and_margin(w.load(w.row(BEST)), w.values["gamma"])
        limit = builder.fadd(w.load(w.row(NORM)), w.root(builder.fadd(distance, error)))
        wider = w.multiply_add(w.constant(4.0), w.everywhere(w.values["gamma"]), w.constant(1.0))
        limit = builder.fmul(limit, wider)
        w.store(w.smaller(limit, w.load(w.row(LIMIT))), w.row(LIMIT))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def near_ties(typing_: Any, state: Any, gamma: Any) -> Any:
    """Give the bits of the rows whose second best score is within the error of the best."""
    signature = types.int32(state, types.float32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = _Writer(context, builder, signature, args, "state gamma")
        best = w.load(w.row(BEST))
        _, error = w.distance_and_margin(best, w.values["gamma"])
        return w.bits(builder.fcmp_ordered("<=", w.load(w.row(SECOND)), builder.fadd(best, error)))

    return signature, codegen


@intrinsic
def within_limits(typing_: Any, state: Any, value: Any) -> Any:
    """Give the bits of the rows whose limit is at least `value`."""
    signature = types.int32(state, types.float32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = _Writer(context, builder, signature, args, "state value")
        value = w.everywhere(w.values["value"])
        return w.bits(builder.fcmp_ordered(">=", w.load(w.row(LIMIT)), value))

    return signature, codegen


@intrinsic
def squared_distances(
    typing_: Any, tiles: Any, at: Any, vector: Any, start: Any, width: Any, out: Any, to: Any
) -> Any:
    """Compute the squared distances of the 16 columns of a tile of floats to the vector from `start` on."""
    signature = types.void(tiles, types.intp, vector, types.intp, width, out, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = _Writer(context, builder, signature, args, "tiles at vector start width out to")
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
        w = _Writer(context, builder, signature, args, "values at low high")
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
        w = _Writer(context, builder, signature, args, "values at limits first")
        found, limits = w.load(w.at("values", w.values["at"])), w.load(w.at("limits", w.values["first"]))
        return w.bits(builder.fcmp_ordered("<", found, limits))

    return signature, codegen


@intrinsic
def lowest_bit(typing_: Any, bits: Any) -> Any:
    """Find the lowest bit that is set."""
    signature = types.intp(types.int32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sext(builder.cttz(args[0], ir.Constant(ir.IntType(1), 1)), _INT64)

    return signature, codegen
