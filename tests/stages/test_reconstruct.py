"""Images put together from the nearest centers of their patches."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pytest
from PIL import Image
from sklearn.feature_extraction.image import reconstruct_from_patches_2d
from stages.outputs import KEYS, read_files

from dkmeans import (
    FitConfig,
    IngestConfig,
    ReconstructConfig,
    fit,
    ingest,
    open_codebook,
    open_coded,
    open_dataset,
    reconstruct,
)
from dkmeans.config.stages import DecodeConfig
from dkmeans.errors import InputError, MismatchError
from dkmeans.features import patches
from dkmeans.kernels import exact, reference
from dkmeans.stages.decode import decode

pytestmark = pytest.mark.filterwarnings("ignore:not converged")


def run(dataset, codebook, result, cluster, **options):
    config = ReconstructConfig(dataset=str(dataset), codebook=str(codebook), result=str(result), **options)
    return reconstruct(config, cluster)


def test_codes_are_the_nearest_patches(dataset, patch_codebook, tmp_path, sync):
    report = run(dataset, patch_codebook, tmp_path / "r", sync)
    rows, centers = open_dataset(dataset).patches[:], open_codebook(patch_codebook).centers
    np.testing.assert_array_equal(open_coded(str(tmp_path / "r")).codes[:], reference.assign(rows, centers))
    assert report.n_codes == len(rows)


def test_images_are_those_of_scikit_learn(dataset, patch_codebook, tmp_path, sync):
    """Where every patch is kept, the mean of overlapping patches, but for the rounding."""
    report = run(dataset, patch_codebook, tmp_path / "r", sync, images=str(tmp_path / "png"))
    images, result = open_dataset(dataset), open_coded(str(tmp_path / "r"))
    centers = open_codebook(patch_codebook).centers.astype(float)
    for position in range(images.n_images):
        start, stop = images.patch_offset[position : position + 2]
        original = images.image(position)
        found = centers[result.codes[int(start) : int(stop)]].reshape(-1, 4, 5, 3)
        expected = reconstruct_from_patches_2d(found, original.shape)
        assert np.abs(result.image(position) - expected).max() <= 0.5 + 1e-9
    assert 15 < report.mean_psnr < 40
    with Image.open(tmp_path / "png" / "deep" / "coffee.png") as image:
        position = result.index.names.index("deep/coffee.png")
        np.testing.assert_array_equal(np.asarray(image), result.image(position))


def test_blank_patches_leave_zeros(tmp_path, sync):
    digits = np.zeros((4, 9, 9), np.uint8)
    digits[:, 2:5, 3:6] = np.random.default_rng(0).integers(100, 256, (4, 3, 3))
    data = struct.pack(">IIII", 0x803, 4, 9, 9) + digits.tobytes()
    (tmp_path / "digits.idx3-ubyte").write_bytes(data)
    options = {"source": str(tmp_path / "digits.idx3-ubyte"), "dataset": str(tmp_path / "d")}
    report = ingest(IngestConfig(**options, color="gray", patch=3, shard_mib=0.0001), sync)
    # As many centers as distinct patches: each patch is a center, and all digits come back whole.
    n_distinct = len(np.unique(open_dataset(str(tmp_path / "d")).patches[:], axis=0))
    fit(FitConfig(dataset=options["dataset"], codebook=str(tmp_path / "c"), on="patches", k=n_distinct), sync)
    found = run(tmp_path / "d", tmp_path / "c", tmp_path / "r", sync)
    result = open_coded(str(tmp_path / "r"))
    for position in range(4):
        np.testing.assert_array_equal(result.image(position)[:, :, 0], digits[position])
    assert (found.mean_psnr, found.n_exact) == (None, 4)
    assert report.n_patches < 4 * 49


def test_strides_and_sixteen_bits(tmp_path, sync):
    stack = np.random.default_rng(1).integers(0, 65536, (3, 10, 11, 3)).astype(np.uint16)
    np.save(tmp_path / "s.npy", stack)
    ingest(
        IngestConfig(source=str(tmp_path / "s.npy"), dataset=str(tmp_path / "d"), patch="4x3", stride="3x2"),
        sync,
    )
    fit(FitConfig(dataset=str(tmp_path / "d"), codebook=str(tmp_path / "c"), on="patches", k=6), sync)
    run(tmp_path / "d", tmp_path / "c", tmp_path / "r", sync, images=str(tmp_path / "png"))
    result, centers = open_coded(str(tmp_path / "r")), open_codebook(str(tmp_path / "c")).centers
    integers = exact.grid_integers(centers, stack.dtype).reshape(-1, 4, 3, 3)
    mask = np.ones((3, 3, 5), bool)
    expected = patches.overlap_add(result.codes[:], mask, integers, (10, 11, 3), (3, 2), np.dtype(np.uint16))
    for position in range(3):
        np.testing.assert_array_equal(result.image(position), expected[position])


def test_workers_do_not_change_a_byte(dataset, patch_codebook, tmp_path, sync, workers):
    one = run(dataset, patch_codebook, tmp_path / "a", sync, images=str(tmp_path / "a.png"))
    two = run(dataset, patch_codebook, tmp_path / "b", workers, images=str(tmp_path / "b.png"))
    assert one.digest == two.digest
    assert (one.mean_psnr, one.image_bytes) == (two.mean_psnr, two.image_bytes)
    assert read_files(tmp_path / "a.png") == read_files(tmp_path / "b.png")
    assert len(read_files(tmp_path / "a.png")) == 5


@pytest.mark.parametrize("stride", [1, 3])
def test_the_codes_decode_by_themselves(photos, tmp_path, sync, stride):
    """Where dataset, codebook and photos are gone, and a mask says which patches were blank."""
    shutil.copytree(photos, tmp_path / "in")
    options = {"patch": 5, "stride": stride, "blank_threshold": 0.35, "shard_mib": 0.02}
    report = ingest(IngestConfig(source=str(tmp_path / "in"), dataset=str(tmp_path / "d"), **options), sync)
    fit(FitConfig(dataset=str(tmp_path / "d"), codebook=str(tmp_path / "c"), on="patches", k=9), sync)
    found = run(tmp_path / "d", tmp_path / "c", tmp_path / "r", sync, images=str(tmp_path / "a"))
    windows = sum(
        ((height - 5) // stride + 1) * ((width - 5) // stride + 1)
        for height, width in open_coded(str(tmp_path / "r")).index.sizes(0, 5).tolist()
    )
    assert 0 < report.n_patches == found.n_codes < windows
    for name in ("in", "d", "c"):
        shutil.rmtree(tmp_path / name)
    (tmp_path / "r").rename(tmp_path / "moved")
    decode(DecodeConfig(archive=str(tmp_path / "moved"), images=str(tmp_path / "b")), sync)
    assert read_files(tmp_path / "b") == read_files(tmp_path / "a")
    assert sorted(read_files(tmp_path / "b")) == KEYS


def test_a_codebook_that_does_not_fit(dataset, palette, patch_codebook, photos, tmp_path, sync):
    with pytest.raises(MismatchError, match=r"was fit on pixels .* or compress, which takes this one"):
        run(dataset, palette, tmp_path / "r", sync)
    ingest(IngestConfig(source=str(photos), dataset=str(tmp_path / "d"), patch=6), sync)
    with pytest.raises(MismatchError, match=r"patches of 4x5.*patches of 6x6"):
        run(tmp_path / "d", patch_codebook, tmp_path / "r", sync)
    ingest(IngestConfig(source=str(photos), dataset=str(tmp_path / "none")), sync)
    with pytest.raises(InputError, match="holds no patches; expected a dataset of them"):
        run(tmp_path / "none", patch_codebook, tmp_path / "r", sync)
    assert not (tmp_path / "r").exists()
