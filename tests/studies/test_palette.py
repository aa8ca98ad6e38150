"""The study of palettes: its numbers by other means, and its page in a browser."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report.browser import check_page
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.cluster import KMeans

from dkmeans import ClusterConfig, PaletteConfig, QuantizeConfig, quantize
from dkmeans.clustering.elbow import find_elbow
from dkmeans.errors import InputError, UsageError
from dkmeans.studies.embedded import write_photos
from dkmeans.studies.palette.study import palette

pytestmark = pytest.mark.filterwarnings("ignore:not converged", "ignore:.*do not reach")
SYNC = ClusterConfig(scheduler="sync")
KS = [1, 2, 3, 5, 8]


@pytest.fixture(scope="module", params=["per-image", "shared"])
def out(request, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("palette") / "out"
    report = palette(PaletteConfig(out=str(folder), source=str(photos), k=KS, palette=request.param), SYNC)
    assert report.page == str(folder / "index.html")
    return folder


@pytest.fixture
def facts(out):
    return json.loads((out / "numbers.json").read_text())


def pixels_of(path):
    return np.asarray(Image.open(path).convert("RGB"))


def pairs(facts, photos, out, k):
    """Of each image its place, the original, and what is left of it."""
    for place, image in enumerate(facts["images"]):
        reduced = (out / f"colors-{k}" / image["name"]).with_suffix(".png")
        yield place, pixels_of(photos / image["name"]), pixels_of(reduced)


@pytest.mark.parametrize("k", KS)
def test_colors_and_errors_are_those_of_the_files(facts, photos, out, k):
    row = facts["by_k"][KS.index(k)]
    assert row["n_clusters"] == k
    for place, original, reduced in pairs(facts, photos, out, k):
        found = row["images"][place]
        n_colors = len(np.unique(reduced.reshape(-1, 3), axis=0))
        assert n_colors == found["n_colors"] <= k
        assert facts["images"][place]["n_colors"] == len(np.unique(original.reshape(-1, 3), axis=0))
        assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(original, reduced), abs=1e-6)
        assert found["stored_bytes"] == (
            (out / f"colors-{k}" / facts["images"][place]["name"]).with_suffix(".png").stat().st_size
        )
    assert row["stored_bytes"] == sum(image["stored_bytes"] for image in row["images"])


def test_inertia_is_that_of_scikit_learn_on_intensities(facts, photos, out):
    images = [original for _, original, _ in pairs(facts, photos, out, 3)]
    rows = [image.reshape(-1, 3) / 255 for image in images]
    groups = rows if facts["palette"] == "per-image" else [np.concatenate(rows)]
    for k in (1, 3):
        expected = sum(KMeans(k, n_init=10, random_state=0).fit(group).inertia_ for group in groups)
        found = facts["by_k"][KS.index(k)]["inertia"]
        assert found == pytest.approx(expected, rel=1e-6 if k == 1 else 5e-3)
        assert sum(image["inertia"] for image in facts["by_k"][KS.index(k)]["images"]) == pytest.approx(found)
    curve = [row["inertia"] for row in facts["by_k"]]
    assert sorted(curve, reverse=True) == curve
    assert facts["elbow"] == find_elbow(KS, curve)


def qualities(original, reduced):
    return {
        "min_psnr": peak_signal_noise_ratio(original, reduced),
        "min_ssim": structural_similarity(original, reduced, channel_axis=2),
    }


def test_the_fewest_colors_reach_a_goal_and_one_color_fewer_does_not(facts, photos, out, tmp_path):
    """Searched for palettes per image; with one palette for all the smallest number that was measured."""
    assert facts["searched"] == (facts["palette"] == "per-image")
    assert [goal["words"] for goal in facts["goals"]] == ["30 dB", "35 dB", "40 dB", "SSIM 0.95"]
    for goal in facts["goals"]:
        name = "min_psnr" if goal["min_psnr"] else "min_ssim"
        asked = goal[name]
        assert goal["option"] == f"--{name.replace('_', '-')} {asked:g}"
        for place, image in enumerate(facts["images"]):
            original, found = pixels_of(photos / image["name"]), goal["images"][place]["n_colors"]
            file = Path(image["name"]).with_suffix(".png")
            if facts["searched"]:
                reduced = pixels_of(out / f"{name[4:]}-{asked:g}" / file)
                assert found == len(np.unique(reduced.reshape(-1, 3), axis=0))
                assert qualities(original, reduced)[name] >= asked
                fewer = QuantizeConfig(
                    source=str(photos / image["name"]), destination=str(tmp_path / "f.png"), k=found - 1
                )
                quantize(fewer.model_copy(update={"overwrite": True}), SYNC)
                assert qualities(original, pixels_of(tmp_path / "f.png"))[name] < asked
            else:
                reached = [
                    k for k in KS if qualities(original, pixels_of(out / f"colors-{k}" / file))[name] >= asked
                ]
                assert found == (min(reached) if reached else None)
        counts = [image["n_colors"] for image in goal["images"]]
        assert goal["n_reached"] == len(counts) - counts.count(None)
        assert goal["n_colors"] == (None if None in counts else max(counts))


def test_the_advice_in_words(facts, out):
    text = re.sub(r"<[^>]+>", "", (out / "index.html").read_text())
    goal = facts["goals"][1]
    if facts["searched"]:
        assert f"(35 dB) they need {goal['least_colors']} to {goal['n_colors']} colors, depending" in text
        assert "dkmeans quantize SRC DST --min-psnr 35. " in text
        assert f"take --k {goal['n_colors']}." in text
    else:  # of at most 8 colors for all
        assert goal["n_colors"] is None
        assert "Even 8 colors in one palette for all do not reach 35 dB in every photo." in text
    rows = list(csv.DictReader((out / "tables" / "fewest.csv").read_text().splitlines()))
    for row, image in zip(rows, goal["images"], strict=True):
        assert row["35 dB"] == (str(image["n_colors"]) if image["n_colors"] else "over 8")


def test_an_image_that_cannot_reach_a_goal_says_so(tmp_path):
    """Noise in 256 colors stays below 30 dB."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(tmp_path / "in" / "noise.png")
    palette(PaletteConfig(out=str(tmp_path / "out"), source=str(tmp_path / "in"), k=[2, 256]), SYNC)
    facts = json.loads((tmp_path / "out" / "numbers.json").read_text())
    assert [goal["n_colors"] for goal in facts["goals"][:3]] == [None] * 3
    text = re.sub(r"<[^>]+>", "", (tmp_path / "out" / "index.html").read_text())
    assert "(35 dB) it needs more than 256 colors; to be hard to tell" in text


@pytest.mark.slow
def test_the_page_in_a_browser(browser, out):
    check_page(browser, out / "index.html", out / "numbers.json")


def test_one_shared_palette_has_no_more_colors_in_all(facts, photos, out):
    if facts["palette"] == "shared":
        every = [reduced.reshape(-1, 3) for _, _, reduced in pairs(facts, photos, out, 5)]
        assert len(np.unique(np.concatenate(every), axis=0)) <= 5


def test_it_is_resumed_and_not_written_twice(facts, photos, out):
    config = {"out": str(out), "source": str(photos), "k": KS, "palette": facts["palette"]}
    before = (out / "numbers.json").read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        palette(PaletteConfig(**config), SYNC)
    palette(PaletteConfig(**config, resume=True), SYNC)
    assert json.loads((out / "numbers.json").read_bytes())["by_k"] == json.loads(before)["by_k"]


def test_no_photos(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image in this folder"):
        palette(PaletteConfig(out=str(tmp_path / "out"), source=str(tmp_path / "empty")), SYNC)


def test_the_embedded_photos(tmp_path):
    write_photos(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
        "rocket.png",
    ]
