"""Folders as people have them: images are read whatever lies beside them, and what is left out is told."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dkmeans import quantize
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import InputError
from dkmeans.images.encode import encode_png
from dkmeans.images.listing import Ignored
from dkmeans.images.sources import SkippedImage, open_source
from dkmeans.storage.store import Store

LIMIT = 10**6
PNG = encode_png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
FORMATS = ["PNG", "JPEG", "TIFF", "WebP", "BMP", "PPM"]


def encoded(kind, size=(8, 6)):
    Image.new("RGB", size, (9, 80, 200)).save(target := io.BytesIO(), kind)
    return target.getvalue()


def write(folder, name, data=PNG):
    """A file of any name, in bytes."""
    path = os.path.join(os.fsencode(str(folder)), name if isinstance(name, bytes) else os.fsencode(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def keys_of(source):
    headers = source.headers(max_pixels=LIMIT)
    assert not [header for header in headers if isinstance(header, SkippedImage)]
    return [header.key for header in headers]


# Content


@pytest.mark.parametrize("place", ["local", "memory"])
def test_content_decides_where_the_name_says_nothing(place, tmp_path):
    url = str(tmp_path / "in") if place == "local" else f"memory://{uuid.uuid4()}"
    files = {f"photo{number}": encoded(kind) for number, kind in enumerate(FORMATS)}
    files |= {"upload.tmp": encoded("JPEG"), "page.html": encoded("PNG"), "plain.PNG": PNG}
    others = {"a.xmp": b"<x:xmpmeta/>", "a.json": b"{}", "notes.txt": b"BMW, a list", "empty": b""}
    others |= {"P1 plan.md": b"P5 is next to P6", "movie.mp4": b"\0\0\0\x18ftypmp42" + bytes(5000)}
    for key, data in {**files, **others}.items():
        Store(url).put(key, data)
    source = open_source(url)
    assert sorted(keys_of(source)) == sorted(files)
    assert sorted(source.ignored.files) == sorted(others)
    assert [image.pixels.shape[2] for image in source.read("auto", max_pixels=LIMIT)] == [3] * len(files)
    (line,) = source.ignored.lines()
    assert line.startswith("left out 6 files that are no images: ")
    assert all(part in line for part in ("1 .json", "1 .xmp", "1 .mp4", "1 without a suffix"))


def test_sidecars_change_nothing(tmp_path):
    write(tmp_path, "a.png")
    before = open_source(str(tmp_path))
    write(tmp_path, "a.png.json", b"{}")
    after = open_source(str(tmp_path))
    assert after.fingerprint == before.fingerprint
    assert (len(after), after.encoded_bytes) == (1, len(PNG))


def test_a_name_of_an_image_makes_a_damaged_one(tmp_path):
    write(tmp_path, "a.png")
    write(tmp_path, "b.jpg", b"no image")
    headers = open_source(str(tmp_path)).headers(max_pixels=LIMIT)
    assert [isinstance(header, SkippedImage) for header in headers] == [False, True]


def test_of_files_without_a_name_of_images_the_beginning_is_read(tmp_path, monkeypatch):
    write(tmp_path, "a.png")
    write(tmp_path, "large.bin", bytes(10**6))
    read, ranges = [], Store.get_range

    def counted(store, key, start, length):
        read.append((key, start, length))
        return ranges(store, key, start, length)

    monkeypatch.setattr(Store, "get_range", counted)
    monkeypatch.setattr(Store, "get", lambda store, key: pytest.fail(f"read {key}"))
    assert len(open_source(str(tmp_path))) == 1
    assert read == [("large.bin", 0, 1024)]


def test_one_file_by_its_content(tmp_path):
    write(tmp_path, "photo", encoded("JPEG"))
    source = open_source(str(tmp_path / "photo"))
    assert keys_of(source) == ["photo"]


def test_many_kinds_are_one_line():
    ignored = Ignored(files=(*(f"{n}.txt" for n in range(9)), "a.mp4", "b.MP4", "README", ".git/x", "c.\x07"))
    told = "9 .txt, 2 .mp4, 1 without a suffix, 1 hidden, 1 '.\\x07'"
    assert ignored.lines() == [f"left out 14 files that are no images: {told}"]
    many = Ignored(files=tuple(f"a.{n}" for n in range(30)))
    assert many.lines()[0].endswith("1 .4, 1 .5, 24 of other kinds")
    assert Ignored(files=("a.txt",)).lines() == ["left out 1 file that is no image: 1 .txt"]


# Names


ODD = {
    b"Icon\r": "control",
    b"lat\xe9.txt": "UTF-8",
    b"lat\xe9.png": "UTF-8",
    b"new\nline.png": "control",
    b"bell\x07.jpg": "control",
    b"..\\up.png": "leave the folder",
}
FINE = [
    b"x" * 251 + b".png",
    b"CON.png",
    b"a:b?*<>|.png",
    b"back\\slash.png",
    b" .png",
    b"trailing .png",
    b"100%25.png",
    "Ａ\u202eé\u0301.png".encode(),
    b"~.png",
    b"a#b.png",
]


def test_names_as_people_have_them(tmp_path):
    for name in [*ODD, *FINE]:
        write(tmp_path, name)
    source = open_source(str(tmp_path))
    assert sorted(keys_of(source)) == sorted(map(os.fsdecode, FINE))
    assert len(source.ignored.odd) == len(ODD)
    for name, word in ODD.items():
        assert any(repr(os.fsdecode(name)) in line and word in line for line in source.ignored.odd)
    (line,) = source.ignored.lines()
    assert line.isprintable()
    for image in source.read("auto", max_pixels=LIMIT):
        assert image.pixels.shape == (4, 4, 3)


NAMES = st.lists(
    st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & {0, ord("/")})
    | st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20
    ).map(os.fsencode),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(names=NAMES, suffixes=st.lists(st.sampled_from([b"", b".png", b".JPG", b".txt"]), min_size=8))
def test_whatever_the_names_each_file_is_read_or_told(names, suffixes):
    """An image of any name is read, or named among what is left out; the others never suffer."""
    folder = tempfile.mkdtemp()
    try:
        write(folder, "good.png")
        written = {b"good.png"}
        for name, suffix in zip(names, suffixes, strict=False):
            with suppress(OSError):  # names that the file system itself refuses, such as '..'
                write(folder, name + suffix)
                written.add(name + suffix)
        source = open_source(folder)
        read = set(map(os.fsencode, keys_of(source)))
        assert all(image.pixels.shape == (4, 4, 3) for image in source.read("auto", max_pixels=LIMIT))
        assert b"good.png" in read
        left = set(map(os.fsencode, source.ignored.files))
        assert read.isdisjoint(left)
        assert all(name.startswith(b".") for name in left)
        told = written - read - left
        assert len(source.ignored.odd) == len(told)
        for name in told:
            assert any(repr(os.fsdecode(name)) in line for line in source.ignored.odd)
        assert all(line.isprintable() for line in source.ignored.lines())
    finally:
        shutil.rmtree(os.fsencode(folder))


# Entries that are no files


def test_a_folder_called_like_an_image(tmp_path):
    write(tmp_path, "x.jpg", encoded("JPEG"))
    write(tmp_path, "x.png/y.png")
    write(tmp_path, "x.png/z", encoded("BMP"))
    source = open_source(str(tmp_path))
    assert keys_of(source) == ["x.jpg", "x.png/y.png", "x.png/z"]
    assert source.ignored.lines() == []


def test_what_marks_a_folder_in_an_object_store_is_no_damaged_image():
    url = f"memory://{uuid.uuid4()}"
    for key, data in {"x.png": b"", "x.png/a.png": PNG, "b.png": b""}.items():
        Store(url).put(key, data)
    source = open_source(url)
    assert [type(header) is SkippedImage for header in source.headers(max_pixels=LIMIT)] == [True, False]
    assert source.ignored.lines() == []


def test_links_sockets_and_loops(tmp_path):
    folder = tmp_path / "in"
    write(folder, "a.png")
    write(folder, "deep/b.png")
    write(tmp_path / "out", "c.png")
    (folder / "link").symlink_to("a.png")  # no suffix: what it leads to decides
    (folder / "again").symlink_to("deep")
    (folder / "deep" / "up").symlink_to("..")
    (folder / "self.png").symlink_to("self.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "away.png").symlink_to(tmp_path / "out" / "c.png")
    (folder / "outside").symlink_to(tmp_path / "out")
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(folder)  # the path of a socket is short
        try:
            server.bind("socket.png")
        finally:
            os.chdir(before)
        source = open_source(str(folder))
    assert keys_of(source) == ["a.png", "again/b.png", "deep/b.png", "link"]
    odd = sorted(source.ignored.odd)
    starts = ["again/up", "away.png", "deep/up", "gone.png", "outside/c.png", "self.png", "socket.png"]
    assert [line.partition(" (")[0] for line in odd] == starts
    assert "a link that leads out of the folder" in odd[1]
    (line,) = source.ignored.lines()
    assert line.startswith("left out 7 that cannot be used: ")
    assert line.endswith(", and 4 more. Rename or copy what belongs to the images.")


def test_an_empty_image_is_damaged_and_an_empty_file_is_none(tmp_path):
    for name in ("a.png", "b.png", "c"):
        write(tmp_path, name, PNG if name == "a.png" else b"")
    source = open_source(str(tmp_path))
    found = source.headers(max_pixels=LIMIT)
    assert [type(header) is SkippedImage for header in found] == [False, True]
    assert source.ignored.files == ("c",)


def test_a_file_that_may_not_be_read_is_told():
    with tempfile.TemporaryDirectory() as name:
        folder, as_root = Path(name), os.geteuid() == 0
        folder.chmod(0o755)
        write(folder, "a.png")
        write(folder, "secret")
        (folder / "secret").chmod(0)
        if as_root:
            os.seteuid(65534)  # root may read all
        try:
            found = open_source(name).ignored.odd
        finally:
            if as_root:
                os.seteuid(0)
    assert "permission denied" in found[0]


def test_a_folder_of_other_files_alone_says_what_it_holds(tmp_path):
    write(tmp_path, b"Icon\r", b"")
    with pytest.raises(InputError, match=r"no image in this folder; it holds 'Icon\\r' \(its name"):
        open_source(str(tmp_path))


# Outputs of dkmeans


def test_what_dkmeans_has_written_is_no_source_but_where_it_is_asked_for(tmp_path, sync):
    write(tmp_path / "first", "a.png")
    once = QuantizeConfig(source=str(tmp_path / "first"), destination=str(tmp_path / "all/few"), k=2)
    quantize(once, sync)
    write(tmp_path / "all", "b.png")
    source = open_source(str(tmp_path / "all"))
    assert keys_of(source) == ["b.png"]
    assert source.ignored.lines() == ["left out what dkmeans has written: few"]
    assert keys_of(open_source(str(tmp_path / "all/few"))) == ["a.png"]
