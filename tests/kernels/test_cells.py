"""The nearest color by cells, against trying all; ties at the border of a cell too."""

import numpy as np
import pytest

from dkmeans.kernels.cells import TOP, make_cells, nearest


def by_trying(colors, members, asked):
    squares = ((colors[members] - asked) ** 2).sum(axis=1)
    return members[np.argmin(squares)]  # the first of equals


@pytest.mark.parametrize("opaque", [True, False])
@pytest.mark.parametrize("n_colors", [1, 5, 256])
def test_the_nearest_color(opaque, n_colors):
    rng = np.random.default_rng(n_colors)
    colors = rng.integers(0, TOP, (n_colors, 4), endpoint=True)
    asked = rng.integers(0, TOP, (500, 4), endpoint=True)
    asked[:200] = np.minimum(asked[:200] >> 11 << 11, TOP)  # corners of cells
    if opaque:
        colors[:, 3] = asked[:, 3] = TOP
    members = np.flatnonzero(rng.random(n_colors) < 0.7).astype(np.uint8)
    members = members if len(members) else np.zeros(1, np.uint8)
    cells = make_cells(colors, members, opaque=opaque)
    for color in asked:
        assert nearest(cells, *color) == by_trying(colors, members, color)


def test_a_tie_at_the_corner_of_a_cell():
    """Of two colors that are equally near at its lowest point alone, the first is taken there."""
    corner = 1 << 11
    colors = np.array([[corner - 500, 0, 0, TOP], [corner + 500, 0, 0, TOP]])
    cells = make_cells(colors, np.arange(2, dtype=np.uint8), opaque=True)
    assert [int(nearest(cells, corner + step, 0, 0, TOP)) for step in (-1, 0, 1)] == [0, 0, 1]


def test_the_widest_gap_is_that_of_the_nearest_neighbors():
    """Of 0, 100, 1100 and 1150 between 100 and 1100, however far the ends are from each other."""
    colors = np.zeros((4, 4), np.int64)
    colors[:, 0] = [1150, 0, 1100, 100]
    assert make_cells(colors, np.arange(4, dtype=np.uint8), opaque=True).gap == 1000
