"""The study of patches: its numbers by other means, and its page in a browser."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from report.browser import check_page
from skimage.metrics import peak_signal_noise_ratio
from skimage.transform import resize
from sklearn.datasets import load_digits
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d
from sklearn.metrics import mean_squared_error, pairwise_distances

from dkmeans import ClusterConfig, DictionaryConfig, open_dataset, open_sweep
from dkmeans.artefacts.codebook import Codebook
from dkmeans.errors import OutputExistsError
from dkmeans.storage.store import Store
from dkmeans.studies.dictionary import study
from dkmeans.studies.dictionary.facts import _kinds
from dkmeans.studies.embedded import write_digits

pytestmark = pytest.mark.filterwarnings("ignore:not converged")
SYNC = ClusterConfig(scheduler="sync")
KS = [3, 6, 12, 25]


@pytest.fixture(scope="module")
def digits():
    """Digits of 8 x 8: 40 to learn from, two to try."""
    images = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    return images[:40], images[100:102]


@pytest.fixture(scope="module")
def out(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dictionary")
    for name, images in zip(("learn", "test"), digits, strict=True):
        np.save(folder / f"{name}.npy", images)
    config = DictionaryConfig(
        out=str(folder / "out"),
        source=str(folder / "learn.npy"),
        test=str(folder / "test.npy"),
        k=KS,
        patch=3,
        max_iter=15,
    )
    report = study.dictionary(config, SYNC)
    assert report.page == str(folder / "out" / "index.html")
    return folder / "out"


@pytest.fixture(scope="module")
def facts(out):
    return json.loads((out / "numbers.json").read_text())


@pytest.mark.parametrize("place", range(len(KS)))
def test_errors_and_coverage_are_those_of_all_patches(out, facts, place):
    rows = open_dataset(str(out / "dataset.zarr")).patches[:].astype(float)
    book = open_sweep(str(out / "sweep")).codebook(KS[place])
    distances = pairwise_distances(rows, book.centers.astype(float))
    nearest = book.centers[distances.argmin(axis=1)]
    found = facts["by_k"][place]
    assert found["n_clusters"] == KS[place]
    assert found["mse"] == pytest.approx(mean_squared_error(rows, nearest), rel=1e-6)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(rows, nearest, data_range=255), rel=1e-6)
    assert found["rmse"] == pytest.approx(np.sqrt(mean_squared_error(rows, nearest)), rel=1e-6)
    rms = distances.min(axis=1) / 3  # of 9 values
    for bound, share in found["coverage"].items():
        assert share == pytest.approx(np.mean(rms <= int(bound)), abs=1e-9)
    between = pairwise_distances(book.centers.astype(float)) / 3
    np.fill_diagonal(between, np.inf)
    assert found["median_gap"] == pytest.approx(np.median(between.min(axis=1)), rel=1e-5)


@pytest.mark.parametrize("place", range(len(KS)))
@pytest.mark.parametrize("which", [0, 1])
def test_an_image_is_put_together_as_scikit_learn_would(digits, out, facts, place, which):
    image = digits[which][0]
    book = open_sweep(str(out / "sweep")).codebook(KS[place])
    patches = extract_patches_2d(image, (3, 3)).reshape(-1, 9).astype(float)
    kept = patches.sum(axis=1) > 0
    codes = pairwise_distances(patches, book.centers.astype(float)).argmin(axis=1)
    values = np.where(kept[:, np.newaxis], book.centers[codes], 0).reshape(-1, 3, 3)
    covered = reconstruct_from_patches_2d(np.ones((len(kept), 3, 3)) * kept[:, None, None], (8, 8))
    whole = reconstruct_from_patches_2d(values, (8, 8)) / np.where(covered, covered, 1)
    found = facts["by_k"][place]["tried"][which]
    expected = peak_signal_noise_ratio(image, np.rint(whole).astype(np.uint8), data_range=255)
    assert found["psnr"] == pytest.approx(expected, abs=1e-9)
    times = np.sort(np.unique(codes[kept], return_counts=True)[1])[::-1]
    assert (found["n_patches"], found["n_codes"]) == (kept.sum(), len(times))
    assert found["top_share"] == pytest.approx(times[:5].sum() / kept.sum())


def test_directions_and_ink_of_known_centers(out):
    """Ramps to the right, down, and up left, and one even patch."""
    down, across = np.mgrid[0:3, 0:3]
    ramps = [across, down, 4 - down - across, np.full((3, 3), 2)]
    centers = np.stack([100 * ramp / 4 for ramp in ramps]).reshape(4, 9).astype(np.float32)
    book = Codebook(Store(""), {}, centers, np.ones(4, np.int64), np.zeros((0, 4)))
    found = _kinds(book, open_dataset(str(out / "dataset.zarr")))
    turned = {name: share for name, share in found["directions"].items() if share}
    assert turned == {"right": 0.25, "down": 0.25, "up left": 0.25}
    assert found["flat"] == 0.25
    # means 25, 25, 50, 50 of 255: the first two of five parts of the range
    assert found["ink"] == [1.0, 0, 0, 0, 0]
    brighter = Codebook(Store(""), {}, centers * 2.5, book.counts, book.history)
    assert _kinds(brighter, open_dataset(str(out / "dataset.zarr")))["ink"] == [
        0,
        0.5,
        0.5,
        0,
        0,
    ]


@pytest.mark.slow
def test_the_page_in_a_browser(browser, out):
    check_page(browser, out / "index.html", out / "numbers.json")


def test_the_page_answers_every_question(out, facts):
    text = (out / "index.html").read_text()
    for title in (
        "How many clusters?",
        "How well does a center stand for a patch?",
        "What do the centers look like?",
        "What is one image made of?",
        "How many clusters cover the space of patches?",
        "What are the clusters?",
    ):
        assert text.count(f">{title}</h2>") == 1
    covered = [row["n_clusters"] for row in facts["by_k"] if row["coverage"]["16"] >= 0.9]
    assert facts["enough"] == (facts["by_k"][KS.index(covered[0])] if covered else None)
    assert facts["n_groups"] == open_sweep(str(out / "sweep")).n_groups
    words = f"A dictionary of {covered[0]} brings" if covered else "Even a dictionary of 25 brings no more"
    assert words in re.sub(r"<[^>]+>", "", text)
    elbow = open_sweep(str(out / "sweep")).elbow
    assert facts["elbow"] == (None if elbow is None else facts["by_k"][KS.index(elbow)])
    assert sorted(path.name for path in (out / "tables").iterdir()) == [
        "by_k.csv",
        "coverage.csv",
        "rebuilt.csv",
    ]


def test_it_is_resumed_and_not_written_twice(out):
    source = out.parent / "learn.npy"
    config = {"out": str(out), "source": str(source), "test": str(out.parent / "test.npy"), "k": KS}
    config |= {"patch": 3, "max_iter": 15}
    before = (out / "numbers.json").read_bytes()
    with pytest.raises(OutputExistsError):
        study.dictionary(DictionaryConfig(**config), SYNC)
    study.dictionary(DictionaryConfig(**config, resume=True), SYNC)
    assert (out / "numbers.json").read_bytes() == before


def test_the_embedded_digits(tmp_path):
    learned, tried = (np.load(url) for url in write_digits(str(tmp_path)))
    assert (len(learned), len(tried)) == (1618, 179)
    times = [(tmp_path / name).stat().st_mtime_ns for name in ("learn.npy", "test.npy")]
    write_digits(str(tmp_path))  # by a study that is resumed, which takes them for the same
    assert [(tmp_path / name).stat().st_mtime_ns for name in ("learn.npy", "test.npy")] == times
    small = load_digits().images[[0, 1700]]
    assert learned.shape[1:] == tried.shape[1:] == (28, 28)
    for large, digit in zip((learned[0], tried[1700 - 1618]), small, strict=True):
        again = resize(large, (8, 8), anti_aliasing=True)
        assert np.corrcoef(again.ravel(), digit.ravel())[0, 1] > 0.95
