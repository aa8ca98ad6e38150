"""What the GPU benchmark does without a GPU: all of it, on kernels that are built for the host."""

from __future__ import annotations

import gzip
import importlib
import importlib.machinery
import json
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import bench_gpu
import numpy as np
import pytest
from emulation.host_cupy import on_device, raw
from emulation.machine import machine

from dkmeans import kernels
from dkmeans.kernels import exact, reference

SCRIPT = Path(bench_gpu.__file__)
LEFT_OUT = "dask distributed dask_ml zarr obstore pydantic torch scipy psutil threadpoolctl matplotlib jinja2"
MOST = {"bytes/s": 2e12, "fp32 op/s": 5e13, "fp16 op/s": 5e14}
TINY = [
    *("--n", "3000", "--k", "20", "--fit-k", "20", "--pixels", "5000", "--wide-n", "400", "--wide-k", "9"),
    *("--iterations", "3", "--rounds", "2"),
]
MNIST = {"blank": 0.419, "|x|²": 423_046, "4 dims": 0.765, "8 dims": 0.910, "12 dims": 0.957}
"""Of the 5x5 patches of the 60,000 training images: blank ones of all, and of the others the mean squared
norm and the share of the variance in the first principal components."""
KODAK = {"|x|²": 2_841_000, "4 dims": 0.903, "8 dims": 0.944, "12 dims": 0.959}
"""The same of the 8x8 patches of 24 photos, the Kodak set."""


@pytest.fixture(scope="module")
def images():
    return bench_gpu.digits(1024, 0)


@pytest.fixture(scope="module")
def rows(images):
    return bench_gpu.digit_patches(images[:20])


# Without a GPU, and without the libraries that a worker on a bare machine lacks


def test_alone_and_without_a_gpu_it_says_why_and_ends_with_5(tmp_path):
    """A copy of the file in an empty folder, as it is taken to a machine."""
    copy = tmp_path / "bench_gpu.py"
    copy.write_text(SCRIPT.read_text("utf-8"), "utf-8")
    lacking = f"sys.modules.update(dict.fromkeys({LEFT_OUT.split()}))"
    code = f"import runpy, sys; {lacking}; runpy.run_path({str(copy)!r}, run_name='__main__')"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 5
    (said,) = done.stderr.splitlines()
    assert said.startswith("bench_gpu: no usable GPU: ")
    assert not done.stdout


def test_the_defaults_are_all_that_is_asked_for():
    options = bench_gpu.parser().parse_args([])
    assert (options.n, options.k, options.pixels) == (20_074_704, [100, 1000, 10_000], 10**9)
    assert (options.parts, options.peers) == (list(bench_gpu.PARTS), list(bench_gpu.PEERS))


# Rows


def spread(rows):
    """The mean squared norm, and the share of the variance in the first principal components."""
    values = rows.astype(np.float64)
    variances = np.linalg.eigvalsh(np.cov(values.T))[::-1]
    shares = np.cumsum(variances) / variances.sum()
    squares = float(np.einsum("nd,nd->n", values, values).mean())
    return {"|x|²": squares, **{f"{dims} dims": float(shares[dims - 1]) for dims in (4, 8, 12)}}


def test_digits_have_patches_like_those_of_mnist(images):
    rows = bench_gpu.digit_patches(images)
    found = {"blank": 1 - len(rows) / (24 * 24 * len(images)), **spread(rows)}
    for name, value in MNIST.items():
        assert found[name] == pytest.approx(value, rel=0.05), name
    assert len(np.unique(rows, axis=0)) > 0.9 * len(rows)  # MNIST's: 0.89 of the first 6,000 images


def test_digits_depend_on_the_seed_alone(images):
    assert np.array_equal(bench_gpu.digits(150, 0), images[:150])
    assert not np.array_equal(bench_gpu.digits(20, 1), images[:20])


def test_there_are_digits_enough():
    assert len(bench_gpu.digit_rows(None, 100_000, 0)) == 100_000


def test_digit_patches_are_all_that_are_not_blank(images):
    expected = [
        image[top : top + 5, left : left + 5].ravel()
        for image in images[:3]
        for top in range(24)
        for left in range(24)
        if image[top : top + 5, left : left + 5].any()
    ]
    assert np.array_equal(bench_gpu.digit_patches(images[:3]), expected)


def test_photos_have_patches_like_those_of_photos():
    found = spread(bench_gpu.photo_patches(bench_gpu.photos(24, 256, 0), 40_000, 0))
    for name, value in KODAK.items():
        assert found[name] == pytest.approx(value, rel=0.2), name


def test_photo_patches_lie_at_different_places():
    images = np.zeros((2, 20, 30, 3), np.uint8)
    images[..., 0], images[..., 1] = np.ogrid[:20, :30]
    images[1, ..., 2] = 1
    patches = bench_gpu.photo_patches(images, 500, 0).reshape(500, 8, 8, 3)
    corners = patches[:, 0, 0].astype(int)
    assert len(np.unique(corners, axis=0)) == 500
    for (top, left, number), patch in zip(corners, patches, strict=True):
        assert np.array_equal(patch, images[number, top : top + 8, left : left + 8])
    with pytest.raises(SystemExit, match="have 598"):
        bench_gpu.photo_patches(images, 599, 0)


def test_seeds_are_distinct_rows(rows):
    centers = bench_gpu.seeds(rows, 50, 0)
    assert len(np.unique(centers, axis=0)) == 50
    assert {tuple(center) for center in centers} <= {tuple(row) for row in rows}
    with pytest.raises(SystemExit, match="1 distinct rows in 8, expected 2"):
        bench_gpu.seeds(np.ones((9, 3), np.uint8), 2, 0)


def test_idx_files_are_read_packed_or_not(tmp_path, images):
    data = b"\0\0\x08\x03" + np.array([3, 28, 28], ">u4").tobytes() + images[:3].tobytes()
    (tmp_path / "images").write_bytes(data)
    (tmp_path / "images.gz").write_bytes(gzip.compress(data))
    for name in ("images", "images.gz"):
        assert np.array_equal(bench_gpu.read_idx(str(tmp_path / name)), images[:3])
    (tmp_path / "labels").write_bytes(b"\0\0\x08\x01" + data[4:])
    with pytest.raises(SystemExit, match="not IDX of 8-bit images"):
        bench_gpu.read_idx(str(tmp_path / "labels"))


# Comparisons


def test_differences_name_the_first():
    found = {"counts": [1, 2, 3], "sums": [[1, 2], [3, 4]], "labels": [1], "moved": 7}
    right = {"counts": [1, 2, 3], "sums": [[1, 2], [0, 5]], "labels": [1, 2], "moved": 8}
    assert bench_gpu.differences(found, right) == [
        "sums: 2 of 4 differ, the first at (1, 0): found 3, expected 0",
        "labels: found shape (1,), expected (2,)",
        "moved: 1 of 1 differ, the first at (): found 7, expected 8",
    ]


@pytest.mark.parametrize("weighted", [False, True])
def test_what_a_block_tells_is_that_of_the_reference(rows, weighted):
    weights = np.arange(len(rows)) if weighted else None
    centers = bench_gpu.seeds(rows, 8, 0)
    told = bench_gpu.told(kernels.load(rows, "cpu", weights), centers)
    assert bench_gpu.differences(told, bench_gpu.told(bench_gpu.Plain(rows, weights), centers)) == []
    assert told["step 6: counts"].sum() == (weights.sum() if weighted else len(rows))
    assert bench_gpu.differences(bench_gpu.told(kernels.load(rows[1:], "cpu"), centers), told)


def test_the_later_steps_go_beyond_the_means(rows):
    """With the centers of the reference, stepped by hand."""
    centers = bench_gpu.seeds(rows, 8, 0)
    for _ in range(2):
        stats, _ = reference.lloyd_chunk(rows, centers)
        centers = exact.update_centers(stats, centers, rows.dtype)
    stats, _ = reference.lloyd_chunk(rows, centers)
    means = exact.update_centers(stats, centers, rows.dtype)
    beyond, _ = reference.lloyd_chunk(rows, exact.relax(centers, means, 1.9, rows.dtype))
    plain, _ = reference.lloyd_chunk(rows, means)
    told = bench_gpu.told(bench_gpu.Plain(rows), bench_gpu.seeds(rows, 8, 0))
    assert np.array_equal(told["step 3: sums"], stats.sums)
    assert np.array_equal(told["step 4: sums"], beyond.sums)
    assert not np.array_equal(plain.sums, beyond.sums)


def test_what_differs_ends_the_script_with_1(capsys):
    bench_gpu.stop_if([], "the CPU")
    with pytest.raises(SystemExit) as caught:
        bench_gpu.stop_if(["sums: wrong"], "the CPU")
    assert caught.value.code == 1
    assert capsys.readouterr().out == "equal to the CPU\ndiffers from the CPU:\nsums: wrong\n"


# All of it, on kernels that are built for the host


class Event:
    """Of a clock that goes a millisecond ahead whenever an event is recorded."""

    now = 0.0

    def record(self, stream=None):
        Event.now += 1
        self.at = Event.now + 1e3 * time.perf_counter()

    def synchronize(self):
        pass


def add_at(sums, labels, rows):
    given = [raw(array) for array in (sums, labels, rows)]
    machine.enqueue(lambda: np.add.at(*given))


@pytest.fixture
def gpu(emulated, monkeypatch):
    """The emulated GPU with what the benchmark asks of CuPy besides the kernels."""
    emulated.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    runtime = emulated.cuda.runtime
    runtime.deviceSynchronize = emulated.machine.finish
    runtime.driverGetVersion = lambda: 12080
    runtime.getDeviceProperties = lambda number: {"name": b"a GPU", "totalGlobalMem": 80 << 30}
    emulated.cuda.Event, emulated.cuda.get_elapsed_time = Event, lambda begin, end: end.at - begin.at
    emulated.cuda.set_allocator = lambda allocator: None
    emulated.get_default_memory_pool = lambda: type(
        "Pool", (), {"free_bytes": lambda self: 0, "free_all_blocks": lambda self: None}
    )()
    emulated.bincount = on_device(np.bincount)
    emulated.add = SimpleNamespace(at=add_at)
    monkeypatch.setattr(bench_gpu, "ceilings", lambda: MOST)
    monkeypatch.setattr(bench_gpu, "_PHOTO_SIDE", 64)
    return emulated


@pytest.mark.slow
def test_small_runs_every_kernel(gpu, monkeypatch, capsys):
    """All that lie in the sources, by the names that they are looked up by."""
    asked = set()
    get = gpu.RawModule.get_function
    monkeypatch.setattr(
        gpu.RawModule, "get_function", lambda self, name: asked.add(name) or get(self, name), raising=False
    )
    assert bench_gpu.main(["--small"]) == {}
    folder = Path(kernels.__file__).parent / "cuda"
    sources = "\n".join(path.read_text("utf-8") for path in folder.glob("*.cu"))
    written = set(re.findall(r"__global__ void (?:__launch_bounds__\([^()]*\) )?(\w+)\(", sources))
    assert {"search", "pack", "make_lists", "count_colors"} <= written
    assert asked == written
    said = capsys.readouterr().out.splitlines()
    assert len([line for line in said if "equal to the reference on 1,031 rows" in line]) == 6
    assert said[-1] == "equal to NumPy on 70,001 pixels"


def test_a_wrong_kernel_ends_it_with_1(gpu, monkeypatch, capsys):
    block = importlib.import_module("dkmeans.kernels.cuda").Block
    labels = block.labels
    monkeypatch.setattr(block, "labels", lambda self, centers: labels(self, centers) ^ 1)
    with pytest.raises(SystemExit) as caught:
        bench_gpu.main(["--small"])
    assert caught.value.code == 1
    assert "labels: 1,031 of 1,031 differ" in capsys.readouterr().out


class Failing(bench_gpu.Peer):
    module = "gzip"

    def __init__(self, rows, centers):
        raise MemoryError("too many rows")


@pytest.mark.slow
def test_one_call_does_it_all(gpu, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench_gpu, "CASES", bench_gpu.CASES[1:2])
    monkeypatch.setattr(
        bench_gpu, "PEERS", {"cupy": bench_gpu.CuPy, "flashlib": bench_gpu.Flashlib, "failing": Failing}
    )
    files = ["--json", str(tmp_path / "gpu.json"), "--page", str(tmp_path / "gpu.html")]
    report = bench_gpu.main([*TINY, *files])
    assert json.loads((tmp_path / "gpu.json").read_text())["targets"] == report["targets"]
    said = capsys.readouterr().out
    assert "not installed: flashlib" in said
    assert "failing left out at K = 20: MemoryError: too many rows" in said
    ours, cupy = report["patches"]["libraries"]
    assert (ours["library"], ours["row bytes"], len(ours["rounds"])) == ("dkmeans", 25, 2)
    assert (cupy["library"], cupy["row bytes"]) == ("cupy", 100)
    assert cupy["labels off"] < 1e-3  # near ties in float32
    assert [line["iteration"] for line in report["patches"]["iterations"]] == [1, 2, 3]
    kernels_ = {line["kernel"]: line for line in report["patches"]["kernels"]}
    assert kernels_["search"]["launches"] == 1
    assert set(report["slowest"]) <= kernels_.keys() - {"the rest"}
    assert {line["reached"] for line in report["targets"]} == {"not measured", "fewer rows"}
    assert [line["work"] for line in report["pixels"]["pixels"]] == [
        "counted",
        "to uint8",
        "to uint16",
        "to int32",
    ]
    assert report["fit"]["fits"][0]["converged"]
    assert page_of(tmp_path / "gpu.html").titles == [
        "Asked and measured",
        "Roofline",
        *bench_gpu.PARTS,
        "Columns",
    ]


def test_profile_takes_the_iterations_and_nothing_else(gpu, monkeypatch, capsys):
    block = importlib.import_module("dkmeans.kernels.cuda").Block
    asked, lloyd = [], block.lloyd
    monkeypatch.setattr(
        block, "lloyd", lambda self, *centers: asked.append(centers[0].shape) or lloyd(self, *centers)
    )
    assert bench_gpu.main(["--profile", *TINY]) == {}
    assert asked == [(20, 25)] * 3
    assert not capsys.readouterr().out


def test_the_fit_is_that_of_kmeans(gpu, rows):
    from dkmeans import KMeans

    found = bench_gpu.fit(rows, 30, 0)
    expected = KMeans(30, init=bench_gpu.seeds(rows, 30, 0), device="cpu").fit(rows)
    assert (found["inertia"], found["iterations"]) == (expected.inertia_, expected.n_iter_)


# Numbers


def test_time_is_between_two_waits(gpu):
    """Each wait lets the clock run; work on any stream is over at the second."""
    told = []
    gpu.cuda.runtime.deviceSynchronize = lambda: told.append("wait")
    record = Event.record
    Event.record = lambda self, stream=None: told.append("event") or record(self, stream)
    try:
        assert bench_gpu.timed(lambda: told.append("work") or 5) == (pytest.approx(1, abs=0.9), 5)
    finally:
        Event.record = record
    assert told == ["wait", "event", "work", "wait", "event"]


def test_floors_by_hand():
    found = bench_gpu.floors(20_000_000, 25, 1000, MOST)
    # 580 MB at 2 TB/s; 10^12 operations at 50 and at 500 T/s.
    assert found == pytest.approx({"bytes ms": 0.29, "fp32 ms": 20.0, "fp16 ms": 2.0})


def test_candidates_by_hand():
    """Centers at 0, 10 and 40, and the pivot of both rows at 0: limits of 3 + 3 and of 8 + 2."""
    centers = np.array([[0.0], [10.0], [40.0]], np.float32)
    previous = np.array([[0.0], [200.0], [250.0]], np.float32)
    rows = np.array([[3], [8]], np.uint8)
    assert bench_gpu.candidates(rows, previous, centers) == (1 + 2) / 2


def test_rates_by_hand():
    found = bench_gpu.pixel_rate(10**9, 5, 10.0, MOST)
    assert found == pytest.approx({"ms": 10, "Gpx/s": 100, "GB/s": 500, "of a copy": 0.25})


def test_the_first_iteration_is_not_in_the_mean():
    assert (
        bench_gpu.mean_ms([{"iteration": 1, "ms": 9}, {"iteration": 2, "ms": 1}, {"iteration": 3, "ms": 2}])
        == 1.5
    )


def test_an_iteration_of_a_peer_is_the_slope(gpu, monkeypatch):
    class Slow(bench_gpu.Peer):
        def fit(self, n_iter):
            Event.now += 100 + 7 * n_iter

    assert Slow().ms() == pytest.approx(7, abs=0.9)


def test_a_table_is_printed_with_aligned_columns(capsys):
    lines = [{"K": 1000, "other": 1}, {"K": 10, "library": "cupy", "x ours": 2.25}]
    assert bench_gpu.show("libraries", lines) is lines
    assert capsys.readouterr().out.splitlines() == [
        "",
        "    K  library  ms  x ours  labels off",
        "1,000        -   -       -           -",
        "   10     cupy   -    2.25           -",
    ]


def made_up():
    """A report of numbers that could be."""
    ours, flash = {100: 1.5, 1000: 3.5, 10_000: 16.0}, {100: 4.0, 1000: 9.0, 10_000: 70.0}
    libraries, floors = [], []
    for k in ours:
        for library, ms, held in (
            *(("dkmeans", ours[k], 25), ("flashlib", flash[k], 64), ("flash-kmeans", 1.2 * flash[k], 64)),
            *(("cuvs", 3 * flash[k], 100), ("cupy", 20 * flash[k], 100), ("torch", 30 * flash[k], 100)),
        ):
            line = {"K": k, "library": library, "ms": ms, "x ours": ms / ours[k], "row bytes": held}
            libraries.append({**line, "labels off": None if held == 25 else 1e-4})
        floors.append(
            {"K": k, "ms": ours[k], **bench_gpu.floors(20_074_704, 25, k, MOST), "candidates": k**0.6}
        )
    kernel_lines = [
        {"K": k, "kernel": name, "launches": 3, "ms": share * ours[k], "share": share}
        for k in ours
        for name, share in (("search", 0.7), ("make_lists", 0.2), ("the rest", 0.1))
    ]
    facts = {
        **{"command": "bench_gpu.py", "device": "a GPU of <numbers>", "memory GiB": 80, "cuda": "12.8"},
        **{"cpu": "a CPU", "cores": 16, "load": 0.1, "versions": {"cupy": "cupy 14"}, "missing": ["torch"]},
        **{"data": None, "rows": 20_074_704, "pixels": 10**9},
    }
    patches = {"rows": 20_074_704, "features": 25, "libraries": libraries, "floors": floors}
    counted = {"work": "counted", "pixels": 10**9, **bench_gpu.pixel_rate(10**9, 3, 3.0, MOST)}
    fits = [
        {"K": 1000, "rows": 20_074_704, "iterations": 40, "seconds": seconds} for seconds in (2.0, 2.5, 9.0)
    ]
    report = {"facts": facts, "ceilings": MOST, "patches": {**patches, "kernels": kernel_lines}}
    report |= {"pixels": {"pixels": [counted]}, "fit": {"fits": fits}}
    return {**report, "targets": bench_gpu.verdicts(report), "slowest": bench_gpu.slowest(report)}


def test_what_was_asked_for_is_judged():
    report = made_up()
    found = {line["target"]: (line["measured"], line["reached"]) for line in report["targets"]}
    assert found == {
        "K = 100: ms": ("1.5", "yes"),
        "K = 1,000: ms": ("3.5", "yes"),
        "K = 10,000: ms": ("16", "no"),
        "K = 100: flashlib or flash-kmeans, x ours": ("2.67", "yes"),
        "K = 1,000: flashlib or flash-kmeans, x ours": ("2.57", "no"),
        "K = 10,000: flashlib or flash-kmeans, x ours": ("4.38", "no"),
        "pixels counted: of a copy": ("0.5", "yes"),
        "K = 1,000: seconds of the fit": ("2.5", "yes"),
    }
    assert report["slowest"] == ["search", "make_lists"]
    report["facts"]["rows"] = 20_000_000
    fewer = {line["target"]: line["reached"] for line in bench_gpu.verdicts(report)}
    assert {fewer.pop("pixels counted: of a copy"), *fewer.values()} == {"yes", "fewer rows"}
    nothing = {"facts": report["facts"]}
    assert {line["reached"] for line in bench_gpu.verdicts(nothing)} == {"not measured"}


# The page


class Page(HTMLParser):
    """What a page has: titles, elements with their attributes, and whether they are closed in turn."""

    EMPTY = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.titles, self.elements, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


def page_of(path):
    text = path.read_text("utf-8")
    page = Page(text)
    assert not page.open
    assert "http" not in text  # nothing is loaded, nothing refers elsewhere
    assert not {"script", "link", "img"} & {tag for tag, _ in page.elements}
    return page


def test_the_page_has_all_tables_and_points_where_they_belong(tmp_path):
    report = made_up()
    (tmp_path / "gpu.html").write_text(bench_gpu.page(report), "utf-8")
    page = page_of(tmp_path / "gpu.html")
    assert page.titles == ["Asked and measured", "Roofline", "patches", "pixels", "fit", "Columns"]
    marks = [
        attrs for tag, attrs in page.elements if tag == "path" and "translate" in attrs.get("transform", "")
    ]
    assert len(marks) == 3 * 6 + 3 + 1 + 7  # libraries, pairs that are left, pixels; the key
    assert "a GPU of &lt;numbers&gt;" in bench_gpu.page(report)


def test_a_page_of_a_fit_alone_has_empty_axes(tmp_path):
    report = {**made_up(), "patches": None, "pixels": None}
    only = {name: value for name, value in report.items() if value is not None}
    (tmp_path / "gpu.html").write_text(bench_gpu.page(only), "utf-8")
    assert page_of(tmp_path / "gpu.html").titles == ["Asked and measured", "Roofline", "fit", "Columns"]


def test_points_by_hand():
    first, left = [each for each in bench_gpu.points(made_up()) if each["name"] == "K = 1,000, d = 25"][:2]
    operations = 2 * 20_074_704 * 25 * 1000
    assert (first["x"], first["y"]) == pytest.approx((operations / (20_074_704 * 29), operations / 3.5e-3))
    assert left["needed"]
    assert left["y"] / first["y"] == pytest.approx(1000**0.6 / 1000)


def test_axes_are_logarithmic():
    axes = bench_gpu.Axes([0.5, 90], [2e11, 5e13])
    left, top, right, bottom = bench_gpu._FRAME
    assert axes.at(0.1, 1e11) == pytest.approx((left, bottom))
    assert axes.at(100, 1e14) == pytest.approx((right, top))
    assert axes.at(10, 1e12) == pytest.approx((left + (right - left) * 2 / 3, bottom - (bottom - top) / 3))
