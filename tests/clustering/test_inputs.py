"""Arrays and weights that an estimator is given: worked on as they are, or refused with the remedy."""

from __future__ import annotations

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sparse
from clustering.edge import BYTES, FITTED, FLOATS, assert_worked_on, refused

from dkmeans import KMeans

pytestmark = pytest.mark.usefixtures("threads")


def test_chunks_that_turn_out_empty():
    lazy = da.from_array(FLOATS, (20, 3))
    nothing = lazy[lazy[:, 0] > 1000]
    refused(nothing, r"0 sample\(s\)", of=("fit", "score"))
    assert FITTED.predict(nothing).compute().shape == (0,)
    refused(lazy[:, lazy[0] > -1000], r"known number of columns.*compute_chunk_sizes")


def test_what_would_be_gathered_or_stripped():
    frame = dd.from_pandas(pd.DataFrame(FLOATS), npartitions=2)
    refused(frame, r"DataFrame.*X\.to_dask_array\(lengths=True\)")
    assert_worked_on(frame.to_dask_array(lengths=True), FLOATS)
    refused(dask.delayed(FLOATS), "expected an array of Dask")
    refused(sparse.COO.from_numpy(FLOATS), r"Pass X\.todense")
    refused(da.from_array(FLOATS, (20, 3)).map_blocks(sparse.COO), "expected blocks of NumPy")


@pytest.mark.parametrize(
    "rows", [FLOATS, BYTES, da.from_array(FLOATS, (20, 3))], ids=["floats", "bytes", "dask"]
)
def test_weights_that_are_not_what_they_seem(rows):
    ones = np.ones(60)
    lazy = da.from_array(ones, 20)

    def declared(make, dtype=float):
        return da.map_blocks(make, lazy, dtype=dtype, meta=np.empty(0, dtype))

    masked = np.ma.masked_array(ones, np.arange(60) == 50)
    for weights, match in [
        (masked, "sample_weight: found masked values"),
        (da.from_array(masked, 20), "masked values"),
        (da.from_array(masked, 7), "masked values"),
        (declared(lambda block: block / 2, int), "a block of float64, the Dask array declares int64"),
        (declared(lambda block: block[:-1]), r"a block of shape \(19,\)"),
        (declared(sparse.COO.from_numpy), "a block of the type sparse"),
        (dd.from_pandas(pd.Series(ones), npartitions=2), "to_dask_array"),
        (lazy * np.nan, "NaN"),
        (ones * 1e200, "1e-60 to 1e[+]60. Scale your weights"),
        (lazy * 1e-200, "1e-60 to 1e[+]60. Scale your weights"),
    ]:
        for call in (KMeans(3, random_state=0).fit, FITTED.score):
            with pytest.raises(ValueError, match=match):
                call(rows, sample_weight=weights)
    kept = lazy[lazy > 0]  # of unknown chunks
    assert FITTED.score(rows, sample_weight=kept) == FITTED.score(rows, sample_weight=ones)
