"""A user's Zarr array: found where its rows are read and read whole, or an error; no silent fill values."""

from __future__ import annotations

import os
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import obstore.store
import pytest
import zarr
from sklearn.exceptions import ConvergenceWarning
from zarr.storage import (
    FsspecStore,
    LocalStore,
    LoggingStore,
    MemoryStore,
    ObjectStore,
    WrapperStore,
    ZipStore,
)

from dkmeans import KMeans
from dkmeans.clustering.stored import StoredRows
from dkmeans.errors import StorageError

ROWS = (np.arange(120).reshape(40, 3) * 2 + 1).astype(np.uint8)
FITTED = KMeans(3, random_state=0).fit(ROWS)
LAYOUTS = [
    {},
    {"zarr_format": 2},
    {"shards": (20, 3)},
    {"compressors": None},
    {"zarr_format": 2, "dtype": ">f8", "fill_value": np.nan},
    {"dtype": "f8", "fill_value": np.nan, "chunks": (10, 2)},
]


def written(store, **options):
    given = {"shape": ROWS.shape, "dtype": "u1", "chunks": (10, 3), **options}
    array = zarr.create_array(store, **given)
    array[:] = ROWS
    return array


def results(rows):
    """What everything that takes rows makes of them, in one array."""
    model = KMeans(3, random_state=0).fit(rows)
    parts = [model.labels_, FITTED.predict(rows), FITTED.transform(rows), model.cluster_centers_]
    numbers = [model.inertia_, FITTED.score(rows)]
    return np.concatenate([np.asarray(part, float).ravel() for part in (*parts, numbers)])


WANTED = results(ROWS)


def refused(rows, match, error=ValueError):
    for call in (KMeans(3, random_state=0).fit, FITTED.predict, FITTED.transform, FITTED.score):
        with pytest.raises(error, match=match):
            np.asarray(call(rows))


def chunk_files(place):
    files = (path for path in Path(place).rglob("*") if path.is_file())
    return sorted(path for path in files if "zarr.json" not in path.name and path.name[:2] != ".z")


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_layouts(tmp_path, layout):
    array = written(tmp_path / "a.zarr", **layout)
    reopened = zarr.open_array(tmp_path / "a.zarr", mode="r")
    reopened_as_object = zarr.open_array(ObjectStore(obstore.store.LocalStore(tmp_path / "a.zarr")), mode="r")
    as_numpy = results(array[:])
    for given in (array, reopened, reopened_as_object):
        np.testing.assert_allclose(results(given), as_numpy)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:-2], lambda data: data + b"xx"],
    ids=["empty", "cut", "long"],
)
def test_damaged_chunks_are_named(tmp_path, layout, damage):
    array = written(tmp_path / "a.zarr", **layout)
    file = chunk_files(tmp_path / "a.zarr")[1]
    file.write_bytes(damage(file.read_bytes()))
    key = file.relative_to(tmp_path / "a.zarr")
    refused(array, rf"X: the chunk {key} of the Zarr array file://{tmp_path}/a.zarr is damaged")


@pytest.mark.parametrize("cut", [1, 30, 40])
def test_a_shard_that_ends_before_its_last_chunk(tmp_path, cut):
    """Its index, at the start, is whole; of a chunk of which nothing is left Zarr gives the fill value."""
    codec = zarr.codecs.ShardingCodec(
        chunk_shape=(10, 3), codecs=[zarr.codecs.BytesCodec()], index_location="start"
    )
    array = written(tmp_path / "a.zarr", chunks=(40, 3), serializer=codec, compressors=None, filters=None)
    (file,) = chunk_files(tmp_path / "a.zarr")
    file.write_bytes(file.read_bytes()[:-cut])
    refused(array, "the chunk c/0/0 of the Zarr array .* is damaged")
    np.testing.assert_array_equal(StoredRows(array, "X").read(0, 20), ROWS[:20])
    with pytest.raises(ValueError, match=r"the chunk c/0/0 .* is damaged"):
        StoredRows(array, "X").read(30, 40)


@pytest.mark.parametrize("layout", LAYOUTS[:3], ids=str)
def test_chunks_that_were_never_written(tmp_path, layout):
    array = zarr.create_array(
        tmp_path / "a.zarr", **{"shape": (40, 3), "chunks": (10, 3), "dtype": "u1", "fill_value": 7, **layout}
    )
    with pytest.warns(ConvergenceWarning, match="distinct clusters"):
        np.testing.assert_array_equal(KMeans(3).fit(array).cluster_centers_, np.full((3, 3), 7))
    array[:10] = ROWS[:10]
    np.testing.assert_allclose(
        results(array), results(np.concatenate([ROWS[:10], np.full((30, 3), 7, "u1")]))
    )


def test_an_array_that_is_gone_or_another(tmp_path):
    array = written(tmp_path / "a.zarr")
    (tmp_path / "a.zarr").rename(tmp_path / "b.zarr")
    refused(array, r"X: found no Zarr array at .*a\.zarr on .*all workers have, or pass X\[:\]")
    np.testing.assert_array_equal(results(array := zarr.open_array(tmp_path / "b.zarr")), WANTED)
    zarr.open_array(tmp_path / "b.zarr", mode="a").attrs["note"] = "the rows are the same"
    np.testing.assert_array_equal(results(array), WANTED)
    written(tmp_path / "b.zarr", chunks=(20, 3), overwrite=True)
    refused(array, "is another one: found uint8 of shape .* Open it again")
    (tmp_path / "b.zarr" / "zarr.json").write_bytes(b"")
    refused(array, "the metadata of the Zarr array .* is damaged")


def test_workers_with_another_working_directory(tmp_path, workers, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = written("a.zarr")
    Path("link.zarr").symlink_to("a.zarr")
    elsewhere = zarr.open_array("link.zarr", mode="r")
    Path("link.zarr").unlink()
    with workers.client.as_current(), dask.config.set(scheduler=workers.client):
        assert set(workers.client.run(os.getcwd).values()) != {str(tmp_path)}
        np.testing.assert_array_equal(results(array), WANTED)
        with pytest.raises(ValueError, match=r"found no Zarr array at .*link\.zarr"):
            KMeans(3).fit(elsewhere)


class Broken(WrapperStore):
    """A store whose chunks cannot be reached."""

    async def get(self, key, *arguments, **options):
        if "/c/" in f"/{key}":
            raise OSError("connection reset")
        return await super().get(key, *arguments, **options)


def test_storage_that_fails_is_no_damage():
    array = written(MemoryStore())
    broken = zarr.open_array(Broken(array.store), mode="r+")  # zarr 3.1.5 wraps none that is read only anew
    refused(broken, "reading c/./0 .*connection reset", StorageError)


@pytest.mark.parametrize("kind", ["zarr", "obstore", "fsspec", "wrapped"])
def test_an_array_in_memory_is_worked_on_where_it_is(workers, kind):
    stores = {
        "zarr": MemoryStore,
        "obstore": lambda: ObjectStore(obstore.store.MemoryStore()),
        "fsspec": lambda: FsspecStore.from_url("memory://test_stored"),
        "wrapped": lambda: LoggingStore(MemoryStore()),
    }
    array = written(stores[kind](), overwrite=True)
    with workers.client.as_current(), dask.config.set(scheduler=workers.client):
        labels = KMeans(3, random_state=0).fit(array).labels_
        assert isinstance(labels, da.Array)
        np.testing.assert_array_equal(labels.compute(), FITTED.labels_)
        np.testing.assert_array_equal(results(array), WANTED)


def test_a_zip_file(tmp_path, workers):
    with ZipStore(tmp_path / "a.zip", mode="w") as store:
        written(store)
    array = zarr.open_array(ZipStore(tmp_path / "a.zip", mode="r"), mode="r")
    np.testing.assert_array_equal(results(array), WANTED)
    with workers.client.as_current(), dask.config.set(scheduler=workers.client):
        np.testing.assert_array_equal(results(array), WANTED)


def test_weights(tmp_path):
    weights = zarr.create_array(tmp_path / "w.zarr", shape=(40,), chunks=(10,), dtype="f8")
    weights[:] = np.arange(40) % 3
    expected = KMeans(3, random_state=0).fit(ROWS, sample_weight=weights[:])
    found = KMeans(3, random_state=0).fit(written(tmp_path / "a.zarr"), sample_weight=weights)
    assert found.inertia_ == expected.inertia_
    (tmp_path / "w.zarr" / "c" / "1").write_bytes(b"")
    with pytest.raises(ValueError, match=r"sample_weight: the chunk c/1 of the Zarr array .* is damaged"):
        KMeans(3).fit(ROWS, sample_weight=weights)
    (tmp_path / "w.zarr").rename(tmp_path / "gone")
    with pytest.raises(ValueError, match="sample_weight: found no Zarr array"):
        FITTED.score(ROWS, sample_weight=weights)


def test_numbers_out_of_range(tmp_path):
    array = zarr.create_array(LocalStore(tmp_path / "a"), shape=(40, 3), chunks=(10, 3), dtype="f8")
    array[:] = ROWS * 1e160
    refused(array, "Scale your data")
