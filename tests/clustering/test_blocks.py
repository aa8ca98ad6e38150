"""Values that an estimator is given, in memory and in blocks: never changed, but refused with the remedy."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sparse
from clustering.edge import BYTES, FITTED, FLOATS, assert_worked_on, blocks, refused

from dkmeans import KMeans
from dkmeans.clustering.blocks import find_largest

ONE_HIDDEN = np.ma.masked_array(FLOATS, np.arange(180).reshape(60, 3) == 150)


def test_largest_by_hand():
    assert find_largest(np.array([[1, -7], [3, 2]])) == 7
    assert find_largest(np.array([[1.0, 2.5]])) == 2.5
    assert find_largest(np.empty((0, 3))) == 0


@pytest.mark.parametrize(
    ("made", "declared", "match"),
    [
        (lambda block: block, np.uint8, "a block of float64, the Dask array declares uint8"),
        (lambda block: block, np.float32, "a block of float64, the Dask array declares float32"),
        (lambda block: block.astype(object), float, "a block of object"),
        (lambda block: block[:-1], float, r"a block of shape \(19, 3\), the Dask array declares \(20, 3\)"),
        (lambda block: block[:, :2], float, r"a block of shape \(20, 2\)"),
        (lambda block: block[:, 0], float, r"a block of shape \(20,\)"),
        (lambda block: np.ma.masked_greater(block, 5), float, "masked values"),
        (lambda block: np.ma.masked_all_like(block), float, "masked values"),
        (scipy.sparse.csr_array, float, r"a block of the type scipy\.sparse.*todense"),
        (sparse.COO.from_numpy, float, r"a block of the type sparse.*todense"),
        (pd.DataFrame, float, r"a block of the type pandas.*to_numpy"),
        (lambda block: block.tolist(), float, "a block of the type builtins.list"),
        (lambda block: block * np.nan, float, "NaN or infinity"),
        (lambda block: block * 1e160, float, "expected at most 1e.100.*Scale your data"),
        (lambda block: (block * 1e17).astype(int), float, r"at most 2\*\*53.*Subtract an offset"),
    ],
    ids=range(15),
)
def test_blocks_that_are_not_what_they_seem(made, declared, match):
    refused(blocks(made, declared), match)


def test_a_split_block_is_looked_at_before_it_is_put_together():
    """Dask puts blocks together without their masks."""
    hidden = da.from_array(FLOATS, (20, 3)).rechunk((20, 2))
    hidden = da.map_blocks(np.ma.masked_greater, hidden, 5, dtype=float, meta=np.empty((0, 0)))
    refused(hidden, "masked values")


def test_blocks_that_can_be_worked_on():
    assert_worked_on(
        blocks(lambda block: block.astype(np.float32)), np.vstack([FLOATS[:40], FLOATS[40:].astype("f4")])
    )
    assert_worked_on(blocks(np.ma.masked_array), FLOATS)
    assert_worked_on(blocks(lambda block: block.astype(">f8")), FLOATS)
    assert_worked_on(blocks(lambda block: np.asfortranarray(block)), FLOATS)
    lazy = da.from_array(FLOATS, (20, 3))
    assert_worked_on(da.concatenate([lazy[:20], lazy[:0], lazy[20:]]), FLOATS)
    assert_worked_on(lazy[lazy[:, 0] > 4], FLOATS[FLOATS[:, 0] > 4])


def test_masked_arrays():
    refused(ONE_HIDDEN, r"X: found masked values.*X\.filled\(value\)")
    refused(list(ONE_HIDDEN), "masked values")
    refused(da.from_array(ONE_HIDDEN, (20, 3)), "masked values")
    assert_worked_on(np.ma.masked_array(FLOATS), FLOATS)
    assert_worked_on(ONE_HIDDEN.filled(0), ONE_HIDDEN.filled(0))


@pytest.mark.parametrize("lazy", [False, True])
def test_numbers_out_of_range(lazy):
    def given(rows):
        return da.from_array(rows, (20, 3)) if lazy else rows

    for large in (FLOATS * 1e160, FLOATS.astype(np.longdouble) * np.longdouble("1e400")):
        refused(given(large), r"expected at most 1e\+100.*Scale your data")
    small = given(FLOATS * 1e-170)
    refused(small, "at least 1e-100, or zeros alone.*Scale your data", of=["fit"])
    assert (np.asarray(FITTED.predict(small)) == FITTED.predict(np.zeros((1, 3)))).all()  # beside its centers
    near_zero = KMeans(1).fit(np.zeros((2, 3)))
    for call in (near_zero.predict, near_zero.transform, near_zero.score):
        with pytest.raises(ValueError, match="at least 1e-100"):
            np.asarray(call(small))
    for dtype in (np.int64, np.uint64):
        refused(given((FLOATS * 1e17).astype(dtype)), r"at most 2\*\*53")
    with pytest.raises(ValueError, match="init: found"):
        KMeans(3, init=FLOATS[:3] * 1e160).fit(given(FLOATS))
    with pytest.raises(ValueError, match="float32 holds"):
        np.asarray(FITTED.transform(given(np.full((60, 3), 3.4e38, np.float32))))


def test_numbers_in_range():
    """Scaled data end where the data end; float32 is in range whole."""
    for scale in (2.0**-330, 2.0**320):
        model = KMeans(3, random_state=0).fit(FLOATS * scale)
        np.testing.assert_array_equal(model.labels_, FITTED.labels_)
        assert model.inertia_ == pytest.approx(FITTED.inertia_ * scale * scale)
        weighted = KMeans(3, random_state=0).fit(FLOATS * scale, sample_weight=np.full(60, scale**0.59))
        assert 0 < weighted.inertia_ < np.inf
    for scale in (3e37, 1e-42):
        rows = (FLOATS * scale).astype(np.float32)
        assert_worked_on(rows, rows.astype(float))
    tiny_beside_normal = np.concatenate([FLOATS, FLOATS * 1e-200])
    assert_worked_on(da.from_array(tiny_beside_normal, (60, 3)), tiny_beside_normal)


@pytest.mark.parametrize(
    "rows",
    [
        FLOATS.astype(">f8"),
        FLOATS.astype(np.float16),
        FLOATS.astype(np.longdouble),
        FLOATS > 5,
        FLOATS.astype(np.int64),
        np.asfortranarray(FLOATS),
        FLOATS[::-1, ::-1],
        np.repeat(FLOATS, 2, axis=0)[::2],
        np.frombuffer(FLOATS.tobytes()).reshape(60, 3),
        BYTES[::-1, ::-1],
        np.frombuffer(BYTES.tobytes(), np.uint8).reshape(60, 3),
    ],
    ids=range(11),
)
def test_layouts_and_dtypes(rows):
    like = np.array(rows, rows.dtype if rows.dtype == np.uint8 else float, order="C")
    assert_worked_on(rows, like)
    assert_worked_on(da.from_array(rows, (60, 3)), like)
