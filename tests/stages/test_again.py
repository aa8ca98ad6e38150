"""A folder that lives: images are added, edited, mended and removed between two runs of quantize."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stages.outputs import read_files

from dkmeans.artefacts.folder import open_folder
from dkmeans.artefacts.kinds import describe
from dkmeans.config.stages import DecodeConfig, QuantizeConfig
from dkmeans.errors import InputError, OutputExistsError, SkippedError, StorageError, UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.report.subjects import open_subject
from dkmeans.stages.decode import decode
from dkmeans.stages.quantize import quantize
from dkmeans.stages.verify import verify
from dkmeans.storage.store import Store


def run(source, destination, cluster, reporter=SILENT, k=4, **options):
    config = QuantizeConfig(source=str(source), destination=str(destination), k=k, **options)
    return quantize(config, cluster, reporter)


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, kind, **options)
    return file.getvalue()


def noise(seed, size=24):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)


def write(folder, **images):
    """Write images `a`, `b`, ... as BMP files, which are of one size: their time tells them apart."""
    folder.mkdir(exist_ok=True)
    for name, seed in images.items():
        path = folder / f"{name}.bmp"
        path.write_bytes(encoded(noise(seed), "BMP"))
        os.utime(path, ns=(0, 10**18 + seed))  # two writes may fall into one tick of the clock


@pytest.fixture
def photos(tmp_path):
    """Three images of noise."""
    write(tmp_path / "photos", a=1, b=2, c=3)
    return tmp_path / "photos"


class Said(Reporter):
    """Keeps what is said, and the warnings."""

    def __init__(self):
        super().__init__(level="warning")
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    warn = say


@pytest.fixture
def puts(monkeypatch):
    """Keys of the images that are written."""
    keys, put = [], Store.put

    def noted(store, key, data):
        if not store.url.endswith(".dkmeans"):
            keys.append(key)
        put(store, key, data)

    monkeypatch.setattr(Store, "put", noted)
    return keys


def fresh(photos, tmp_path, cluster, **options):
    """What a run into a new folder writes."""
    place = tmp_path / f"fresh{len(list(tmp_path.iterdir()))}"
    run(photos, place, cluster, **options)
    return read_files(place)


@pytest.mark.parametrize("again", [{"resume": True}, {"update": True}], ids=str)
def test_what_has_changed_is_made_and_the_rest_is_kept(photos, tmp_path, sync, puts, again):
    run(photos, tmp_path / "q", sync)
    write(photos, b=20, d=4)  # edited in place, as large as before; and a new one
    (photos / "c.bmp").unlink()
    puts.clear()
    said = Said()
    report = run(photos, tmp_path / "q", sync, said, **again)
    assert puts == ["b.png", "d.png"]
    assert (report.n_images, report.n_kept, report.n_gone) == (3, 1, 1)
    assert [image.name for image in report.images] == ["a.bmp", "b.bmp", "d.bmp"]
    assert any("1 image unchanged, 2 to make" in line for line in said.lines)
    assert any("no longer in" in line and "c.png" in line and "--prune" in line for line in said.lines)
    found, expected = read_files(tmp_path / "q"), fresh(photos, tmp_path, sync)
    assert {key: found[key] for key in expected} == expected
    assert found.keys() - expected.keys() == {"c.png"}
    assert verify(str(tmp_path / "q")).n_parts >= 3
    puts.clear()
    said = Said()
    report = run(photos, tmp_path / "q", sync, said, update=True, prune=True)
    assert (puts, report.n_gone, report.n_kept) == ([], 0, 3)
    assert any("1 file deleted" in line and line.endswith("c.png") for line in said.lines)
    assert read_files(tmp_path / "q") == expected
    assert run(photos, tmp_path / "q", sync, update=True, prune=True).images == report.images


def test_totals_are_those_of_a_run_that_makes_all(photos, tmp_path, sync):
    run(photos, tmp_path / "q", sync)
    write(photos, b=20, d=4)
    updated, whole = run(photos, tmp_path / "q", sync, update=True), run(photos, tmp_path / "w", sync)
    names = ("n_images", "source_bytes", "stored_bytes", "mean_psnr", "mean_ssim", "inertia", "n_iter")
    assert [getattr(updated, name) for name in names] == [getattr(whole, name) for name in names]
    np.save(tmp_path / "few.npy", noise(0)[None] // 200)
    first = run(tmp_path / "few.npy", tmp_path / "few", sync, k=8)
    (tmp_path / "few" / "00000.png").unlink()
    assert run(tmp_path / "few.npy", tmp_path / "few", sync, k=8, resume=True).n_exact == first.n_exact == 1


def test_a_second_source_is_refused_in_a_folder_that_is_finished(photos, tmp_path, sync):
    """Its images would take the place of those that are there, one with the same key without a word."""
    run(photos, tmp_path / "q", sync)
    before = {path: path.read_bytes() for path in (tmp_path / "q").rglob("*") if path.is_file()}
    write(tmp_path / "other", a=4)
    with pytest.raises(UsageError, match=f"holds images of {photos}; .* found {tmp_path}/other"):
        run(tmp_path / "other", tmp_path / "q", sync, update=True)
    assert before == {path: path.read_bytes() for path in (tmp_path / "q").rglob("*") if path.is_file()}
    assert run(f"file://{photos}/", tmp_path / "q", sync, update=True).n_kept == 3


def test_what_another_command_has_written_is_not_updated(photos, tmp_path, sync):
    run(photos, tmp_path / "a", sync, to="archive")
    decode(DecodeConfig(archive=str(tmp_path / "a"), images=str(tmp_path / "q")), sync)
    with pytest.raises(UsageError, match=f"q holds what another command has written; .* found {photos}"):
        run(photos, tmp_path / "q", sync, update=True)


def test_without_update_a_finished_folder_is_left_alone(photos, tmp_path, sync):
    run(photos, tmp_path / "q", sync)
    write(photos, b=20)
    with pytest.raises(OutputExistsError, match="--update to do only what has changed"):
        run(photos, tmp_path / "q", sync)


def test_other_options_make_all_anew(photos, tmp_path, sync, puts):
    run(photos, tmp_path / "q", sync)
    puts.clear()
    said = Said()
    run(photos, tmp_path / "q", sync, said, k=8, update=True)
    assert puts == ["a.png", "b.png", "c.png"]
    assert any("all images are made" in line for line in said.lines)
    assert read_files(tmp_path / "q") == fresh(photos, tmp_path, sync, k=8)


def test_one_palette_for_all_is_learned_of_all(photos, tmp_path, sync, puts):
    options = {"palette": "shared", "max_iter": 500}
    run(photos, tmp_path / "q", sync, **options)
    write(photos, b=20, d=4)
    for again in ({"resume": True}, {"update": True}):
        puts.clear()
        said = Said()
        run(photos, tmp_path / "q", sync, said, **options, **again)
        assert puts == (["a.png", "b.png", "c.png", "d.png"] if "resume" in again else [])
        assert read_files(tmp_path / "q") == fresh(photos, tmp_path, sync, **options)


def test_an_archive_of_other_images_is_made_anew(photos, tmp_path, sync):
    options = {"to": "archive", "max_iter": 500}
    run(photos, tmp_path / "z", sync, **options)
    write(photos, b=20)
    said = Said()
    report = run(photos, tmp_path / "z", sync, said, resume=True, **options)
    assert any("everything is made again" in line for line in said.lines)
    other = run(photos, tmp_path / "other", sync, **options)
    assert (report.centers_sha256, report.mean_psnr) == (other.centers_sha256, other.mean_psnr)
    said = Said()
    run(photos, tmp_path / "z", sync, said, resume=True, **options)
    assert said.lines == []


@pytest.mark.parametrize("what", ["mend", "remove", "add"])
@pytest.mark.filterwarnings("ignore:skipped")
def test_what_the_error_advises_works(photos, tmp_path, sync, puts, what):
    whole = encoded(noise(5), "BMP")
    (photos / "z.bmp").write_bytes(whole[:500])
    with pytest.raises(SkippedError, match="continue with --resume"):
        run(photos, tmp_path / "q", sync)
    made = list(puts)
    puts.clear()
    (photos / "z.bmp").unlink() if what == "remove" else (photos / "z.bmp").write_bytes(whole)
    if what == "add":
        write(photos, d=4)
    run(photos, tmp_path / "q", sync, resume=True)
    assert not set(made) & set(puts)
    assert read_files(tmp_path / "q") == fresh(photos, tmp_path, sync)


@pytest.mark.filterwarnings("ignore:skipped", "ignore:.*cannot be read")
def test_an_image_that_cannot_be_read_any_more_shows_no_old_pixels(photos, tmp_path, sync):
    run(photos, tmp_path / "q", sync)
    (photos / "b.bmp").write_bytes(b"BM" + bytes(30))
    report = run(photos, tmp_path / "q", sync, update=True, max_skipped=1)
    assert [image.name for image in report.images] == ["a.bmp", "c.bmp"]
    assert (report.n_skipped, report.n_gone) == (1, 1)
    write(photos, b=2)
    assert run(photos, tmp_path / "q", sync, update=True).n_images == 3


def test_keys_stay_when_names_are_added(photos, tmp_path, sync):
    run(photos, tmp_path / "q", sync, if_larger="keep")
    (photos / "a.png").write_bytes(encoded(noise(7)))
    (photos / "b.png").mkdir()
    (photos / "b.png" / "x.png").write_bytes(encoded(noise(8)))
    report = run(photos, tmp_path / "q", sync, update=True, if_larger="keep")
    assert {image.name: image.key for image in report.images} == {
        "a.bmp": "a.png",
        "a.png": "a.png.png",
        "b.bmp": "b.bmp.png",  # where its file was, a folder is now
        "b.png/x.png": "b.png/x.png",
        "c.bmp": "c.png",
    }
    assert sorted(read_files(tmp_path / "q")) == sorted(image.key for image in report.images)


def test_an_update_that_fails_is_gone_on_with(photos, tmp_path, sync, monkeypatch):
    run(photos, tmp_path / "q", sync)
    write(photos, b=20, c=30)
    put = Store.put

    def dying(store, key, data):
        if key == "c.png":
            raise StorageError("no space left on the device")
        put(store, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", dying)
        with pytest.raises(StorageError):
            run(photos, tmp_path / "q", sync, update=True)
    for look in (open_folder, describe, verify):
        with pytest.raises(InputError, match="unfinished"):
            look(str(tmp_path / "q"))
    run(photos, tmp_path / "q", sync, resume=True)
    assert read_files(tmp_path / "q") == fresh(photos, tmp_path, sync)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overwrite": True, "update": True}, "found both --overwrite and --update"),
        ({"prune": True}, "--prune is for --update"),
        ({"to": "archive", "update": True}, "--update is for PNG files"),
        ({"to": "archive", "if_larger": "copy"}, "--if-larger is for PNG files"),
    ],
    ids=str,
)
def test_options_that_contradict_each_other(photos, tmp_path, sync, options, message):
    with pytest.raises(UsageError, match=message):
        run(photos, tmp_path / "q", sync, **options)


# Larger files


@pytest.fixture
def jpegs(tmp_path):
    """Two JPEGs of noise, of which a PNG of many colors is larger, and a PNG of two colors."""
    folder = tmp_path / "jpegs"
    folder.mkdir()
    for name in "ab":
        smooth = noise(ord(name), 40).astype(float).cumsum(0).cumsum(1)
        (folder / f"{name}.jpg").write_bytes(encoded((smooth % 256).astype(np.uint8), "JPEG", quality=10))
    (folder / "few.png").write_bytes(encoded(noise(0, 64) // 128 * 255, "PNG", compress_level=0))
    return folder


def sizes(folder):
    return sum(path.stat().st_size for path in Path(folder).iterdir() if path.is_file())


def test_no_more_bytes_are_written_than_were_read(jpegs, tmp_path, sync):
    report = run(jpegs, tmp_path / "q", sync, k=256)
    assert sorted(read_files(tmp_path / "q")) == ["a.jpg", "b.jpg", "few.png"]
    assert sizes(tmp_path / "q") == report.stored_bytes < report.source_bytes == sizes(jpegs)
    assert sizes(tmp_path / "q") < sizes(jpegs)
    assert (tmp_path / "q" / "a.jpg").read_bytes() == (jpegs / "a.jpg").read_bytes()
    assert (report.n_copied, report.n_exact) == (2, 3)
    assert [(image.copied, image.psnr, image.mse, image.inertia) for image in report.images[:2]] == [
        (True, None, 0, 0)
    ] * 2
    assert all(image.n_colors == image.n_source_colors for image in report.images)
    assert run(jpegs, tmp_path / "q", sync, k=256, resume=True).images == report.images


def test_what_reads_a_folder_reads_copies(jpegs, tmp_path, sync):
    run(jpegs, tmp_path / "q", sync, k=256)
    assert verify(str(tmp_path / "q")).kind == "folder"
    decode(DecodeConfig(archive=str(tmp_path / "q"), images=str(tmp_path / "again")), sync)
    assert read_files(tmp_path / "again") == read_files(tmp_path / "q")
    for folder in ("q", "again"):
        found = open_folder(str(tmp_path / folder))
        with Image.open(jpegs / "a.jpg") as file:
            np.testing.assert_array_equal(found.image(0), np.asarray(file.convert("RGB")))
    subject = open_subject(str(tmp_path / "q"))
    for position in range(3):
        np.testing.assert_array_equal(subject.originals.image(position), subject.result.image(position))


def test_a_copy_that_is_large_enough_now_becomes_a_png(jpegs, tmp_path, sync):
    run(jpegs, tmp_path / "q", sync, k=256)
    (jpegs / "a.jpg").write_bytes(encoded(noise(0, 64) // 128 * 255, "JPEG", quality=100))
    report = run(jpegs, tmp_path / "q", sync, k=4, update=True)
    assert "a.png" in read_files(tmp_path / "q")
    assert "a.jpg" not in read_files(tmp_path / "q")
    assert report.images[0].key == "a.png"


@pytest.mark.filterwarnings("ignore:2 images left out")
@pytest.mark.parametrize("if_larger", ["keep", "skip"])
def test_larger_files_are_kept_or_left_out(jpegs, tmp_path, sync, if_larger):
    said = Said()
    report = run(jpegs, tmp_path / "q", sync, said, k=256, if_larger=if_larger)
    left = ["a.png", "b.png", "few.png"] if if_larger == "keep" else ["few.png"]
    assert sorted(read_files(tmp_path / "q")) == left == [image.key for image in report.images]
    assert (report.n_left_out, report.n_copied) == (3 - len(left), 0)
    if if_larger == "skip":
        assert any("2 images left out" in line and "a.jpg, b.jpg" in line for line in said.lines)
        assert verify(str(tmp_path / "q")).kind == "folder"
        subject = open_subject(str(tmp_path / "q"))
        np.testing.assert_array_equal(subject.originals.image(0), subject.result.image(0))
        assert run(jpegs, tmp_path / "q", sync, k=256, if_larger="skip", update=True).images == report.images


def test_nothing_is_left_where_all_are_left_out(jpegs, tmp_path, sync):
    (jpegs / "few.png").unlink()
    with (
        pytest.raises(InputError, match="no image gets a file"),
        pytest.warns(UserWarning, match="2 images left out"),
    ):
        run(jpegs, tmp_path / "q", sync, k=256, if_larger="skip")


def test_a_larger_file_can_be_an_error(jpegs, tmp_path, sync):
    with pytest.raises(InputError, match=r"a\.jpg: \d+ bytes as a PNG, \d+ as it was found"):
        run(jpegs, tmp_path / "q", sync, k=256, if_larger="error")


def test_stacks_and_files_without_compression_become_png(tmp_path, sync):
    np.save(tmp_path / "s.npy", np.zeros((3, 1, 2), np.uint8))
    assert run(tmp_path / "s.npy", tmp_path / "q", sync).n_copied == 0
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.ppm").write_bytes(b"P6\n1 1\n255\nabc")
    assert [image.key for image in run(tmp_path / "tiny", tmp_path / "t", sync).images] == ["a.png"]


def test_channels_that_were_asked_for_are_not_those_of_a_copy(jpegs, tmp_path, sync):
    report = run(jpegs, tmp_path / "q", sync, k=256, color="gray")
    assert report.n_copied == 0
