"""Each benchmark runs once, tiny, to keep it alive; no time decides anything here."""

from __future__ import annotations

import contextlib
import json

import bench_billion
import bench_checksums
import bench_floats
import bench_folder
import bench_lloyd
import bench_overhead
import bench_perceptual
import bench_pipeline
import bench_pixels
import bench_png
import bench_quality
import bench_relaxation
import bench_scaling
import bench_seeds
import bench_start
import bench_starts
import bench_storage
import harness
import numpy as np
import peers
import pytest
from drawn import draw_all
from PIL import Image

TINY = ["--n", "2000", "--k", "8", "--rounds", "1"]
DEV = "scikit-learn,dask-ml"
"""Peers that are installed wherever dkmeans is."""


@pytest.fixture
def here(monkeypatch):
    """Make a script measure in this process: starting one takes longer than all it does."""

    def measure_here(script):
        monkeypatch.setattr(harness, "in_child", lambda _, inner_threads, **given: script.child(**given))

    return measure_here


@pytest.fixture
def some_rows():
    """A hundred random rows, and each of them again."""
    rows = np.random.default_rng(0).integers(0, 256, (100, 6), np.uint8)
    return np.concatenate([rows, rows])


def check_inertia(lines):
    found = [line["inertia"] for line in lines]
    np.testing.assert_allclose(found, found[0], rtol=1e-4)


@pytest.mark.slow
def test_bench_pipeline(photos):
    reports = bench_pipeline.main([str(photos), "--k", "8", "--max-iter", "2", "--patch", "6"])
    assert reports["ingest"]["n_images"] == 5
    assert reports["fit"]["n_iter"] == 2
    assert reports["compare"]["largest_difference"] <= 0.5 + 1e-9
    assert min(reports[stage]["peak_mib"] for stage in ("ingest", "fit", "reconstruct")) > 50


@pytest.mark.slow
def test_bench_lloyd(photos, tmp_path, capsys):
    path = tmp_path / "lloyd.json"
    report = bench_lloyd.main(["--data", str(photos), "--peers", DEV, "--json", str(path), *TINY])
    lines = report["table"]
    assert [line["library"] for line in lines] == ["dkmeans", "scikit-learn", "dask-ml"]
    check_inertia(lines)
    assert min(line["peak MiB"] for line in lines) > 50
    assert all(max(one["threads"].values()) <= 2 for rounds in report["rounds"].values() for one in rounds)
    assert json.loads(path.read_text())["table"] == lines
    printed = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in printed[-4:]] == ["library", "dkmeans", "scikit-learn", "dask-ml"]


def test_bench_floats(here, tmp_path):
    path = tmp_path / "floats.json"
    shapes = ["--n", "600", "--features", "2,5", "--clusters", "3,4", "--iterations", "3"]
    here(bench_floats)
    report = bench_floats.main([*shapes, "--rounds", "1", "--json", str(path)])
    assert [line["shape"] for line in report["table"][::4]] == ["600 x 2, K = 3", "600 x 5, K = 3"]
    assert [line["dtype"] for line in report["table"][:4]] == ["float32", "float32", "float64", "float64"]
    for line in report["table"]:
        assert line["iterations"] == "3/3"
        assert line["inertia x"] == pytest.approx(1, rel=1e-4)
    assert json.loads(path.read_text())["table"] == report["table"]


def test_bench_quality(photos, here, capsys):
    here(bench_quality)
    names = "scikit-learn,mini-batch"
    options = ["--data", str(photos), "--peers", names, "--iterations", "25", *TINY]
    lines = bench_quality.main(options)["table"]
    assert [line["library"] for line in lines] == ["dkmeans", *names.split(",")]
    assert min(line["at last"] for line in lines) == 1
    assert all(line["at seeds"] >= line["after 20"] >= line["at last"] for line in lines[:2])
    assert "dkmeans seeds in" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("options", [["--patch", "6", "--n", "3000", "--k", "40"], ["--colors", "--k", "12"]])
def test_bench_relaxation(photos, options):
    options = ["--data", str(photos), "--rounds", "2", "--iterations", "25", *options]
    lines = bench_relaxation.main(options)["table"]
    assert [line["steps"] for line in lines[::5]] == ["plain", "relaxed 1.95"]
    assert lines[0]["end"] == 1
    assert all(0 < line["iterations"] <= 25 for line in lines)
    assert not any(line["rises"] for line in lines)
    assert lines[-1]["steps"] == "default"


def test_bench_starts(monkeypatch, capsys):
    few = [*bench_starts.tables(None, 0)][:1]
    monkeypatch.setattr(bench_starts, "tables", lambda *_: few)
    (line,) = bench_starts.main(["--rounds", "2"])["table"]
    fits = [line[name] for name in bench_starts._FITS]
    assert min(fit["median"] for fit in fits) == pytest.approx(1, abs=1e-3)
    assert all(1 <= fit["median"] <= fit["worst"] for fit in fits)
    printed = capsys.readouterr().out.splitlines()
    assert [row.count("|") for row in printed[-3:]] == [7, 7, 7]


def test_patches_of_bench_starts():
    images = np.zeros((2, 7, 7), np.uint8)
    images[1, 3, 3] = 9
    found = bench_starts.patches(images, 0)
    assert found.shape == (20_000, 25)
    assert (found.sum(axis=1) == 9).all()
    assert len(np.unique(found, axis=0)) == 9  # all that hold that pixel


def test_bench_seeds(photos, here, capsys):
    here(bench_seeds)
    report = bench_seeds.main(["--data", str(photos), *TINY])
    names = ["k-means||", "k-means||-cached", "k-means++", "random", "scikit-learn"]
    assert [line["seeds"] for line in report["table"]] == names
    assert report["table"][0]["after 20"] == 1
    parts = [line["part"] for line in report["parts"] if line["seeds"] == "k-means||"]
    assert parts[1:] == ["reading", "drawing", "weighing", "choosing", "moving"]
    assert "scikit-learn" in capsys.readouterr().out


@pytest.mark.slow
def test_bench_pixels(photos, here):
    here(bench_pixels)
    options = ["--data", str(photos), "--k", "8", "--double", "--max-iter", "5", "--tol", "0"]
    lines = bench_pixels.main(options)["table"]
    assert [line["library"] for line in lines] == ["dkmeans", "scikit-learn", "dkmeans, twice the pixels"]
    assert [line["iterations"] for line in lines] == [5, 5, 5]
    assert lines[2]["pixels"] == 2 * lines[0]["pixels"]
    check_inertia(lines[:2])


def test_bench_png(photos, capsys):
    lines = bench_png.main(["--data", str(photos), "--colors", "8", "--efforts", "0,4"])["table"]
    fast, ours = (line for line in lines if line["method"].startswith("dkmeans"))
    assert ours["bytes"] < fast["bytes"]
    assert ours["psnr"] == fast["psnr"] > 20
    assert len(lines) == 4 or "no pngquant on PATH" in capsys.readouterr().out


@pytest.mark.slow
def test_bench_start(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / f"{name}.png")
    large = ["--large", str(tmp_path / "a.png")]
    lines = bench_start.main(["--data", str(tmp_path), "--k", "8", "--rounds", "1", *large])["table"]
    ours = [line for line in lines if line["command"] == "dkmeans"]
    assert [line["work"] for line in ours] == ["one photo", "2 photos", "24 megapixels"]
    assert all(line["runs"] == 1 and line["seconds"] > 0 and line["peak MiB"] > 20 for line in ours)
    assert len(lines) > 3 or "no pngquant on PATH" in capsys.readouterr().out


def test_bench_overhead(photos):
    lines = bench_overhead.main(["--data", str(photos), "--blocks", "4", *TINY])["table"]
    assert len({line["inertia"] for line in lines}) == 1
    assert [line["loop"] for line in lines] == ["threads", "Dask threads", "Dask worker"]


def test_a_child_that_fails_says_why(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit('no such thing')")
    assert harness.in_child(str(script), 1) == {"failed": "no such thing"}


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(harness, "version", lambda package: None if package == "faiss-cpu" else "1")
    assert harness.who_comes(["faiss", "dask-ml"], peers.PEERS) == (["dkmeans", "dask-ml"], ["faiss-cpu"])


def test_rows_of_a_file(tmp_path, some_rows):
    np.save(tmp_path / "rows.npy", some_rows)
    drawn = peers.draw_rows(str(tmp_path / "rows.npy"), "gray", 5, 30, 0)
    assert drawn.shape == (30, 6)
    assert len(peers.draw_rows(str(tmp_path / "rows.npy"), "gray", 5, 0, 0)) == len(some_rows)


def test_first_centers_lie_nearest_to_their_own_rows(some_rows):
    centers = peers.first_centers(some_rows, 20, 0).astype(float)
    own = np.rint(centers)
    assert len(np.unique(own, axis=0)) == 20
    assert np.linalg.norm(centers - own, axis=1).max() < 0.3


@pytest.mark.slow
def test_bench_billion(monkeypatch, s3, s3_url):
    monkeypatch.setattr(bench_billion, "server", lambda: contextlib.nullcontext(s3))
    found = bench_billion.main(["--photos", "2", "--megapixels", "0.02", "--k", "4"])["table"]
    assert [line["work"] for line in found[1:]] == ["ingest", "fit", "compress", "quantize"]
    assert all(line["seconds"] > 0 for line in found)
    assert all(line["MiB"] > 50 for line in found[1:])


@pytest.mark.slow
def test_bench_days(monkeypatch, s3, s3_url):
    monkeypatch.setattr(bench_billion, "server", lambda: contextlib.nullcontext(s3))
    found = bench_billion.main(["--day", "--photos", "3", "--megapixels", "0.02", "--k", "4"])["table"]
    assert [line["work"] for line in found] == ["all images", "nothing new", "1 new of 3"]
    assert found[1]["beyond the start"] == found[1]["share"] == 0
    assert found[0]["share"] == 1


@pytest.mark.slow
def test_bench_scaling():
    report = bench_scaling.main(["--workers", "2", "27", "--clusters", "4", "--iterations", "3"])
    assert [line["workers"] for line in report["table"]] == [2, 27]
    assert all(line["ms/iteration"] > 0 for line in report["table"])
    assert all(line["ms by tasks"] > 0 for line in report["table"])


def test_bench_storage(monkeypatch, s3, s3_url):
    monkeypatch.setattr(bench_storage, "server", lambda: contextlib.nullcontext(s3))
    images = bench_storage.main(["--objects", "30", "--rounds", "1"])["table"]
    assert [line["loop"] for line in images] == ["bare loop", "ingest"]
    arrays = bench_storage.main(["--arrays", "--mib", "2", "--chunk", "0.25", "1", "--shard", "1"])["table"]
    assert len(arrays) == 4
    assert all(line["read MiB/s"] > 0 for line in arrays)


def test_bench_checksums(photos, capsys):
    lines = bench_checksums.main(["--data", str(photos), "--rounds", "1", "--k", "8"])
    assert [line["what"] for line in lines] == ["ingest", "3 streamed steps"]
    assert capsys.readouterr().out.count("cpu_ratio") == 2
    assert all(line["cpu_with"] > 0 for line in lines)


def test_perceptual(monkeypatch, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    drawn = np.insert(image, 3, np.arange(30) * 8, axis=2)
    monkeypatch.setattr(bench_perceptual, "draw_all", lambda: {"drawn": drawn})
    monkeypatch.setattr(bench_perceptual, "quantizers", lambda: {"rgb": bench_perceptual.ours("rgb")})
    Image.fromarray(image).save(tmp_path / "a.png")
    for options in (["--data", str(tmp_path)], ["--alpha"]):
        (row,) = bench_perceptual.main([*options, "--k", "8"])
        assert row["by"] == "rgb"
        assert 0 < row["ciede2000"] < 30
    assert "better than" in capsys.readouterr().out
    alpha = [picture[..., 3] for picture in draw_all().values()]
    assert len(alpha) == 20
    assert all(0 in each and each.max() > 200 and len(np.unique(each)) > 9 for each in alpha)


@pytest.mark.slow
def test_folder(capsys):
    bench_folder.main(["--files", "22", "--odd", "2", "--changed", "3", "--scheduler", "sync"])
    first, second = [line for line in capsys.readouterr().out.splitlines() if "n_images" in line]
    assert "n_images 20, n_kept 0," in first
    assert "n_images 20, n_kept 17," in second
    assert first.count("n_skipped 2") == second.count("n_skipped 2") == 1
