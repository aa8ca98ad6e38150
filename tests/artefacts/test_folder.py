"""A folder of image files: one run writes it, a record for each batch, complete by its manifest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dkmeans.artefacts import files as files_module
from dkmeans.artefacts.claims import Finished
from dkmeans.artefacts.files import Wanted, begin_files, claim_folder
from dkmeans.artefacts.folder import HIDDEN, damaged_files, open_folder, parse_record
from dkmeans.artefacts.former import Record, read_former
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import InputError, OutputExistsError, OutputTakenError, OutputUnfinishedError, UsageError
from dkmeans.images.encode import encode_png
from dkmeans.storage import checksums
from dkmeans.storage.store import Store

REMEDY = "Run the command that wrote the folder again with --resume."
NAMES = ("a.jpg", "b.jpg", "deep/c.tif")
KEYS = {"a.jpg": "a.png", "b.jpg": "b.png", "deep/c.tif": "deep/c.png"}
SIZES = {"a.jpg": (2, 3), "b.jpg": (1, 1), "deep/c.tif": (4, 2)}
PIXELS = {name: np.full((*SIZES[name], 3), 10 + number, np.uint8) for number, name in enumerate(NAMES)}
FILES = {name: encode_png(pixels) for name, pixels in PIXELS.items()}


def config(**options):
    return QuantizeConfig(**{"source": "photos", "destination": "out", "k": 4, **options})


@pytest.fixture
def folder(tmp_path):
    """A local folder, or what will be one."""
    return Store(str(tmp_path / "out"))


VERSIONS = dict.fromkeys(NAMES, "1")


def wanted(versions=VERSIONS, options="k=4"):
    return Wanted(versions, options, {name: (KEYS[name], name) for name in versions})


def write_batch(batch, copied=()):
    """Write the files of a batch, and their records."""
    records = []
    for position, name in enumerate(batch.names):
        record = batch.write(position, FILES[name], copied=name in copied)
        about = {"height": SIZES[name][0], "width": SIZES[name][1]}
        records.append(Record({**record.image, **about}, record.check))
    batch.record(records)
    return records


def write(
    folder,
    versions=VERSIONS,
    *,
    options="k=4",
    dies=None,
    copied=(),
    update=False,
    prune=False,
    records=None,
    **config_options,
):
    """A run; the names of the images that it has made. It dies before the one that `dies`."""
    made = [] if records is None else records
    settings = config(**config_options)
    state = {"input_state": repr(versions), "updates": update, "prunes": prune}
    with claim_folder(folder, settings, "abc", **state) as held:
        if isinstance(held, Finished):
            return []
        files = begin_files(held, read_former(folder), wanted(versions, options), "destination", prunes=prune)
        files.begin()
        for number, name in enumerate(versions):
            if name == dies:
                raise PowerCut
            if name not in files.kept:
                made += write_batch(files.batch(number, [name]), copied)
        done = files.records(made)
        files.commit(
            made,
            source="photos",
            n_images=len(done),
            n_pixels=sum(each.image["height"] * each.image["width"] for each in done),
            image_bytes=sum(each.image["stored_bytes"] for each in done),
        )
    return [each.name for each in made]


class PowerCut(Exception):
    """Not an error that any code expects."""


def cut(folder, *arguments, **options):
    """A run that dies."""
    with pytest.raises(PowerCut):
        write(folder, *arguments, **options)


def listed(folder):
    """Keys of the files, without the hidden ones."""
    return [found.key for found in folder.list() if not found.key.startswith(HIDDEN)]


def hidden(folder):
    return folder.below(HIDDEN)


def test_what_is_written_is_read(folder):
    assert write(folder) == list(NAMES)
    found = open_folder(folder.url)
    assert found.url == folder.url
    assert found.keys == list(KEYS.values())
    assert found.index.names == NAMES
    assert list(zip(found.index.height, found.index.width, strict=True)) == list(SIZES.values())
    for position, pixels in enumerate(PIXELS.values()):
        np.testing.assert_array_equal(found.image(position), pixels)
    assert (found.manifest.kind, found.manifest.n_images, found.manifest.source) == ("folder", 3, "photos")
    assert list(found.damaged()) == [(found.records, [])]
    assert [each.key for each in hidden(folder).list("journal")] == []


def test_records_of_many_images_are_in_order(folder, monkeypatch):
    """Not of the keys of their objects: 10 comes behind 2."""
    monkeypatch.setattr(files_module, "_RECORDS_PER_OBJECT", 1)
    names = [f"{number}.jpg" for number in range(12)]
    for table, value in ((KEYS, "{}.png"), (SIZES, None), (FILES, None)):
        for name in names:
            source = {"SIZES": (2, 3), "FILES": FILES["a.jpg"]}
            new = value.format(name) if value else source["SIZES" if table is SIZES else "FILES"]
            monkeypatch.setitem(table, name, new)
    write(folder, dict.fromkeys(names, "1"))
    assert open_folder(folder.url).index.names == tuple(names)
    assert len(open_folder(folder.url).manifest.records) == 12


def test_of_two_writers_the_second_is_refused(folder):
    with claim_folder(folder, config(), "abc") as held:
        with pytest.raises(OutputUnfinishedError, match="begun by another run"):
            write(folder)
        files = begin_files(held, read_former(folder), wanted(), "destination")
        files.begin()
        write_batch(files.batch(0, NAMES[:2]))
    with pytest.raises(OutputUnfinishedError):
        write(folder)


def test_a_writer_that_is_taken_over_writes_no_file(folder):
    with pytest.raises(OutputTakenError), claim_folder(folder, config(), "abc") as old:  # noqa: PT012
        files = begin_files(old, read_former(folder), wanted(), "destination")
        files.begin()
        with claim_folder(folder, config(resume=True), "abc") as new:
            assert new.number == 2
        before = folder.list()
        with pytest.raises(OutputTakenError):
            files.batch(0, NAMES).record([])
        assert folder.list() == before
        files.batch(0, NAMES).write(0, FILES["a.jpg"])


def test_a_run_that_resumes_writes_the_rest(folder):
    cut(folder, dies="b.jpg")
    with pytest.raises(InputError, match="unfinished"):
        open_folder(folder.url)
    assert write(folder, resume=True) == ["b.jpg", "deep/c.tif"]
    assert open_folder(folder.url).index.names == NAMES


def test_a_finished_folder(folder):
    write(folder)
    before = {found.key: folder.get(found.key) for found in folder.list()}
    with pytest.raises(OutputExistsError, match="--update"):
        write(folder)
    for again in ({"resume": True}, {"update": True}, {"update": True, "prune": True}):
        assert write(folder, **again) == []
    assert {found.key: folder.get(found.key) for found in folder.list()} == before
    assert write(folder, overwrite=True) == list(NAMES)


def test_other_options_are_not_resumed_and_are_updated(folder):
    write(folder, k=5)
    with pytest.raises(UsageError, match="begun with n_clusters = 5, found 4 now"):
        write(folder, resume=True)
    assert write(folder, update=True, options="k=4, too") == list(NAMES)


def test_where_no_version_is_told_another_input_is_refused(folder):
    with claim_folder(folder, config(), "xyz") as held:
        begin_files(held, read_former(folder), wanted(), "destination").begin()
    with (
        pytest.raises(UsageError, match="begun from another input"),
        claim_folder(folder, config(resume=True), "abc"),
    ):
        pass


@pytest.mark.parametrize("again", [{"resume": True}, {"update": True}], ids=str)
@pytest.mark.parametrize("dies", [None, "deep/c.tif"], ids=["finished", "unfinished"])
def test_what_has_changed_is_made_and_the_rest_is_kept(folder, again, dies):
    """One image is edited in place, one is new, one is gone; no key is given twice."""
    first = {"a.jpg": "1", "b.jpg": "1", "deep/c.tif": "1"}
    if dies:
        cut(folder, first, dies=dies)
    else:
        write(folder, first)
    now = {"b.jpg": "2", "deep/c.tif": "1"}
    assert write(folder, now, **again) == (["b.jpg", "deep/c.tif"] if dies else ["b.jpg"])
    found = open_folder(folder.url)
    assert found.index.names == ("b.jpg", "deep/c.tif")
    assert [image["source"] for image in found.records] == ["2", "1"]
    assert found.manifest.n_gone == 1
    assert listed(folder) == ["a.png", "b.png", "deep/c.png"]
    # That of the image that is gone is still known as ours.
    assert write(folder, now, update=True, prune=True) == []
    assert listed(folder) == ["b.png", "deep/c.png"]
    assert open_folder(folder.url).manifest.n_gone == 0
    assert write(folder, first, **again) == ["a.jpg", "b.jpg"]
    assert write(folder, first, **again) == []


def test_an_image_that_comes_back_as_it_was_has_its_file(folder):
    write(folder)
    fewer = dict.fromkeys(NAMES[1:], "1")
    write(folder, fewer, update=True)
    assert write(folder, update=True) == []
    assert open_folder(folder.url).index.names == NAMES


def test_only_own_files_are_deleted(folder):
    write(folder)
    folder.put("mine.png", b"mine")
    folder.put("deep/mine.txt", b"mine")
    write(folder, {"a.jpg": "1"}, update=True, prune=True)
    assert listed(folder) == ["a.png", "deep/mine.txt", "mine.png"]
    write(folder, {"a.jpg": "1"}, overwrite=True)
    assert listed(folder) == ["a.png", "deep/mine.txt", "mine.png"]


def test_overwriting_deletes_the_files_of_images_that_are_gone(folder):
    write(folder)
    assert write(folder, {"b.jpg": "1"}, overwrite=True) == ["b.jpg"]
    assert listed(folder) == ["b.png"]


def test_a_copy_that_takes_the_place_of_a_png(folder):
    write(folder)
    assert write(folder, copied=("b.jpg",), options="other", update=True, k=5) == list(NAMES)
    assert listed(folder) == ["a.png", "b.jpg", "deep/c.png"]
    found = open_folder(folder.url)
    assert found.keys == ["a.png", "b.jpg", "deep/c.png"]
    assert [image["copied"] for image in found.records] == [False, True, False]
    np.testing.assert_array_equal(found.image(1), PIXELS["b.jpg"])


def test_a_file_that_has_to_be_a_folder_now_moves(folder, monkeypatch):
    write(folder, {"a.jpg": "1"})
    monkeypatch.setitem(KEYS, "a.jpg", "a.jpg.png")
    monkeypatch.setitem(KEYS, "b.jpg", "a.png/b.png")
    assert write(folder, {"a.jpg": "1", "b.jpg": "1"}, update=True) == ["a.jpg", "b.jpg"]
    assert listed(folder) == ["a.jpg.png", "a.png/b.png"]


@pytest.mark.parametrize(
    ("damage", "again"),
    [
        (lambda folder: folder.delete(["b.png"]), ["b.jpg"]),
        (lambda folder: folder.put("deep/c.png", FILES["deep/c.tif"] + b"x"), ["deep/c.tif"]),
        (lambda folder: hidden(folder).put("records/1-0.json", b"{"), list(NAMES)),
        (lambda folder: hidden(folder).put("records/1-0.json", b"{}"), list(NAMES)),
    ],
    ids=["a file is gone", "a file is longer", "a record is no JSON", "a record without checksum"],
)
def test_what_is_not_whole_is_written_again(folder, damage, again):
    write(folder)
    damage(folder)
    assert write(folder, resume=True) == again
    assert all(not problems for _, problems in open_folder(folder.url).damaged())
    np.testing.assert_array_equal(open_folder(folder.url).image(2), PIXELS["deep/c.tif"])


def test_a_file_of_which_a_bit_is_flipped_is_found_where_files_are_read(folder):
    """A finished folder is believed by sizes; what reads all, and a run that goes on, look at the bytes."""
    cut(folder, dies="b.jpg")
    data = bytearray(FILES["a.jpg"])
    data[-1] ^= 1
    folder.put("a.png", bytes(data))
    assert write(folder, resume=True) == list(NAMES)
    folder.put("a.png", bytes(data))
    assert write(folder, resume=True) == []


def test_damaged_files(folder):
    write(folder)
    found = open_folder(folder.url)
    sums = [checksums.of_bytes(FILES[name]) for name in NAMES]
    assert damaged_files(folder, found.records, sums) == []
    folder.delete(["b.png"])
    folder.put("deep/c.png", b"x" * len(FILES["deep/c.tif"]))
    assert damaged_files(folder, found.records, sums) == ["b.png", "deep/c.png"]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"images": [], "files": [], "crc32c": 1}'])
def test_a_damaged_record_is_named(folder, data):
    write(folder)
    hidden(folder).put("records/1-0.json", data)
    told = rf"{folder.url}: \.dkmeans/records/1-0\.json is gone or damaged\. Run"
    with pytest.raises(InputError, match=told):
        _ = open_folder(folder.url).records
    assert [problems for _, problems in open_folder(folder.url).damaged()] == [
        [f"{folder.url}: .dkmeans/records/1-0.json is gone or damaged. {REMEDY}"],
    ]


def test_a_record_that_was_changed_is_damaged(folder):
    write(folder)
    record = json.loads(hidden(folder).get("records/1-0.json"))
    record["images"][0]["height"] = 99
    hidden(folder).put("records/1-0.json", json.dumps(record).encode())
    with pytest.raises(InputError, match=r"records/1-0\.json is gone or damaged"):
        _ = open_folder(folder.url).records
    with pytest.raises(ValueError, match="another checksum"):
        parse_record(json.dumps(record).encode())


@pytest.mark.parametrize("key", ["b.png", "b.jpg", "deep", "a.png/mine.txt"])
@pytest.mark.parametrize(
    "again", [{}, {"resume": True}, {"overwrite": True}, {"update": True, "prune": True}], ids=str
)
def test_files_that_no_run_has_written_are_in_the_way(folder, key, again):
    """At the place of a PNG or of a copy, and where a folder is needed, or there is one."""
    folder.put(key, b"mine")
    folder.put("other.txt", b"mine too")
    with pytest.raises(UsageError, match=rf"destination: .* already holds {key}, which no run of dkmeans"):
        write(folder, **again)
    assert folder.get(key) == b"mine"
    assert [found.key for found in folder.list()] == sorted([key, "other.txt"])  # the claim was given back
    folder.delete([key])
    write(folder)
    assert listed(folder) == ["a.png", "b.png", "deep/c.png", "other.txt"]


def test_a_new_image_does_not_take_the_place_of_a_stranger(folder):
    write(folder, {"a.jpg": "1"})
    folder.put("b.png", b"mine")
    for again in ({"update": True}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(UsageError, match=r"already holds b\.png, which no run of dkmeans has written"):
            write(folder, {"a.jpg": "1", "b.jpg": "1"}, **again)
        assert folder.get("b.png") == b"mine"


def test_a_folder_of_an_older_dkmeans_is_not_gone_on_with(folder):
    hidden(folder).put("1c119882652fc7c3/0.json", b"{}")
    with pytest.raises(UsageError, match=r"was written by an older dkmeans, .* Delete .*\.dkmeans"):
        write(folder)


def test_a_run_that_failed_before_a_file_leaves_nothing(folder):
    with pytest.raises(ValueError, match="early"), claim_folder(folder, config(), "abc"):
        raise ValueError("early")
    assert folder.list() == []
    state = {"input_state": repr(VERSIONS)}
    with pytest.raises(ValueError, match="late"), claim_folder(folder, config(), "abc", **state) as held:  # noqa: PT012
        begin_files(held, read_former(folder), wanted(), "destination").begin()
        folder.put("a.png", b"half of")
        raise ValueError("late")
    with pytest.raises(OutputUnfinishedError):
        write(folder)
    assert write(folder, resume=True) == list(NAMES)


class Power:
    """Counts what is written to and deleted from storage, and cuts the power at one of these."""

    def __init__(self, monkeypatch):
        self.count, self.dies = 0, None
        for name in ("put", "create", "delete"):
            monkeypatch.setattr(Store, name, self.counted(getattr(Store, name)))

    def counted(self, function):
        def call(store, *arguments):
            self.count += 1
            if self.dies is not None and self.count >= self.dies:
                raise PowerCut
            return function(store, *arguments)

        return call

    def restore(self, dies=None):
        self.count, self.dies = 0, dies


@pytest.mark.parametrize(
    "again", [{"update": True, "prune": True}, {"update": True}, {"overwrite": True}], ids=str
)
def test_an_update_that_dies_at_any_write(tmp_path, monkeypatch, again):
    """No reader takes what it has left for complete; the run after it comes to what it would have come to."""
    power, now = Power(monkeypatch), {"b.jpg": "2", "deep/c.tif": "1"}

    def prepared(name):
        power.restore()
        folder = Store(str(tmp_path / name))
        write(folder)
        folder.put("mine.txt", b"mine")
        return folder

    whole = prepared("whole")
    power.restore()
    made = write(whole, now, copied=("b.jpg",), **again)
    n_writes = power.count
    assert made == (list(now) if "overwrite" in again else ["b.jpg"])
    assert n_writes > 8
    complete = 0
    for dies in range(1, n_writes + 1):
        folder = prepared(f"at{dies}")
        power.restore(dies)
        cut(folder, now, copied=("b.jpg",), **again)
        power.restore()
        if hidden(folder).exists("zarr.json"):  # with its claim alone nothing has changed yet
            complete += 1
            found = open_folder(folder.url)
            assert all(not problems for _, problems in found.damaged())
            assert found.manifest.n_images == (3 if dies <= 2 else 2)
        else:
            with pytest.raises(InputError, match="unfinished"):
                open_folder(folder.url)
        rest = {"resume": True} if "overwrite" in again and dies > 1 else again
        write(folder, now, copied=("b.jpg",), **rest)
        found = open_folder(folder.url)
        assert found.keys == ["b.jpg", "deep/c.png"]
        assert [image["source"] for image in found.records] == ["2", "1"]
        assert all(not problems for _, problems in found.damaged())
        write(folder, now, copied=("b.jpg",), update=True, prune=True)
        left = {"b.png"} if dies > n_writes - 4 else set()
        assert set(listed(folder)) - left == {"b.jpg", "deep/c.png", "mine.txt"}
    assert complete >= 2
