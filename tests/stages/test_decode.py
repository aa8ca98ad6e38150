"""Codes to image files, with nothing but the archive or the result at hand."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from stages.outputs import KEYS, read_files

from dkmeans import CompressConfig, ReconstructConfig, compress, plan, reconstruct
from dkmeans.artefacts.coded import open_coded
from dkmeans.artefacts.folder import open_folder
from dkmeans.config.stages import DecodeConfig, QuantizeConfig
from dkmeans.errors import InputError, OutputExistsError, StorageError, UsageError
from dkmeans.stages.decode import decode
from dkmeans.stages.quantize import quantize
from dkmeans.storage.store import Store


def run(archive, images, cluster, **options):
    return decode(DecodeConfig(archive=str(archive), images=str(images), **options), cluster)


def archived(source, url, cluster, **options):
    options = {"k": 8, "max_iter": 2, "to": "archive", **options}
    with pytest.warns(UserWarning, match="not converged"):
        return quantize(QuantizeConfig(source=str(source), destination=str(url), **options), cluster)


@pytest.fixture(scope="module")
def archive(photos, tmp_path_factory):
    """Codes of patches of a size that no image is made up of."""
    from dkmeans.config.cluster import ClusterConfig

    url = str(tmp_path_factory.mktemp("archives") / "z")
    archived(photos, url, ClusterConfig(scheduler="sync"), patch="7x4")
    return url


def test_patches_are_their_rounded_centers_side_by_side(archive, photos, tmp_path, sync):
    report = run(archive, tmp_path / "png", sync)
    found = open_coded(archive)
    values = np.rint(found.centers).astype(np.uint8).reshape(-1, 7, 4, 3)
    first = 0
    assert sorted(read_files(tmp_path / "png")) == KEYS
    for position, name in enumerate(found.index.names):
        height, width = int(found.index.height[position]), int(found.index.width[position])
        down, across = -(-height // 7), -(-width // 4)
        codes = found.codes[first : first + down * across].reshape(down, across)
        first += down * across
        rows = [np.concatenate([values[code] for code in row], axis=1) for row in codes]
        with Image.open(tmp_path / "png" / f"{name.rsplit('.', 1)[0]}.png") as file:
            np.testing.assert_array_equal(np.asarray(file), np.concatenate(rows)[:height, :width])
        np.testing.assert_array_equal(found.image(position), np.concatenate(rows)[:height, :width])
    assert (report.n_images, report.n_written) == (5, 5)
    assert report.image_bytes == sum(map(len, read_files(tmp_path / "png").values()))


@pytest.mark.parametrize("color", ["rgb", "gray", "rgba"])
@pytest.mark.filterwarnings("ignore:not converged")
def test_an_archive_of_pixels_gives_the_files_of_quantize(photos, tmp_path, sync, color):
    archived(photos, tmp_path / "z", sync, color=color)
    run(tmp_path / "z", tmp_path / "a", sync)
    config = QuantizeConfig(
        source=str(photos), destination=str(tmp_path / "b"), k=8, max_iter=2, palette="shared", color=color
    )
    quantize(config, sync)
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")


def test_an_archive_decodes_by_itself(photos, tmp_path, sync):
    """Moved elsewhere, and with its source gone."""
    shutil.copytree(photos, tmp_path / "in")
    archived(tmp_path / "in", tmp_path / "z", sync, patch=4)
    run(tmp_path / "z", tmp_path / "a", sync)
    shutil.rmtree(tmp_path / "in")
    (tmp_path / "z").rename(tmp_path / "moved")
    run(tmp_path / "moved", tmp_path / "b", sync)
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")


def test_more_colors_than_a_png_indexes(photos, tmp_path, sync):
    archived(photos, tmp_path / "z", sync, k=300)
    run(tmp_path / "z", tmp_path / "png", sync)
    with Image.open(tmp_path / "png" / "cat.png") as file:
        assert file.mode == "RGB"
        found = open_coded(str(tmp_path / "z"))
        assert found.codes.dtype == np.uint16
        np.testing.assert_array_equal(np.asarray(file), found.image(found.index.names.index("cat.jpg")))


def test_a_result_of_compress(dataset, palette, tmp_path, sync):
    options = {"dataset": dataset, "codebook": palette, "result": str(tmp_path / "r")}
    compress(CompressConfig(images=str(tmp_path / "a"), **options), sync)
    run(tmp_path / "r", tmp_path / "b", sync)
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")


def test_a_result_of_reconstruct(dataset, patch_codebook, tmp_path, sync):
    options = {"dataset": dataset, "codebook": patch_codebook, "result": str(tmp_path / "r")}
    reconstruct(ReconstructConfig(images=str(tmp_path / "a"), **options), sync)
    run(tmp_path / "r", tmp_path / "b", sync)
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")
    assert open_coded(str(tmp_path / "r")).palette is None


def test_workers_do_not_change_a_byte(archive, tmp_path, sync, workers):
    run(archive, tmp_path / "a", sync)
    run(archive, tmp_path / "b", workers)
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")


def test_what_cannot_be_decoded(dataset, archive, tmp_path, sync):
    with pytest.raises(InputError, match=r"is a dataset; expected coded images .*or a folder of images"):
        run(dataset, tmp_path / "png", sync)
    with pytest.raises(InputError, match="nothing is there; expected"):
        run(tmp_path / "none", tmp_path / "png", sync)
    shutil.copytree(archive, tmp_path / "z")
    (tmp_path / "z" / "codes" / "c" / "0").unlink()
    with pytest.raises(InputError, match="1 of 1 shards of codes are gone"):
        run(tmp_path / "z", tmp_path / "png", sync)
    assert not (tmp_path / "png").exists()


def test_files_in_the_way(archive, tmp_path, sync):
    (tmp_path / "png").mkdir()
    (tmp_path / "png" / "cat.png").write_bytes(b"mine")
    for again in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(UsageError, match=r"already holds cat\.png, which no run of dkmeans has written"):
            run(archive, tmp_path / "png", sync, **again)
        assert (tmp_path / "png" / "cat.png").read_bytes() == b"mine"
    with pytest.raises(UsageError, match="overlap"):
        run(archive, f"{archive}/png", sync)
    (tmp_path / "png" / "cat.png").unlink()
    assert run(archive, tmp_path / "png", sync).n_written == 5
    assert run(archive, tmp_path / "png", sync, overwrite=True).n_written == 5


def test_the_files_of_another_archive_are_not_taken_for_its_own(archive, photos, tmp_path, sync):
    """Its images have the same names and sizes, and other colors; the place is the same."""
    place = tmp_path / "z"
    shutil.copytree(archive, place)
    run(place, tmp_path / "png", sync)
    before = read_files(tmp_path / "png")
    shutil.rmtree(place)
    archived(photos, place, sync, patch="7x4", k=3)
    with pytest.raises(UsageError, match="begun from another input"):
        run(place, tmp_path / "png", sync, resume=True)
    with pytest.raises(OutputExistsError):
        run(place, tmp_path / "png", sync)
    assert read_files(tmp_path / "png") == before
    run(place, tmp_path / "png", sync, overwrite=True)
    run(place, tmp_path / "new", sync)
    assert read_files(tmp_path / "png") == read_files(tmp_path / "new") != before


def test_an_archive_that_was_moved_is_another_option(archive, tmp_path, sync):
    run(archive, tmp_path / "png", sync)
    shutil.copytree(archive, tmp_path / "z")
    with pytest.raises(UsageError, match="begun with archive = "):
        run(tmp_path / "z", tmp_path / "png", sync, resume=True)
    assert run(archive, tmp_path / "png", sync, resume=True).n_written == 0


def test_a_folder_of_quantize_is_copied(photos, tmp_path, sync):
    config = QuantizeConfig(source=str(photos), destination=str(tmp_path / "q"), k=4)
    quantize(config, sync)
    report = run(tmp_path / "q", tmp_path / "png", sync)
    assert read_files(tmp_path / "png") == read_files(tmp_path / "q")
    assert (report.n_images, report.n_written) == (5, 5)
    assert report.image_bytes == sum(map(len, read_files(tmp_path / "q").values()))
    assert [image["name"] for image in open_folder(str(tmp_path / "png")).records] == [
        image["name"] for image in open_folder(str(tmp_path / "q")).records
    ]
    with pytest.raises(UsageError, match="overlap"):
        run(tmp_path / "q", tmp_path / "q" / "png", sync)
    (tmp_path / "q" / "cat.png").unlink()
    with pytest.raises(InputError, match=r"cat\.png"):
        run(tmp_path / "q", tmp_path / "other", sync)


def test_a_run_that_died_goes_on(archive, tmp_path, sync, monkeypatch):
    run(archive, tmp_path / "whole", sync)
    monkeypatch.setattr(plan, "PIXELS_PER_TASK", 1)  # an image a task
    write, count = Store.put, []

    def dying(folder, key, data):
        count.extend([key] * key.endswith(".png"))
        if len(count) == 3:
            raise StorageError("no space left on the device")
        write(folder, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", dying)
        with pytest.raises(StorageError):
            run(archive, tmp_path / "png", sync)
    report = run(archive, tmp_path / "png", sync, resume=True)
    assert (report.n_images, report.n_written) == (5, 3)
    assert read_files(tmp_path / "png") == read_files(tmp_path / "whole")
    assert report.image_bytes == sum(map(len, read_files(tmp_path / "png").values()))


def test_the_command(archive, tmp_path, dkmeans):
    code, out, _ = dkmeans("decode", archive, tmp_path / "png", "--scheduler", "sync", "--quiet", "--json")
    assert code == 0
    assert json.loads(out)["n_written"] == 5
    assert sorted(read_files(tmp_path / "png")) == KEYS
