"""Small files are kept from their headers to their pixels: within a bound, for one reading, once."""

from __future__ import annotations

import collections
import io
import threading
import uuid

import numpy as np
import obstore
import pytest
from object_store.proxy import FaultyProxy
from PIL import Image

from dkmeans import IngestConfig, ingest, open_dataset
from dkmeans.errors import SkippedError
from dkmeans.events.reporter import SILENT
from dkmeans.images import kept, sources
from dkmeans.images.sources import open_source
from dkmeans.storage.access import storage_options
from dkmeans.storage.store import Store

LIMIT = 10**6


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    """Nothing is kept before a test, nor behind it."""
    monkeypatch.setattr(kept, "_FILES", collections.defaultdict(dict))
    monkeypatch.setattr(kept, "_SIZES", collections.defaultdict(int))


def kept_bytes():
    found = sum(len(data) for files in kept._FILES.values() for data in files.values())
    assert found == sum(kept._SIZES.values())
    return found


def bmp(value, height=7, width=5):
    """Images of one size have as many bytes."""
    pixels = np.full((height, width, 3), value, np.uint8)
    Image.fromarray(pixels).save(target := io.BytesIO(), "BMP")
    return target.getvalue()


def test_a_file_is_taken_once():
    kept.put("reading", "a", b"123")
    assert kept.take("reading", "a") == b"123"
    assert kept.take("reading", "a") is None
    assert kept_bytes() == 0


def test_a_file_is_kept_for_one_reading():
    kept.put("one", "a", b"1")
    kept.put("two", "a", b"22")
    assert kept.take("three", "a") is None
    assert kept.take("two", "b") is None
    assert kept.take("one", "a") == b"1"
    assert kept.take("two", "a") == b"22"


def test_an_empty_file_is_a_file():
    kept.put("reading", "a", b"")
    assert kept.take("reading", "a") == b""
    assert kept.take("reading", "a") is None


def test_no_more_is_kept_than_the_bound(monkeypatch):
    monkeypatch.setattr(kept, "_MOST_BYTES", 10)
    for key, size in {"a": 4, "b": 6, "c": 1}.items():
        kept.put("reading", key, bytes(size))
        assert kept_bytes() <= 10
    assert [kept.take("reading", key) is not None for key in "abc"] == [True, True, False]
    kept.put("reading", "d", bytes(10))  # there is room again
    assert kept_bytes() == 10
    kept.put("reading", "e", bytes(11))
    assert kept.take("reading", "e") is None


def test_what_is_put_twice_is_counted_once():
    for _ in range(3):
        kept.put("reading", "a", b"123")
    assert kept_bytes() == 3


def test_other_readings_go_first(monkeypatch):
    monkeypatch.setattr(kept, "_MOST_BYTES", 10)
    kept.put("old", "a", bytes(4))
    kept.put("older", "b", bytes(4))
    kept.put("new", "c", bytes(2))
    assert kept_bytes() == 10  # with room for all, all stay
    kept.put("new", "d", bytes(3))
    assert kept_bytes() <= 10
    assert kept.take("new", "c") == bytes(2)
    assert kept.take("new", "d") == bytes(3)
    assert [kept.take("old", "a"), kept.take("older", "b")].count(None) == 1  # no more than had to
    kept.put("new", "e", bytes(10))
    assert kept.take("new", "e") == bytes(10)


def test_a_file_that_is_too_large_drives_nothing_out(monkeypatch):
    monkeypatch.setattr(kept, "_MOST_BYTES", 10)
    kept.put("other", "a", bytes(4))
    kept.put("reading", "b", bytes(11))
    assert kept.take("other", "a") == bytes(4)


def test_threads_do_not_lose_count(monkeypatch):
    monkeypatch.setattr(kept, "_MOST_BYTES", 100)
    errors = []

    def work(number):
        try:
            for step in range(300):
                kept.put(f"reading {number % 2}", f"{number} {step}", bytes(step % 17))
                kept.take(f"reading {number % 2}", f"{number} {step - 3}")
                assert kept_bytes_locked() <= 100
        except Exception as error:
            errors.append(error)

    def kept_bytes_locked():
        with kept._LOCK:
            return kept_bytes()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


# Readings of images


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


def pixels_of(url):
    dataset = open_dataset(url)
    return [
        int(stack[0, 0, 0, 0])
        for index in range(dataset.n_images)
        for stack in dataset.stacks(index, index + 1)
    ]


def test_an_ingest_reads_each_small_image_once(place, counted, sync):
    fill(f"{place}/images", range(8))
    ingest(IngestConfig(source=f"{place}/images", dataset=f"{place}/d"), sync, SILENT)
    assert {key: count for key, count in counted.items() if key.endswith(".bmp")} == {
        f"{number}.bmp": 1 for number in range(8)
    }
    assert pixels_of(f"{place}/d") == list(range(8))
    assert kept_bytes() == 0


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


def test_without_room_images_are_read_again(place, counted, sync, monkeypatch):
    monkeypatch.setattr(kept, "_MOST_BYTES", 2 * len(bmp(0)))
    fill(f"{place}/images", range(6))
    ingest(IngestConfig(source=f"{place}/images", dataset=f"{place}/d"), sync, SILENT)
    assert sorted(count for key, count in counted.items() if key.endswith(".bmp")) == [1, 1, 2, 2, 2, 2]
    assert pixels_of(f"{place}/d") == list(range(6))


def test_images_of_which_a_beginning_was_read_are_not_kept(place, monkeypatch):
    monkeypatch.setattr(sources, "_PREFIX", 64)
    fill(place, range(2))
    source = open_source(place)
    source.headers(max_pixels=LIMIT)
    assert kept_bytes() == 0
    assert [int(image[0, 0, 0]) for image in source.read("rgb", max_pixels=LIMIT)] == [0, 1]


def test_parts_of_a_source_are_of_its_reading(place, counted):
    fill(place, range(4))
    source = open_source(place)
    source.part(0, 4).headers(max_pixels=LIMIT)
    rest = source.without({"0.bmp"}).part(1, 3)
    assert [int(image[0, 0, 0]) for image in rest.read("rgb", max_pixels=LIMIT)] == [2, 3]
    assert counted["2.bmp"] == counted["3.bmp"] == 1
    again = [int(image[0, 0, 0]) for image in rest.read("rgb", max_pixels=LIMIT)]  # read, as it was taken
    assert again == [2, 3]
    assert counted["2.bmp"] == counted["3.bmp"] == 2


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
    assert kept_bytes() > 0  # the headers were read
    Store(f"{place}/images").delete(["bad.bmp"])
    fill(f"{place}/images", [4, 5, 6])
    ingest(config.model_copy(update={"overwrite": True}), sync, SILENT)
    assert pixels_of(f"{place}/d") == [4, 5, 6]
    assert len(kept._FILES) <= 2
