"""Centers of pixels with alpha are settled: by hand, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest

from dkmeans.clustering.labels import label_rows
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.rows import load_given_rows
from dkmeans.clustering.settling import settle
from dkmeans.compute.in_process import InProcess
from dkmeans.errors import InputError
from dkmeans.features.space import FeatureSpace

SPACE = FeatureSpace(np.dtype(np.uint8), 2)


def fitted(pixels, centers, n_blocks=1, space=SPACE):
    """The result of no iteration at all, settled."""
    stored = np.array(pixels, np.uint8)
    rows = space.to_rows(stored[None])
    parts = np.array_split(rows, n_blocks)
    cluster = InProcess()
    loaded = load_given_rows(parts, [len(part) for part in parts], rows.shape[1], rows.dtype, cluster)
    first = space.to_rows(np.array([centers], np.uint8)).astype(np.float32)
    result = lloyd(loaded, State(first), max_iter=0, tol=0)
    return rows, settle(loaded, result, space)


@pytest.mark.parametrize("n_blocks", [1, 3])
def test_by_hand(n_blocks):
    """The first center becomes clear, the second opaque; the third, which has no opaque row, stays."""
    pixels = [[9, 0], [8, 0], [200, 255], [100, 100], [200, 250]]
    rows, found = fitted(pixels, [[10, 1], [200, 240], [100, 90]], n_blocks)
    assert SPACE.to_pixels(found.centers).tolist() == [[0, 0], [188, 255], [100, 90]]  # 200 * 240 / 255
    assert found.counts.tolist() == [2, 2, 1]
    labels = label_rows(rows, found.centers, "cpu", SPACE)
    assert labels.tolist() == [0, 0, 1, 2, 1]
    gaps = (rows - found.centers[labels].astype(float)) / 255
    assert found.inertia == pytest.approx((gaps**2).sum())


def test_the_only_center_of_opaque_rows_is_not_cleared():
    """Both are nearest to the center that clear rows take; the other becomes opaque."""
    _, found = fitted([[0, 0], [0, 255]], [[0, 128], [250, 255]])
    assert SPACE.to_pixels(found.centers)[:, 1].tolist() == [0, 255]
    assert found.counts.tolist() == [1, 1]


def test_one_center_for_both_is_refused():
    with pytest.raises(InputError, match="Use --k 2 or more"):
        fitted([[0, 0], [9, 9]], [[3, 3]])
    _, found = fitted([[1, 0], [2, 0]], [[3, 3]])
    assert found.centers.tolist() == [[0, 0]]


def test_the_clear_color_is_not_zero_in_every_space():
    """In OKLab the axes of chroma are raised: the center is that of clear rows, which lose nothing."""
    space = FeatureSpace(np.dtype(np.uint8), 4, space="oklab")
    clear, visible = [9, 8, 7, 0], [200, 10, 10, 255]
    rows, found = fitted([clear, visible], [[90, 80, 70, 3], visible], space=space)
    np.testing.assert_array_equal(found.centers, rows)
    assert found.inertia == 0


def test_rows_without_alpha_stay():
    _, found = fitted([[1], [2]], [[1]], space=FeatureSpace(np.dtype(np.uint8), 1))
    assert (found.centers.tolist(), found.inertia) == ([[1]], 1)


def test_units_are_those_of_stored_values():
    space = FeatureSpace(np.dtype(np.uint8), 1, space="linear")
    _, found = fitted([[0], [255]], [[0]], space=space)
    assert found.inertia == 255**2
