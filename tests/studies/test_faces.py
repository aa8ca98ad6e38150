"""The study of faces on small images: its numbers against other libraries, its page in a browser."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report.browser import browser, check_page  # noqa: F401
from skimage import data
from skimage.metrics import peak_signal_noise_ratio
from sklearn.cluster import KMeans
from sklearn.preprocessing import KBinsDiscretizer

from dkmeans import open_codebook, open_coded, open_dataset
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.studies import FacesConfig
from dkmeans.errors import InputError, OutputExistsError, UsageError
from dkmeans.kernels import exact, reference
from dkmeans.studies.faces.study import faces

SYNC = ClusterConfig(scheduler="sync")
OPTIONS = {"levels": 5, "gallery": "2x6", "n_clusters": "2,5", "n_neighbors": 4}


def write(folder: Path, images: dict[str, np.ndarray]) -> str:
    folder.mkdir()
    for name, pixels in images.items():
        Image.fromarray(pixels).save(folder / name)
    return str(folder)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Thirty images of 20 x 16 pixels: faces, and one that is all black."""
    images = np.rint(data.lfw_subset()[:30, 2:22, 4:20] * 255).astype(np.uint8)
    images[3] = 0
    return images


@pytest.fixture(scope="module")
def source(pixels, tmp_path_factory) -> str:
    images = {f"{number}.png": image for number, image in enumerate(pixels)}
    return write(tmp_path_factory.mktemp("faces") / "images", images)


@pytest.fixture(scope="module")
def out(source, tmp_path_factory) -> Path:
    url = tmp_path_factory.mktemp("study") / "out"
    report = faces(FacesConfig(out=str(url), source=source, **OPTIONS), SYNC)
    assert report.page == str(url / "index.html")
    assert report.page_bytes == (url / "index.html").stat().st_size
    return url


@pytest.fixture(scope="module")
def facts(out):
    return json.loads((out / "numbers.json").read_text())


def test_levels_of_even_bins_are_those_of_scikit_learn(facts, pixels):
    values = pixels.reshape(-1, 1).astype(float)
    for strategy in ("uniform", "quantile"):
        options = {"encode": "ordinal", "strategy": strategy, "subsample": None}
        options |= {"quantile_method": "inverted_cdf"} if strategy == "quantile" else {}
        theirs = KBinsDiscretizer(5, **options).fit(values)
        labels = theirs.transform(values)[:, 0].astype(int)
        found = facts["levels"][strategy]
        assert found["edges"] == theirs.bin_edges_[0].tolist()
        assert found["shares"] == pytest.approx(np.bincount(labels) / len(values))
        means = np.bincount(labels, values[:, 0]) / np.bincount(labels)
        assert found["values"] == np.rint(means).tolist()
        assert found["mse"] == pytest.approx(((values[:, 0] - np.rint(means)[labels]) ** 2).mean())


def test_levels_of_kmeans_are_those_of_the_result(out, facts, pixels):
    found, result = facts["levels"]["kmeans"], open_coded(str(out / "levels-codes.zarr"))
    shown = result.palette[result.codes[:]].reshape(pixels.shape)
    assert found["mse"] == pytest.approx(result.manifest.mse)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(pixels, shown, data_range=255))
    assert found["rmse"] ** 2 == pytest.approx(found["mse"])
    assert found["values"] == sorted(result.palette[:, 0].tolist())
    counts = open_codebook(str(out / "levels.zarr")).counts
    assert sorted(found["shares"]) == pytest.approx(sorted(counts / counts.sum()))
    centers = found["centers"]
    assert found["edges"][1:-1] == [(low + high) / 2 for low, high in pairwise(centers)]
    assert facts["levels"]["best"] == "k-means"
    assert facts["gray_counts"] == np.bincount(pixels.ravel(), minlength=256).tolist()


def test_bytes_are_those_of_the_arrays_and_files(out, facts, pixels, source):
    found = facts["bytes"]
    labels = KMeans(5, n_init=1, random_state=0).fit(pixels.reshape(-1, 1) * 1.0).labels_
    codes = open_coded(str(out / "levels-codes.zarr")).codes[:]
    planes = [np.packbits(codes >> bit & 1) for bit in range(3)]
    expected = {
        "image": pixels.nbytes,
        "labels": labels.nbytes,
        "codes": codes.nbytes,
        "packed": sum(plane.nbytes for plane in planes),
        "image_files": sum(file.stat().st_size for file in Path(source).iterdir()),
        "code_files": sum(file.stat().st_size for file in (out / "levels").glob("*.png")),
        "image_stored": sum(file.stat().st_size for file in files(out / "dataset.zarr" / "pixels" / "c")),
        "codes_stored": sum(file.stat().st_size for file in files(out / "levels-codes.zarr" / "codes" / "c")),
    }
    assert {name: found[name]["bytes"] for name in expected} == expected
    assert found["bits"] == 3
    assert found["labels"]["share"] == 4
    assert found["packed"]["bits_per_pixel"] == 3  # 9,600 pixels fill their bytes
    assert found["codes_stored"]["share"] == found["codes_stored"]["bytes"] / pixels.size


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_codebooks_are_those_of_all_images(out, facts, pixels):
    dataset = open_dataset(str(out / "dataset.zarr"))
    rows = dataset.patches[:]
    assert dataset.patch == (20, 16)
    assert sorted(rows.tolist()) == sorted(pixels.reshape(30, -1).tolist())  # each image is one patch
    for name, found in books(facts).items():
        codebook = open_codebook(str(out / f"{name}.zarr"))
        stats, _ = reference.lloyd_chunk(rows, codebook.centers)
        assert found["inertia"] == exact.inertia(stats, codebook.centers, np.dtype(np.uint8))
        assert codebook.counts.sum() == 30
    assert facts["gallery"]["n_clusters"] == 12
    counts = open_codebook(str(out / "gallery.zarr")).counts
    assert facts["gallery"]["counts"] == sorted(counts.tolist(), reverse=True)
    assert facts["gallery"]["n_single"] == (counts == 1).sum()


def books(facts):
    """What the facts say of each codebook of whole images."""
    found = {"gallery": facts["gallery"]}
    for size in facts["hierarchy"]["sizes"]:
        k = size["k"]
        found |= {
            f"direct-{k}": size["direct"],
            f"cut-{k}": size["cut"],
            f"cut-{k}-neighbors": size["linked"],
        }
    assert len(found) == 7
    return found


def test_ratios(facts):
    ratios = []
    for size in facts["hierarchy"]["sizes"]:
        for name in ("cut", "linked"):
            ratios.append(size[name]["inertia"] / size["direct"]["inertia"])
            assert size[name]["ratio"] == ratios[-1]
    assert facts["hierarchy"]["least_ratio"] == min(ratios)
    assert facts["hierarchy"]["largest_ratio"] == max(ratios)


def test_tables_and_pictures(out, facts):
    names = {path.name for path in (out / "figures").iterdir()}
    assert {"gallery.png", "original.png", "kmeans.png", "histogram-quantile-dark.svg", "bits.svg"} <= names
    assert {"inertia.svg", "ratio.svg", "direct-2.png", "cut-5.png"} <= names
    with Image.open(out / "figures" / "gallery.png") as picture:
        assert picture.width / picture.height == pytest.approx(6 * 16 / (2 * 20), rel=0.05)
    rows = list(csv.DictReader(io.StringIO((out / "tables" / "bytes.csv").read_text())))
    assert {row["Form"]: int(row["Bytes"]) for row in rows}["codes, packed"] == facts["bytes"]["packed"][
        "bytes"
    ]
    cuts = list(csv.reader(io.StringIO((out / "tables" / "cuts.csv").read_text())))
    assert [row[0] for row in cuts] == ["Clusters", "2", "5"]


@pytest.mark.slow
def test_the_page_in_a_browser(out, browser):  # noqa: F811
    check_page(browser, out / "index.html", out / "numbers.json")


def test_a_study_that_is_there(out, source, facts):
    config = FacesConfig(out=str(out), source=source, **OPTIONS)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        faces(config, SYNC)
    runs = open_codebook(str(out / "gallery.zarr")).manifest.run
    faces(config.model_copy(update={"resume": True}), SYNC)
    assert json.loads((out / "numbers.json").read_text()) == facts
    assert open_codebook(str(out / "gallery.zarr")).manifest.run == runs  # nothing was fit again


def test_refusals(tmp_path, pixels, source, monkeypatch):
    def study(folder, **options):
        return faces(FacesConfig(out=str(tmp_path / "out"), source=folder, **{**OPTIONS, **options}), SYNC)

    images = {f"{number}.png": image for number, image in enumerate(pixels[:12])}
    two = write(tmp_path / "two", {**images, "odd.png": pixels[0, 1:]})
    with pytest.raises(
        InputError, match=r"of 2 sizes: 0.png has 20 x 16 pixels, odd.png 19 x 16; expected one"
    ):
        study(two)
    deep = write(tmp_path / "deep", {name: image.astype(np.uint16) for name, image in images.items()})
    with pytest.raises(InputError, match="images of 16 bits; expected 8 bits"):
        study(deep)
    with pytest.raises(InputError, match=r"holds 30 images .* 5x8 centers needs 40. Use a smaller --gallery"):
        study(source, gallery="5x8")
    with pytest.raises(UsageError, match=r"k: found 12, a gallery of 2x6 has 12 centers.*smaller --k"):
        study(source, n_clusters="2,12")
    with pytest.raises(UsageError, match=r"n_neighbors: found 12, .*smaller --n-neighbors"):
        study(source, n_neighbors=12)
    monkeypatch.setattr("dkmeans.studies.faces.study.MAX_FEATURES", 319)
    with pytest.raises(InputError, match=r"have 320 pixels; as rows of a fit they may have 319"):
        study(source)
    with pytest.raises(InputError, match="missing"):
        study(str(tmp_path / "none"))
    assert not (tmp_path / "out").exists()


def test_many_levels_and_color_images(tmp_path, pixels):
    """More levels than a table lists, and fewer quantile bins than levels; color becomes gray."""
    dark = np.where(pixels[:6] < 120, 0, pixels[:6])
    folder = write(tmp_path / "dark", {f"{n}.png": np.dstack([image] * 3) for n, image in enumerate(dark)})
    options = {"levels": 40, "gallery": "2x3", "n_clusters": 2, "n_neighbors": 3}
    faces(FacesConfig(out=str(tmp_path / "out"), source=folder, **options), SYNC)
    facts = json.loads((tmp_path / "out" / "numbers.json").read_text())
    assert facts["bytes"]["bits"] == 6
    assert facts["levels"]["quantile"]["n_levels"] < 40 == facts["levels"]["uniform"]["n_levels"]
    assert not (tmp_path / "out" / "tables" / "levels.csv").exists()
    assert facts["gallery"]["inertia"] == 0  # six images, six centers


def test_the_command_on_the_faces_of_scikit_image(tmp_path, dkmeans):
    options = ["--levels", "8", "--gallery", "2x2", "--k", "2", "--n-neighbors", "3", "--scheduler", "sync"]
    code, out, _ = dkmeans("faces", tmp_path / "out", *options, "--json")
    assert code == 0
    assert json.loads(out)["page"] == str(tmp_path / "out" / "index.html")
    facts = json.loads((tmp_path / "out" / "numbers.json").read_text())
    assert {name: facts["images"][name] for name in ("n_images", "height", "width")} == {
        "n_images": 100,
        "height": 25,
        "width": 25,
    }
    with Image.open(tmp_path / "out" / "images" / "007.png") as image:
        np.testing.assert_allclose(np.asarray(image), data.lfw_subset()[7] * 255, atol=0.5)


def test_the_job_file():
    tables = tomllib.loads((Path(__file__).parents[2] / "jobs" / "studies" / "faces.toml").read_text())
    assert list(tables) == ["faces"]
    config = FacesConfig(**tables["faces"])
    assert (config.levels, config.gallery, config.n_clusters) == (8, (5, 8), (2, 5, 10, 20))
