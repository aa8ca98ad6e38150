"""Arrays and weights that an estimator is given: worked on as they are, or refused with the remedy."""

from __future__ import annotations

import asyncio

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sparse
import xarray as xr
import zarr
from clustering.edge import BYTES, FITTED, FLOATS, assert_worked_on, blocks, refused
from clustering.fits import assert_same_fit

from dkmeans import KMeans
from dkmeans.errors import ClusterError


def test_chunks_that_turn_out_empty():
    lazy = da.from_array(FLOATS, (20, 3))
    nothing = lazy[lazy[:, 0] > 1000]
    refused(nothing, r"0 sample\(s\)", of=("fit", "score"))
    assert FITTED.predict(nothing).compute().shape == (0,)
    refused(lazy[:, lazy[0] > -1000], r"known number of columns.*compute_chunk_sizes")


def test_what_would_be_gathered_or_stripped():
    lazy = da.from_array(FLOATS, (20, 3))
    refused(dask.delayed(FLOATS), "expected an array or a DataFrame of Dask")
    refused(db.from_sequence(FLOATS.tolist()), "found dask.bag.core.Bag; expected an array or a DataFrame")
    refused(xr.DataArray(lazy), r"found xarray.*Pass X\.data\.")
    refused(sparse.COO.from_numpy(FLOATS), r"Pass X\.todense")
    for make, method in [(sparse.COO, "todense"), (scipy.sparse.csr_array, "toarray")]:
        of_sparse = lazy.map_blocks(make)
        refused(
            of_sparse, rf"expected blocks of NumPy.*X\.map_blocks\(lambda block: block\.{method}\(\), dtype=X"
        )
        dense = of_sparse.map_blocks(lambda block, name=method: getattr(block, name)(), dtype=of_sparse.dtype)
        assert_worked_on(dense, FLOATS)
    refused(blocks(scipy.sparse.csr_array), "found a block of the type scipy.sparse")


def test_what_is_no_array(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    refused(group, "found a Zarr group; expected one of its arrays: it has none")
    group.create_array("pixels", data=BYTES)
    group.create_array("centers", data=FLOATS)
    refused(group, r"its arrays: centers, pixels\. Pass X\[\.\.\.\]")
    for value in (
        "s3://bucket/photos.zarr",
        tmp_path,
        {"a": [1.0, 2.0]},
        {1.0, 2.0},
        map(list, FLOATS),
        xr.Dataset({"a": ("row", FLOATS[:, 0])}),
        object(),
    ):
        refused(value, r"expected an array of numbers\. Open what it stands for")
    refused(FLOATS.reshape(5, 4, 9), r"found shape \(5, 4, 9\); expected .*X\.reshape\(-1, X\.shape\[-1\]\)")


class Tensor:
    """What NumPy sees of a tensor of PyTorch."""

    def __init__(self, values):
        self.values, self.shape, self.ndim, self.dtype = values, values.shape, values.ndim, "torch.float64"

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype, copy=copy)


def test_what_numpy_makes_an_array_of():
    fitted = KMeans(3, random_state=0).fit(FLOATS)
    for rows in (Tensor(FLOATS), FLOATS.astype(object), FLOATS.tolist(), memoryview(FLOATS)):
        assert_same_fit(KMeans(3, random_state=0).fit(rows), fitted)
        np.testing.assert_array_equal(fitted.predict(rows), fitted.labels_)
    refused(FLOATS.astype(str), "bytes/strings")
    refused([["a", "b"], ["c", "d"]], "bytes/strings")
    refused(np.array([["a"], ["b"]], object), "could not convert string")


# Tables of Dask


def table(columns="abc"):
    return pd.DataFrame(FLOATS, columns=list(columns), index=np.arange(60) // 2)


def test_a_table_of_dask_is_worked_on_by_block():
    lazy = dd.from_pandas(table(), npartitions=3, sort=True)
    sizes = tuple(len(part) for part in lazy.partitions)
    model, expected = (
        KMeans(3, random_state=0).fit(rows) for rows in (lazy, da.from_array(FLOATS, (sizes, 3)))
    )
    assert isinstance(model.labels_, da.Array)
    np.testing.assert_array_equal(model.labels_.compute(), expected.labels_.compute())
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
    assert model.inertia_ == expected.inertia_
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(model.predict(table()), expected.labels_.compute())
    np.testing.assert_array_equal(model.predict(lazy).compute(), model.predict(table()))
    np.testing.assert_array_equal(model.transform(lazy).compute(), model.transform(table()))
    assert model.score(lazy) == expected.score(da.from_array(FLOATS, (sizes, 3)))


def test_names_of_columns_are_those_of_scikit_learn():
    lazy = dd.from_pandas(table(), npartitions=2)
    model, theirs = KMeans(3, random_state=0).fit(lazy), KMeans(3, random_state=0).fit(table())
    for other in ("acb", "abd"):
        messages = []
        for fitted, rows in [(model, dd.from_pandas(table(other), npartitions=2)), (theirs, table(other))]:
            with pytest.raises(ValueError, match="feature names") as found:
                fitted.predict(rows)
            messages.append(str(found.value))
        assert messages[0] == messages[1]
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(FLOATS)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(lazy[["a", "b"]])
    assert not hasattr(model.fit(dd.from_pandas(pd.DataFrame(FLOATS), npartitions=2)), "feature_names_in_")


def test_tables_that_cannot_be_rows():
    words = table().assign(b="word")
    refused(dd.from_pandas(words, npartitions=2), r"expected real numbers\. Convert them first", of=("fit",))
    refused(dd.from_pandas(table()["a"], npartitions=2), r"found shape \(nan,\)", of=("fit",))
    holes = dd.from_pandas(table().mask(FLOATS > 6), npartitions=2)
    refused(holes, "contains NaN", of=("fit",))


def test_a_column_as_weights():
    frame = table().assign(w=np.arange(60) % 4)
    lazy = dd.from_pandas(frame, npartitions=3)
    model = KMeans(3, init=FLOATS[:3]).fit(lazy[["a", "b", "c"]], sample_weight=lazy["w"])
    expected = KMeans(3, init=FLOATS[:3]).fit(FLOATS, sample_weight=frame["w"].to_numpy())
    np.testing.assert_allclose(model.cluster_centers_, expected.cluster_centers_, rtol=1e-12)
    np.testing.assert_array_equal(model.labels_.compute(), expected.labels_)


# Clients of Dask that do not wait


def test_an_asynchronous_client():
    distributed = pytest.importorskip("distributed")
    lazy = da.from_array(FLOATS, (20, 3))

    async def fits():
        client = distributed.Client(processes=False, asynchronous=True, dashboard_address=None)
        async with client:
            with dask.config.set(scheduler=None):
                for call in (lambda: KMeans(3).fit(lazy), lambda: FITTED.predict(lazy)):
                    with pytest.raises(ClusterError, match=r"asynchronous client.*Connect another"):
                        call()
                in_memory = KMeans(3, random_state=0).fit(FLOATS)
            with dask.config.set(scheduler="threads"):  # what the message advises
                return in_memory, KMeans(3, random_state=0).fit(lazy)

    in_memory, here = asyncio.run(fits())
    assert_same_fit(in_memory, FITTED)
    np.testing.assert_allclose(here.cluster_centers_, FITTED.cluster_centers_, rtol=1e-12)


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
        (db.from_sequence(ones.tolist()), "expected an array or a DataFrame of Dask"),
        (lazy * np.nan, "NaN"),
        (ones * 1e200, "1e-60 to 1e[+]60. Scale your weights"),
        (lazy * 1e-200, "1e-60 to 1e[+]60. Scale your weights"),
    ]:
        for call in (KMeans(3, random_state=0).fit, FITTED.score):
            with pytest.raises(ValueError, match=match):
                call(rows, sample_weight=weights)
    kept = lazy[lazy > 0]  # of unknown chunks
    assert FITTED.score(rows, sample_weight=kept) == FITTED.score(rows, sample_weight=ones)
