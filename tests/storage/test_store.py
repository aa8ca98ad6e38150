"""Storage: objects, arrays, and every failure as an error of ours."""

import contextlib
import functools
import http.server
import os
import re
import shutil
import subprocess
import tempfile
import threading
import uuid
from pathlib import Path

import numpy as np
import obstore
import pytest

from dkmeans.errors import DkmeansError, InputError, StorageError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store, StoredObject
from dkmeans.storage.urls import check_key, is_local, resolve_url

NOBODY = 65534


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    """A place for objects that does not exist yet."""
    return str(tmp_path / "place") if request.param == "local" else f"memory://{uuid.uuid4().hex}/place"


# URLs and keys


@pytest.mark.parametrize(
    ("url", "local", "resolved"),
    [
        ("/data/x", True, "/data/x"),
        ("/data/x/", True, "/data/x"),
        ("file:///data/x", True, "/data/x"),
        ("s3://bucket/x/", False, "s3://bucket/x"),
        ("memory://x", False, "memory://x"),
    ],
)
def test_urls(url, local, resolved):
    assert is_local(url) == local
    assert resolve_url(url) == resolved


def test_local_urls_are_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert resolve_url("x/y") == str(tmp_path / "x" / "y")
    assert resolve_url("~/y") == "/home/someone/y"


def test_join_url():
    assert Store("s3://bucket/x/").url_of("a/b") == "s3://bucket/x/a/b"


@pytest.mark.parametrize("key", ["a", "a/b.png", ".hidden", "a..b", "...", "a b%20é", "a/..b"])
def test_keys_that_stay_inside(key):
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        *("", ".", "..", "../a", "a/../b", "a/..", "./a", "/", "/a", "a/", "a//b"),
        *("\\a", "..\\a", "a\\..\\b", "a\\", "a\\\\b"),
        *("a\0b", "a\nb", "a\x7f"),
    ],
)
def test_keys_that_do_not(key, url):
    calls = [
        lambda: check_key(key),
        lambda: Store(url).url_of(key),
        lambda: Store(url).exists(key),
        lambda: Store(url).get(key),
        lambda: Store(url).head(key),
        lambda: Store(url).get_range(key, 0, 1),
        lambda: Store(url).put(key, b""),
        lambda: Store(url).create(key, b""),
    ]
    Store(url).put("inside", b"")
    calls.append(lambda: Store(url).delete([key]))
    for call in calls:
        with pytest.raises(InputError, match=re.escape(f"the key {key!r}")) as caught:
            call()
        assert "Rename the image." in str(caught.value)
    assert Store(url).list() == [StoredObject("inside", 0)]


# Objects


def test_objects_come_back(url):
    assert Store(url).list() == []
    assert not Store(url).exists("a")
    listed = {"b/c/d": b"deep", "a": b"", "b/a": b"xyz", "bb": b"1", "a b%20é#?*": b"odd"}
    for key, data in listed.items():
        Store(url).put(key, data)
    assert Store(url).list() == sorted(
        (StoredObject(key, len(data)) for key, data in listed.items()), key=lambda found: found.key
    )
    assert [found.key for found in Store(url).list("b")] == ["b/a", "b/c/d"]
    assert Store(url).list("b/c/none") == []
    for key, data in listed.items():
        assert Store(url).exists(key)
        assert Store(url).get(key) == data
        assert Store(url).head(key) == len(data)
    assert not Store(url).exists("b")  # a folder is no object
    Store(url).put("a", b"new")
    assert Store(url).get("a") == b"new"
    Store(url).delete(["a", "b/c/d", "never there"])
    assert [found.key for found in Store(url).list()] == ["a b%20é#?*", "b/a", "bb"]


def test_places_beside_do_not_show(url):
    Store(url).put("a", b"1")
    Store(f"{url}2").put("b", b"2")
    assert [found.key for found in Store(url).list()] == ["a"]


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 3, b"012"),
        (2, 3, b"234"),
        (4, 1, b"4"),
        (3, 9, b"34"),  # fewer at the end
        (0, 99, b"01234"),
        (5, 1, b""),  # none behind it
        (6, 1, b""),
        (1 << 40, 1, b""),
        (0, 0, b""),
    ],
)
def test_ranges(url, start, length, expected):
    Store(url).put("a", b"01234")
    assert Store(url).get_range("a", start, length) == expected


def test_a_range_of_an_empty_object_and_of_none(url):
    Store(url).put("empty", b"")
    assert Store(url).get_range("empty", 0, 9) == b""
    with pytest.raises(InputError, match="not found"):
        Store(url).get_range("none", 0, 9)


def test_of_many_writers_exactly_one_creates(url):
    n_writers = 8
    for attempt in range(10):
        start = threading.Barrier(n_writers)
        won = [False] * n_writers

        def write(number, key=f"claim/{attempt}", start=start, won=won):
            start.wait()
            won[number] = Store(url).create(key, b"%d" % number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(n_writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(won) == 1
        assert Store(url).get(f"claim/{attempt}") == b"%d" % won.index(True)
    assert not Store(url).create("claim/0", b"late")


def test_delete_removes_folders_that_became_empty_and_nothing_else(tmp_path):
    url = str(tmp_path / "place")
    for key in ("a/b/c", "a/b/d", "e/f", "g"):
        Store(url).put(key, b"")
    Store(url).delete(["a/b/c"])
    assert (tmp_path / "place/a/b/d").is_file()
    Store(url).delete(["a/b/d", "g"])
    assert sorted(path.name for path in (tmp_path / "place").rglob("*")) == ["e", "f"]
    Store(url).delete([])
    Store(url).delete(["e/f"])
    assert list((tmp_path / "place").iterdir()) == []


def test_deleting_what_is_not_there_is_no_error(url):
    Store(url).delete(["a"])
    Store(url).delete([])
    assert Store(url).list() == []


def make_array(url, name="rows", n_rows=10, dtype=np.uint8):
    return arrays.create_array(Store(url), name, shape=(n_rows, 3), dtype=dtype, chunks=(2, 3), shards=(4, 3))


def values(n_rows=10):
    return np.arange(3 * n_rows, dtype=np.uint8).reshape(n_rows, 3)


# Failures


def every_call(url):
    """All functions that go to storage."""
    return {
        "list": lambda: Store(url).list(),
        "list below": lambda: Store(url).list("p"),
        "exists": lambda: Store(url).exists("a"),
        "read": lambda: Store(url).get("a"),
        "read if there": lambda: Store(url).get_or_none("a"),
        "size": lambda: Store(url).head("a"),
        "range": lambda: Store(url).get_range("a", 0, 3),
        "open": lambda: arrays.open_array(Store(url), "a"),
        "finished": lambda: arrays.finished_shards(Store(url), "a"),
        "write": lambda: Store(url).put("a", b""),
        "create": lambda: Store(url).create("a", b""),
        "delete": lambda: Store(url).delete(["a"]),
        "create array": lambda: arrays.create_array(Store(url), "a", shape=(3,), dtype=np.uint8),
        "write rows": lambda: arrays.write_rows(Store(url), "a", 0, np.zeros(3, np.uint8)),
    }


READS_OBJECT = ["read", "size", "range", "open", "write rows"]
WRITES = ["write", "create", "create array"]


@pytest.mark.parametrize("call", every_call(""))
@pytest.mark.parametrize("url", ["bogus://x", "s3://", "gs://", "az://", "http://"])
def test_a_url_that_means_nothing(url, call):
    with pytest.raises(StorageError, match=re.escape(url.rstrip("/"))) as caught:
        every_call(url)[call]()
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", READS_OBJECT)
def test_what_is_not_there_is_missing_input(url, call):
    with pytest.raises(InputError, match=r"not found while reading .*\. Check the path\."):
        every_call(url)[call]()  # not even the folder
    Store(url).put("b", b"")
    with pytest.raises(InputError, match=r"not found while reading .*\. Check the path\.") as caught:
        every_call(url)[call]()
    assert caught.value.exit_code == 3
    assert url in str(caught.value)


@pytest.mark.parametrize("below", ["file", "file/deeper", "file/deeper/still"])
@pytest.mark.parametrize("call", [*READS_OBJECT, *WRITES])
def test_a_part_of_the_path_is_a_file(tmp_path, below, call):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"a part of this path is a file, expected a folder\.") as caught:
        every_call(str(tmp_path / below))[call]()
    assert caught.value.exit_code == 4
    assert Store(str(tmp_path / below)).list() == []
    assert not Store(str(tmp_path / below)).exists("a")


@contextlib.contextmanager
def unprivileged(folder):
    """Nobody may enter `folder`, not even the tests when root runs them."""
    os.chmod(folder, 0o700 if os.geteuid() == 0 else 0)
    as_root = os.geteuid() == 0
    try:
        if as_root:
            os.seteuid(NOBODY)
        yield
    finally:
        if as_root:
            os.seteuid(0)
        os.chmod(folder, 0o700)


@pytest.fixture
def private():
    """A folder with an object ``a`` in it, below one that everybody may enter (tmp_path is not)."""
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    (top / "private").mkdir()
    (top / "private" / "a").touch()
    yield top / "private"
    shutil.rmtree(top)


@pytest.mark.parametrize("below", ["", "deeper"])
@pytest.mark.parametrize("call", every_call(""))
def test_no_permission(private, below, call):
    url = str(private / below)
    with unprivileged(private), pytest.raises(DkmeansError, match=r"permission denied while ") as caught:
        every_call(url)[call]()
    # What cannot be read is bad input, what cannot be written is storage that refuses.
    assert type(caught.value) is (StorageError if call in (*WRITES, "delete") else InputError)
    assert str(caught.value).startswith(url)
    assert str(caught.value).endswith("Give this user the right to it.")


FULL = """Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)

Debug source:
Generic {
    store: "LocalFileSystem",
"""


def test_a_disk_that_fills_up(monkeypatch, url):
    make_array(url)

    def put(*_, **__):
        raise obstore.exceptions.GenericError(FULL)

    async def put_async(*_, **__):
        put()

    monkeypatch.setattr(obstore, "put", put)
    monkeypatch.setattr(obstore, "put_async", put_async)
    for call in (
        lambda: Store(url).put("a", b"1"),
        lambda: Store(url).create("a", b"1"),
        lambda: arrays.create_array(Store(url), "b", shape=(3,), dtype=np.uint8),
        lambda: arrays.write_rows(Store(url), "rows", 0, values()[:4]),
    ):
        with pytest.raises(StorageError, match=r"no space left on the device while .* --resume\.$") as caught:
            call()
        assert caught.value.exit_code == 4
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            obstore.exceptions.GenericError("Generic S3 error: connection refused\n\nDebug"),
            "writing it failed: Generic S3 error: connection refused$",
        ),
        (obstore.exceptions.GenericError(""), "writing it failed: GenericError$"),
        (
            obstore.exceptions.PermissionDeniedError("403"),
            r"permission denied .* Check credentials and policy\.",
        ),
        (
            obstore.exceptions.UnauthenticatedError("401"),
            r"permission denied .* Check credentials and policy\.",
        ),
        (OSError("cable cut"), "writing it failed: cable cut$"),
    ],
)
def test_errors_of_a_remote_store(monkeypatch, error, message):
    def put(*_, **__):
        raise error

    monkeypatch.setattr(obstore, "put", put)
    with pytest.raises(StorageError, match=message) as caught:
        Store("memory://x").put("a", b"")
    assert caught.value.exit_code == 4
    assert caught.value.__cause__ is error


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_disk_that_fills_up(small_disk):
    url = str(small_disk / "place")
    n_rows = 1 << 20
    arrays.create_array(
        Store(url), "rows", shape=(2 * n_rows,), dtype=np.uint8, chunks=(n_rows,), shards=(n_rows,)
    )
    noise = np.random.default_rng(0).integers(0, 255, n_rows, endpoint=True, dtype=np.uint8)
    for call in (
        lambda: Store(url).put("a", noise.tobytes()),
        lambda: Store(url).create("a", noise.tobytes()),
        lambda: arrays.write_rows(Store(url), "rows", 0, noise),
    ):
        with pytest.raises(StorageError, match=r"no space left on the device while .* --resume\.$"):
            call()
    # Nothing half-written is there, and the object that fits still goes in.
    assert [found.key for found in Store(url).list()] == ["rows/zarr.json"]
    assert arrays.finished_shards(Store(url), "rows") == set()
    Store(url).put("a", noise[:1000].tobytes())


class _NoRanges(http.server.SimpleHTTPRequestHandler):
    """Python's own server: it neither lists nor sends parts."""

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path):
    """A folder, and where a web server shows it."""
    handler = functools.partial(_NoRanges, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_web_server_gives_whole_files_and_says_what_it_cannot(web):
    folder, url = web
    (folder / "a.png").write_bytes(b"01234")
    assert Store(url).exists("a.png")
    assert not Store(url).exists("b.png")
    assert Store(url).get("a.png") == b"01234"
    with pytest.raises(InputError, match=r"does not list its files; expected the URL of one image"):
        Store(url).list()
    with pytest.raises(StorageError, match=r"a\.png: this web server sends no parts of files"):
        Store(url).get_range("a.png", 1, 2)
