"""After fork(), as of a DataLoader: local data are read, other storage is refused, nothing waits for ever."""

from __future__ import annotations

import multiprocessing
import os
import time

import numpy as np
import pytest

import dkmeans
from dkmeans import KMeans
from dkmeans.errors import InputError, StorageError
from dkmeans.storage import arrays, forking
from dkmeans.storage.store import Store

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork() here"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

SECONDS = 20
"""A child that has not answered by then waits for what is gone."""


def in_a_child(function):
    """What `function` returns in a forked child, or its error."""

    def answer(pipe):
        try:
            pipe.send(function())
        except Exception as error:
            pipe.send(error)

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=answer, args=(theirs,))
    child.start()
    try:
        assert ours.poll(SECONDS), "the child waits for ever"
        found = ours.recv()
    finally:
        child.kill()
        child.join()
    if isinstance(found, Exception):
        raise found
    return found


@pytest.fixture(scope="module")
def dataset(photos, tmp_path_factory):
    url = str(tmp_path_factory.mktemp("forking") / "photos.zarr")
    dkmeans.ingest(
        dkmeans.IngestConfig(source=str(photos), dataset=url, patch=4),
        dkmeans.ClusterConfig(scheduler="sync"),
    )
    return dkmeans.open_dataset(url)


def test_a_local_dataset(dataset):
    pixels, index = dataset.pixels, dataset.index
    wanted = np.asarray(pixels[:50])
    np.testing.assert_array_equal(in_a_child(lambda: np.asarray(pixels[:50])), wanted)
    again = in_a_child(lambda: np.asarray(dkmeans.open_dataset(dataset.url).pixels[:50]))
    np.testing.assert_array_equal(again, wanted)
    assert in_a_child(lambda: dkmeans.open_dataset(dataset.url).index.names) == index.names
    nested = in_a_child(lambda: in_a_child(lambda: np.asarray(pixels[:50])))
    np.testing.assert_array_equal(nested, wanted)


def test_local_objects(dataset, tmp_path):
    def read():
        listed = Store(dataset.url).list()
        key = listed[0].key
        return (
            listed,
            Store(dataset.url).list("pixels"),
            Store(str(tmp_path / "none")).list(),
            Store(dataset.url).get(key),
            Store(dataset.url).get_range(key, 3, 7),
            Store(dataset.url).get_range(key, 1 << 40, 7),
            Store(dataset.url).head(key),
            Store(dataset.url).exists(key),
        )

    assert read() == in_a_child(read)
    with pytest.raises(InputError, match="not found while reading it"):
        in_a_child(lambda: Store(dataset.url).get("none"))


def test_other_storage_is_refused_with_the_remedy(tmp_path):
    Store("memory://forking").put("a", b"a")
    for call in (
        lambda: Store("memory://forking").get("a"),
        lambda: Store("s3://bucket/place").get("a"),
        lambda: dkmeans.open_dataset("s3://bucket/place"),
        lambda: Store(str(tmp_path)).put("a", b"a"),
    ):
        start = time.monotonic()
        with pytest.raises(StorageError, match=r"fork\(\).*'spawn' or 'forkserver'"):
            in_a_child(call)
        assert time.monotonic() - start < SECONDS / 2


def test_an_open_array_elsewhere_is_refused():
    url = "memory://forking/array"
    arrays.write_array(Store(url), "a", np.arange(5))
    array = arrays.open_array(Store(url), "a")
    with pytest.raises(StorageError, match=r"fork\(\)"):
        in_a_child(lambda: array[:])


def test_a_process_that_used_nothing_is_no_such_child(monkeypatch):
    """A fork server that has dkmeans imported, say."""
    monkeypatch.setattr(forking, "_users", set())
    assert in_a_child(forking.forked) is False
    assert in_a_child(lambda: Store("memory://forking").put("b", b"b")) is None
    assert not forking.forked()


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, float])
def test_an_estimator(n_jobs, dtype):
    rows = np.random.default_rng(0).integers(0, 256, (500, 3)).astype(dtype)
    model = KMeans(3, random_state=0, n_jobs=n_jobs).fit(rows)
    again = in_a_child(lambda: KMeans(3, random_state=0, n_jobs=n_jobs).fit(rows).inertia_)
    assert again == model.inertia_
    np.testing.assert_array_equal(in_a_child(lambda: model.predict(rows)), model.labels_)
