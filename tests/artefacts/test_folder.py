"""A folder of image files: one run writes it, a record for each batch, complete by its manifest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dkmeans.artefacts.claims import Claim, Finished
from dkmeans.artefacts.files import begin_files, claim_folder, files_there, refuse_files
from dkmeans.artefacts.folder import HIDDEN, damaged_files, open_folder
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
BATCHES = ((0, NAMES[:2]), (2, NAMES[2:]))


def config(**options):
    return QuantizeConfig(**{"source": "photos", "destination": "out", "k": 4, **options})


@pytest.fixture
def folder(tmp_path):
    """A local folder, or what will be one."""
    return Store(str(tmp_path / "out"))


def write_batch(batch, names):
    for position, name in enumerate(names):
        batch.write(position, FILES[name])
    images = [
        {
            "name": name,
            "key": KEYS[name],
            "height": SIZES[name][0],
            "width": SIZES[name][1],
            "stored_bytes": len(FILES[name]),
        }
        for name in names
    ]
    batch.record(images, [checksums.of_bytes(FILES[name]) for name in names])
    return images


def write(folder, batches=BATCHES, *, commit=True, **options):
    """A run; the names of the batches that it has written."""
    written = []
    with claim_folder(folder, config(**options), "abc") as held:
        files = begin_files(held, folder, KEYS, config(**options), "destination")
        if isinstance(held, Finished):
            return written
        files.begin()
        for number, names in batches:
            batch = files.batch(number, names)
            if not batch.finished():
                write_batch(batch, names)
                written.append(number)
        if commit:
            files.commit(
                source="photos",
                n_images=3,
                n_pixels=sum(height * width for height, width in SIZES.values()),
                image_bytes=sum(map(len, FILES.values())),
            )
    return written


def hidden(folder):
    return folder.below(HIDDEN)


def test_what_is_written_is_read(folder):
    assert write(folder) == [0, 2]
    found = open_folder(folder.url)
    assert found.url == folder.url
    assert found.keys == list(KEYS.values())
    assert found.index.names == NAMES
    assert list(zip(found.index.height, found.index.width, strict=True)) == list(SIZES.values())
    for position, pixels in enumerate(PIXELS.values()):
        np.testing.assert_array_equal(found.image(position), pixels)
    assert (found.manifest.kind, found.manifest.n_images, found.manifest.source) == ("folder", 3, "photos")
    assert list(found.damaged()) == [(found.records[:2], []), (found.records[2:], [])]


def test_records_are_in_the_order_of_numbers(folder):
    """Not of keys: 10 comes behind 2."""
    with claim_folder(folder, config(), "abc") as held:
        files = begin_files(held, folder, KEYS, config(), "destination")
        for number, name in ((0, "a.jpg"), (10, "deep/c.tif"), (2, "b.jpg")):
            write_batch(files.batch(number, [name]), [name])
        files.commit(source="photos", n_images=3, n_pixels=15, image_bytes=0)
    assert open_folder(folder.url).index.names == NAMES


def test_of_two_writers_the_second_is_refused(folder):
    with claim_folder(folder, config(), "abc") as held:
        with pytest.raises(OutputUnfinishedError, match="begun by another run"):
            write(folder)
        files = begin_files(held, folder, KEYS, config(), "destination")
        files.begin()
        write_batch(files.batch(*BATCHES[0]), BATCHES[0][1])
    with pytest.raises(OutputUnfinishedError):
        write(folder)


def test_a_writer_that_is_taken_over_writes_no_file(folder):
    with pytest.raises(OutputTakenError), claim_folder(folder, config(), "abc") as old:  # noqa: PT012
        files = begin_files(old, folder, KEYS, config(), "destination")
        files.begin()
        with claim_folder(folder, config(resume=True), "abc") as new:
            assert new.number == 2
        before = folder.list()
        with pytest.raises(OutputTakenError):
            files.batch(*BATCHES[0]).record([], [])
        assert folder.list() == before
        files.batch(*BATCHES[0]).write(0, FILES["a.jpg"])


def test_a_run_that_resumes_writes_the_rest(folder):
    assert write(folder, BATCHES[:1], commit=False) == [0]
    with pytest.raises(InputError, match="unfinished"):
        open_folder(folder.url)
    assert write(folder, resume=True) == [2]
    assert open_folder(folder.url).index.names == NAMES


def test_a_finished_folder(folder):
    write(folder)
    before = {found.key: folder.get(found.key) for found in folder.list()}
    with pytest.raises(OutputExistsError):
        write(folder)
    assert write(folder, resume=True) == []
    assert {found.key: folder.get(found.key) for found in folder.list()} == before
    assert write(folder, overwrite=True) == [0, 2]


def other_options(folder):
    write(folder, k=5)


def other_input(folder):
    with claim_folder(folder, config(), "xyz") as held:
        begin_files(held, folder, KEYS, config(), "destination").begin()


@pytest.mark.parametrize(
    ("before", "message"),
    [(other_options, "begun with n_clusters = 5, found 4 now"), (other_input, "begun from another input")],
)
def test_a_folder_of_another_run_is_not_resumed(folder, before, message):
    before(folder)
    with pytest.raises(UsageError, match=message):
        write(folder, resume=True)


@pytest.mark.parametrize(
    ("damage", "again"),
    [
        (lambda folder: folder.delete(["b.png"]), [0]),
        (lambda folder: folder.put("deep/c.png", FILES["deep/c.tif"] + b"x"), [2]),
        (lambda folder: hidden(folder).put("records/0.json", b"{"), [0]),
        (lambda folder: hidden(folder).put("records/2.json", b"{}"), [2]),
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
    write(folder, BATCHES[:1], commit=False)
    data = bytearray(FILES["a.jpg"])
    data[-1] ^= 1
    folder.put("a.png", bytes(data))
    assert write(folder, resume=True) == [0, 2]
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
    hidden(folder).put("records/2.json", data)
    with pytest.raises(
        InputError, match=rf"{folder.url}: \.dkmeans/records/2\.json is gone or damaged\. Run"
    ):
        _ = open_folder(folder.url).records
    assert [problems for _, problems in open_folder(folder.url).damaged()] == [
        [],
        [f"{folder.url}: .dkmeans/records/2.json is gone or damaged. {REMEDY}"],
    ]


def test_a_record_that_was_changed_is_damaged(folder):
    write(folder)
    record = json.loads(hidden(folder).get("records/0.json"))
    record["images"][0]["height"] = 99
    hidden(folder).put("records/0.json", json.dumps(record).encode())
    with pytest.raises(InputError, match=r"records/0\.json is gone or damaged"):
        _ = open_folder(folder.url).records


def test_files_that_no_run_has_written_are_in_the_way(folder):
    folder.put("b.png", b"mine")
    folder.put("other.txt", b"mine too")
    with pytest.raises(UsageError, match=r"destination: .* already holds b\.png; expected a place without"):
        write(folder)
    assert folder.get("b.png") == b"mine"
    assert [found.key for found in folder.list()] == ["b.png", "other.txt"]  # the claim was given back
    with pytest.raises(UsageError, match=r"holds b\.png, which no run of these options has written"):
        write(folder, resume=True)
    assert write(folder, overwrite=True) == [0, 2]
    assert folder.get("b.png") == FILES["b.jpg"]
    assert folder.get("other.txt") == b"mine too"


def test_a_folder_of_an_older_dkmeans_is_not_gone_on_with(folder):
    hidden(folder).put("1c119882652fc7c3/0.json", b"{}")
    with pytest.raises(UsageError, match=r"was written by an older dkmeans, .* Delete .*\.dkmeans"):
        write(folder)


def test_a_run_that_failed_before_a_file_leaves_nothing(folder):
    with pytest.raises(ValueError, match="early"), claim_folder(folder, config(), "abc"):
        raise ValueError("early")
    assert folder.list() == []
    with pytest.raises(ValueError, match="late"), claim_folder(folder, config(), "abc") as held:  # noqa: PT012
        begin_files(held, folder, KEYS, config(), "destination").begin()
        folder.put("a.png", b"half of")
        raise ValueError("late")
    with pytest.raises(OutputUnfinishedError):
        write(folder)
    assert write(folder, resume=True) == [0, 2]


def test_a_batch_takes_its_own_files(folder):
    folder.put("a.png", b"12")
    folder.put("deep/c.png", b"345")
    assert files_there(folder, KEYS.values()) == {"a.png": 2, "deep/c.png": 3}
    with claim_folder(folder, config(overwrite=True), "abc") as held:
        assert isinstance(held, Claim)
        files = begin_files(held, folder, KEYS, config(overwrite=True), "destination")
        assert files.there == files_there(folder, KEYS.values()) == {}
    refuse_files(folder, [], "destination")
    with pytest.raises(UsageError, match=r"images: .* already holds x\.png"):
        refuse_files(folder, ["y.png", "x.png"], "images")
