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
from dkmeans.storage import arrays, objects, stores
from dkmeans.storage.objects import StoredObject

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
    assert stores.is_local(url) == local
    assert stores.resolve_url(url) == resolved


def test_local_urls_are_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert stores.resolve_url("x/y") == str(tmp_path / "x" / "y")
    assert stores.resolve_url("~/y") == "/home/someone/y"


def test_join_url():
    assert objects.join_url("s3://bucket/x/", "a/b") == "s3://bucket/x/a/b"


@pytest.mark.parametrize("key", ["a", "a/b.png", ".hidden", "a..b", "...", "a b%20é", "a/..b"])
def test_keys_that_stay_inside(key):
    assert objects.check_key(key) == key


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
        lambda: objects.check_key(key),
        lambda: objects.join_url(url, key),
        lambda: objects.exists(url, key),
        lambda: objects.read_object(url, key),
        lambda: objects.object_size(url, key),
        lambda: objects.read_range(url, key, 0, 1),
        lambda: objects.write_object(url, key, b""),
        lambda: objects.create_object(url, key, b""),
    ]
    objects.write_object(url, "inside", b"")
    calls.append(lambda: objects.delete_objects(url, [key]))
    for call in calls:
        with pytest.raises(InputError, match=re.escape(f"the key {key!r}")) as caught:
            call()
        assert "Rename the image." in str(caught.value)
    assert objects.list_objects(url) == [StoredObject("inside", 0)]


# Objects


def test_objects_come_back(url):
    assert objects.list_objects(url) == []
    assert not objects.exists(url, "a")
    listed = {"b/c/d": b"deep", "a": b"", "b/a": b"xyz", "bb": b"1", "a b%20é#?*": b"odd"}
    for key, data in listed.items():
        objects.write_object(url, key, data)
    assert objects.list_objects(url) == sorted(
        (StoredObject(key, len(data)) for key, data in listed.items()), key=lambda found: found.key
    )
    assert [found.key for found in objects.list_objects(url, "b")] == ["b/a", "b/c/d"]
    assert objects.list_objects(url, "b/c/none") == []
    for key, data in listed.items():
        assert objects.exists(url, key)
        assert objects.read_object(url, key) == data
        assert objects.object_size(url, key) == len(data)
    assert not objects.exists(url, "b")  # a folder is no object
    objects.write_object(url, "a", b"new")
    assert objects.read_object(url, "a") == b"new"
    objects.delete_objects(url, ["a", "b/c/d", "never there"])
    assert [found.key for found in objects.list_objects(url)] == ["a b%20é#?*", "b/a", "bb"]


def test_places_beside_do_not_show(url):
    objects.write_object(url, "a", b"1")
    objects.write_object(f"{url}2", "b", b"2")
    assert [found.key for found in objects.list_objects(url)] == ["a"]


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
    objects.write_object(url, "a", b"01234")
    assert objects.read_range(url, "a", start, length) == expected


def test_a_range_of_an_empty_object_and_of_none(url):
    objects.write_object(url, "empty", b"")
    assert objects.read_range(url, "empty", 0, 9) == b""
    with pytest.raises(InputError, match="not found"):
        objects.read_range(url, "none", 0, 9)


def test_of_many_writers_exactly_one_creates(url):
    n_writers = 8
    for attempt in range(10):
        start = threading.Barrier(n_writers)
        won = [False] * n_writers

        def write(number, key=f"claim/{attempt}", start=start, won=won):
            start.wait()
            won[number] = objects.create_object(url, key, b"%d" % number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(n_writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(won) == 1
        assert objects.read_object(url, f"claim/{attempt}") == b"%d" % won.index(True)
    assert not objects.create_object(url, "claim/0", b"late")


def test_delete_removes_folders_that_became_empty_and_nothing_else(tmp_path):
    url = str(tmp_path / "place")
    for key in ("a/b/c", "a/b/d", "e/f", "g"):
        objects.write_object(url, key, b"")
    objects.delete_objects(url, ["a/b/c"])
    assert (tmp_path / "place/a/b/d").is_file()
    objects.delete_objects(url, ["a/b/d", "g"])
    assert sorted(path.name for path in (tmp_path / "place").rglob("*")) == ["e", "f"]
    objects.delete_objects(url, [])
    objects.delete_objects(url, ["e/f"])
    assert list((tmp_path / "place").iterdir()) == []


def test_deleting_what_is_not_there_is_no_error(url):
    objects.delete_objects(url, ["a"])
    objects.delete_objects(url, [])
    assert objects.list_objects(url) == []


def make_array(url, name="rows", n_rows=10, dtype=np.uint8):
    return arrays.create_array(url, name, shape=(n_rows, 3), dtype=dtype, chunks=(2, 3), shards=(4, 3))


def values(n_rows=10):
    return np.arange(3 * n_rows, dtype=np.uint8).reshape(n_rows, 3)


# Failures


def every_call(url):
    """All functions that go to storage."""
    return {
        "list": lambda: objects.list_objects(url),
        "list below": lambda: objects.list_objects(url, "p"),
        "exists": lambda: objects.exists(url, "a"),
        "read": lambda: objects.read_object(url, "a"),
        "size": lambda: objects.object_size(url, "a"),
        "range": lambda: objects.read_range(url, "a", 0, 3),
        "open": lambda: arrays.open_array(url, "a"),
        "finished": lambda: arrays.finished_shards(url, "a"),
        "write": lambda: objects.write_object(url, "a", b""),
        "create": lambda: objects.create_object(url, "a", b""),
        "delete": lambda: objects.delete_objects(url, ["a"]),
        "create array": lambda: arrays.create_array(url, "a", shape=(3,), dtype=np.uint8),
        "write rows": lambda: arrays.write_rows(url, "a", 0, np.zeros(3, np.uint8)),
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
    objects.write_object(url, "b", b"")
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
    assert objects.list_objects(str(tmp_path / below)) == []
    assert not objects.exists(str(tmp_path / below), "a")


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
        lambda: objects.write_object(url, "a", b"1"),
        lambda: objects.create_object(url, "a", b"1"),
        lambda: arrays.create_array(url, "b", shape=(3,), dtype=np.uint8),
        lambda: arrays.write_rows(url, "rows", 0, values()[:4]),
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
        objects.write_object("memory://x", "a", b"")
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
    arrays.create_array(url, "rows", shape=(2 * n_rows,), dtype=np.uint8, chunks=(n_rows,), shards=(n_rows,))
    noise = np.random.default_rng(0).integers(0, 255, n_rows, endpoint=True, dtype=np.uint8)
    for call in (
        lambda: objects.write_object(url, "a", noise.tobytes()),
        lambda: objects.create_object(url, "a", noise.tobytes()),
        lambda: arrays.write_rows(url, "rows", 0, noise),
    ):
        with pytest.raises(StorageError, match=r"no space left on the device while .* --resume\.$"):
            call()
    # Nothing half-written is there, and the object that fits still goes in.
    assert [found.key for found in objects.list_objects(url)] == ["rows/zarr.json"]
    assert arrays.finished_shards(url, "rows") == set()
    objects.write_object(url, "a", noise[:1000].tobytes())


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
    assert objects.exists(url, "a.png")
    assert not objects.exists(url, "b.png")
    assert objects.read_object(url, "a.png") == b"01234"
    with pytest.raises(InputError, match=r"does not list its files; expected the URL of one image"):
        objects.list_objects(url)
    with pytest.raises(StorageError, match=r"a\.png: this web server sends no parts of files"):
        objects.read_range(url, "a.png", 1, 2)
