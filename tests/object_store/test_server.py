"""The S3 server, what can happen to it, and how obstore takes each fault on the way to it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import obstore
import pytest
from object_store.proxy import FaultyProxy
from object_store.server import object_store
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import S3Store

from dkmeans.errors import StorageError
from dkmeans.storage.store import Store, StoredObject

SOON = {"init_backoff": timedelta(milliseconds=10), "max_backoff": timedelta(milliseconds=50), "base": 2}


@pytest.fixture
def proxy(s3):
    with FaultyProxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def store(s3, s3_url, proxy):
    """The place `s3_url` by way of the proxy."""
    return S3Store(
        s3.bucket,
        prefix=s3_url.rpartition("/")[2],
        config=s3.options() | {"endpoint": proxy.endpoint},
        client_options={"allow_http": True},
        retry_config={"max_retries": 3, "backoff": SOON},
    )


def first(method, fault):
    """A plan that harms the first request, which must be a `method`."""

    def plan(called, path, number):
        assert called == method or number > 0
        return fault if number == 0 else None

    return plan


# The server


def test_objects_are_written_listed_read_and_deleted(s3_url):
    assert Store(s3_url).list() == []
    Store(s3_url).put("a/b.bin", bytes(range(100)))
    Store(s3_url).put("c", b"")
    assert Store(s3_url).list() == [StoredObject("a/b.bin", 100), StoredObject("c", 0)]
    assert Store(s3_url).list("a") == [StoredObject("a/b.bin", 100)]
    assert Store(s3_url).exists("c")
    assert not Store(s3_url).exists("a")
    assert Store(s3_url).get("a/b.bin") == bytes(range(100))
    assert Store(s3_url).get_range("a/b.bin", 90, 20) == bytes(range(90, 100))
    assert Store(s3_url).get_range("a/b.bin", 100, 20) == b""
    Store(s3_url).delete(["a/b.bin", "c", "never"])
    assert Store(s3_url).list() == []


def test_of_many_creators_exactly_one_wins(s3_url):
    barrier = threading.Barrier(8)

    def create(number):
        barrier.wait()
        return Store(s3_url).create("claim", b"%d" % number)

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(create, range(8)))
    assert won.count(True) == 1
    assert Store(s3_url).get("claim") == b"%d" % won.index(True)


def test_a_wrong_secret_is_refused(s3, s3_url, monkeypatch):
    if s3.kind == "moto":
        pytest.skip("moto accepts any secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="permission denied"):
        Store(s3_url).put("a", b"a")


def test_a_paused_server_answers_when_it_goes_on(s3, s3_url):
    Store(s3_url).put("a", b"a")
    s3.pause()
    try:
        with ThreadPoolExecutor(1) as thread:
            read = thread.submit(Store(s3_url).get, "a")
            time.sleep(0.3)
            assert not read.done()
            s3.go_on()
            assert read.result(timeout=60) == b"a"
    finally:
        s3.go_on()


def test_objects_outlive_a_crash_of_the_gateway(s3, s3_url):
    if not s3.keeps_data:
        pytest.skip(f"{s3.kind} keeps nothing")
    Store(s3_url).put("a", b"a")
    s3.restart()
    assert Store(s3_url).get("a") == b"a"


def test_a_writer_waits_for_a_gateway_that_comes_back(s3, s3_url):
    if not s3.keeps_data:
        pytest.skip(f"{s3.kind} comes back without its bucket")
    with ThreadPoolExecutor(1) as thread:
        s3.kill()
        try:
            written = thread.submit(Store(s3_url).put, "a", b"a")
            time.sleep(0.3)
            waits = not written.done()
        finally:
            s3.restart()
        written.result(timeout=60)
    assert waits
    assert Store(s3_url).get("a") == b"a"


def test_moto_stands_in_for_ceph(tmp_path, monkeypatch):
    with object_store(tmp_path, "moto") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        url = f"s3://{server.bucket}/place"
        assert Store(url).create("a", b"a")
        assert not Store(url).create("a", b"b")
        assert Store(url).list() == [StoredObject("a", 1)]
        server.restart()
        assert Store(url).list() == []


# Faults on the way


def test_what_has_no_fault_passes_unchanged(store, proxy):
    data = bytes(range(256)) * 1000
    obstore.put(store, "a", data)
    assert obstore.get(store, "a").bytes() == data
    assert obstore.get_range(store, "a", start=255, length=2) == b"\xff\x00"
    assert obstore.head(store, "a")["size"] == len(data)
    assert [meta["path"] for meta in obstore.list(store).collect()] == ["a"]
    obstore.put(store, "parts", b"x" * (6 << 20), use_multipart=True, chunk_size=5 << 20)
    assert obstore.head(store, "parts")["size"] == 6 << 20
    obstore.delete(store, "a")
    assert proxy.n_requests >= 6
    assert proxy.n_faults == 0


READ = {
    "get": lambda store: obstore.get(store, "a").bytes() == b"abcdef",
    "range": lambda store: obstore.get_range(store, "a", start=1, length=4) == b"bcde",
    "head": lambda store: obstore.head(store, "a")["size"] == 6,
    "list": lambda store: len(obstore.list(store).collect()) == 1,
}


@pytest.mark.parametrize("fault", ["503", "503 after", "reset", "lost", "slow"])
@pytest.mark.parametrize("read", READ)
def test_reading_survives_one_fault(read, fault, store, proxy):
    proxy.delay = 0.2
    obstore.put(store, "a", b"abcdef")
    proxy.plan(first("HEAD" if read == "head" else "GET", fault))
    assert READ[read](store)
    assert proxy.n_faults == 1
    assert proxy.n_requests == (1 if fault == "slow" else 2)


@pytest.mark.parametrize("read", ["get", "range"])
def test_a_body_that_breaks_off_is_read_on(read, store, proxy):
    obstore.put(store, "a", b"abcdef")
    proxy.plan(first("GET", "cut"))
    assert READ[read](store)
    assert proxy.n_requests == 2


def test_a_list_that_breaks_off_is_an_error(store, proxy):
    obstore.put(store, "a", b"abcdef")
    proxy.plan(first("GET", "cut"))
    with pytest.raises(GenericError, match="Error getting list response body"):
        obstore.list(store).collect()
    assert proxy.n_requests == 1


@pytest.mark.parametrize("fault", ["503", "503 after", "reset", "lost"])
def test_overwriting_survives_one_fault(fault, store, proxy):
    proxy.plan(first("PUT", fault))
    obstore.put(store, "a", b"new")
    assert proxy.n_requests == 2
    assert obstore.get(store, "a").bytes() == b"new"


def test_creating_survives_a_503(store, proxy):
    proxy.plan(first("PUT", "503"))
    obstore.put(store, "a", b"new", mode="create")
    assert obstore.get(store, "a").bytes() == b"new"


@pytest.mark.parametrize(("fault", "created"), [("reset", False), ("lost", True)])
def test_creating_is_not_tried_again_after_a_reset(fault, created, store, proxy):
    """The error tells nothing about whether the object was created."""
    proxy.plan(first("PUT", fault))
    with pytest.raises(GenericError, match="HTTP error: error sending request"):
        obstore.put(store, "a", b"new", mode="create")
    assert proxy.n_requests == 1
    assert len(obstore.list(store).collect()) == created


def test_a_creator_whose_success_was_answered_503_takes_itself_for_another(store, proxy):
    proxy.plan(first("PUT", "503 after"))
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "a", b"new", mode="create")
    assert obstore.get(store, "a").bytes() == b"new"


@pytest.mark.parametrize("fault", ["reset", "lost"])
def test_deleting_is_not_tried_again_after_a_reset(fault, store, proxy):
    obstore.put(store, "a", b"")
    proxy.plan(first("POST", fault))
    with pytest.raises(GenericError, match="HTTP error: error sending request"):
        obstore.delete(store, "a")
    assert proxy.n_requests == 1


def test_a_fault_that_lasts_is_an_error(store, proxy):
    proxy.plan(lambda method, path, number: "503")
    with pytest.raises(GenericError, match="after 3 retries"):
        obstore.put(store, "a", b"new")
    assert proxy.n_requests == proxy.n_faults == 4


def test_others_go_on_while_a_request_waits(store, proxy):
    obstore.put(store, "a", b"abcdef")
    came, go = threading.Event(), threading.Event()

    def wait():
        came.set()
        assert go.wait(20)

    proxy.plan(lambda method, path, number: wait if method == "PUT" else None)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(obstore.put, store, "b", b"new")
        assert came.wait(20)
        assert READ["get"](store)
        assert not writing.done()
        go.set()
        writing.result(20)
    assert obstore.get(store, "b").bytes() == b"new"
    assert proxy.n_faults == 0
