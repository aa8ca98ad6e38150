"""Pixels to codes and a palette, and PNG files that show just these."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from stages.outputs import KEYS, read_files

from dkmeans import (
    CompressConfig,
    FitConfig,
    IngestConfig,
    compress,
    fit,
    ingest,
    open_codebook,
    open_coded,
    open_dataset,
)
from dkmeans.errors import MismatchError, StorageError, UsageError
from dkmeans.kernels import reference
from dkmeans.stages.shared.files import output_keys
from dkmeans.storage import arrays
from dkmeans.storage.store import Store


def run(dataset, codebook, result, cluster, **options):
    config = CompressConfig(dataset=str(dataset), codebook=str(codebook), result=str(result), **options)
    return compress(config, cluster)


@pytest.mark.parametrize("counted", [1, 1 << 40])
def test_codes_are_the_nearest_colors(dataset, palette, tmp_path, sync, monkeypatch, counted):
    monkeypatch.setattr("dkmeans.features.histogram.COUNTED", counted)  # colors counted, or each looked for
    report = run(dataset, palette, tmp_path / "r", sync)
    result, codebook = open_coded(str(tmp_path / "r")), open_codebook(palette)
    labels = reference.assign(open_dataset(dataset).pixels[:], codebook.centers)
    np.testing.assert_array_equal(result.codes[:], labels)
    assert result.codes.dtype == np.uint8
    np.testing.assert_array_equal(result.palette, np.rint(codebook.centers))
    assert result.palette.dtype == np.uint8
    assert (report.n_images, report.image_bytes) == (5, 0)


def test_every_image_is_a_png_of_its_codes(dataset, palette, tmp_path, sync):
    report = run(dataset, palette, tmp_path / "r", sync, images=str(tmp_path / "png"))
    result = open_coded(str(tmp_path / "r"))
    assert sorted(read_files(tmp_path / "png")) == KEYS
    for position, name in enumerate(result.index.names):
        key = name.rsplit(".", 1)[0] + ".png"
        start, stop = result.index.offset[position : position + 2]
        codes = result.codes[int(start) : int(stop)].reshape(
            result.index.height[position], result.index.width[position]
        )
        with Image.open(tmp_path / "png" / key) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), result.palette[codes])
    assert report.image_bytes == sum((tmp_path / "png" / key).stat().st_size for key in KEYS)


def test_psnr_is_scikit_images(dataset, palette, tmp_path, sync):
    report = run(dataset, palette, tmp_path / "r", sync)
    result, images = open_coded(str(tmp_path / "r")), open_dataset(dataset)
    expected = [peak_signal_noise_ratio(images.image(i), result.image(i)) for i in range(5)]
    np.testing.assert_allclose(result.measures["psnr"], expected)
    assert report.mean_psnr == pytest.approx(np.mean(expected))
    difference = images.pixels[:].astype(float) - result.palette[result.codes[:]]
    assert report.mse == pytest.approx((difference**2).mean())


def test_workers_do_not_change_a_byte(dataset, palette, tmp_path, sync, workers):
    one = run(dataset, palette, tmp_path / "a", sync, images=str(tmp_path / "a.png"))
    two = run(dataset, palette, tmp_path / "b", workers, images=str(tmp_path / "b.png"))
    assert one.digest == two.digest
    assert read_files(tmp_path / "a.png") == read_files(tmp_path / "b.png")
    assert len(read_files(tmp_path / "a.png")) == 5


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize(("color", "channels"), [("gray", 1), ("rgba", 4)])
def test_gray_and_rgba(photos, tmp_path, sync, color, channels):
    ingest(IngestConfig(source=str(photos), dataset=str(tmp_path / "d"), color=color), sync)
    fit(FitConfig(dataset=str(tmp_path / "d"), codebook=str(tmp_path / "c"), n_clusters=5), sync)
    run(tmp_path / "d", tmp_path / "c", tmp_path / "r", sync, images=str(tmp_path / "png"))
    result = open_coded(str(tmp_path / "r"))
    assert result.palette.shape == (5, channels)
    data = Store(str(tmp_path / "png")).get("cat.png")
    mode = "L" if color == "gray" else "RGBA"
    position = result.index.names.index("cat.jpg")
    decoded = np.asarray(Image.open(io.BytesIO(data)).convert(mode))
    np.testing.assert_array_equal(decoded.reshape(result.image(position).shape), result.image(position))


def test_an_image_that_loses_nothing(tmp_path, sync):
    np.save(tmp_path / "s.npy", np.array([[[7, 9], [9, 7]], [[0, 0], [7, 7]]], np.uint8))
    ingest(IngestConfig(source=str(tmp_path / "s.npy"), dataset=str(tmp_path / "d"), color="gray"), sync)
    fit(FitConfig(dataset=str(tmp_path / "d"), codebook=str(tmp_path / "c"), n_clusters=3), sync)
    report = run(tmp_path / "d", tmp_path / "c", tmp_path / "r", sync)
    assert report.mean_psnr is None
    assert (report.mse, report.n_exact) == (0, 2)


def test_a_codebook_that_does_not_fit(dataset, palette, patch_codebook, photos, tmp_path, sync):
    with pytest.raises(MismatchError, match=r"fit on patches .*4x5.* gives pixels with 3 channels") as caught:
        run(dataset, patch_codebook, tmp_path / "r", sync)
    assert caught.value.exit_code == 3
    ingest(IngestConfig(source=str(photos), dataset=str(tmp_path / "gray"), color="gray"), sync)
    with pytest.raises(MismatchError, match=r"3 channels, uint8.*gives pixels with 1 channels"):
        run(tmp_path / "gray", palette, tmp_path / "r", sync)
    np.save(tmp_path / "deep.npy", np.arange(192, dtype=np.uint16).reshape(1, 8, 8, 3))
    ingest(IngestConfig(source=str(tmp_path / "deep.npy"), dataset=str(tmp_path / "deep")), sync)
    with pytest.raises(MismatchError, match=r"uint8.*uint16"):
        run(tmp_path / "deep", palette, tmp_path / "r", sync)
    assert not (tmp_path / "r").exists()


def test_pngs_that_cannot_be(dataset, tmp_path, sync):
    fit(FitConfig(dataset=dataset, codebook=str(tmp_path / "c"), n_clusters=257, tol=1), sync)
    with pytest.raises(UsageError, match="found 257 colors, an indexed PNG holds at most 256"):
        run(dataset, tmp_path / "c", tmp_path / "r", sync, images=str(tmp_path / "png"))
    run(dataset, tmp_path / "c", tmp_path / "r", sync)
    assert open_coded(str(tmp_path / "r")).codes.dtype == np.uint16
    np.save(tmp_path / "deep.npy", np.arange(192, dtype=np.uint16).reshape(1, 8, 8, 3) * 99)
    ingest(IngestConfig(source=str(tmp_path / "deep.npy"), dataset=str(tmp_path / "deep")), sync)
    fit(FitConfig(dataset=str(tmp_path / "deep"), codebook=str(tmp_path / "c16"), n_clusters=4), sync)
    with pytest.raises(UsageError, match=r"found uint16 pixels.*palette"):
        run(tmp_path / "deep", tmp_path / "c16", tmp_path / "r2", sync, images=str(tmp_path / "png"))


def test_the_originals_are_never_written_over(dataset, palette, photos, tmp_path, sync):
    for folder in (photos, photos.parent):
        with pytest.raises(UsageError, match="holds the originals"):
            run(dataset, palette, tmp_path / "r", sync, images=str(folder), overwrite=True)
    (tmp_path / "png").mkdir()
    (tmp_path / "png" / "cat.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"already holds cat\.png"):
        run(dataset, palette, tmp_path / "r", sync, images=str(tmp_path / "png"))
    assert (tmp_path / "png" / "cat.png").read_bytes() == b"mine"


def test_output_keys():
    names = ["a.jpg", "b/a.jpg", "b/a.tif", "c.tar.png", "UP.png", "up.jpg", "plain"]
    assert output_keys(names) == dict(
        zip(
            names,
            [
                "a.png",
                "b/a.jpg.png",
                "b/a.tif.png",
                "c.tar.png",
                "UP.png.png",
                "up.jpg.png",
                "plain.png",
            ],
            strict=True,
        )
    )


def test_a_run_that_died_goes_on(dataset, palette, tmp_path, sync, monkeypatch):
    whole = run(dataset, palette, tmp_path / "whole", sync)
    written = []
    write = arrays.write_rows

    def dying(store, name, start, *rest):
        if written:
            raise StorageError("no space left on the device")
        written.append(start)
        write(store, name, start, *rest)

    monkeypatch.setattr(arrays, "write_rows", dying)
    with pytest.raises(StorageError):
        run(dataset, palette, tmp_path / "r", sync)
    first = written.copy()
    written.clear()
    monkeypatch.setattr(arrays, "write_rows", lambda *a: (written.append(a[2]), write(*a)))
    assert run(dataset, palette, tmp_path / "r", sync, resume=True).digest == whole.digest
    assert first[0] not in written
