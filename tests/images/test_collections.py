"""Images of a source: found by their headers, left out where they cannot be used, read and decoded once."""

from __future__ import annotations

import collections
import io
import uuid
from dataclasses import dataclass, field

import numpy as np
import obstore
import pytest
from object_store.proxy import FaultyProxy
from PIL import Image

from dkmeans import IngestConfig, ingest, open_dataset
from dkmeans.compute.in_process import InProcess
from dkmeans.errors import InputError, SkippedError
from dkmeans.events.reporter import SILENT
from dkmeans.images.collecting import collect
from dkmeans.images.decode import SkippedImage
from dkmeans.images.skipping import Skipping
from dkmeans.images.sources import FileSource, open_source
from dkmeans.storage.access import storage_options
from dkmeans.storage.store import Store, StoredObject

LIMIT = 10**6
HEIGHT, WIDTH = 7, 5
UNLIMITED = 0


def bmp(value, height=HEIGHT, width=WIDTH):
    """Images of one size have as many bytes."""
    pixels = np.full((height, width, 3), value, np.uint8)
    Image.fromarray(pixels).save(target := io.BytesIO(), "BMP")
    return target.getvalue()


def damaged_png(value):
    """A header that is fine, and of the pixels half."""
    pixels = np.random.default_rng(value).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(target := io.BytesIO(), "PNG")
    return target.getvalue()[: len(target.getvalue()) // 2]


@pytest.fixture
def counted(monkeypatch):
    """How often obstore has read each path, whole or in part."""
    counts = collections.Counter()

    def counting(function):
        def call(store, path, **options):
            counts[path.rpartition("/")[2]] += 1
            return function(store, path, **options)

        return call

    for name in ("get", "get_range"):
        monkeypatch.setattr(obstore, name, counting(getattr(obstore, name)))
    return counts


@pytest.fixture
def place():
    return f"memory://{uuid.uuid4().hex}"


def fill(url, values):
    for number, value in enumerate(values):
        Store(url).put(f"{number}.bmp", bmp(value))


@dataclass(frozen=True)
class Watched(FileSource):
    """A source that counts how often each of its images is decoded; parts of it count together."""

    decoded: collections.Counter = field(default_factory=collections.Counter)

    def read(self, color, **options):
        images = super().read(color, **options)
        for file, image in zip(self.files, images, strict=True):
            self.decoded[file.key] += 1
            yield image


def watched(url):
    source = open_source(url)
    return Watched(source.url, source.folder, source.files)


class Notes:
    """What `Skipping` tells and keeps."""

    def __init__(self, max_skipped=0):
        self.warnings, self.kept = [], []
        self.skipping = Skipping(max_skipped, self, self.kept.append, "s3://b/skipped")

    def event(self, name, **facts):
        assert name == "skipped"
        self.kept.append(facts)

    def warn(self, text):
        self.warnings.append(text)


def gather(source, memory=UNLIMITED, max_skipped=0, threads=1, **options):
    """The collection, and what is told meanwhile."""
    notes = Notes(max_skipped)
    executor = InProcess(threads, memory=memory)
    return collect(source, "rgb", LIMIT, executor, notes.skipping, SILENT, **options), notes


def read_values(part):
    """The one value of each image."""
    found = []
    for image in part.images():
        assert image.shape[2] == 3
        assert (image == image[0, 0, 0]).all()
        found.append(int(image[0, 0, 0]))
    return found


def in_a_task(function, part):
    """A part is opened by a task, which is given what the part holds."""
    executor = InProcess()
    return executor.run([executor.task(function)(part)])[0]


def values_of(part):
    return in_a_task(read_values, part)


# Files


def test_files_that_fit_are_read_once(place, counted):
    fill(place, range(8))
    source = open_source(place)
    n_bytes = 8 * len(bmp(0))
    found, _ = gather(source, memory=8 * n_bytes)
    assert found.index.names == tuple(f"{number}.bmp" for number in range(8))
    assert (found.index.height.tolist(), found.index.width.tolist()) == ([HEIGHT] * 8, [WIDTH] * 8)
    assert (found.dtype, found.channels) == (np.uint8, 3)
    assert found.source_bytes == [len(bmp(0))] * 8
    assert values_of(found.part(0, 8)) == list(range(8))
    assert values_of(found.part(2, 4)) == [2, 3]
    assert counted == {f"{number}.bmp": 1 for number in range(8)}


def test_of_files_that_do_not_fit_the_headers_are_read_first_and_each_file_when_it_is_wanted(place, counted):
    fill(place, range(6))
    n_bytes = 6 * len(bmp(0))
    found, _ = gather(open_source(place), memory=8 * n_bytes - 1)
    assert found.held == ()
    assert counted == {f"{number}.bmp": 1 for number in range(6)}
    assert values_of(found.part(1, 3)) == [1, 2]
    assert counted == {f"{number}.bmp": 2 if number in (1, 2) else 1 for number in range(6)}
    assert values_of(found.part(0, 6)) == list(range(6))


def test_of_a_large_file_that_does_not_fit_the_beginning_is_read(place):
    """A BMP of 1000x1000 pixels has 3 MB; its header is among the first bytes."""
    Store(place).put("large.bmp", bmp(3, 1000, 1000))
    asked = []

    class Asked(Store):
        def get_many(self, objects, *, limit=None):
            asked.append(limit)
            return super().get_many(objects, limit=limit)

    source = open_source(place)
    source = FileSource(source.url, Asked(place), source.files)
    found, _ = gather(source, memory=1)
    assert asked == [1 << 16]
    assert found.index.height.tolist() == [1000]
    assert values_of(found.part(0, 1)) == [3]
    assert asked == [1 << 16, None]


def test_a_stack_is_not_held(tmp_path):
    images = np.arange(4 * 6, dtype=np.uint16).reshape(4, 2, 3)
    np.save(tmp_path / "stack.npy", images)
    found, _ = gather(open_source(str(tmp_path / "stack.npy")))
    assert found.held == ()
    assert found.dtype == np.uint16
    np.testing.assert_array_equal([image[..., 0] for image in found.part(1, 4).images()], images[1:])


@pytest.mark.parametrize("n_images", [255, 256, 257, 600])
def test_files_lie_in_several_batches(place, counted, n_images):
    """Batches of 256; parts that begin and end in any of them."""
    for number in range(n_images):
        Store(place).put(f"{number}.bmp", bmp(number % 251, 1, 1))
    found, _ = gather(open_source(place), threads=2)
    assert len(found.held) == -(-n_images // 256)
    for start, stop in ((0, n_images), (250, 255), (n_images - 2, n_images), (n_images // 2, n_images)):
        assert values_of(found.part(start, stop)) == [number % 251 for number in range(start, stop)]
        # No more of the batches travels than has images of the part.
        assert len(found.part(start, stop).held) == (stop - 1) // 256 - start // 256 + 1
    assert set(counted.values()) == {1}


# Images that are left out


@pytest.mark.parametrize("memory", [UNLIMITED, 1], ids=["held", "not held"])
def test_parts_across_images_that_are_left_out(place, memory):
    fill(place, range(7))
    for key in ("0.bmp", "3.bmp", "4.bmp"):
        Store(place).put(key, b"no image")
    found, notes = gather(open_source(place), memory=memory, max_skipped=3)
    stay = [1, 2, 5, 6]
    assert found.index.names == tuple(f"{number}.bmp" for number in stay)
    assert found.places.tolist() == stay
    assert found.gone == {"0.bmp", "3.bmp", "4.bmp"}
    for start in range(4):
        for stop in range(start + 1, 5):
            assert values_of(found.part(start, stop)) == stay[start:stop]
    assert [image.key for image in notes.skipping.images] == ["0.bmp", "3.bmp", "4.bmp"]
    assert found.source_bytes == [len(bmp(0))] * 4
    without = found.without([SkippedImage("5.bmp", "why")])
    assert values_of(without.part(0, 3)) == [1, 2, 6]
    assert values_of(without.part(1, 3)) == [2, 6]


def test_every_image_that_is_left_out_is_told(place):
    fill(place, range(3))
    Store(place).put("1.bmp", b"no image")
    _, notes = gather(open_source(place), max_skipped=1)
    (image,) = notes.skipping.images
    assert image.key == "1.bmp"
    assert notes.kept == [{"image": "1.bmp", "reason": image.reason}]
    assert notes.warnings == [f"skipped 1.bmp: {image.reason}"]
    assert notes.skipping.first == f"1.bmp ({image.reason})"


def test_too_many_are_kept_as_a_list_and_refused(place):
    fill(place, range(3))
    for key in ("0.bmp", "1.bmp"):
        Store(place).put(key, b"no image")
    notes = Notes(max_skipped=1)
    with pytest.raises(
        SkippedError, match=r"2 images cannot be used, --max-skipped allows 1; the first: 0\.bmp \("
    ):
        collect(open_source(place), "rgb", LIMIT, InProcess(), notes.skipping, SILENT)
    assert [image.key for image in notes.kept[-1]] == ["0.bmp", "1.bmp"]


def test_where_none_can_be_used_nothing_is_left(place):
    for number in range(2):
        Store(place).put(f"{number}.bmp", b"no image")
    with pytest.raises(InputError, match=r"no image can be used; the first: 0\.bmp \("):
        gather(open_source(place), max_skipped=2)


def test_images_smaller_than_a_patch_are_left_out(place):
    fill(place, [1])
    Store(place).put("small.bmp", bmp(2, HEIGHT, 2))
    found, notes = gather(open_source(place), max_skipped=1, patch=(3, 3))
    assert values_of(found.part(0, 1)) == [1]
    assert notes.skipping.first == "small.bmp (7x2 pixels, smaller than the patch of 3x3)"
    found, _ = gather(open_source(place), patch=None)
    assert len(found.index) == 2


# Images in memory


def image_bytes(n_images):
    return n_images * HEIGHT * WIDTH * 3


@pytest.mark.parametrize("threads", [1, 3])
def test_images_that_fit_are_decoded_once(place, threads):
    fill(place, range(9))
    source = watched(place)
    executor = InProcess(threads, memory=max(4 * image_bytes(9), 8 * source.encoded_bytes))
    skipping = Notes().skipping
    found = collect(source, "rgb", LIMIT, executor, skipping, SILENT)
    assert source.decoded == {}
    held = found.in_memory(executor, skipping, SILENT)
    assert held.decoded
    for start, stop in ((0, 9), (2, 3), (1, 8)):
        assert values_of(held.part(start, stop)) == list(range(start, stop))
    assert source.decoded == {f"{number}.bmp": 1 for number in range(9)}


def test_images_that_do_not_fit_are_decoded_again(place):
    fill(place, range(4))
    source = watched(place)
    executor = InProcess(memory=4 * image_bytes(4) - 1)
    skipping = Notes().skipping
    found = collect(source, "rgb", LIMIT, executor, skipping, SILENT)
    assert found.in_memory(executor, skipping, SILENT) is found
    for _ in range(2):
        assert values_of(found.part(0, 3)) == [0, 1, 2]
    assert source.decoded == {"0.bmp": 2, "1.bmp": 2, "2.bmp": 2}


def test_images_whose_pixels_are_damaged_show_when_they_are_decoded(place):
    fill(place, range(5))
    Store(place).put("1.png", damaged_png(1))
    Store(place).put("3.png", damaged_png(3))
    source, notes, executor = watched(place), Notes(max_skipped=2), InProcess(2, memory=UNLIMITED)
    found = collect(source, "rgb", LIMIT, executor, notes.skipping, SILENT)
    assert len(found.index) == 7
    held = found.in_memory(executor, notes.skipping, SILENT)
    assert [image.key for image in notes.skipping.images] == ["1.png", "3.png"]
    assert held.index.names == tuple(f"{number}.bmp" for number in range(5))
    for start in range(5):
        assert values_of(held.part(start, 5)) == list(range(start, 5))
    assert set(source.decoded.values()) == {1}
    with pytest.raises(SkippedError):
        found.in_memory(executor, Notes(max_skipped=1).skipping, SILENT)


def test_an_image_that_is_damaged_meanwhile_is_named(place):
    fill(place, range(3))
    found, _ = gather(open_source(place), memory=1)
    Store(place).put("1.bmp", b"x" * len(bmp(1)))
    read = list(found.part(0, 3).read())
    assert [isinstance(image, SkippedImage) for image in read] == [False, True, False]
    with pytest.raises(InputError, match=r"^1\.bmp: .*\. Do not change the images meanwhile\."):
        list(found.part(0, 3).images())


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_cover_the_images_in_order(place, threads):
    fill(place, range(10))
    found, _ = gather(open_source(place))
    ranges = found.batches(InProcess(threads))
    assert [number for start, stop in ranges for number in range(start, stop)] == list(range(10))
    assert len(ranges) >= min(threads, 10)


# Readings of images by a stage


def pixels_of(url):
    dataset = open_dataset(url)
    return [int(image[0, 0, 0]) for image in dataset.part(0, dataset.n_images).images()]


def test_an_ingest_reads_each_small_image_once(place, counted, sync):
    fill(f"{place}/images", range(8))
    ingest(IngestConfig(source=f"{place}/images", dataset=f"{place}/d"), sync, SILENT)
    assert {key: count for key, count in counted.items() if key.endswith(".bmp")} == {
        f"{number}.bmp": 1 for number in range(8)
    }
    assert pixels_of(f"{place}/d") == list(range(8))


def test_an_ingest_from_s3_asks_for_each_small_image_once(s3, s3_url, tmp_path, sync):
    fill(f"{s3_url}/images", range(20))
    asked = collections.Counter()

    def plan(method, path, number):
        asked[method, path.partition("?")[0].rpartition("/")[2]] += 1

    with FaultyProxy(s3.endpoint) as proxy, storage_options({"endpoint": proxy.endpoint}):
        proxy.plan(plan)
        ingest(IngestConfig(source=f"{s3_url}/images", dataset=str(tmp_path / "d")), sync, SILENT)
    images = {key: count for key, count in asked.items() if key[1].endswith(".bmp")}
    assert images == {("GET", f"{number}.bmp"): 1 for number in range(20)}
    assert sum(asked.values()) - 20 <= 4  # is the source a file, and what lies below it
    assert pixels_of(str(tmp_path / "d")) == list(range(20))


def test_without_room_an_ingest_reads_images_again(place, counted):
    """Of 470 MiB an eighth is what files may take: less than the last one has."""
    fill(f"{place}/images", range(6))
    executor = InProcess(memory=470 << 20)
    Store(f"{place}/images").put("large.bmp", bmp(6, 4600, 4600))  # 60.5 MiB, read in several requests
    config = IngestConfig(source=f"{place}/images", dataset=f"{place}/d", max_image_pixels=1 << 25)
    ingest(config, executor, SILENT)
    small = {key: count for key, count in counted.items() if key.endswith(".bmp") and key != "large.bmp"}
    assert small == {f"{number}.bmp": 2 for number in range(6)}
    assert pixels_of(f"{place}/d") == list(range(7))


def test_a_second_ingest_sees_images_that_changed_in_place(place, sync):
    """Their keys and sizes are the same, so nothing but their bytes tells."""
    fill(f"{place}/images", [1, 2, 3])
    ingest(IngestConfig(source=f"{place}/images", dataset=f"{place}/one"), sync, SILENT)
    fill(f"{place}/images", [4, 5, 6])
    ingest(IngestConfig(source=f"{place}/images", dataset=f"{place}/two"), sync, SILENT)
    assert pixels_of(f"{place}/one") == [1, 2, 3]
    assert pixels_of(f"{place}/two") == [4, 5, 6]


def test_an_ingest_that_failed_leaves_no_stale_images(place, sync):
    fill(f"{place}/images", [1, 2, 3])
    Store(f"{place}/images").put("bad.bmp", b"no image")
    config = IngestConfig(source=f"{place}/images", dataset=f"{place}/d")
    with pytest.raises(SkippedError), pytest.warns(UserWarning, match=r"skipped bad\.bmp"):
        ingest(config, sync, SILENT)
    Store(f"{place}/images").delete(["bad.bmp"])
    fill(f"{place}/images", [4, 5, 6])
    ingest(config.model_copy(update={"overwrite": True}), sync, SILENT)
    assert pixels_of(f"{place}/d") == [4, 5, 6]


def test_files_that_were_listed_are_those_that_are_read(place):
    fill(place, [1, 2])
    source = open_source(place)
    assert source.files == (StoredObject("0.bmp", len(bmp(1))), StoredObject("1.bmp", len(bmp(2))))
    Store(place).put("1.bmp", bmp(2, HEIGHT + 1))
    found, notes = gather(source, max_skipped=1)
    assert values_of(found.part(0, 1)) == [1]
    assert "as when the folder was listed" in notes.skipping.first
