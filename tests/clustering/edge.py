"""Rows at the edge of what the estimator takes: worked on as they are, or refused by all that takes rows."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from dkmeans import KMeans

__all__ = ["BYTES", "FITTED", "FLOATS", "assert_worked_on", "blocks", "calls", "refused"]

FLOATS = np.random.default_rng(0).normal(5, 1, (60, 3))
BYTES = (FLOATS * 20).astype(np.uint8)
FITTED = KMeans(3, random_state=0).fit(FLOATS)


def blocks(make, dtype=float):
    """A Dask array whose last block is not what the array says."""

    def block(values, block_id=None):
        return make(values) if block_id == (2, 0) else values.astype(dtype)

    return da.map_blocks(block, da.from_array(FLOATS, (20, 3)), dtype=dtype, meta=np.empty((0, 0), dtype))


def calls(rows):
    """All that takes rows; what is lazy is computed."""
    return {
        "fit": lambda: KMeans(3, random_state=0).fit(rows),
        "predict": lambda: np.asarray(FITTED.predict(rows)),
        "transform": lambda: np.asarray(FITTED.transform(rows)),
        "score": lambda: FITTED.score(rows),
    }


def refused(rows, match, of=("fit", "predict", "transform", "score")):
    for name in of:
        with pytest.raises(ValueError, match=match):
            calls(rows)[name]()


def assert_worked_on(rows, like):
    """`rows` give what the plain array `like` gives, and nothing that they give contradicts the rest."""
    model, expected = (KMeans(3, random_state=0).fit(given) for given in (rows, like))
    single = rows.dtype == np.float32
    near = {"rtol": 1e-6, "atol": 5e-45} if single else {"rtol": 1e-12}  # centers are rounded to float32 then
    np.testing.assert_array_equal(np.asarray(model.labels_), expected.labels_)
    np.testing.assert_allclose(model.cluster_centers_, expected.cluster_centers_, **near)
    assert model.inertia_ == pytest.approx(expected.inertia_, rel=1e-6 if single else 1e-12)
    assert model.score(rows) == pytest.approx(-model.inertia_, rel=1e-12)
    np.testing.assert_array_equal(np.asarray(model.predict(rows)), expected.labels_)
    np.testing.assert_allclose(
        np.asarray(model.transform(rows)), expected.transform(like), rtol=1e-6, atol=5e-45
    )
