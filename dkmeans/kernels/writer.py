"""Write LLVM vector instructions for sixteen lanes of float32: what the intrinsics of `vector` are made of.

Numba's own loops leave most of a vector unit idle, so a few operations are written as LLVM vector
instructions. LLVM maps <16 x float> to what the machine has: one register of AVX-512, two of AVX2, four of
NEON. The lanes of a vector are rows (or centers), so that minima are taken lane by lane and never across.

A `tile` is 16 rows laid out feature by feature, shape (n_features, 16). `width` is the number of features:
an int, or a tuple of that many Nones, whose type lets the loop over the features be unrolled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils

__all__ = [
    "BEST",
    "BITS",
    "ERROR",
    "FLOAT",
    "FLOATS",
    "INT32",
    "INT64",
    "INTS",
    "LANES",
    "LIMIT",
    "NORM",
    "SECOND",
    "SQUARE",
    "STATES",
    "THIRD",
    "Writer",
    "cgutils",
]

LANES = 16

# Rows of the state of a tile, each of 16 lanes of float32: best, second and third best score; the distance
# from the pivot up to which the row needs the centers; |x'| and |x'|^2 of x' = x - pivot (or what stands for
# the latter, see `bytewise`); how far two scores may be wrong together beside the rounding of floats.
STATES = 7
BEST, SECOND, THIRD, LIMIT, NORM, SQUARE, ERROR = range(STATES)

FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, INTS, BITS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT32, LANES), ir.IntType(LANES)
_UNROLLED = 80
"""Features up to which the loop is written out; above, it takes `_STEP` at a time."""
_STEP = 8

cgutils: Any = _cgutils


class Writer:
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
        return self.builder.gep(self.values[name], [INT64(offset) if isinstance(offset, int) else offset])

    def load(self, address: Any, kind: Any = FLOATS) -> Any:
        """Read a vector; it may lie anywhere."""
        return self.builder.load(self.builder.bitcast(address, kind.as_pointer()), align=1)

    def store(self, vector: Any, address: Any) -> None:
        """Write a vector to any address."""
        self.builder.store(vector, self.builder.bitcast(address, vector.type.as_pointer()), align=1)

    def row(self, number: int) -> Any:
        """Find the address of a row of the array ``state``."""
        return self.at("state", number * LANES)

    def everywhere(self, value: Any, lanes: int = LANES) -> Any:
        """Make a vector with `value` in all lanes."""
        kind = ir.VectorType(value.type, lanes)
        alone = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, INT32(0))
        first = ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes)
        return self.builder.shuffle_vector(alone, alone, first)

    def constant(self, value: float) -> Any:
        """Make a vector with the number `value` in all lanes."""
        return ir.Constant(FLOATS, [value] * LANES)

    def whole(self, value: int) -> Any:
        """Make a vector with the whole number `value` in all lanes."""
        return ir.Constant(INTS, [value] * LANES)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Compute a b + c, fused where the machine can."""
        product = self.builder.fmul(a, b, flags=("contract",))
        return self.builder.fadd(product, c, flags=("contract",))

    def root(self, value: Any) -> Any:
        """Take the square roots."""
        name = f"llvm.sqrt.v{LANES}f32"
        kind = ir.FunctionType(FLOATS, [FLOATS])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [value])

    def smaller(self, a: Any, b: Any) -> Any:
        """Take the smaller one lane by lane."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def bits(self, mask: Any) -> Any:
        """Give a vector of booleans as the bits of an int32, the first lane lowest."""
        return self.builder.zext(self.builder.bitcast(mask, BITS), INT32)

    def variable(self, vector: Any) -> Any:
        """Make a variable that starts as `vector`; LLVM keeps it in a register."""
        return cgutils.alloca_once_value(self.builder, vector)

    def features(self, body: Callable[[Any, int], None], together: int = 1) -> None:
        """Call `body` with the number of each feature, or of each `together` features that make a word.

        Written out for a narrow width that is known, else in a loop.
        """
        width = self.types["width"]
        known = width.count if isinstance(width, types.UniTuple) else None
        if known is not None and known <= _UNROLLED:
            for number in range(-(-known // together)):
                body(INT64(number), number)
            return
        self.repeat(self.count(together), _STEP, body)

    def count(self, together: int = 1) -> Any:
        """Count the features, or the words of `together` features."""
        width = self.types["width"]
        count = INT64(width.count) if isinstance(width, types.UniTuple) else self.values["width"]
        return self.builder.udiv(self.builder.add(count, INT64(together - 1)), INT64(together))

    def repeat(self, count: Any, unrolled: int, body: Callable[[Any, int], None]) -> None:
        """Call `body` with 0 to `count` - 1 in a loop, `unrolled` at a time, of which it gets the number."""
        steps = self.builder.udiv(count, INT64(unrolled))
        with cgutils.for_range(self.builder, steps) as loop:
            first = self.builder.mul(loop.index, INT64(unrolled))
            for number in range(unrolled):
                body(self.builder.add(first, INT64(number)), number)
        first = self.builder.mul(steps, INT64(unrolled))
        with cgutils.for_range(self.builder, self.builder.sub(count, first)) as loop:
            body(self.builder.add(first, loop.index), 0)

    def lane_offset(self, feature: Any) -> Any:
        """Find where the lanes of a feature begin in a tile."""
        return self.builder.mul(feature, INT64(LANES))

    def distance_and_margin(self, best: Any, gamma: Any) -> tuple[Any, Any]:
        """Compute the squared distance 2 s + |x|^2 of a score, and the margin 8 gamma (|x| + b)^2 + e."""
        square, norm = self.load(self.row(SQUARE)), self.load(self.row(NORM))
        distance = self.multiply_add(self.constant(2.0), best, square)
        positive = self.builder.fcmp_ordered(">", distance, self.constant(0.0))
        distance = self.builder.select(positive, distance, self.constant(0.0))
        sum_ = self.builder.fadd(norm, self.root(distance))
        eight = self.builder.fmul(self.constant(8.0), self.everywhere(gamma))
        margin = self.builder.fmul(eight, self.builder.fmul(sum_, sum_))
        return distance, self.builder.fadd(margin, self.load(self.row(ERROR)))
