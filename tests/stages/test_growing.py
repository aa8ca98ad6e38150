"""A dataset that images are appended to is the one that all of them would have made, or says why not."""

from __future__ import annotations

import os
import shutil
import struct

import numpy as np
import obstore
import pytest
from PIL import Image, PngImagePlugin
from stages.outputs import PowerCut, read_arrays

from dkmeans import ClusterConfig, FitConfig, IngestConfig, fit, ingest, open_dataset
from dkmeans.artefacts.manifests import ROOT, group_metadata, sealed
from dkmeans.errors import InputError, OutputExistsError, OutputTakenError, SkippedError, UsageError
from dkmeans.stages import ingest as module
from dkmeans.stages.verify import verify
from dkmeans.storage.store import Store

TINY = {"shard_mib": 0.006}
PATCHES = {**TINY, "patch": 4, "stride": 3}


class Bucket:
    """A folder of images that grows, and its dataset."""

    def __init__(self, folder, cluster):
        self.images, self.dataset, self.cluster = folder / "images", folder / "d", cluster
        self.images.mkdir()
        self.rng = np.random.default_rng(0)

    def add(self, name, size=(37, 41, 3), dtype=np.uint8, tags=None):
        """Write a picture of noise with blank parts."""
        pixels = self.rng.integers(0, np.iinfo(dtype).max, size, dtype=dtype, endpoint=True)
        pixels[: size[0] // 3] = 0
        path = self.images / name
        if dtype == np.uint16:
            path.write_bytes(b"P5 %d %d 65535\n" % (size[1], size[0]) + pixels.astype(">u2").tobytes())
        else:
            Image.fromarray(pixels).save(path, pnginfo=tags)

    def ingest(self, place=None, **options):
        config = {"source": str(self.images), "dataset": str(place or self.dataset), **options}
        return ingest(IngestConfig(**config), self.cluster)

    def fresh(self, tmp_path, **options):
        """What a fresh run makes: its arrays and manifest, and its report."""
        fresh = tmp_path / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        for name in ("update", "resume"):
            options.pop(name, None)
        report = self.ingest(fresh, **options)
        return _facts(fresh), report

    def check(self, tmp_path, fresh=None, **options):
        """See that the dataset is the one that a fresh run makes, if that is not known already."""
        expected, report = fresh or self.fresh(tmp_path, **options)
        assert _facts(self.dataset) == expected
        assert verify(str(self.dataset))
        return report


def _facts(dataset):
    """Arrays of a dataset, and its manifest but for what tells of the run."""
    manifest = open_dataset(str(dataset)).manifest.model_dump()
    del manifest["config"]["dataset"], manifest["run"]
    return read_arrays(dataset), manifest


@pytest.fixture
def bucket(tmp_path, sync):
    return Bucket(tmp_path, sync)


@pytest.fixture
def written(monkeypatch):
    """Keys of what is put into storage."""
    keys, put = [], obstore.put

    def noted(store, path, *arguments, **options):
        keys.append(path)
        return put(store, path, *arguments, **options)

    monkeypatch.setattr(obstore, "put", noted)
    return keys


@pytest.mark.parametrize("options", [{}, TINY, PATCHES], ids=["one shard", "shards", "patches"])
def test_it_is_what_all_images_together_make(bucket, options, tmp_path):
    for name in ("1.png", "2.png"):
        bucket.add(name)
    bucket.ingest(**options)
    for day in range(3, 7):
        bucket.add(f"{day}.png", (31 + day, 40, 3))
        bucket.add(f"{day}b.png", (5, 7, 3))
        report = bucket.ingest(update=True, **options)
        assert report.n_images == 2 * day - 2
        assert report.digest == bucket.check(tmp_path, **options).digest


def test_full_shards_are_neither_written_nor_read(bucket, tmp_path, monkeypatch):
    for name in ("1.png", "2.png", "3.png"):
        bucket.add(name)
    bucket.ingest(**PATCHES)
    times = {path: path.stat().st_mtime_ns for path in bucket.dataset.rglob("c/*/0")}
    read = []
    get, fetched = Store.get, Store.get_many
    monkeypatch.setattr(Store, "get", lambda self, key: (read.append(key), get(self, key))[1])

    def many(self, files, **options):
        read.extend(file.key for file in files)
        return fetched(self, files, **options)

    monkeypatch.setattr(Store, "get_many", many)
    bucket.add("4.png")
    bucket.ingest(update=True, **PATCHES)
    for name in ("pixels", "patches"):
        of_array = [path for path in times if path.parts[-4] == name]
        assert len(of_array) >= 3
        changed = [path for path in of_array if path.stat().st_mtime_ns != times[path]]
        assert {path.parts[-2] for path in changed} == {str(len(of_array) - 1)}
    assert {key for key in read if key.endswith(".png")} == {"3.png", "4.png"}
    bucket.check(tmp_path, **PATCHES)


def test_nothing_new_writes_nothing(bucket, written):
    bucket.add("1.png")
    first = bucket.ingest(**TINY)
    written.clear()
    again = bucket.ingest(update=True, **TINY)
    assert written == []
    assert again.digest == first.digest


def test_where_nothing_is_there_it_is_made(bucket, tmp_path):
    bucket.add("1.png")
    bucket.ingest(update=True, **TINY)
    bucket.check(tmp_path, **TINY)


def test_narrower_images_and_color_tags(bucket, tmp_path):
    bucket.add("1.png")
    bucket.ingest(**TINY)
    tags = PngImagePlugin.PngInfo()
    tags.add(b"gAMA", struct.pack(">I", 100_000))
    bucket.add("2.png", (30, 30), tags=tags)
    with pytest.warns(UserWarning, match="2 color profiles"):
        bucket.ingest(update=True, **TINY)
    with pytest.warns(UserWarning, match="2 color profiles"):
        bucket.check(tmp_path, **TINY)


def test_sixteen_bits_among_eight(bucket, tmp_path):
    bucket.add("1.png", (30, 40))
    bucket.ingest(**TINY)
    bucket.add("2.pgm", (30, 40), np.uint16)
    with pytest.warns(UserWarning, match="rounded to 8"):
        bucket.ingest(update=True, **TINY)
    with pytest.warns(UserWarning, match="rounded to 8"):
        bucket.check(tmp_path, **TINY)


@pytest.mark.filterwarnings("ignore:skipped")
def test_images_that_are_left_out(bucket, tmp_path):
    options = {**PATCHES, "max_skipped": "all"}
    (bucket.images / "0.png").write_bytes(b"")
    bucket.add("1.png")
    bucket.add("2.png", (3, 3, 3))  # smaller than a patch
    bucket.add("3.png")
    bucket.ingest(**options)
    bucket.add("4.png")
    whole = (bucket.images / "4.png").read_bytes()
    (bucket.images / "5.png").write_bytes(whole[: len(whole) // 2])
    bucket.add("6.png")
    (bucket.images / "7.png").write_bytes(b"no image")
    report = bucket.ingest(update=True, **options)
    assert (report.n_images, report.n_skipped) == (4, 4)
    bucket.check(tmp_path, **options)
    assert [image.key for image in open_dataset(str(bucket.dataset)).skipped()] == [
        "0.png",
        "2.png",
        "7.png",
        "5.png",
    ]


# What is refused, while the dataset stays as it is


def refused(bucket, **options):
    before = read_arrays(bucket.dataset)
    with pytest.raises(UsageError) as caught:
        bucket.ingest(update=True, **options)
    assert read_arrays(bucket.dataset) == before
    open_dataset(str(bucket.dataset))
    said = str(caught.value)
    assert said.startswith(f"{bucket.dataset}: nothing can be appended: ")
    assert said.endswith(" Pass --overwrite to make it again.")
    return said.split(": ", 2)[2].removesuffix(" Pass --overwrite to make it again.")


def test_images_that_are_not_as_they_were(bucket):
    for name in ("1.png", "2.png", "4.png"):
        bucket.add(name)
    bucket.ingest(**TINY)
    bucket.add("5.png")
    path = bucket.images / "2.png"
    info = path.stat()
    bucket.add("3.png")
    assert refused(bucket, **TINY) == (
        "1 (3.png) of the new images comes before 4.png, the last that it was made of, and a dataset has its "
        "images in the order of their keys."
    )
    (bucket.images / "3.png").unlink()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 10**9))  # of the same size
    assert refused(bucket, **TINY) == "1 (2.png) of the images that it was made of is another file now."
    path.unlink()
    (bucket.images / "4.png").unlink()
    assert refused(bucket, **TINY) == "2 (2.png, 4.png) of the images that it was made of are gone."


def test_images_that_it_does_not_hold(bucket, tmp_path):
    bucket.add("1.png", (30, 40))
    bucket.ingest(**TINY)
    bucket.add("2.png", (30, 40))
    bucket.add("3.png")
    assert refused(bucket, **TINY) == "3.png has more than the 1 channels of its pixels."
    assert refused(bucket, **TINY, color="gray") == "it was made with color = 'auto', found 'gray' now."


def test_eight_bits_after_sixteen(bucket):
    bucket.add("1.pgm", (30, 40), np.uint16)
    bucket.ingest(**TINY)
    bucket.add("2.pgm", (30, 40), np.uint16)
    bucket.ingest(update=True, **TINY)
    bucket.add("3.png", (30, 40))
    with pytest.warns(UserWarning, match="rounded to 8"):
        why = refused(bucket, **TINY)
    assert why == "its pixels have 16 bits a channel, not all of the new images have."


def test_a_stack_is_one_file(bucket, tmp_path):
    bucket.images = tmp_path / "stack.npy"
    np.save(bucket.images, np.zeros((3, 8, 8), np.uint8))
    bucket.ingest(**TINY)
    np.save(bucket.images, np.zeros((4, 8, 8), np.uint8))
    assert refused(bucket, **TINY) == (
        "3 (00000, 00001, 00002) of the images that it was made of are another file now."
    )


def test_a_codebook_is_no_dataset(bucket, tmp_path, sync):
    bucket.add("1.png")
    bucket.ingest(**TINY)
    fit(FitConfig(dataset=str(bucket.dataset), codebook=str(tmp_path / "book"), k=4), sync)
    before = read_arrays(tmp_path / "book")
    with pytest.raises(UsageError, match="holds a codebook, to which no images can be appended"):
        bucket.ingest(tmp_path / "book", update=True, **TINY)
    assert read_arrays(tmp_path / "book") == before


def test_too_many_that_cannot_be_read_leave_it_as_it_is(bucket):
    bucket.add("1.png")
    bucket.ingest(**TINY)
    before = read_arrays(bucket.dataset)
    (bucket.images / "2.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(SkippedError) as caught:
        bucket.ingest(update=True, **TINY)
    assert "The work stopped there. Fix or remove them and pass --update, or continue with --update" in str(
        caught.value
    )
    assert read_arrays(bucket.dataset) == before
    assert open_dataset(str(bucket.dataset)).n_images == 1


def test_other_ways_stay(bucket):
    bucket.add("1.png")
    bucket.ingest(**TINY)
    bucket.add("2.png")
    with pytest.raises(OutputExistsError, match="--update"):
        bucket.ingest(**TINY)
    with pytest.raises(UsageError, match="the input has changed since"):
        bucket.ingest(resume=True, **TINY)
    with pytest.raises(UsageError, match="both --overwrite and --update"):
        bucket.ingest(update=True, overwrite=True, **TINY)
    assert bucket.ingest(overwrite=True, **TINY).n_images == 2


def test_a_dataset_of_an_older_version(bucket):
    bucket.add("1.png")
    bucket.ingest(**TINY)
    store = Store(str(bucket.dataset))
    older = open_dataset(str(bucket.dataset)).manifest.model_copy(update={"input_state": None})
    store.put(ROOT, group_metadata({"dkmeans": sealed(older.model_dump(mode="json"))}))
    bucket.add("2.png")
    assert "an older version" in refused(bucket, **TINY)
    assert bucket.ingest(overwrite=True, **TINY).n_images == 2


def test_a_file_that_was_edited_meanwhile_is_not_taken_for_the_old_one(bucket, monkeypatch):
    """Of the same size, which the digest of keys and sizes does not tell."""
    bucket.add("1.png")
    bucket.add("2.png")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("dkmeans.stages.ingest.write_files", die)
        with pytest.raises(KeyboardInterrupt):
            bucket.ingest(**TINY)
    path = bucket.images / "1.png"
    info = path.stat()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 10**9))
    with pytest.raises(UsageError, match="the input has changed since"):
        bucket.ingest(resume=True, **TINY)
    bucket.ingest(update=True, **TINY)
    assert open_dataset(str(bucket.dataset)).n_images == 2


def test_fit_goes_on_the_larger_dataset(bucket, tmp_path, sync):
    bucket.add("1.png")
    bucket.ingest(**PATCHES)
    bucket.add("2.png")
    bucket.ingest(update=True, **PATCHES)
    bucket.ingest(tmp_path / "fresh", **PATCHES)
    books = [
        fit(FitConfig(dataset=str(place), codebook=str(tmp_path / name), k=4, on="patches", tol=0.01), sync)
        for place, name in ((bucket.dataset, "a"), (tmp_path / "fresh", "b"))
    ]
    assert books[0].inertia == books[1].inertia


# Runs that die


WAYS = ("update", "resume", "grown")


@pytest.mark.filterwarnings("ignore:all images are read again")
@pytest.mark.parametrize(
    ("after", "step"), [("update", 7), *(pytest.param(way, 1, marks=pytest.mark.slow) for way in WAYS)]
)
def test_it_dies_anywhere(bucket, power, tmp_path, after, step):
    """And goes on, by --update or --resume, or by --update after the source has grown once more."""
    for name in ("1.png", "2.png"):
        bucket.add(name)
    bucket.ingest(**PATCHES)
    shutil.copytree(bucket.dataset, tmp_path / "yesterday")
    bucket.add("3.png")
    later = bucket.images / "4.png"
    bucket.add(later.name)
    aside = later.rename(tmp_path / later.name)
    if after == "grown":
        aside.rename(later)
    fresh = bucket.fresh(tmp_path, **PATCHES)
    n_cut = 0
    while True:
        if after == "grown":
            later.rename(aside)
        shutil.rmtree(bucket.dataset)
        shutil.copytree(tmp_path / "yesterday", bucket.dataset)
        power["left"] = n_cut
        try:
            bucket.ingest(update=True, **PATCHES)
        except PowerCut:
            pass
        else:
            break
        finally:
            power["left"] = None
        visible = Store(str(bucket.dataset)).exists("zarr.json")
        if visible:  # it is the old one
            assert open_dataset(str(bucket.dataset)).n_images == 2
        else:
            with pytest.raises(InputError, match="--resume"):
                open_dataset(str(bucket.dataset))
        if after == "grown":
            aside.rename(later)
        if after == "resume" and visible:  # nothing has begun
            with pytest.raises(UsageError, match="the input has changed since"):
                bucket.ingest(resume=True, **PATCHES)
        else:
            bucket.ingest(**{"resume" if after == "resume" else "update": True}, **PATCHES)
            bucket.check(tmp_path, fresh)
        n_cut += step
    assert n_cut > 40
    bucket.check(tmp_path, **PATCHES)


def test_two_updates_at_once(bucket, monkeypatch, tmp_path):
    """The older one finds that it has lost the right before it has changed anything."""
    bucket.add("1.png")
    bucket.ingest(**TINY)
    bucket.add("2.png")
    collect, ran = module.collect, []

    def late(*arguments, **options):
        if not ran:
            ran.append(True)
            bucket.ingest(update=True, **TINY)
        return collect(*arguments, **options)

    monkeypatch.setattr(module, "collect", late)
    with pytest.raises(OutputTakenError):
        bucket.ingest(update=True, **TINY)
    bucket.check(tmp_path, **TINY)


def test_a_part_that_is_damaged_is_made_again(bucket, tmp_path):
    bucket.add("1.png")
    bucket.add("2.png")
    bucket.ingest(**PATCHES)
    (bucket.dataset / "images" / "name" / "c" / "0").write_bytes(b"dust")
    bucket.add("3.png")
    with pytest.warns(
        UserWarning, match="all images are read again, as a part of the dataset cannot be used"
    ):
        bucket.ingest(update=True, **PATCHES)
    bucket.check(tmp_path, **PATCHES)


def test_full_shards_that_are_gone_are_written_again(bucket, tmp_path):
    for name in ("1.png", "2.png"):
        bucket.add(name)
    bucket.ingest(**PATCHES)
    (bucket.dataset / "pixels" / "c" / "1" / "0").unlink()
    (bucket.dataset / "patches" / "c" / "0" / "0").unlink()
    bucket.add("3.png")
    bucket.ingest(update=True, **PATCHES)
    bucket.check(tmp_path, **PATCHES)


def test_the_command(bucket, dkmeans):
    bucket.add("1.png")
    bucket.ingest()
    bucket.add("2.png")
    code, _, err = dkmeans("ingest", bucket.images, bucket.dataset, "--update", "--scheduler", "sync")
    assert code == 0, err
    assert open_dataset(str(bucket.dataset)).n_images == 2


@pytest.mark.slow
def test_a_bucket_on_workers(photos, s3_url, sync, tmp_path):
    """Object storage, two processes, and what the images of two days give together."""
    store, keys = Store(f"{s3_url}/photos"), ["astronaut.png", "cat.jpg", "deep/coffee.png"]
    options = {"source": store.url, **PATCHES}
    workers = ClusterConfig(workers=2, threads_per_worker=1)  # with the keys of the server
    for day in (1, 2, 3):
        store.put(keys[day - 1], (photos / keys[day - 1]).read_bytes())
        ingest(IngestConfig(dataset=f"{s3_url}/d", update=True, **options), workers)
    ingest(IngestConfig(dataset=str(tmp_path / "fresh"), **options), sync)
    assert read_arrays(f"{s3_url}/d") == read_arrays(tmp_path / "fresh")
