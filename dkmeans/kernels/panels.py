"""Rows of floats in vector registers: scores of many rows and all centers, and float64 sums in a fixed order.

What `vector` has for tiles of integers, for panels of floats: rows in a few vectors of 16 lanes, feature by
feature, shape (n_features, `ROWS`). They are scored for `CENTERS` centers at a time, with all sums in
registers, so that a feature takes less than half as many loads as multiplications: how many fit depends on
the machine. Scores are only what the search filters with: their products and sums may be fused. Sums that
decide never are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from dkmeans.kernels.jit import cpu_features, intrinsic, without_refcounts
from dkmeans.kernels.writer import FLOAT, FLOATS, INT32, INT64, INTS, LANES, Writer, cgutils

__all__ = [
    "CENTERS",
    "ROWS",
    "SPAN",
    "add_gaps",
    "load_square",
    "near_ties",
    "score_centers",
    "squared_distance",
]

_MANY_REGISTERS = "avx512f" in cpu_features()
"""Whether there are 32 registers of 16 lanes; AVX2 has 8 and NEON 8."""
CENTERS = 8 if _MANY_REGISTERS else 6
"""Centers of a group."""
ROWS = (3 if _MANY_REGISTERS else 1) * LANES
"""Rows of a panel."""
SPAN = 64
"""Features whose products are summed from zero, as short sums round less."""
BEST, SECOND, SQUARE = range(3)
"""Rows of the state of a panel, each of `ROWS` lanes of float32."""

_DOUBLE = ir.DoubleType()
_DOUBLES, _FOUR = ir.VectorType(_DOUBLE, LANES), ir.VectorType(_DOUBLE, 4)
_VECTORS = range(ROWS // LANES)
_UNROLLED = 4


def _transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """Transpose 16 vectors of 16 lanes: swap halves, halves of halves, and so on."""
    vectors, width = list(vectors), LANES // 2
    while width:
        upper = [bool(lane & width) for lane in range(LANES)]
        low = [LANES + lane - width if up else lane for lane, up in enumerate(upper)]
        high = [LANES + lane if up else lane + width for lane, up in enumerate(upper)]
        for one in (number for number in range(LANES) if not number & width):
            a, b = vectors[one], vectors[one + width]
            vectors[one] = builder.shuffle_vector(a, b, ir.Constant(INTS, low))
            vectors[one + width] = builder.shuffle_vector(a, b, ir.Constant(INTS, high))
        width //= 2
    return vectors


@intrinsic
def load_square(
    typing_: Any,
    rows: Any,
    at: Any,
    stride: Any,
    middle: Any,
    start: Any,
    scale: Any,
    panel: Any,
    to: Any,
    state: Any,
    lane: Any,
) -> Any:
    """Write 16 features of 16 rows to a panel, less the middle and scaled; add up their squares.

    Parameters
    ----------
    rows : ndarray, float32 or float64
        The first feature is element `at`, the next rows follow `stride` elements apart.
    middle : ndarray, float64
        What is subtracted, from element `start` on.
    scale : float64
    panel : ndarray, float32
        The first feature is element `to`.
    state : ndarray of shape (3, ROWS), float32
        ``state[SQUARE]`` from `lane` on.
    """
    integer = types.intp
    signature = types.void(
        rows, integer, integer, middle, integer, types.float64, panel, integer, state, integer
    )

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        names = "rows at stride middle start scale panel to state lane"
        w = Writer(context, builder, signature, args, names)
        wide = w.types["rows"].dtype.bitwidth == 64
        middle = w.load(w.at("middle", w.values["start"]), _DOUBLES)
        scale = w.everywhere(w.values["scale"])
        loaded, offset = [], w.values["at"]
        for _ in range(LANES):
            values = w.load(w.at("rows", offset), _DOUBLES if wide else FLOATS)
            values = values if wide else builder.fpext(values, _DOUBLES)
            values = builder.fmul(builder.fsub(values, middle), scale)
            loaded.append(builder.fptrunc(values, FLOATS))
            offset = builder.add(offset, w.values["stride"])
        address = w.at("state", builder.add(INT64(SQUARE * ROWS), w.values["lane"]))
        square = w.load(address)
        for number, values in enumerate(_transposed(builder, loaded)):
            w.store(values, w.at("panel", builder.add(w.values["to"], INT64(number * ROWS))))
            square = w.multiply_add(values, values, square)
        w.store(square, address)
        return context.get_dummy_value()

    return signature, codegen


def _scoring(*, starts: bool, ranks: bool) -> Any:
    """Make what scores a span of features: it starts with the norms or adds to the scores, and ranks them."""

    @intrinsic
    def score(
        typing_: Any,
        panel: Any,
        begin: Any,
        end: Any,
        centers: Any,
        at: Any,
        norms: Any,
        first: Any,
        state: Any,
        found: Any,
        scores: Any,
    ) -> Any:
        signature = types.void(
            panel, *[types.intp] * 2, centers, types.intp, norms, types.intp, state, found, scores
        )

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            names = "panel begin end centers at norms first state found scores"
            w = Writer(context, builder, signature, args, names)
            first, group, begin = w.values["first"], w.at("centers", w.values["at"]), w.values["begin"]
            out, pairs = builder.mul(first, INT64(ROWS)), [(i, j) for i in range(CENTERS) for j in _VECTORS]
            places = [w.at("scores", builder.add(out, INT64(i * ROWS + j * LANES))) for i, j in pairs]
            sums = {}
            for i, j in pairs:
                norm = builder.load(w.at("norms", builder.add(first, INT64(i)))) if starts else None
                sums[i, j] = w.variable(w.constant(0.0) if norm is None else w.everywhere(norm))

            def multiply(number: Any, _: int) -> None:
                row = builder.mul(builder.add(begin, number), INT64(ROWS))
                values = [w.load(w.at("panel", builder.add(row, INT64(LANES * j)))) for j in _VECTORS]
                factors = builder.gep(group, [builder.mul(number, INT64(CENTERS))])
                for i in range(CENTERS):
                    factor = w.everywhere(builder.load(builder.gep(factors, [INT64(i)])))
                    for j in _VECTORS:
                        sum_ = builder.load(sums[i, j])
                        builder.store(w.multiply_add(values[j], factor, sum_), sums[i, j])

            w.repeat(builder.sub(w.values["end"], begin), _UNROLLED, multiply)
            done = [builder.load(sums[pair]) for pair in pairs]
            if not starts:
                done = [builder.fadd(w.load(place), sum_) for place, sum_ in zip(places, done, strict=True)]
            for place, sum_ in zip(places, done, strict=True):
                w.store(sum_, place)
            if ranks:
                for j in _VECTORS:
                    _rank(w, j, first, done[j :: len(_VECTORS)])
            return context.get_dummy_value()

        return signature, codegen

    return score


_score_all = _scoring(starts=True, ranks=True)
_score_first = _scoring(starts=True, ranks=False)
_score_more = _scoring(starts=False, ranks=False)
_score_last = _scoring(starts=False, ranks=True)


@without_refcounts
def score_centers(
    panel: Any, centers: Any, norms: Any, width: Any, state: Any, found: Any, scores: Any
) -> None:
    """Score all centers for the rows of a panel.

    The score of center j is norms[j] + x . centers[j], where the products of `SPAN` features at a time are
    summed from zero, but for the first ones. `scores`, of shape (n_centers, ROWS), gets them all;
    ``state[BEST]`` and ``state[SECOND]`` keep the best two of each row, `found` the number of the best.

    Parameters
    ----------
    panel : ndarray of shape (width * ROWS,), float32
    centers : ndarray, float32
        Span by span, in it group by group, of shape (at most SPAN, CENTERS).
    norms : ndarray of shape (n_centers,), float32
        A multiple of `CENTERS`.
    width : int
        Number of features.
    """
    for begin in range(0, width, SPAN):
        end = min(width, begin + SPAN)
        for first in range(0, norms.size, CENTERS):
            at = begin * norms.size + first * (end - begin)
            if begin == 0 and end == width:
                _score_all(panel, begin, end, centers, at, norms, first, state, found, scores)
            elif begin == 0:
                _score_first(panel, begin, end, centers, at, norms, first, state, found, scores)
            elif end < width:
                _score_more(panel, begin, end, centers, at, norms, first, state, found, scores)
            else:
                _score_last(panel, begin, end, centers, at, norms, first, state, found, scores)


def _rank(w: Any, vector: int, first: Any, scores: list[Any]) -> None:
    """Compare the scores of a group, of one vector of rows, with the best two so far."""
    builder, lane = w.builder, vector * LANES
    places = w.at("state", BEST * ROWS + lane), w.at("state", SECOND * ROWS + lane), w.at("found", lane)
    best, second, index = w.load(places[0]), w.load(places[1]), w.load(places[2], INTS)
    for number, score in enumerate(scores):
        less = builder.fcmp_ordered("<", score, best)
        second = w.smaller(builder.select(less, best, score), second)
        best = builder.select(less, score, best)
        name = builder.trunc(builder.add(first, INT64(number)), INT32)
        index = builder.select(less, w.everywhere(name), index)
    for values, place in zip((best, second, index), places, strict=True):
        w.store(values, place)


@intrinsic
def near_ties(
    typing_: Any, state: Any, lane: Any, longest: Any, slack: Any, wide: Any, tiny: Any, limit: Any
) -> Any:
    """Give the bits of the 16 rows from `lane` on whose second best score is within the error of the best.

    The error of a row x is ``slack * (2 |x| + longest) * longest + wide * (|x| + longest)^2 + tiny``. Rows
    with ``(|x| + longest)^2`` not below `limit`, or with a number that is not finite, are among them.
    """
    float_ = types.float32
    signature = types.int32(state, types.intp, float_, float_, float_, float_, float_)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "state lane longest slack wide tiny limit")

        def row(number: int) -> Any:
            return w.load(w.at("state", builder.add(INT64(number * ROWS), w.values["lane"])))

        names = ("longest", "slack", "wide", "tiny", "limit")
        longest, slack, wide, tiny, limit = (w.everywhere(w.values[name]) for name in names)
        norm = w.root(row(SQUARE))
        sum_ = builder.fadd(norm, longest)
        square = builder.fmul(sum_, sum_)
        error = w.multiply_add(wide, square, tiny)
        error = w.multiply_add(builder.fmul(slack, builder.fadd(norm, sum_)), longest, error)
        far = builder.fcmp_ordered(">", row(SECOND), builder.fadd(row(BEST), error))
        return w.bits(builder.not_(builder.and_(far, builder.fcmp_ordered("<", square, limit))))

    return signature, codegen


def _sum_of_squares(w: Any, width: Any, use: Callable[[Any, Any], None] | None = None) -> Any:
    """Add up the squared differences of a row and a center, of which `use` gets each: four at a time.

    Of four partial sums the first takes what is left over. No product is fused with a sum.
    """
    builder = w.builder
    row, center = w.at("rows", w.values["at"]), w.at("centers", w.values["start"])
    wide = w.types["rows"].dtype.bitwidth == 64
    four = _FOUR if wide else ir.VectorType(FLOAT, 4)
    sums = w.variable(ir.Constant(_FOUR, [0.0] * 4))

    def add_four(number: Any, _: int) -> None:
        feature = builder.mul(number, INT64(4))
        values = w.load(builder.gep(row, [feature]), four)
        values = values if wide else builder.fpext(values, _FOUR)
        gap = builder.fsub(values, w.load(builder.gep(center, [feature]), _FOUR))
        builder.store(builder.fadd(builder.load(sums), builder.fmul(gap, gap)), sums)
        if use:
            use(gap, feature)

    fours = builder.udiv(width, INT64(4))
    w.repeat(fours, _UNROLLED, add_four)
    parts = [builder.extract_element(builder.load(sums), INT32(lane)) for lane in range(4)]
    first, whole = cgutils.alloca_once_value(builder, parts[0]), builder.mul(fours, INT64(4))
    with cgutils.for_range(builder, builder.sub(width, whole)) as loop:
        feature = builder.add(whole, loop.index)
        value = builder.load(builder.gep(row, [feature]))
        value = value if wide else builder.fpext(value, _DOUBLE)
        gap = builder.fsub(value, builder.load(builder.gep(center, [feature])))
        builder.store(builder.fadd(builder.load(first), builder.fmul(gap, gap)), first)
        if use:
            use(gap, feature)
    return builder.fadd(builder.fadd(builder.load(first), parts[1]), builder.fadd(parts[2], parts[3]))


@intrinsic
def squared_distance(typing_: Any, rows: Any, at: Any, centers: Any, start: Any, width: Any) -> Any:
    """Measure the squared distance of a row, which begins at element `at`, and the center at `start`."""
    signature = types.float64(rows, types.intp, centers, types.intp, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "rows at centers start width")
        return _sum_of_squares(w, w.values["width"])

    return signature, codegen


@intrinsic
def add_gaps(
    typing_: Any, rows: Any, at: Any, centers: Any, start: Any, width: Any, weight: Any, sums: Any
) -> Any:
    """Add the gaps of a row and a center, times `weight`, to the sums at `start`; their squared length."""
    signature = types.float64(rows, types.intp, centers, types.intp, types.intp, types.float64, sums)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w = Writer(context, builder, signature, args, "rows at centers start width weight sums")
        target = w.at("sums", w.values["start"])

        def add(gap: Any, feature: Any) -> None:
            weight, place = w.values["weight"], builder.gep(target, [feature])
            if isinstance(gap.type, ir.VectorType):
                weight = w.everywhere(weight, gap.type.count)
            w.store(builder.fadd(w.load(place, gap.type), builder.fmul(weight, gap)), place)

        return _sum_of_squares(w, w.values["width"], add)

    return signature, codegen
