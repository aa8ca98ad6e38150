"""A folder of images in one step: files of few colors under the same keys, or one archive of codes."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.cluster import KMeans
from stages.outputs import KEYS, Parts, read_arrays, read_files

from dkmeans import CompressConfig, FitConfig, IngestConfig, compress, fit, ingest, open_codebook, plan
from dkmeans.artefacts.coded import open_coded
from dkmeans.artefacts.folder import open_folder
from dkmeans.artefacts.held import claim_key
from dkmeans.clustering import palette
from dkmeans.clustering.seeding import draw_positions
from dkmeans.compute.in_process import InProcess
from dkmeans.config.stages import LearningConfig, QuantizeConfig
from dkmeans.errors import (
    ClusterError,
    InputError,
    OutputExistsError,
    OutputTakenError,
    OutputUnfinishedError,
    SkippedError,
    StorageError,
    UsageError,
)
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.features.histogram import Histogram
from dkmeans.images import sources
from dkmeans.images.measures import mean_ciede2000
from dkmeans.kernels import reference
from dkmeans.kernels.dither import diffuse, ordered
from dkmeans.stages.quantize import quantize
from dkmeans.stages.shared import coding, writing
from dkmeans.stages.verify import verify
from dkmeans.storage import arrays
from dkmeans.storage.store import Store


def run(source, destination, cluster, reporter=SILENT, k=8, **options):
    config = QuantizeConfig(source=str(source), destination=str(destination), k=k, **options)
    return quantize(config, cluster, reporter)


def original(photos, image, mode="RGB"):
    with Image.open(photos / image.name) as file:
        return np.asarray(file.convert(mode)).reshape(image.height, image.width, -1)


# Files


def test_a_file_for_each_image_under_its_key(photos, tmp_path, sync):
    report = run(photos, tmp_path / "q", sync)
    found = read_files(tmp_path / "q")
    assert sorted(found) == KEYS
    assert report.n_images == 5
    for image in report.images:
        first = original(photos, image)
        with Image.open(tmp_path / "q" / image.key) as file:
            assert file.mode == "P"
            other = np.asarray(file.convert("RGB"))
        assert len(np.unique(other.reshape(-1, 3), axis=0)) == image.n_colors <= 8
        assert len(np.unique(first.reshape(-1, 3), axis=0)) == image.n_source_colors
        assert image.psnr == pytest.approx(peak_signal_noise_ratio(first, other))
        assert image.ssim == pytest.approx(structural_similarity(first, other, channel_axis=2))
        assert image.mse == pytest.approx(((first - other.astype(float)) ** 2).mean())
        assert image.source_bytes == (photos / image.name).stat().st_size
        assert image.stored_bytes == len(found[image.key])
        assert image.bits_per_pixel == 8 * image.stored_bytes / (image.height * image.width)
        assert found[image.key][24] == 4  # bits: 8 colors need more than 2
    assert report.source_bytes == sum(image.source_bytes for image in report.images)
    assert report.stored_bytes == sum(map(len, found.values()))
    assert report.n_pixels == sum(image.height * image.width for image in report.images)
    assert report.bits_per_pixel == 8 * report.stored_bytes / report.n_pixels
    assert report.mean_psnr == pytest.approx(np.mean([image.psnr for image in report.images]))
    assert report.mean_ssim == pytest.approx(np.mean([image.ssim for image in report.images]))
    assert report.inertia == sum(image.inertia for image in report.images)
    assert report.centers_sha256 is None


def test_a_palette_per_image_is_near_the_best_of_scikit_learn(tmp_path, sync):
    pixels = data.coffee()[::3, ::3]
    np.save(tmp_path / "coffee.npy", pixels[None])
    (image,) = run(tmp_path / "coffee.npy", tmp_path / "q", sync, k=5).images
    theirs = KMeans(5, n_init=5, random_state=0).fit(pixels.reshape(-1, 3).astype(float))
    assert image.inertia <= 1.002 * theirs.inertia_


@pytest.fixture
def crops(tmp_path):
    """Four images of 30,000 pixels together, more than seeds are drawn from."""
    (tmp_path / "crops").mkdir()
    for number, (first, width) in enumerate([(0, 60), (60, 90), (150, 60), (210, 90)]):
        pixels = data.coffee()[::4, ::2][:, first : first + width]
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "crops" / f"{number}.png")
    return tmp_path / "crops"


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("color", ["rgb", "gray", "rgba"])
def test_a_shared_palette_is_ingest_fit_compress(crops, tmp_path, sync, color, monkeypatch):
    """The very bits of the centers, and of the files, whatever the batches."""
    for module, name in ((plan, "PIXELS_PER_TASK"), (writing, "MEASURED_PER_TASK")):
        monkeypatch.setattr(module, name, 10_000)
    parts = Parts()
    report = run(crops, tmp_path / "q", sync, parts, k=6, palette="shared", color=color, max_iter=15)
    assert [parts.totals[name] for name in ("decoding", "rows", "images")] == [4, 4, 4]
    assert len(draw_positions(report.n_pixels, 6, 0)) < report.n_pixels == 30_000
    ingest(IngestConfig(source=str(crops), dataset=str(tmp_path / "d"), color=color), sync)
    fitted = fit(FitConfig(dataset=str(tmp_path / "d"), codebook=str(tmp_path / "c"), k=6, max_iter=15), sync)
    options = {"dataset": str(tmp_path / "d"), "codebook": str(tmp_path / "c")}
    done = compress(CompressConfig(result=str(tmp_path / "r"), images=str(tmp_path / "png"), **options), sync)
    assert report.centers_sha256 == fitted.centers_sha256
    assert (report.inertia, report.n_iter) == (fitted.inertia, fitted.n_iter)
    assert report.mean_psnr == pytest.approx(done.mean_psnr)
    assert read_files(tmp_path / "q") == read_files(tmp_path / "png")
    assert sum(image.inertia for image in report.images) == pytest.approx(fitted.inertia)


@pytest.mark.filterwarnings("ignore:.*not converged")
@pytest.mark.parametrize(
    "options",
    [
        {"dither": "floyd-steinberg"},
        pytest.param({"palette": "shared", "color": "rgba"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_workers_do_not_change_a_byte(photos, tmp_path, sync, workers, options):
    one = run(photos, tmp_path / "a", sync, max_iter=5, **options)
    two = run(photos, tmp_path / "b", workers, max_iter=5, **options)
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")
    assert one.inertia == two.inertia


def test_threads_do_not_change_a_byte(photos, tmp_path, sync, monkeypatch):
    run(photos, tmp_path / "a", sync)
    monkeypatch.setattr(writing, "MEASURED_PER_TASK", 1)
    parts = Parts()
    run(photos, tmp_path / "b", InProcess(4), parts)
    assert parts.totals["images"] == 5  # a task for each
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")


@pytest.mark.parametrize(("k", "bits"), [(1, 1), (2, 1), (3, 2), (5, 4), (16, 4), (17, 8), (256, 8)])
def test_the_fewest_bits_that_hold_the_colors(photos, tmp_path, sync, k, bits):
    report = run(photos / "cat.jpg", tmp_path / "q", sync, k=k, if_larger="keep")
    assert read_files(tmp_path / "q")["cat.png"][24] == bits
    assert report.images[0].n_colors == k


def test_few_colors_lose_nothing(tmp_path, sync):
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 2, (9, 8, 3)).astype(np.uint8) * 250
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    report = run(tmp_path / "in", tmp_path / "q", sync, k=8)
    image = report.images[0]
    assert (image.psnr, image.mse, image.inertia, image.n_colors, image.ssim) == (None, 0, 0, 8, 1)
    assert (report.n_exact, report.mean_psnr) == (1, None)
    with Image.open(tmp_path / "q" / "a.png") as file:
        np.testing.assert_array_equal(np.asarray(file.convert("RGB")), pixels)


@pytest.mark.parametrize("color", ["rgb", "gray", pytest.param("rgba", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dither", ["floyd-steinberg", "ordered"])
def test_dithering_takes_the_same_palette(photos, tmp_path, sync, color, dither):
    plain = run(photos, tmp_path / "a", sync, k=4, color=color)
    options = {"k": 4, "color": color, "dither": dither, "dither_strength": 0.75}
    dithered = run(photos, tmp_path / "b", sync, **options)
    by = {"floyd-steinberg": diffuse, "ordered": ordered}[dither]
    mode = {"rgb": "RGB", "gray": "L", "rgba": "RGBA"}[color]
    for image, other in zip(plain.images, dithered.images, strict=True):
        pixels = original(photos, image, mode)
        histogram = Histogram.of(pixels.reshape(-1, pixels.shape[2]))
        learned = palette.learn_palette(histogram, 4, seed=0, **LearningConfig().pace)
        colors = learned.palette
        with Image.open(tmp_path / "b" / image.key) as file:
            found = np.asarray(file.convert(mode)).reshape(pixels.shape)
        np.testing.assert_array_equal(found, colors[by(pixels, colors, 0.75)])
        assert other.mse > image.mse
        assert other.inertia == image.inertia


@pytest.mark.parametrize("dither", ["floyd-steinberg", "ordered"])
def test_dithering_leaves_colors_of_the_palette_as_they_are(tmp_path, sync, dither):
    colors = np.array([[9, 9, 9], [10, 9, 10], [11, 9, 10], [200, 1, 1], [201, 2, 1], [0, 0, 0]], np.uint8)
    pixels = colors[np.random.default_rng(0).integers(0, 6, (32, 40))]
    np.save(tmp_path / "s.npy", pixels[None])
    (image,) = run(tmp_path / "s.npy", tmp_path / "q", sync, k=16, dither=dither).images
    assert (image.mse, image.n_colors) == (0, 6)


def test_stacks(tmp_path, sync):
    stack = np.random.default_rng(0).integers(0, 256, (7, 9, 11)).astype(np.uint8)
    np.save(tmp_path / "s.npy", stack)
    report = run(tmp_path / "s.npy", tmp_path / "q", sync, k=16, color="gray")
    assert sorted(read_files(tmp_path / "q")) == [f"{number:05d}.png" for number in range(7)]
    assert report.images[3].name == "00003"


# How often an image is decoded


ARCHIVE = {"to": "archive"}
SHARED = {"palette": "shared"}


@pytest.mark.filterwarnings("ignore:.*not converged")
@pytest.mark.parametrize(
    ("options", "fits", "times"),
    [
        ({}, True, 1),
        ({}, False, 1),
        (SHARED, True, 1),
        (SHARED, False, 2),
        (ARCHIVE, True, 1),
        (ARCHIVE, False, 3),
        ({**ARCHIVE, "patch": 4}, True, 1),
        ({**ARCHIVE, "patch": 4}, False, 3),
    ],
    ids=str,
)
def test_how_often_an_image_is_decoded(photos, tmp_path, monkeypatch, options, fits, times):
    """Where the images do not fit into memory, once for the rows, the codes and the measures each."""
    whole = run(photos, tmp_path / "whole", Small(1 << 30), max_iter=2, **options)
    decoded = Counter()
    decode = sources.decode_tagged

    def counted(data, key, *rest, **named):
        decoded[key] += 1
        return decode(data, key, *rest, **named)

    monkeypatch.setattr(sources, "decode_tagged", counted)
    memory = 1 << 30 if fits else int(3.5 * 3 * whole.n_pixels)  # images may take a quarter, rows half
    report = run(photos, tmp_path / "q", Small(memory), max_iter=2, **options)
    assert decoded == {image.name: times for image in report.images}
    assert len(decoded) == 5
    assert report.inertia == whole.inertia


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 257}, "found 257 colors, an indexed PNG holds at most 256"),
        ({"patch": 4}, "--patch is for archives"),
        ({"dither": "floyd-steinberg", "to": "archive"}, "--dither is for PNG files"),
        ({"dither_strength": 0.5}, "found --dither-strength 0.5 without --dither"),
        ({"init": "random"}, "--init random is for one palette for all images"),
        ({"overwrite": True, "resume": True}, "found both --overwrite and --resume"),
        ({"to": "archive", "patch": 300, "color": "rgb"}, "a patch has 270000 values"),
    ],
    ids=str,
)
def test_options_that_contradict_each_other(photos, tmp_path, sync, options, message):
    with pytest.raises(UsageError, match=message):
        run(photos, tmp_path / "q", sync, **options)
    assert not (tmp_path / "q").exists()


def test_patches_that_are_too_large_for_the_channels_that_images_have(photos, tmp_path, sync):
    with pytest.raises(UsageError, match="a patch has 270000 values"):
        run(photos, tmp_path / "q", sync, to="archive", patch=300)


def test_places_that_overlap(photos, tmp_path, sync):
    for folder in (photos, photos.parent):
        with pytest.raises(UsageError, match="holds the originals"):
            run(photos, folder, sync, overwrite=True)
    with pytest.raises(UsageError, match="lies in the source"):
        run(photos, photos / "few", sync)
    with pytest.raises(UsageError, match="overlap"):
        run(photos, photos / "few", sync, to="archive")
    assert not (photos / "few").exists()


def test_files_in_the_way(photos, tmp_path, sync):
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "cat.png").write_bytes(b"mine")
    (tmp_path / "q" / "notes.txt").write_text("mine too")
    for options in ({}, {"resume": True}, {"overwrite": True}, {"update": True, "prune": True}, SHARED):
        with pytest.raises(UsageError, match=r"already holds cat\.png, which no run of dkmeans has written"):
            run(photos, tmp_path / "q", sync, **options)
        assert read_files(tmp_path / "q") == {"cat.png": b"mine", "notes.txt": b"mine too"}
    (tmp_path / "q" / "cat.png").unlink()
    run(photos, tmp_path / "q", sync)
    run(photos, tmp_path / "q", sync, overwrite=True)
    assert sorted(read_files(tmp_path / "q")) == [*KEYS, "notes.txt"]


def test_sixteen_bits_stay_in_archives_and_are_rounded_for_files(tmp_path, sync):
    deep = np.arange(192, dtype=np.uint16).reshape(1, 8, 8, 3) * 99
    np.save(tmp_path / "deep.npy", deep)
    with pytest.warns(
        UserWarning, match=r"1 of 1 images have 16 bits a channel, an indexed PNG holds 8: .* 00000"
    ):
        report = run(tmp_path / "deep.npy", tmp_path / "q", sync, k=64)
    assert report.n_exact == 1
    (image,) = sources.open_source(str(tmp_path / "q")).read("rgb", max_pixels=64)
    np.testing.assert_array_equal(image.pixels, np.floor(deep[0] * (255 / 65535) + 0.5))
    report = run(tmp_path / "deep.npy", tmp_path / "z", sync, to="archive", k=64)
    assert report.n_exact == 1
    np.testing.assert_array_equal(open_coded(str(tmp_path / "z")).image(0), np.load(tmp_path / "deep.npy")[0])


@pytest.mark.parametrize("color", ["gray", "rgb", "rgba"])
@pytest.mark.parametrize(
    "options", [{}, {"palette": "shared"}, {"to": "archive"}, {"space": "oklab"}], ids=str
)
def test_of_fewer_colors_than_asked_for_all_are_kept(tmp_path, sync, color, options):
    np.save(tmp_path / "s.npy", np.array([[[7, 9], [9, 7]], [[9, 9], [9, 30]]], np.uint8))
    report = run(tmp_path / "s.npy", tmp_path / "q", sync, k=5, color=color, **options)
    assert (report.n_exact, report.inertia) == (2, 0)


# Alpha, and other spaces


@pytest.fixture
def icons(tmp_path):
    """Two pictures with soft edges, on a clear ground behind which colors hide."""
    (tmp_path / "icons").mkdir()
    y, x = np.mgrid[:64, :64]
    rng = np.random.default_rng(0)
    pictures = []
    for number, radius in enumerate((20, 29)):
        alpha = np.clip((radius - np.hypot(x - 32, y - 32)) * 40, 0, 255)
        color = np.dstack([x * 4, y * 4, 255 - x * 4])
        color = np.where((alpha == 0)[..., None], rng.integers(0, 256, color.shape), color)
        pictures.append(np.dstack([color, alpha]).astype(np.uint8))
        Image.fromarray(pictures[-1]).save(tmp_path / "icons" / f"{number}.png")
    return tmp_path / "icons", pictures


def check_alpha(pictures, made):
    """What is clear stays clear, and what is opaque opaque; nothing else is seen than before, nearly."""
    for picture, other in zip(pictures, made, strict=True):
        alpha = picture[..., 3]
        assert not other[alpha == 0].any()
        assert (other[alpha == 255, 3] == 255).all()
        premultiplied = [image[..., :3] * (image[..., 3:] / 255) for image in (picture, other)]
        assert ((premultiplied[0] - premultiplied[1]) ** 2).mean() < 150


@pytest.mark.filterwarnings("ignore:.*not converged")
@pytest.mark.parametrize("palette", ["per-image", "shared"])
@pytest.mark.parametrize("space", ["rgb", "oklab"])
def test_clear_stays_clear_and_opaque_opaque(icons, tmp_path, sync, palette, space):
    folder, pictures = icons
    report = run(folder, tmp_path / "q", sync, k=40, color="rgba", palette=palette, space=space)
    made = []
    for image in report.images:
        with Image.open(tmp_path / "q" / image.key) as file:
            made.append(np.asarray(file.convert("RGBA")))
    check_alpha(pictures, made)
    assert sum(image.inertia for image in report.images) == pytest.approx(report.inertia)


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("space", ["rgb", "linear", "oklab"])
def test_archives_with_alpha_and_of_other_spaces(icons, tmp_path, sync, space):
    folder, pictures = icons
    report = run(folder, tmp_path / "z", sync, k=40, color="rgba", to="archive", space=space)
    archive = open_coded(str(tmp_path / "z"))
    assert archive.manifest.space.space == space
    made = [archive.image(position) for position in range(2)]
    check_alpha(pictures, made)
    assert (archive.palette[:, 3] == 0).sum() == 1
    assert sum(image.inertia for image in report.images) == pytest.approx(report.inertia)


@pytest.mark.filterwarnings("ignore:not converged")
def test_patches_with_alpha(icons, tmp_path, sync):
    folder, pictures = icons
    run(folder, tmp_path / "z", sync, k=200, color="rgba", to="archive", patch=2)
    archive = open_coded(str(tmp_path / "z"))
    for position, picture in enumerate(pictures):
        other = archive.image(position)
        premultiplied = [image[..., :3] * (image[..., 3:] / 255) for image in (picture, other)]
        assert ((premultiplied[0] - premultiplied[1]) ** 2).mean() < 150


@pytest.mark.filterwarnings("ignore:skipped")
def test_one_color_is_too_few_for_clear_and_visible_pixels(icons, tmp_path, sync):
    folder, _ = icons
    Image.fromarray(np.full((5, 5, 4), 99, np.uint8)).save(folder / "plain.png")
    report = run(folder, tmp_path / "q", sync, k=1, color="rgba", max_skipped=2)
    assert [image.name for image in report.images] == ["plain.png"]
    assert report.n_skipped == 2


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("palette", ["per-image", "shared"])
def test_oklab_is_nearer_to_what_one_sees(photos, tmp_path, sync, palette):
    found = {}
    for space in ("rgb", "oklab"):
        report = run(photos, tmp_path / space, sync, k=32, palette=palette, space=space)
        differences = []
        for image in report.images:
            with Image.open(tmp_path / space / image.key) as file:
                differences.append(mean_ciede2000(original(photos, image), np.asarray(file.convert("RGB"))))
        found[space] = np.mean(differences), report.mean_psnr
    assert found["oklab"][0] < 0.95 * found["rgb"][0]
    assert found["oklab"][1] < found["rgb"][1]


class Small(InProcess):
    """This process, as if it had less memory."""

    def __init__(self, n_bytes):
        super().__init__(device="cpu")
        self.n_bytes = n_bytes

    def memory_bytes(self):
        return self.n_bytes


def test_rows_that_do_not_fit_into_memory(photos, tmp_path):
    with pytest.raises(ClusterError, match=r"expected at most half.*ingest, fit"):
        run(photos, tmp_path / "q", Small(10_000), to="archive", patch=4)
    assert not Store(str(tmp_path / "q")).list()


# Bad images


@pytest.fixture
def spoiled(photos, tmp_path):
    """Two photos, one without a header, and one whose pixels give it away."""
    folder = tmp_path / "spoiled"
    folder.mkdir()
    for name in ("astronaut.png", "cat.jpg"):
        shutil.copy(photos / name, folder)
    (folder / "bad.png").write_bytes(b"")
    (folder / "half.png").write_bytes((photos / "astronaut2.png").read_bytes()[:3000])
    return folder


@pytest.mark.filterwarnings("ignore:skipped")
@pytest.mark.parametrize(
    "options",
    [{}, {"palette": "shared"}, {"palette": "shared", "color": "rgba"}, {"to": "archive", "patch": 4}],
    ids=str,
)
def test_bad_images_are_skipped(spoiled, tmp_path, sync, options):
    with pytest.raises(SkippedError, match=r"2 images cannot be used, --max-skipped allows 1") as caught:
        run(spoiled, tmp_path / "q", sync, max_skipped=1, **options)
    assert caught.value.exit_code == 6
    report = run(spoiled, tmp_path / "q", sync, max_skipped=2, resume=True, **options)
    assert (report.n_images, report.n_skipped) == (2, 2)
    assert [image.name for image in report.images] == ["astronaut.png", "cat.jpg"]


def test_bad_images_are_named(spoiled, tmp_path, sync):
    with pytest.warns(UserWarning) as caught:  # noqa: PT030 - each text is looked at below
        run(spoiled, tmp_path / "q", sync, max_skipped=2)
    said = "\n".join(str(warning.message) for warning in caught)
    assert "skipped bad.png: " in said
    assert "skipped half.png: " in said


@pytest.mark.filterwarnings("ignore:skipped")
def test_nothing_but_bad_images(tmp_path, sync):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="no image can be used"):
        run(tmp_path / "in", tmp_path / "q", sync, max_skipped=9)


def test_a_palette_that_did_not_converge(photos, tmp_path, sync):
    with pytest.warns(UserWarning, match=r"[1-5] of 5 palettes not converged after 1 iterations"):
        report = run(photos, tmp_path / "q", sync, max_iter=1, tol=0)
    assert not report.converged


@pytest.mark.filterwarnings("ignore:skipped")
def test_an_image_that_is_skipped_takes_no_other_with_it(spoiled, tmp_path, sync):
    """All are of one batch; its record is of those that could be decoded, now and when it is resumed."""
    first = run(spoiled, tmp_path / "q", sync, max_skipped=2)
    records = open_folder(str(tmp_path / "q")).records
    assert [image["key"] for image in records] == ["astronaut.png", "cat.png"]
    assert [image["stored_bytes"] for image in records] == [image.stored_bytes for image in first.images]
    assert verify(str(tmp_path / "q")).n_parts >= 2
    (tmp_path / "q" / "cat.png").unlink()
    again = run(spoiled, tmp_path / "q", sync, max_skipped=2, resume=True)
    assert (again.n_images, again.n_skipped, again.inertia) == (2, 2, first.inertia)


# Again


@pytest.mark.parametrize("options", [{}, {"palette": "shared"}, {"to": "archive", "max_iter": 2}], ids=str)
@pytest.mark.filterwarnings("ignore:not converged")
def test_of_two_runs_begun_together_one_writes(photos, tmp_path, sync, monkeypatch, options):
    """Both have seen that nothing is there before either claims it."""
    run(photos, tmp_path / "whole", sync, **options)
    both, create, put, written = Barrier(2), Store.create, Store.put, []

    def create_together(store, key, data):
        if key == claim_key(1):
            both.wait(timeout=60)
        return create(store, key, data)

    def put_noted(store, key, data):
        written.append(key)
        put(store, key, data)

    monkeypatch.setattr(Store, "create", create_together)
    monkeypatch.setattr(Store, "put", put_noted)
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(run, photos, tmp_path / "q", sync, Reporter(level="warning"), **options)
            for _ in range(2)
        ]
    errors = [error for task in runs if (error := task.exception())]
    assert [type(error) for error in errors] == [OutputUnfinishedError]
    assert max(Counter(key for key in written if not key.startswith("owned/")).values()) == 1
    if "to" in options:
        assert read_arrays(tmp_path / "q") == read_arrays(tmp_path / "whole")
    else:
        assert sorted(key for key in written if key.endswith(".png")) == KEYS
        assert read_files(tmp_path / "q") == read_files(tmp_path / "whole")


def test_a_run_that_another_takes_over_stops(photos, tmp_path, sync, monkeypatch):
    """It finds the claim of the other one at its next file."""
    run(photos, tmp_path / "whole", sync)
    put, written = Store.put, []

    def put_meanwhile(store, key, data):
        put(store, key, data)
        written.append(key)
        if written.count("astronaut.png") == 1 and key == "astronaut.png":
            run(photos, tmp_path / "q", sync, resume=True)
            written.append("the other is done")

    monkeypatch.setattr(Store, "put", put_meanwhile)
    with pytest.raises(OutputTakenError, match="has taken over this output"):
        run(photos, tmp_path / "q", sync)
    assert written[-1] == "the other is done"
    assert read_files(tmp_path / "q") == read_files(tmp_path / "whole")
    assert len(open_folder(str(tmp_path / "q")).records) == 5


def die_after(monkeypatch, n):
    """Let the write of file `n` fail."""
    write, count = Store.put, []

    def dying(folder, key, data):
        if key.endswith(".png"):
            count.append(key)
            if len(count) > n:
                raise StorageError("no space left on the device")
        write(folder, key, data)

    monkeypatch.setattr(Store, "put", dying)


@pytest.mark.parametrize("options", [{}, {"palette": "shared"}], ids=str)
def test_a_run_that_died_goes_on(photos, tmp_path, sync, monkeypatch, options):
    whole = run(photos, tmp_path / "whole", sync, **options)
    monkeypatch.setattr(writing, "MEASURED_PER_TASK", 5000)
    with monkeypatch.context() as patch:
        die_after(patch, 3)
        with pytest.raises(StorageError):
            run(photos, tmp_path / "q", sync, **options)
        there = read_files(tmp_path / "q")
        assert len(there) == 3
        with pytest.raises(OutputUnfinishedError, match=r"not finished.*--resume"):
            run(photos, tmp_path / "q", sync, **options)
        with pytest.raises(InputError, match=r"is unfinished.*--resume"):
            open_folder(str(tmp_path / "q"))
    written = []
    write = Store.put
    monkeypatch.setattr(Store, "put", lambda *a: (written.append(a[1]), write(*a)))
    parts = Parts()
    report = run(photos, tmp_path / "q", sync, parts, resume=True, **options)
    assert parts.totals["images"] == 1  # of two images; three were recorded
    assert read_files(tmp_path / "q") == read_files(tmp_path / "whole")
    assert (report.inertia, report.mean_psnr) == (whole.inertia, whole.mean_psnr)
    # Those that were not there: the first two batches, of two images and one, had been written whole.
    assert sorted(set(KEYS) - there.keys()) == sorted(key for key in written if key.endswith(".png"))


def test_a_finished_folder_stays_as_it_is(photos, tmp_path, sync, monkeypatch):
    first = run(photos, tmp_path / "q", sync)
    die_after(monkeypatch, 0)
    again = run(photos, tmp_path / "q", sync, resume=True)
    assert again.images == first.images
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run(photos, tmp_path / "q", sync)
    others = {"k": ("n_clusters", 8, 9), "seed": ("seed", 0, 1), "dither": ("dither", "none", "ordered")}
    for option, (name, before, now) in others.items():
        with pytest.raises(UsageError, match=f"begun with {name} = {before!r}, found {now!r} now"):
            run(photos, tmp_path / "q", sync, resume=True, **{option: now})
    with pytest.raises(UsageError, match="begun with source = "):
        run(photos / "deep", tmp_path / "q", sync, resume=True)


def test_a_file_that_is_gone_is_made_again(photos, tmp_path, sync):
    first = run(photos, tmp_path / "q", sync)
    before = read_files(tmp_path / "q")
    (tmp_path / "q" / "cat.png").unlink()
    (tmp_path / "q" / "astronaut.png").write_bytes(b"half")
    again = run(photos, tmp_path / "q", sync, resume=True)
    assert read_files(tmp_path / "q") == before
    assert again.inertia == first.inertia
    (record,) = (tmp_path / "q" / ".dkmeans" / "records").iterdir()
    record.write_bytes(b"{}")
    with pytest.raises(InputError, match=r"records/2-0\.json is gone or damaged.*--resume"):
        _ = open_folder(str(tmp_path / "q")).records
    again = run(photos, tmp_path / "q", sync, resume=True)
    assert read_files(tmp_path / "q") == before
    assert [image.psnr for image in again.images] == [image.psnr for image in first.images]


def test_overwriting_takes_other_options(photos, tmp_path, sync):
    run(photos, tmp_path / "q", sync)
    run(photos, tmp_path / "q", sync, k=2, overwrite=True)
    run(photos, tmp_path / "two", sync, k=2)
    assert read_files(tmp_path / "q") == read_files(tmp_path / "two")


def test_a_run_that_died_while_overwriting(photos, tmp_path, sync, monkeypatch):
    """What the run before it has left is gone, and is not taken for finished."""
    run(photos, tmp_path / "q", sync)
    with monkeypatch.context() as patch:
        die_after(patch, 2)
        with pytest.raises(StorageError):
            run(photos, tmp_path / "q", sync, k=2, overwrite=True)
    assert len(read_files(tmp_path / "q")) == 2
    with pytest.raises(UsageError, match="begun with n_clusters = 2, found 8 now"):
        run(photos, tmp_path / "q", sync, resume=True)
    run(photos, tmp_path / "q", sync, k=2, resume=True)
    run(photos, tmp_path / "two", sync, k=2)
    assert read_files(tmp_path / "q") == read_files(tmp_path / "two")


# Archives


@pytest.mark.parametrize(
    ("patch", "color"), [(None, "rgb"), (None, "gray"), ("4x5", "rgb"), ("4x5", "gray"), ("4x5", "rgba")]
)
@pytest.mark.filterwarnings("ignore:not converged")
def test_an_archive_holds_the_nearest_centers(photos, tmp_path, sync, patch, color):
    report = run(photos, tmp_path / "z", sync, to="archive", patch=patch, color=color, max_iter=6)
    archive = open_coded(str(tmp_path / "z"))
    mode, size = {"rgb": "RGB", "gray": "L", "rgba": "RGBA"}[color], (4, 5) if patch else (1, 1)
    names = [image.name for image in report.images]
    pieces, total = [], 0
    for position, image in enumerate(report.images):
        first = original(photos, image, mode)
        height, width = (-(-n // s) * s for n, s in zip(first.shape, size, strict=False))
        padded = np.pad(first, ((0, height - first.shape[0]), (0, width - first.shape[1]), (0, 0)), "edge")
        blocks = padded.reshape(height // size[0], size[0], width // size[1], size[1], -1).swapaxes(1, 2)
        pieces.append(blocks.reshape(-1, size[0] * size[1] * first.shape[2]))
        other = archive.image(position)
        assert image.psnr == pytest.approx(peak_signal_noise_ratio(first, other))
        total += image.inertia
    bits, unit = (7, 255) if color == "rgba" else (15, 1)
    if color == "rgba":  # premultiplied, and alpha times 255
        values = [piece.reshape(-1, 4).astype(np.uint16) for piece in pieces]
        values = [
            np.concatenate([value[:, :3], value[:, 3:] * 0 + 255], 1) * value[:, 3:] for value in values
        ]
        pieces = [value.reshape(piece.shape) for value, piece in zip(values, pieces, strict=True)]
    rows = np.concatenate(pieces)
    codes = archive.codes[:]
    offset = np.cumsum([0, *map(len, pieces)])
    np.testing.assert_array_equal(archive.code_offset, offset)
    assert codes.dtype == np.uint8
    assert total == pytest.approx(report.inertia)
    if patch:
        centers = archive.centers
    else:
        ingest(IngestConfig(source=str(photos), dataset=str(tmp_path / "d"), color=color), sync)
        fit(FitConfig(dataset=str(tmp_path / "d"), codebook=str(tmp_path / "c"), k=8, max_iter=6), sync)
        centers = open_codebook(str(tmp_path / "c")).centers
        assert report.centers_sha256 == open_codebook(str(tmp_path / "c")).manifest.centers_sha256
        np.testing.assert_array_equal(archive.palette, np.rint(centers))
    np.testing.assert_array_equal(codes, reference.assign(rows, centers))
    integers = np.rint(centers.astype(float) * 2**bits).astype(int).astype(object)  # of any length
    for image, piece, start, stop in zip(report.images, pieces, offset, offset[1:], strict=False):
        gaps = piece.astype(object) * 2**bits - integers[codes[start:stop]]
        assert image.inertia == int((gaps**2).sum()) / 4**bits / unit**2
    assert list(archive.index.names) == names
    stored = [file for file in Store(str(tmp_path / "z")).list() if not file.key.startswith("claim/")]
    assert report.stored_bytes == sum(file.size for file in stored)


@pytest.mark.filterwarnings("ignore:not converged")
def test_a_codebook_of_patches_is_that_of_ingest_and_fit(tmp_path, sync):
    """Where every image is whole patches, and no patch is blank to ingest."""
    stack = np.random.default_rng(0).integers(0, 256, (6, 12, 16, 3)).astype(np.uint8)
    np.save(tmp_path / "s.npy", stack)
    report = run(tmp_path / "s.npy", tmp_path / "z", sync, to="archive", patch=4, k=7, max_iter=9)
    ingest(
        IngestConfig(
            source=str(tmp_path / "s.npy"), dataset=str(tmp_path / "d"), patch=4, stride=4, blank_threshold=-1
        ),
        sync,
    )
    options = {"dataset": str(tmp_path / "d"), "codebook": str(tmp_path / "c")}
    fitted = fit(FitConfig(k=7, max_iter=9, on="patches", **options), sync)
    assert report.centers_sha256 == fitted.centers_sha256
    assert report.inertia == fitted.inertia


@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize("patch", [pytest.param(None, marks=pytest.mark.slow), 4])
def test_workers_do_not_change_an_archive(photos, tmp_path, sync, workers, patch, monkeypatch):
    options = {"to": "archive", "patch": patch, "max_iter": 5}
    run(photos, tmp_path / "a", sync, **options)
    run(photos, tmp_path / "b", workers, **options)
    assert read_arrays(tmp_path / "a") == read_arrays(tmp_path / "b")


@pytest.mark.filterwarnings("ignore:not converged")
def test_an_archive_that_died_goes_on(photos, tmp_path, sync, monkeypatch):
    monkeypatch.setattr(coding, "SHARD_MIB", 0.005)
    options = {"to": "archive", "patch": 4, "max_iter": 5}
    parts = Parts()
    whole = run(photos, tmp_path / "whole", sync, parts, **options)
    assert parts.totals["codes"] > 5  # many shards
    written = []
    write = arrays.write_rows

    def dying(store, name, start, *rest):
        if len(written) == 4:
            raise StorageError("no space left on the device")
        written.append((name, start))
        write(store, name, start, *rest)

    monkeypatch.setattr(arrays, "write_rows", dying)
    with pytest.raises(StorageError):
        run(photos, tmp_path / "z", sync, **options)
    with pytest.raises(InputError, match="unfinished"):
        open_coded(str(tmp_path / "z"))
    before = written.copy()
    assert len([name for name, _ in before if name == "codes"]) >= 2
    written.clear()
    monkeypatch.setattr(arrays, "write_rows", lambda *a: (written.append(a[1:3]), write(*a)))
    report = run(photos, tmp_path / "z", sync, resume=True, **options)
    codes = {start for name, start in before if name == "codes"}
    assert codes.isdisjoint(start for name, start in written if name == "codes")
    assert read_arrays(tmp_path / "z") == read_arrays(tmp_path / "whole")
    assert report.images == whole.images
    with pytest.raises(OutputExistsError):
        run(photos, tmp_path / "z", sync, **options)
    assert run(photos, tmp_path / "z", sync, resume=True, **options).images == whole.images


# The command


def test_the_command(photos, tmp_path, dkmeans):
    options = ["--k", "4", "--scheduler", "sync", "--json", "--quiet"]
    code, out, _ = dkmeans("quantize", photos, tmp_path / "q", *options)
    assert code == 0
    report = json.loads(out)
    assert sorted(image["key"] for image in report["images"]) == KEYS
    assert report["n_images"] == 5


def test_people_see_totals_and_scripts_every_image(photos, tmp_path, dkmeans):
    arguments = ["quantize", photos, tmp_path / "a", "--k", "4", "--scheduler", "sync"]
    code, out, _ = dkmeans(*arguments)
    assert code == 0
    lines = out.splitlines()
    assert re.fullmatch(r"5 images, .+ KiB -> .+ KiB, -\d+ %", lines[0])
    assert re.fullmatch(r"smallest gain: .+ % \(.+\); largest: -\d+ % \(.+\)", lines[1])
    assert re.match(r"mean PSNR .+ dB, worst .+ dB \(.+\)", lines[2])
    assert lines[3:] == [str(tmp_path / "a")]
    code, out, _ = dkmeans(*arguments, "--overwrite", "--quiet")
    assert (code, out) == (0, "")
    code, out, _ = dkmeans(*arguments, "--overwrite", "--json")
    assert code == 0
    assert len(json.loads(out)["images"]) == 5


@pytest.mark.filterwarnings("ignore:skipped bad.png")
@pytest.mark.parametrize("to", ["png", "archive"])
def test_the_report_names_what_was_skipped(tmp_path, sync, to):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "bad.png").write_bytes(b"no image")
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(tmp_path / "source" / "good.png")
    report = run(tmp_path / "source", tmp_path / "q", sync, to=to, max_skipped=1, k=2)
    assert (report.n_images, report.n_skipped) == (1, 1)
    assert [(image.key, "no image" in image.reason) for image in report.skipped] == [("bad.png", True)]
    *_, skipped, place = report.summary()
    assert skipped.startswith("skipped: 1 (bad.png: ")
    assert place == str(tmp_path / "q")
