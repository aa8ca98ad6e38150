"""Images to a dataset: every pixel and patch where the index says, nothing lost, bad images named."""

from __future__ import annotations

import gzip
import shutil
import struct

import numpy as np
import pytest
import zarr
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from stages.outputs import read_arrays

from dkmeans import IngestConfig, ingest, open_dataset
from dkmeans.errors import (
    InputError,
    OutputExistsError,
    OutputUnfinishedError,
    SkippedError,
    StorageError,
    UsageError,
)
from dkmeans.images.listing import Ignored
from dkmeans.images.sources import open_source
from dkmeans.stages.shared import shards
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

TINY_SHARDS = {"shard_mib": 0.006}


def run(source, dataset, cluster, **options):
    return ingest(IngestConfig(source=str(source), dataset=str(dataset), **options), cluster)


def test_pixels_lie_where_the_index_says(photos, tmp_path, sync):
    report = run(photos, tmp_path / "d", sync, **TINY_SHARDS)
    dataset = open_dataset(str(tmp_path / "d"))
    assert dataset.index.names == (
        "astronaut2.png",  # natural order: a number comes before a dot
        "astronaut.png",
        "cat.jpg",
        "deep/coffee.png",
        "deep/er/cup.bmp",
    )
    for position, name in enumerate(dataset.index.names):
        with Image.open(photos / name) as image:
            np.testing.assert_array_equal(dataset.image(position), np.asarray(image.convert("RGB")))
    assert report.n_images == dataset.n_images == 5
    assert report.n_pixels == dataset.pixels.shape[0] == int(dataset.index.offset[-1])
    assert len(arrays.finished_shards(Store(dataset.url), "pixels")) > 5  # images straddle shards
    assert dataset.skipped() == []
    assert dataset.patch is None


@pytest.mark.parametrize(("patch", "stride", "threshold"), [("5", "1", 0.0), ("4x7", "2x3", 0.4)])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_patches_are_the_windows_that_are_not_blank(photos, tmp_path, sync, patch, stride, threshold, color):
    options = {"patch": patch, "stride": stride, "blank_threshold": threshold, "color": color}
    report = run(photos, tmp_path / "d", sync, shard_mib=0.02, **options)
    dataset = open_dataset(str(tmp_path / "d"))
    (height, width), (down, across) = dataset.patch, dataset.stride
    expected, counts = [], [0]
    for position in range(dataset.n_images):
        image = dataset.image(position)
        view = sliding_window_view(image, (height, width), axis=(0, 1))[::down, ::across]
        rows = np.moveaxis(view, 2, 4).reshape(-1, height * width * dataset.channels)
        rows = rows[rows.sum(axis=1) > 255 * rows.shape[1] * threshold]
        expected.append(rows)
        counts.append(len(rows))
    np.testing.assert_array_equal(dataset.patches[:], np.concatenate(expected))
    np.testing.assert_array_equal(dataset.patch_offset, np.cumsum(counts))
    assert report.n_patches == sum(counts)
    assert len(arrays.finished_shards(Store(dataset.url), "patches")) > 1


def test_an_idx_file(tmp_path, sync):
    digits = np.random.default_rng(0).integers(0, 256, (30, 9, 7)).astype(np.uint8)
    digits[3] = 0  # blank: no patch of it is kept
    digits[7, :, :4] = 0
    header = struct.pack(">IIII", 0x803, 30, 9, 7)
    (tmp_path / "digits-idx3-ubyte.gz").write_bytes(gzip.compress(header + digits.tobytes()))
    report = run(
        tmp_path / "digits-idx3-ubyte.gz", tmp_path / "d", sync, color="gray", patch=3, **TINY_SHARDS
    )
    dataset = open_dataset(str(tmp_path / "d"))
    np.testing.assert_array_equal(dataset.pixels[:].reshape(30, 9, 7), digits)
    windows = sliding_window_view(digits, (3, 3), axis=(1, 2)).reshape(-1, 9)
    np.testing.assert_array_equal(dataset.patches[:], windows[windows.any(axis=1)])
    assert report.n_patches == windows.any(axis=1).sum()
    assert dataset.patch_offset[3] == dataset.patch_offset[4]


def test_sixteen_bits_stay(tmp_path, sync):
    stack = np.random.default_rng(0).integers(0, 65536, (3, 8, 9, 3)).astype(np.uint16)
    np.save(tmp_path / "stack.npy", stack)
    report = run(tmp_path / "stack.npy", tmp_path / "d", sync)
    assert report.dtype == "uint16"
    np.testing.assert_array_equal(open_dataset(str(tmp_path / "d")).image(2), stack[2])


def test_workers_and_shards_do_not_change_what_is_stored(photos, tmp_path, sync, workers):
    options = {"patch": 5, "stride": 2}
    one = run(photos, tmp_path / "one", sync, **TINY_SHARDS, **options)
    two = run(photos, tmp_path / "two", workers, **TINY_SHARDS, **options)
    other = run(photos, tmp_path / "other", workers, shard_mib=1, **options)
    assert read_arrays(tmp_path / "one") == read_arrays(tmp_path / "two")
    assert one.digest == two.digest
    for name in ("pixels", "patches"):
        first, last = (arrays.open_array(Store(str(tmp_path / place)), name)[:] for place in ("one", "other"))
        np.testing.assert_array_equal(first, last)
    assert one.n_patches == other.n_patches


# Bad images


@pytest.fixture
def spoiled(photos, tmp_path):
    """The photos, and five files that cannot be used."""
    folder = tmp_path / "spoiled"
    folder.mkdir()
    for name in ("astronaut.png", "cat.jpg"):
        (folder / name).write_bytes((photos / name).read_bytes())
    whole = (photos / "astronaut2.png").read_bytes()
    (folder / "b_truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "c_empty.png").write_bytes(b"")
    (folder / "d_text.png").write_text("I am no image")
    (folder / "e_magic.jpg").write_bytes(b"\xff\xd8\xfe" + whole)
    Image.new("1", (20_000, 10_000)).save(folder / "f_bomb.png")
    (folder / "notes.txt").write_text("left out by name")
    return folder


BAD = ["b_truncated.png", "c_empty.png", "d_text.png", "e_magic.jpg", "f_bomb.png"]


def test_bad_images_are_skipped_and_named(spoiled, tmp_path, sync):
    with pytest.warns(UserWarning) as caught:  # noqa: PT030 - each text is looked at below
        report = run(spoiled, tmp_path / "d", sync, max_skipped=5, **TINY_SHARDS)
    said = "\n".join(str(warning.message) for warning in caught)
    assert "left out 1 file that is no image: 1 .txt" in said
    assert all(f"skipped {name}" in said for name in BAD)
    dataset = open_dataset(str(tmp_path / "d"))
    assert dataset.index.names == ("astronaut.png", "cat.jpg")
    assert report.n_skipped == 5
    assert sorted(image.key for image in dataset.skipped()) == BAD
    reasons = {image.key: image.reason for image in dataset.skipped()}
    assert "200000000" in reasons["f_bomb.png"].replace(",", "").replace("_", "")
    for position, name in enumerate(dataset.index.names):
        with Image.open(spoiled / name) as image:
            np.testing.assert_array_equal(dataset.image(position), np.asarray(image.convert("RGB")))


@pytest.mark.filterwarnings("ignore:.*skipped|.*left out")
@pytest.mark.parametrize("allowed", [0, 3, 4])
def test_too_many_bad_images_commit_nothing(spoiled, tmp_path, sync, allowed):
    url = str(tmp_path / "d")
    with pytest.raises(SkippedError, match=r"--max-skipped allows .*--resume --max-skipped \d") as caught:
        run(spoiled, url, sync, max_skipped=allowed)
    assert caught.value.exit_code == 6
    with pytest.raises(InputError, match="unfinished"):
        open_dataset(url)
    kept = arrays.open_array(Store(url), "skipped/name")[:]
    assert set(kept) <= set(BAD)
    assert len(kept) > allowed
    report = run(spoiled, url, sync, max_skipped=5, resume=True)
    assert report.n_images == 2
    assert report.n_skipped == 5


@pytest.mark.filterwarnings("ignore:.*skipped")
def test_an_image_smaller_than_the_patch_is_skipped(photos, tmp_path, sync):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "astronaut.png").write_bytes((photos / "astronaut.png").read_bytes())
    Image.new("RGB", (9, 4), "red").save(folder / "flat.png")
    with pytest.raises(SkippedError, match=r"flat\.png \(4x9 pixels, smaller than the patch of 5x5\)"):
        run(folder, tmp_path / "d", sync, patch=5)
    run(folder, tmp_path / "d2", sync, patch=5, max_skipped=1)
    assert open_dataset(str(tmp_path / "d2")).skipped()[0].key == "flat.png"


def test_of_mixed_depths_the_deep_ones_are_rounded(photos, tmp_path, sync):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes((photos / "astronaut.png").read_bytes())
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(folder / "b.png")
    with pytest.warns(
        UserWarning, match=r"1 of 2 images have 16 bits a channel, the others have 8: .*b\.png"
    ):
        report = run(folder, tmp_path / "d", sync)
    assert (report.dtype, report.channels) == ("uint8", 3)
    assert (open_dataset(str(tmp_path / "d")).image(1) == 156).all()  # 40,000 x 255 / 65,535 is 155.64


@pytest.mark.filterwarnings("ignore:.*skipped")
@pytest.mark.parametrize("length", [0, 300])
def test_nothing_but_bad_images(photos, tmp_path, sync, length):
    """An image without a header, and one whose pixels give it away."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes((photos / "astronaut.png").read_bytes()[:length])
    with pytest.raises(InputError, match="no image can be used"):
        run(tmp_path / "in", tmp_path / "d", sync, max_skipped=9)


# Outputs


def test_an_output_that_exists(photos, tmp_path, sync):
    first = run(photos, tmp_path / "d", sync)
    with pytest.raises(OutputExistsError, match="--overwrite") as caught:
        run(photos, tmp_path / "d", sync)
    assert caught.value.exit_code == 2
    assert run(photos, tmp_path / "d", sync, resume=True).digest == first.digest
    with pytest.raises(UsageError, match=r"began|begun with color = 'auto', found 'gray'"):
        run(photos, tmp_path / "d", sync, resume=True, color="gray")
    assert run(photos, tmp_path / "d", sync, overwrite=True, color="gray").channels == 1


def test_an_output_inside_the_source(photos, tmp_path, sync):
    """Its files are no images; a source inside of the output is another thing."""
    shutil.copytree(photos, tmp_path / "photos")
    elsewhere = run(tmp_path / "photos", tmp_path / "d", sync)
    inside = run(tmp_path / "photos", tmp_path / "photos" / "d", sync)
    assert inside.digest == elsewhere.digest
    assert run(tmp_path / "photos", tmp_path / "photos" / "d", sync, resume=True).digest == inside.digest
    again = open_source(str(tmp_path / "photos"))
    assert again.ignored == Ignored(made=("d",))
    assert len(again) == inside.n_images
    with pytest.raises(UsageError, match="overlap"):
        run(tmp_path / "photos" / "deep", tmp_path / "photos", sync, overwrite=True)


@pytest.mark.parametrize("fails_at", [1, 4, 9])
def test_a_run_that_died_goes_on(photos, tmp_path, sync, monkeypatch, fails_at):
    options = {"patch": 5, "stride": 3, **TINY_SHARDS}
    run(photos, tmp_path / "whole", sync, **options)
    written = []
    write = arrays.write_rows

    def dying(store, name, start, *rest):
        if len(written) == fails_at:
            raise StorageError("no space left on the device")
        written.append((name, start))
        write(store, name, start, *rest)

    monkeypatch.setattr(arrays, "write_rows", dying)
    with pytest.raises(StorageError):
        run(photos, tmp_path / "d", sync, **options)
    with pytest.raises(InputError, match=r"unfinished.*--resume"):
        open_dataset(str(tmp_path / "d"))
    with pytest.raises(zarr.errors.GroupNotFoundError):
        zarr.open_group(str(tmp_path / "d"), mode="r")
    with pytest.raises(OutputUnfinishedError, match="--resume"):
        run(photos, tmp_path / "d", sync, **options)
    before = set(written)
    written.clear()
    monkeypatch.setattr(arrays, "write_rows", lambda *a: (written.append(a[1:3]), write(*a)))
    run(photos, tmp_path / "d", sync, resume=True, **options)
    assert before.isdisjoint(written)
    assert read_arrays(tmp_path / "d") == read_arrays(tmp_path / "whole")
    one, other = (open_dataset(str(tmp_path / name)).manifest.digest for name in ("whole", "d"))
    assert one == other


@pytest.mark.filterwarnings("ignore:.*skipped|.*left out")
def test_a_run_that_died_after_broken_pixels_goes_on(spoiled, tmp_path, sync, monkeypatch):
    """The index without the broken image, which only the pixels gave away, survives a crash."""
    monkeypatch.setattr(shards, "count_patches", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(spoiled, tmp_path / "d", sync, max_skipped=5, patch=5)
    monkeypatch.undo()
    report = run(spoiled, tmp_path / "d", sync, max_skipped=5, patch=5, resume=True)
    assert report.n_images == 2
    assert sorted(image.key for image in open_dataset(str(tmp_path / "d")).skipped()) == BAD
    run(spoiled, tmp_path / "whole", sync, max_skipped=5, patch=5)
    one, other = (open_dataset(str(tmp_path / name)) for name in ("d", "whole"))
    assert {image.key: image.reason for image in one.skipped()} == {
        image.key: image.reason for image in other.skipped()
    }
    one, other = read_arrays(tmp_path / "d"), read_arrays(tmp_path / "whole")
    assert {key: one[key] for key in one if "skipped" not in key} == {
        key: other[key] for key in other if "skipped" not in key
    }


@pytest.mark.filterwarnings("ignore:.*skipped")
def test_of_many_bad_images_only_the_first_are_said(photos, tmp_path, sync, capsys):
    from dkmeans.events.reporter import Reporter

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.png").write_bytes((photos / "astronaut.png").read_bytes())
    for number in range(30):
        (tmp_path / "in" / f"{number}.png").write_bytes(b"")
    config = IngestConfig(source=str(tmp_path / "in"), dataset=str(tmp_path / "d"), max_skipped=30)
    assert ingest(config, sync, Reporter(level="warning")).n_skipped == 30
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 21
    assert said[-1].startswith("warning: skipped 10 more, listed in ")
    assert len(open_dataset(str(tmp_path / "d")).skipped()) == 30
