"""Artefacts of format version 2 are read: those in a zip, beside what the code that wrote them read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import dkmeans
from dkmeans.artefacts.coded import MEASURED
from dkmeans.artefacts.decoders import Palette, Tiles
from dkmeans.artefacts.files import claim_folder
from dkmeans.artefacts.kinds import describe, open_images
from dkmeans.artefacts.status import status
from dkmeans.config.stages import CutConfig, FitConfig, QuantizeConfig
from dkmeans.errors import InputError, OutputExistsError, UsageError
from dkmeans.features.space import FeatureSpace
from dkmeans.stages.verify import verify
from dkmeans.storage.store import Store

ZIP = Path(__file__).parent.parent / "data" / "version2" / "artefacts.zip"
BYTES = np.dtype(np.uint8)
PIXELS, PATCHES = FeatureSpace(BYTES, 3), FeatureSpace(BYTES, 3, (3, 3))


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Where the artefacts lie: of three images of 9x11 pixels, made by the command of that version."""
    place = tmp_path_factory.mktemp("version2")
    with zipfile.ZipFile(ZIP) as file:
        file.extractall(place)
    return place


@pytest.fixture(scope="module")
def expected(old):
    with np.load(old / "expected.npz") as file:
        return dict(file)


def images_of(opened):
    return np.stack([opened.image(position) for position in range(3)])


def same(found, expected):
    np.testing.assert_array_equal(found, expected)
    assert np.asarray(found).dtype == expected.dtype


def test_the_zip_is_small():
    assert ZIP.stat().st_size < 100_000


def test_a_dataset(old, expected):
    dataset = dkmeans.open_dataset(str(old / "dataset"))
    same(images_of(dataset), expected["dataset images"])
    same(dataset.patches[:], expected["dataset patches"])
    same(dataset.patch_offset, expected["dataset patch_offset"])
    assert dataset.index.names == ("00000", "00001", "00002")
    found = dataset.manifest
    assert (found.source, found.patch, found.stride, found.blank_threshold, found.shard_mib) == (
        "stack.npy", (3, 3), (2, 2), 0.1, 64.0
    )  # fmt: skip
    assert found.format_version == 2
    assert (dataset.space("pixels"), dataset.space("patches")) == (PIXELS, PATCHES)


@pytest.mark.parametrize("name", ["codebook", "patches", "cut", "sweep/codebooks/2", "sweep/codebooks/3"])
def test_a_codebook(old, expected, name):
    codebook, dataset = dkmeans.open_codebook(str(old / name)), dkmeans.open_dataset(str(old / "dataset"))
    same(codebook.centers, expected[f"{name} centers"])
    same(codebook.counts, expected[f"{name} counts"])
    found = codebook.manifest
    assert found.inertia == float(expected[f"{name} inertia"])
    on_patches = name in ("patches", "cut")
    assert found.space == (PATCHES if on_patches else PIXELS)
    assert found.max_iter == (1 if name == "cut" else 30)
    assert found.dataset == "dataset"
    assert found.dataset_digest == dataset.manifest.digest
    codebook.check_fits(dataset, "patches" if on_patches else "pixels")


def test_a_codebook_that_was_cut(old):
    found = dkmeans.open_codebook(str(old / "cut")).manifest
    assert found.cut_from == dkmeans.open_codebook(str(old / "patches")).manifest.centers_sha256
    assert found.n_components == 1


def test_a_sweep(old, expected):
    sweep = dkmeans.open_sweep(str(old / "sweep"))
    assert sweep.n_clusters == [2, 3]
    for name in ("n_clusters", "inertia", "mse", "n_iter", "converged"):
        same(sweep.curves[name], expected[f"sweep {name}"])
    for n_clusters in (2, 3):
        same(sweep.codebook(n_clusters).centers, expected[f"sweep/codebooks/{n_clusters} centers"])
    assert sweep.manifest.space == PIXELS


@pytest.mark.parametrize("name", ["compressed", "reconstructed", "pixels", "tiles"])
def test_coded_images(old, expected, name):
    coded = dkmeans.open_coded(str(old / name))
    same(images_of(coded), expected[f"{name} images"])
    same(coded.codes[:], expected[f"{name} codes"])
    same(coded.measures["psnr"], expected[f"{name} psnr"])
    assert coded.index.names == ("00000", "00001", "00002")
    same(np.stack(list(coded.part(1, 3).images())), expected[f"{name} images"][1:])
    assert isinstance(open_images(str(old / name)), dkmeans.CodedImages)


def test_results(old, expected):
    compressed, reconstructed = (
        dkmeans.open_coded(str(old / name)) for name in ("compressed", "reconstructed")
    )
    assert isinstance(compressed.decoder, Palette)
    assert reconstructed.decoder is None  # of which pixels were stored
    assert compressed.manifest.images == "compressed-images"
    assert reconstructed.manifest.images is None
    for result in (compressed, reconstructed):
        found = result.manifest
        name = result.url.rpartition("/")[2]
        assert found.mse == float(expected[f"{name} mse"])
        assert found.dataset == "dataset"
        assert list(result.measures) == ["psnr"]
    assert compressed.manifest.codebook == "codebook"
    assert reconstructed.manifest.codebook == "patches"


@pytest.mark.parametrize(("name", "space"), [("pixels", PIXELS), ("tiles", PATCHES)])
def test_archives(old, expected, name, space):
    archive = dkmeans.open_coded(str(old / name))
    assert archive.manifest.space == space
    assert archive.manifest.source == "stack.npy"
    assert isinstance(archive.decoder, Palette if name == "pixels" else Tiles)
    assert set(archive.measures) == set(MEASURED)
    for column, values in archive.measures.items():
        same(values, expected[f"{name} {column}"])


NAMES = {"dataset": "dataset", "codebook": "codebook", "cut": "codebook", "sweep": "sweep"} | dict.fromkeys(
    ["compressed", "reconstructed", "pixels", "tiles"], "coded"
)


@pytest.mark.parametrize(("name", "kind"), NAMES.items())
def test_what_takes_any_kind(old, name, kind):
    url = str(old / name)
    assert (describe(url)["kind"], describe(url)["format_version"]) == (kind, 2)
    assert (status(url)["state"], status(url)["runs"]) == ("complete", 1)
    assert verify(url).kind == kind


@pytest.mark.parametrize("name", ["compressed", "reconstructed", "pixels", "tiles"])
def test_they_decode_to_files(old, expected, name, sync, tmp_path):
    config = dkmeans.DecodeConfig(archive=str(old / name), images=str(tmp_path / "out"))
    dkmeans.decode(config, sync)
    same(images_of(dkmeans.open_folder(str(tmp_path / "out"))), expected[f"{name} images"])


def test_damage_is_found(old, tmp_path):
    with zipfile.ZipFile(ZIP) as file:
        file.extractall(tmp_path)
    store = Store(str(tmp_path / "dataset"))
    data = store.get("zarr.json")
    store.put("zarr.json", data.replace(b'"n_images": 3', b'"n_images": 4'))
    assert store.get("zarr.json") != data
    with pytest.raises(InputError, match=r"zarr\.json is damaged: its manifest has another checksum"):
        dkmeans.open_dataset(store.url)
    shards = [found.key for found in Store(str(tmp_path / "tiles")).list("codes/c")]
    assert shards
    Store(str(tmp_path / "tiles")).delete(shards)
    with pytest.raises(InputError):
        verify(str(tmp_path / "tiles"))


def test_they_are_in_the_way_as_any_are_and_can_be_overwritten(tmp_path, sync, monkeypatch):
    with zipfile.ZipFile(ZIP) as file:
        file.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)  # the dataset of a codebook is told as it was given: below this folder
    fit = {"dataset": "dataset", "codebook": "codebook", "k": 4}
    with pytest.raises(OutputExistsError):
        dkmeans.fit(FitConfig(**fit), sync)
    dkmeans.cut(CutConfig(codebook="codebook", cut="tiles", k=3, overwrite=True), sync)
    assert not [found.key for found in Store("tiles").list() if found.key.startswith(("codes/", "images/"))]
    assert dkmeans.open_codebook("tiles").n_clusters == 3
    dkmeans.fit(FitConfig(**fit, overwrite=True), sync)
    assert dkmeans.open_codebook("codebook").manifest.format_version == 3


def test_a_folder_of_images_is_not_gone_on_with(old):
    store = Store(str(old / "folder"))
    config = QuantizeConfig(source="stack.npy", destination=store.url, k=4, resume=True)
    before = store.list()
    with (
        pytest.raises(UsageError, match=r"was written by an older dkmeans, .* Delete .*/\.dkmeans"),
        claim_folder(store, config, "abc"),
    ):
        pass
    assert store.list() == before
