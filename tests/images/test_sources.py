"""Sources: what is found, in which order, and what is said about the rest."""

import gzip
import io
import pickle
import struct
import uuid

import numpy as np
import pytest
from PIL import Image

from dkmeans.errors import ImageError, InputError, StorageError
from dkmeans.images import sources, stacks
from dkmeans.images.decode import convert_color, decode
from dkmeans.images.encode import encode_png
from dkmeans.images.formats import SUFFIXES
from dkmeans.images.sources import SkippedImage, open_source
from dkmeans.storage.store import Store

LIMIT = 10**6
rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (13, 6, 5), dtype=np.uint8)


def png(seed, height=4, width=3):
    return encode_png(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    """The URL of an empty folder, local or not."""
    return str(tmp_path / "images") if request.param == "local" else f"memory://{uuid.uuid4()}"


def fill(url, files):
    for key, data in files.items():
        Store(url).put(key, data)


def test_folder_in_natural_order_with_nested_keys(place):
    names = ["b/2.png", "b/10.PNG", "a.png", "img10.png", "img9.png", "A2.png", "x #%ü.png"]
    fill(place, {name: png(seed) for seed, name in enumerate(names)})
    fill(place, {".DS_Store": b"x", "notes.txt": b"x", ".git/x.png": b"x", "b/._2.png": b"x"})
    source = open_source(place)
    order = ["A2.png", "a.png", "b/2.png", "b/10.PNG", "img9.png", "img10.png", "x #%ü.png"]
    assert [header.key for header in source.headers(max_pixels=LIMIT)] == order
    assert sorted(source.ignored.files) == [".DS_Store", ".git/x.png", "b/._2.png", "notes.txt"]
    assert source.encoded_bytes == sum(len(png(seed)) for seed in range(len(names)))
    for key, image in zip(order, source.read("rgb", max_pixels=LIMIT), strict=True):
        np.testing.assert_array_equal(
            image.pixels, decode(png(names.index(key)), key, "rgb", max_pixels=LIMIT)
        )


def test_every_suffix_is_taken(place):
    fill(place, {f"{n}{suffix}": png(n) for n, suffix in enumerate(SUFFIXES)})
    assert len(open_source(place)) == len(SUFFIXES) == 22


def test_parts_and_removal_are_small_and_picklable(place):
    fill(place, {f"{n}.png": png(n) for n in range(10)})
    source = open_source(place)
    part = pickle.loads(pickle.dumps(source.part(3, 7).without({"4.png", "9.png"})))
    assert [header.key for header in part.headers(max_pixels=LIMIT)] == ["3.png", "5.png", "6.png"]
    assert len(part) == 3
    assert len(pickle.dumps(source.part(0, 1))) < 560
    assert part.url == source.url == place


def test_fingerprint_is_of_keys_and_sizes(tmp_path):
    for folder in ("one", "two", "three", "four"):
        fill(str(tmp_path / folder), {"a.png": png(0), "b/c.png": png(1)})
    fill(str(tmp_path / "two"), {"notes.txt": b""})
    fill(str(tmp_path / "three"), {"a.png": png(0) + b"\0"})
    Store(str(tmp_path / "four")).delete(["a.png"])
    fill(str(tmp_path / "four"), {"A.png": png(0)})
    one, two, three, four = (
        open_source(str(tmp_path / name)).fingerprint for name in ("one", "two", "three", "four")
    )
    assert one == two
    assert len({one, three, four}) == 3
    assert len(one) == 64


def test_one_image_by_its_url(place):
    fill(place, {"deep/x.PNG": png(0), "deep/y.png": png(1)})
    source = open_source(f"{place}/deep/x.PNG")
    (header,) = source.headers(max_pixels=LIMIT)
    assert (header.key, header.height, header.width, len(source)) == ("x.PNG", 4, 3, 1)
    assert source.url == f"{place}/deep/x.PNG"


def test_bad_images_are_skipped_with_a_reason(place):
    files = {"0.png": png(0), "1.png": b"", "2.png": b"hello", "3.png": png(3)[:-40], "4.png": png(4, 40, 50)}
    fill(place, files)
    source = open_source(place)
    headers = source.headers(max_pixels=100)
    reasons = {image.key: image.reason for image in headers if isinstance(image, SkippedImage)}
    assert list(reasons) == ["1.png", "2.png", "4.png"]  # the third has a good header
    assert "0 bytes" in reasons["1.png"]
    assert "b'hello'" in reasons["2.png"]
    assert "2000 pixels; expected at most 100" in reasons["4.png"]
    found = list(source.read("rgb", max_pixels=100))
    assert [isinstance(image, SkippedImage) for image in found] == [False, True, True, True, True]
    assert "truncated" in found[3].reason
    left = source.without({image.key for image in found if isinstance(image, SkippedImage)})
    assert len(left) == 1


def test_reasons_do_not_say_where_the_folder_is(tmp_path):
    fill(str(tmp_path), {"a.png": png(0), "b.png": png(1), "c.png": png(2)})
    source = open_source(str(tmp_path))
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").write_bytes(png(1) + b"\0")
    first, second, _ = source.headers(max_pixels=LIMIT)
    assert "not found" in first.reason
    assert "Do not change the images" in second.reason
    assert str(tmp_path) not in first.reason + second.reason
    assert [type(image) for image in source.read("rgb", max_pixels=LIMIT)][:2] == [SkippedImage] * 2


def test_storage_failures_are_not_skipped_images(place, monkeypatch):
    fill(place, {"a.png": png(0)})
    source = open_source(place)

    def fail(*_):
        raise StorageError("the network is gone")

    monkeypatch.setattr(Store, "get", fail)
    with pytest.raises(StorageError, match="network"):
        source.headers(max_pixels=LIMIT)
    with pytest.raises(StorageError, match="network"):
        next(source.read("rgb", max_pixels=LIMIT))


def test_headers_of_large_files_read_only_a_prefix(place, monkeypatch):
    noise = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    fill(place, {"a.png": encode_png(noise)})
    Image.fromarray(noise).save(target := io.BytesIO(), "TIFF")
    fill(place, {"b.tif": target.getvalue()})
    read, whole = [], Store.get
    monkeypatch.setattr(Store, "get", lambda store, key: read.append(key) or whole(store, key))
    sizes = [(header.height, header.width) for header in open_source(place).headers(max_pixels=LIMIT)]
    assert sizes == [(200, 300)] * 2
    assert read == ["b.tif"]


def test_links_out_of_the_folder_are_ignored(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    fill(str(inside), {"a.png": png(0)})
    fill(str(outside), {"b.png": png(1)})
    (inside / "file.png").symlink_to(outside / "b.png")
    (inside / "folder").symlink_to(outside)
    (inside / "same.png").symlink_to(inside / "a.png")
    (tmp_path / "link").symlink_to(inside)
    for url in (inside, tmp_path / "link"):
        source = open_source(str(url))
        assert [header.key for header in source.headers(max_pixels=LIMIT)] == ["a.png", "same.png"]
        assert not source.ignored.files
        assert source.ignored.odd == (
            "file.png (a link that leads out of the folder)",
            "folder/b.png (a link that leads out of the folder)",
        )


def test_nothing_there(place):
    with pytest.raises(InputError, match=r"missing.*expected a folder of images"):
        open_source(place)


def test_folder_without_images_names_three_files(place):
    fill(place, {f"{name}.txt": b"x" for name in "abcde"})
    with pytest.raises(InputError, match=r"empty.*holds a.txt, b.txt, c.txt and 2 more"):
        open_source(place)


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"empty.*holds nothing"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.txt", "a.npz", "a.gz", "a"])
def test_files_of_other_kinds(place, name):
    data = gzip.compress(b"no idx in here") if name == "a.gz" else b"PK\3\4 or other text"
    fill(place, {name: data})
    with pytest.raises(InputError, match=f"{name}: a file of another kind; expected a folder"):
        open_source(f"{place}/{name}")


# Stacks


def idx(images, *, kind=8, promised=None):
    sizes = promised or images.shape
    return struct.pack(f">BBBB{len(sizes)}I", 0, 0, kind, len(sizes), *sizes) + images.tobytes()


def npy(images, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, images, **options)
    return file.getvalue()


DEEP = rng.integers(0, 65536, (12, 5, 4, 3), dtype=np.uint16)
STACKS = {
    "train-images-idx3-ubyte": (idx(IMAGES), IMAGES[..., None]),
    "train-images-idx3-ubyte.gz": (gzip.compress(idx(IMAGES), mtime=0), IMAGES[..., None]),
    "x.idx": (idx(IMAGES), IMAGES[..., None]),
    "known-by-magic.bin": (idx(IMAGES), IMAGES[..., None]),
    "known-by-magic.gz": (gzip.compress(idx(IMAGES), mtime=0), IMAGES[..., None]),
    "color.idx": (idx(DEEP.astype(np.uint8)), DEEP.astype(np.uint8)),
    "a.npy": (npy(IMAGES), IMAGES[..., None]),
    "a2.npy": (npy(IMAGES, version=(2, 0)), IMAGES[..., None]),
    "rgb16.npy": (npy(DEEP), DEEP),
    "big-endian.npy": (npy(DEEP.astype(">u2")), DEEP),
    "one.npy": (npy(DEEP[..., :1]), DEEP[..., :1]),
}


@pytest.mark.parametrize("block", [1, 50, 10**6])
@pytest.mark.parametrize("color", ["auto", "gray", "rgb", "rgba"])
@pytest.mark.parametrize("name", STACKS)
def test_stacks(place, name, color, block, monkeypatch):
    monkeypatch.setattr(stacks, "_BLOCK", block)
    data, images = STACKS[name]
    fill(place, {name: data})
    source = open_source(f"{place}/{name}")
    assert (len(source), source.encoded_bytes, source.url) == (len(images), len(data), f"{place}/{name}")
    headers = source.headers(max_pixels=LIMIT)
    assert [header.key for header in headers] == [f"{n:05d}" for n in range(len(images))]
    shapes = {(h.height, h.width, h.channels, h.dtype) for h in headers}
    assert shapes == {(*images.shape[1:], str(images.dtype))}
    part = pickle.loads(pickle.dumps(source.part(2, 11).without({"00004", "00007"})))
    for chosen, which in ((source, range(len(images))), (part, [2, 3, 5, 6, 8, 9, 10])):
        found = [image.pixels for image in chosen.read(color, max_pixels=LIMIT)]
        want = [images[n] if color == "auto" else convert_color(images[n], color) for n in which]
        np.testing.assert_array_equal(found, want)
        assert found[0].dtype == images.dtype.newbyteorder("=")
    assert part.fingerprint != source.fingerprint


def test_stack_of_too_large_images_is_skipped(place):
    fill(place, {"a.npy": npy(IMAGES)})
    source = open_source(f"{place}/a.npy")
    assert all("6 x 5 pixels; expected at most 29" in image.reason for image in source.headers(max_pixels=29))
    assert [image.key for image in source.read("gray", max_pixels=29)][:2] == ["00000", "00001"]


def test_keys_are_wide_enough(place):
    fill(place, {"a.npy": npy(np.zeros((100_001, 1, 1), np.uint8))})
    source = open_source(f"{place}/a.npy")
    assert [header.key for header in source.part(100_000, 100_001).headers(max_pixels=1)] == ["100000"]


LONG, SHORT = idx(IMAGES) + b"\0\0", idx(IMAGES)[:-1]
SIZE = len(idx(IMAGES))
BROKEN = {
    "long.idx": (LONG, f"promises {SIZE} bytes.*it holds {SIZE + 2}"),
    "short.idx": (SHORT, f"promises {SIZE} bytes.*it holds {SIZE - 1}"),
    "long.idx.gz": (gzip.compress(LONG), f"promises {SIZE} bytes.*it holds more than {SIZE}"),
    "short.idx.gz": (gzip.compress(SHORT), f"promises {SIZE} bytes.*it holds {SIZE - 1}"),
    "cut.idx.gz": (gzip.compress(idx(IMAGES))[:-30], "damaged or truncated gzip"),
    "crc.idx.gz": (gzip.compress(idx(IMAGES))[:-8] + bytes(8), "damaged or truncated gzip"),
    "t10k-labels-idx1-ubyte": (idx(np.arange(9, dtype=np.uint8)), "labels, not of images"),
    "float.idx": (idx(IMAGES, kind=0x0D), "magic number is 0x00000d03.*0x00000803"),
    "flat.idx": (idx(IMAGES[0]), "magic number is 0x00000802"),
    "empty-ubyte": (b"", "magic number is 0x;"),
    "none.idx": (idx(IMAGES[:0]), r"shape \(0, 6, 5\).*none of them 0"),
    "two.idx": (idx(DEEP[..., :2].astype(np.uint8)), r"shape \(12, 5, 4, 2\); expected"),
    "float.npy": (npy(IMAGES.astype(float)), "type float64; expected uint8 or uint16"),
    "bool.npy": (npy(IMAGES > 9), "type bool"),
    "object.npy": (npy(np.array([None] * 8).reshape(2, 2, 2)), "type object"),
    "flat.npy": (npy(IMAGES[0]), r"shape \(6, 5\); expected \(n, height, width\)"),
    "fortran.npy": (npy(np.asfortranarray(IMAGES)), "Fortran order; expected C order"),
    "cut.npy": (npy(IMAGES)[:-5], "promises .* it holds"),
    "header.npy": (npy(IMAGES)[:20], "header cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_stacks(place, name):
    data, message = BROKEN[name]
    fill(place, {name: data})
    with pytest.raises(InputError, match=message) as caught:
        open_source(f"{place}/{name}")
    assert not isinstance(caught.value, ImageError)
    assert "\n" not in str(caught.value)


def test_gzip_is_not_unpacked_beyond_its_promise(place, monkeypatch):
    read = []
    stream = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, n=-1: read.append(n) or stream(self, n))
    fill(place, {"bomb.idx.gz": gzip.compress(idx(IMAGES) + bytes(10**8), 1)})
    with pytest.raises(InputError, match="more than"):
        open_source(f"{place}/bomb.idx.gz")
    assert 0 < sum(read) <= 2 * SIZE


def test_stack_that_shrinks_while_it_is_read(place):
    fill(place, {"a.idx": idx(IMAGES)})
    source = open_source(f"{place}/a.idx")
    fill(place, {"a.idx": idx(IMAGES)[:50]})
    with pytest.raises(InputError, match="shorter than when it was opened"):
        list(source.read("gray", max_pixels=LIMIT))


def test_ranges_at_the_end_of_an_object(place):
    fill(place, {"a": b"abc", "z": b""})
    found = [
        Store(place).get_range("a", start, length)
        for start, length in [(0, 9), (2, 9), (3, 9), (9, 1), (1, 0)]
    ]
    assert found == [b"abc", b"c", b"", b"", b""]
    assert Store(place).get_range("z", 0, 5) == b""
    assert Store(place).head("a") == 3
    with pytest.raises(InputError, match="not found"):
        Store(place).get_range("nope", 0, 5)


def test_module_exports():
    assert all(hasattr(sources, name) for name in sources.__all__)
