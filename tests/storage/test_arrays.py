"""Arrays: whole shards or none, and nothing of zarr's that would show them before their time."""

import uuid

import numpy as np
import pytest
import zarr

from dkmeans.errors import InputError, StorageError
from dkmeans.plan import RowLayout
from dkmeans.storage import arrays, checksums
from dkmeans.storage.store import Store


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    """A place for arrays that does not exist yet."""
    return str(tmp_path / "place") if request.param == "local" else f"memory://{uuid.uuid4().hex}/place"


def make_array(url, name="rows", n_rows=10, dtype=np.uint8):
    return arrays.create_array(Store(url), name, shape=(n_rows, 3), dtype=dtype, chunks=(2, 3), shards=(4, 3))


def values(n_rows=10):
    return np.arange(3 * n_rows, dtype=np.uint8).reshape(n_rows, 3)


def test_arrays_come_back(url):
    make_array(url)
    array = arrays.open_array(Store(url), "rows")
    assert (array.shape, array.dtype, array.chunks, array.shards) == ((10, 3), np.uint8, (2, 3), (4, 3))
    assert arrays.row_layout(array) == RowLayout(2, 4)
    for start in (8, 0, 4):
        arrays.write_rows(Store(url), "rows", start, values()[start : start + 4])
    np.testing.assert_array_equal(arrays.open_array(Store(url), "rows")[:], values())
    plain = arrays.create_array(Store(url), "deep/plain", shape=(5,), dtype=np.int64)
    assert arrays.row_layout(plain) == RowLayout(5, 5)
    plain[:] = np.arange(5)
    np.testing.assert_array_equal(arrays.open_array(Store(url), "deep/plain")[:], np.arange(5))


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_empty_arrays(url, shape):
    array = arrays.create_array(Store(url), "none", shape=shape, dtype=np.uint16)
    assert array.shape == shape
    assert arrays.open_array(Store(url), "none")[:].shape == shape


def test_strings(url):
    names = np.array(["a", "", "é/ü", "x" * 300], dtype=np.dtypes.StringDType())
    arrays.create_array(Store(url), "name", shape=(4,), dtype="string")[:] = names
    assert arrays.open_array(Store(url), "name")[:].tolist() == names.tolist()


def test_an_array_does_not_make_the_groups_above_it_visible(tmp_path):
    url = str(tmp_path / "place")
    make_array(url, "images/deep/rows")
    assert [found.key for found in Store(url).list()] == ["images/deep/rows/zarr.json"]
    for folder in ("", "images", "images/deep"):
        with pytest.raises(FileNotFoundError):
            zarr.open_group(tmp_path / "place" / folder, mode="r")


def test_creating_the_same_array_again_keeps_its_rows(url):
    make_array(url)
    arrays.write_rows(Store(url), "rows", 0, values()[:4])
    make_array(url)
    np.testing.assert_array_equal(arrays.read_rows(Store(url), "rows", 0, 4), values()[:4])
    before = Store(url).list()
    for change in ({"n_rows": 11}, {"dtype": np.uint16}):
        with pytest.raises(StorageError, match=r"the array 'rows' is already there .* --overwrite"):
            make_array(url, **change)
    with pytest.raises(StorageError, match="another shape or chunks"):
        arrays.create_array(Store(url), "rows", shape=(10, 3), dtype=np.uint8, chunks=(1, 3), shards=(4, 3))
    assert Store(url).list() == before


@pytest.mark.parametrize(
    ("start", "n_rows"),
    [(1, 4), (2, 2), (0, 3), (0, 6), (4, 5), (9, 1), (0, 11), (8, 4)],
)
def test_misaligned_rows_are_refused(url, start, n_rows):
    make_array(url)
    with pytest.raises(ValueError, match=f"rows: rows {start}:{start + n_rows} do not fill shards of 4 rows"):
        arrays.write_rows(Store(url), "rows", start, np.ones((n_rows, 3), np.uint8))
    assert arrays.finished_shards(Store(url), "rows") == set()


def test_finished_shards_are_those_in_storage(url):
    make_array(url)
    make_array(url, "rows2")
    assert arrays.finished_shards(Store(url), "rows") == set()
    assert arrays.finished_shards(Store(url), "none") == set()
    arrays.write_rows(Store(url), "rows", 8, values()[8:])
    assert arrays.finished_shards(Store(url), "rows") == {2}
    arrays.write_rows(Store(url), "rows", 0, np.zeros((4, 3), np.uint8))  # zeros are written all the same
    assert arrays.finished_shards(Store(url), "rows") == {0, 2}
    assert arrays.finished_shards(Store(url), "rows2") == set()
    arrays.write_rows(Store(url), "rows2", 0, values())
    assert arrays.finished_shards(Store(url), "rows2") == {0, 1, 2}
    line = arrays.create_array(Store(url), "line", shape=(5,), dtype=np.int64, chunks=(2,))
    line[2:4] = 0
    assert arrays.finished_shards(Store(url), "line") == {1}


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"zarr_format": 3, "node_type": "array"}',
        b'{"zarr_format":3,"node_type":"group"}',
    ],
)
def test_damaged_metadata_of_an_array(url, metadata):
    Store(url).put("rows/zarr.json", metadata)
    with pytest.raises(InputError, match=r"zarr\.json of the array rows is damaged: .* --overwrite"):
        arrays.open_array(Store(url), "rows")


def test_rows_are_read_by_range(url):
    make_array(url)
    arrays.write_rows(Store(url), "rows", 0, values())
    np.testing.assert_array_equal(arrays.read_rows(Store(url), "rows"), values())
    np.testing.assert_array_equal(arrays.read_rows(Store(url), "rows", 3, 9), values()[3:9])
    assert arrays.read_rows(Store(url), "rows", 4, 4).shape == (0, 3)


@pytest.mark.parametrize(
    "written",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(3, dtype=np.int64),
        np.zeros((0, 4), np.uint8),
        np.array(["a", "bü/c.png"], dtype=np.dtypes.StringDType()),
        np.array([], dtype=np.dtypes.StringDType()),
    ],
)
def test_an_array_is_written_at_once(url, written):
    arrays.write_array(Store(url), "deep/one", written)
    found = arrays.read_rows(Store(url), "deep/one")
    assert found.dtype == written.dtype
    assert found.shape == written.shape
    assert found.tolist() == written.tolist()


def test_a_shard_that_is_gone_is_noticed(url):
    make_array(url)
    arrays.write_rows(Store(url), "rows", 0, values())
    arrays.check_whole(Store(url), "rows")
    Store(url).delete(["rows/c/1/0"])
    with pytest.raises(
        InputError, match=r"1 of 3 shards of rows are gone or empty, the first is c/1/0\..*--overwrite"
    ):
        arrays.check_whole(Store(url), "rows")


def test_an_array_grows_and_its_last_shards_are_cut_off(url):
    store = Store(url)
    make_array(url)
    for start in (0, 4, 8):
        arrays.write_rows(store, "rows", start, values()[start : start + 4])
    with pytest.raises(StorageError, match="another shape"):
        make_array(url, n_rows=13)
    arrays.cut_shards(store, "rows", 2)
    assert arrays.finished_shards(store, "rows") == {0, 1}
    layout = {"shape": (13, 3), "dtype": np.uint8, "chunks": (2, 3), "shards": (4, 3)}
    arrays.create_array(store, "rows", **layout, resize=True)
    np.testing.assert_array_equal(arrays.read_rows(store, "rows", 0, 8), values()[:8])
    with pytest.raises(InputError):
        arrays.read_rows(store, "rows", 0, 9)
    arrays.write_rows(store, "rows", 8, values(13)[8:12])
    arrays.write_rows(store, "rows", 12, values(13)[12:])
    np.testing.assert_array_equal(arrays.read_rows(store, "rows"), values(13))
    for name, other in (("dtype", np.uint16), ("chunks", (4, 3))):
        with pytest.raises(StorageError, match="another shape or chunks"):
            arrays.create_array(store, "rows", **{**layout, name: other, "shape": (20, 3)}, resize=True)


def test_a_sealed_array_that_grows_is_no_longer_sealed(url):
    store = Store(url)
    make_array(url, n_rows=4)
    arrays.write_rows(store, "rows", 0, values(4))
    arrays.seal(store, "rows", checksums.of_chunks(values(4), 2))
    arrays.create_array(
        store, "rows", shape=(8, 3), dtype=np.uint8, chunks=(2, 3), shards=(4, 3), resize=True
    )
    assert arrays.table_of(arrays.open_array(store, "rows")) is None
