"""The exact nearest of a few colors, found by a table of cells that is filled where it is asked.

A color is four integers: its red, green and blue times its alpha, and 255 times its alpha, each from 0 to
`TOP`. So a color that nobody sees is one color, and distances are those of premultiplied values. Opaque ones
are 255 times their red, green and blue, gray ones have a red alone.

The space of colors is cut into cells. Within a cell only few colors of a palette can be the nearest one: all
others lie farther from every point of it than the color that is nearest to its middle.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.jit import inlined, without_refcounts

__all__ = ["TOP", "Cells", "clamp", "make_cells", "nearest", "premultiplied"]

TOP = 255 * 255
"""The largest of the integers."""
_OPAQUE_BITS = 5
_BITS = 4
"""Of each integer that tell the cell, without alpha and with it."""
_FAR = 1 << 62
"""Above every squared distance."""


class Table(NamedTuple):
    """Colors that can be nearest, for cells of one size.

    Attributes
    ----------
    shift, alpha_shift : int
        Low bits of colors, and of alpha, that do not tell the cell.
    counts : ndarray of shape (n_cells,), int64
        Candidates of each cell; 0 where nobody has asked yet.
    candidates : ndarray of shape (n_cells, n_members), uint8
        These, in ascending order.
    """

    shift: int
    alpha_shift: int
    counts: NDArray[np.int64]
    candidates: NDArray[np.uint8]


class Cells(NamedTuple):
    """Which colors can be nearest, cell by cell.

    Attributes
    ----------
    colors : ndarray of shape (n_colors, 4), int64
        Of the whole palette, premultiplied.
    members : ndarray of shape (1, n_members), uint8
        Rows of `colors` among which the nearest is looked for, in ascending order.
    coarse, fine : Table
        Of large cells, and of those that they are cut into.
    gap : int
        The widest gap between members: the longest line of the shortest net of lines that joins them all.
    """

    colors: NDArray[np.int64]
    members: NDArray[np.uint8]
    coarse: Table
    fine: Table
    gap: int


def make_cells(colors: NDArray[np.int64], members: NDArray[np.uint8], *, opaque: bool) -> Cells:
    """Make an empty table for some rows of `colors`; `opaque` if no color with another alpha is asked for."""
    fine, coarse = (_OPAQUE_BITS, _OPAQUE_BITS - 2) if opaque else (_BITS, _BITS - 2)
    n = len(members)
    gap = math.isqrt(_widest_gap(colors[members], np.full(n, _FAR)))
    return Cells(colors, members[None], _make_table(coarse, n, opaque), _make_table(fine, n, opaque), gap)


def _make_table(bits: int, n_members: int, opaque: bool) -> Table:
    """Make an empty table for cells that so many bits of each integer tell."""
    alpha_bits = 0 if opaque else bits
    n_cells = 1 << 3 * bits + alpha_bits
    # Memory that is not written to is not there either: few cells of the table are ever used.
    counts, candidates = np.zeros(n_cells, np.int64), np.empty((n_cells, n_members), np.uint8)
    return Table(16 - bits, 16 - alpha_bits, counts, candidates)


@without_refcounts
def _widest_gap(colors: Any, squares: Any) -> Any:
    """The longest edge of the minimum spanning tree, squared, by Prim; `squares` begin as `_FAR`."""
    widest, last = np.int64(0), 0
    squares[0] = -1  # in the tree
    for _ in range(squares.size - 1):
        found = -1
        for color in range(squares.size):
            if squares[color] < 0:
                continue
            square = np.int64(0)
            for channel in range(4):
                square += (colors[color, channel] - colors[last, channel]) ** 2
            squares[color] = min(squares[color], square)
            if found < 0 or squares[color] < squares[found]:
                found = color
        widest = max(widest, squares[found])
        squares[found], last = -1, found
    return widest


@inlined
def clamp(value: Any, top: Any) -> Any:
    """The nearest number from 0 to `top`."""
    return min(max(value, 0), top)


@without_refcounts
def premultiplied(pixels: Any, row: Any, column: Any) -> Any:
    """The four integers of a pixel of 1, 2, 3 or 4 channels."""
    channels = pixels.shape[2]
    first = np.int64(pixels[row, column, 0])
    alpha = np.int64(255)
    if channels % 2 == 0:
        alpha = np.int64(pixels[row, column, channels - 1])
    second, third = np.int64(0), np.int64(0)
    if channels >= 3:
        second, third = np.int64(pixels[row, column, 1]), np.int64(pixels[row, column, 2])
    return first * alpha, second * alpha, third * alpha, alpha * 255


@inlined
def _cell(table: Table, red: Any, green: Any, blue: Any, alpha: Any) -> Any:
    """The number of the cell of a color."""
    shift, alpha_shift = table.shift, table.alpha_shift
    bits = 16 - shift
    cell = ((red >> shift) << bits | green >> shift) << bits | blue >> shift
    return cell << (16 - alpha_shift) | alpha >> alpha_shift


@without_refcounts
def nearest(cells: Cells, red: Any, green: Any, blue: Any, alpha: Any) -> Any:
    """The member that is nearest to a color, of equally near ones the first."""
    fine = cells.fine
    cell = _cell(fine, red, green, blue, alpha)
    if fine.counts[cell] == 0:
        coarse = cells.coarse
        large = _cell(coarse, red, green, blue, alpha)
        if coarse.counts[large] == 0:
            _fill(cells, cells.members, 0, cells.members.size, coarse, large, red, green, blue, alpha)
        _fill(cells, coarse.candidates, large, coarse.counts[large], fine, cell, red, green, blue, alpha)
    found = np.int64(fine.candidates[cell, 0])
    if fine.counts[cell] == 1:
        return found
    least = np.int64(_FAR)
    for place in range(fine.counts[cell]):
        code = np.int64(fine.candidates[cell, place])
        distance = (
            (red - cells.colors[code, 0]) ** 2
            + (green - cells.colors[code, 1]) ** 2
            + (blue - cells.colors[code, 2]) ** 2
            + (alpha - cells.colors[code, 3]) ** 2
        )
        if distance < least:
            least, found = distance, code
    return found


@inlined
def _gap(value: Any, shift: Any, color: Any) -> Any:
    """Twice the gap of a color and the middle of a cell, squared; of one channel."""
    low = value >> shift << shift
    high = min(low + (1 << shift) - 1, TOP)
    return (2 * color - low - high) ** 2


@inlined
def _farther(value: Any, shift: Any, color: Any, other: Any) -> Any:
    """How much farther than another a color is at least, anywhere in a cell, squared; of one channel."""
    low = value >> shift << shift
    high = min(low + (1 << shift) - 1, TOP)
    corner = high if color > other else low
    return (color - other) * (color + other - 2 * corner)


@without_refcounts
def _fill(
    cells: Cells,
    sources: Any,
    source: int,
    n_sources: int,
    table: Table,
    cell: int,
    red: int,
    green: int,
    blue: int,
    alpha: int,
) -> None:
    """List the candidates of the cell of a color: those of a row of `sources` that can be nearest."""
    colors = cells.colors
    shift, alpha_shift = table.shift, table.alpha_shift
    best, least = np.int64(0), np.int64(_FAR)
    for place in range(n_sources):
        code = np.int64(sources[source, place])
        distance = (
            _gap(red, shift, colors[code, 0])
            + _gap(green, shift, colors[code, 1])
            + _gap(blue, shift, colors[code, 2])
            + _gap(alpha, alpha_shift, colors[code, 3])
        )
        if distance < least:
            best, least = code, distance
    count = 0
    for place in range(n_sources):
        code = np.int64(sources[source, place])
        farther = (
            _farther(red, shift, colors[code, 0], colors[best, 0])
            + _farther(green, shift, colors[code, 1], colors[best, 1])
            + _farther(blue, shift, colors[code, 2], colors[best, 2])
            + _farther(alpha, alpha_shift, colors[code, 3], colors[best, 3])
        )
        if farther <= 0:
            table.candidates[cell, count] = code
            count += 1
    table.counts[cell] = count
