"""What the GPU benchmark does without a GPU: its rows, comparisons and arithmetic, and what it says then."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import bench_gpu
import gpu_clock
import gpu_exact
import gpu_lloyd
import gpu_rows
import numpy as np
import pytest

from dkmeans import kernels
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.rows import load_given_rows
from dkmeans.compute.in_process import InProcess

SCRIPT = Path(bench_gpu.__file__)
LEFT_OUT = "dask distributed dask_ml zarr obstore pydantic torch"
MOST = {"bytes/s": 2e12, "fp32 op/s": 5e13, "fp16 op/s": 5e14}


@pytest.fixture(scope="module")
def images():
    return gpu_rows.digits(1024, 0)


@pytest.fixture(scope="module")
def rows(images):
    return gpu_rows.digit_patches(images[:20])


# Without a GPU, and without the libraries that a worker on a bare machine lacks


def test_without_a_gpu_it_says_why_and_ends_with_5():
    lacking = f"sys.modules.update(dict.fromkeys({LEFT_OUT.split()}))"
    code = f"import runpy, sys; {lacking}; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(SCRIPT.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 5
    (said,) = done.stderr.splitlines()
    assert said.startswith("bench_gpu: no usable GPU: ")
    assert not done.stdout


def test_the_defaults_are_all_patches_all_parts_and_all_peers():
    options = bench_gpu.parser().parse_args([])
    assert (options.n, options.k, options.pixels) == (20_074_704, [100, 1000, 10_000], 10**9)
    assert (options.parts, options.peers) == (list(bench_gpu.PARTS), ["cupy", "torch", "flash-kmeans"])


# Rows


def test_digits_have_patches_like_those_of_mnist(images):
    found = gpu_rows.digit_statistics(images)
    assert found.keys() == gpu_rows.MNIST.keys()
    for name, value in gpu_rows.MNIST.items():
        assert found[name] == pytest.approx(value, rel=0.05), name
    rows = gpu_rows.digit_patches(images)
    assert len(np.unique(rows, axis=0)) > 0.9 * len(rows)  # MNIST's: 0.89 of the first 6,000 images


def test_digits_depend_on_the_seed_alone(images):
    assert np.array_equal(gpu_rows.digits(150, 0), images[:150])
    assert not np.array_equal(gpu_rows.digits(20, 1), images[:20])


def test_there_are_digits_enough():
    assert len(gpu_rows.digit_patches(gpu_rows.digits_for(100_000, 0))) >= 100_000


def test_digit_patches_are_all_that_are_not_blank(images):
    expected = [
        image[top : top + 5, left : left + 5].ravel()
        for image in images[:3]
        for top in range(24)
        for left in range(24)
        if image[top : top + 5, left : left + 5].any()
    ]
    assert np.array_equal(gpu_rows.digit_patches(images[:3]), expected)


def test_photos_have_patches_like_those_of_photos():
    found = gpu_rows.statistics(gpu_rows.photo_patches(gpu_rows.photos(24, 256, 0), 40_000, 0))
    for name, value in gpu_rows.KODAK.items():
        assert found[name] == pytest.approx(value, rel=0.2), name


def test_photo_patches_lie_at_different_places():
    images = np.zeros((2, 20, 30, 3), np.uint8)
    images[..., 0], images[..., 1] = np.ogrid[:20, :30]
    images[1, ..., 2] = 1
    patches = gpu_rows.photo_patches(images, 500, 0).reshape(500, 8, 8, 3)
    corners = patches[:, 0, 0].astype(int)
    assert len(np.unique(corners, axis=0)) == 500
    for (top, left, number), patch in zip(corners, patches, strict=True):
        assert np.array_equal(patch, images[number, top : top + 8, left : left + 8])
    with pytest.raises(SystemExit, match="have 598"):
        gpu_rows.photo_patches(images, 599, 0)


def test_seeds_are_distinct_rows(rows):
    centers = gpu_rows.seeds(rows, 50, 0)
    assert len(np.unique(centers, axis=0)) == 50
    assert {tuple(center) for center in centers} <= {tuple(row) for row in rows}
    with pytest.raises(SystemExit, match="1 distinct rows in 8, expected 2"):
        gpu_rows.seeds(np.ones((9, 3), np.uint8), 2, 0)


def test_statistics_of_rows_on_the_axes():
    rows = np.zeros((26, 13), np.uint8)
    for axis in range(13):
        rows[2 * axis, axis] = 13 - axis
    found = gpu_rows.statistics(rows)
    values = rows.astype(float) - rows.mean(0)
    spread = np.linalg.svd(values, compute_uv=False) ** 2
    assert found["|x|²"] == pytest.approx(sum(side**2 for side in range(1, 14)) / 26)
    assert found["4 dims"] == pytest.approx(spread[:4].sum() / spread.sum())
    assert found["12 dims"] == pytest.approx(1 - spread[12] / spread.sum())


def test_idx_files_are_read_packed_or_not(tmp_path, images):
    data = b"\0\0\x08\x03" + np.array([3, 28, 28], ">u4").tobytes() + images[:3].tobytes()
    (tmp_path / "images").write_bytes(data)
    (tmp_path / "images.gz").write_bytes(gzip.compress(data))
    for name in ("images", "images.gz"):
        assert np.array_equal(gpu_rows.read_idx(str(tmp_path / name)), images[:3])
    (tmp_path / "labels").write_bytes(b"\0\0\x08\x01" + data[4:])
    with pytest.raises(SystemExit, match="not IDX of 8-bit images"):
        gpu_rows.read_idx(str(tmp_path / "labels"))


# Comparisons


def test_differences_name_the_first():
    assert gpu_exact.differences("counts", [1, 2, 3], [1, 2, 3]) == []
    assert gpu_exact.differences("sums", [[1, 2], [3, 4]], [[1, 2], [0, 5]]) == [
        "sums: 2 of 4 differ, the first at (1, 0): found 3, expected 0"
    ]
    assert gpu_exact.differences("labels", [1], [1, 2]) == ["labels: found shape (1,), expected (2,)"]
    assert gpu_exact.differences("moved", 7, 8) == [
        "moved: 1 of 1 differ, the first at (): found 7, expected 8"
    ]


def test_a_block_that_is_wrong_is_found(rows):
    class Wrong(gpu_exact.Reference):
        def labels(self, centers):
            return super().labels(centers) ^ 1

    centers, oracle = gpu_rows.seeds(rows, 8, 0), gpu_exact.Reference(rows)
    block = kernels.load(rows, "cpu")
    assert gpu_exact.compare(block, oracle, centers, rows.dtype) == []
    wrong = gpu_exact.compare(block, Wrong(rows), centers, rows.dtype)
    assert [line.split(" of ")[0] for line in wrong] == [
        f"iteration {number}: labels: {len(rows):,}" for number in (1, 2)
    ]
    assert len(gpu_exact.compare(kernels.load(rows[1:], "cpu"), oracle, centers, rows.dtype)) > 2


def test_what_differs_ends_the_script_with_1(capsys):
    said = bench_gpu.Said()
    said.stop_if([], "the CPU")
    with pytest.raises(SystemExit) as caught:
        said.stop_if(["sums: wrong"], "the CPU")
    assert caught.value.code == 1
    assert capsys.readouterr().out == "equal to the CPU\ndiffers from the CPU:\nsums: wrong\n"


def test_colors_are_numbers_with_red_highest():
    assert gpu_exact.color_numbers(np.array([[1, 2, 3], [255, 0, 0]], np.uint8)).tolist() == [
        0x010203,
        0xFF0000,
    ]


# Numbers of the tables


def test_floors_by_hand():
    found = gpu_clock.floors(20_000_000, 25, 1000, MOST)
    # 580 MB at 2 TB/s; 10^12 operations at 50 and at 500 T/s.
    assert found == pytest.approx({"bytes ms": 0.29, "fp32 ms": 20.0, "fp16 ms": 2.0})


def test_rates_by_hand():
    found = gpu_clock.rate(10**9, 5 * 10**9, 10.0, MOST)
    assert found == pytest.approx({"ms": 10, "Gpx/s": 100, "GB/s": 500, "of a copy": 0.25})


def test_the_first_iteration_is_not_in_the_mean():
    iterations = [
        {"K": k, "iteration": number, "ms": ms}
        for k, times in {100: (9, 1, 2, 3), 10: (5, 4, 4, 4)}.items()
        for number, ms in enumerate(times, start=1)
    ]
    line = gpu_lloyd.mean_line(iterations, 100, (20_000_000, 25), MOST)
    assert line["mean ms"] == 2
    assert line["x bytes"] == pytest.approx(2 / 0.29)


def test_peers_are_compared_with_our_whole_iteration():
    ours = gpu_lloyd.step_line("dkmeans", [{"ms": ms, "wall ms": 9} for ms in (3, 2, 50)], 10, None)
    rounds = [{"assign ms": 6, "update ms": 3, "ms": 9, "wall ms": 10}]
    first, second = gpu_lloyd.compared([ours, gpu_lloyd.step_line("cupy", rounds, 10, 0.5)])
    assert (first["ms"], first["x ours"]) == (3, 1)
    assert "assign x ours" not in first
    assert (second["x ours"], second["assign x ours"], second["labels off"]) == (3, 2, 0.5)


def test_a_table_is_printed_line_by_line(capsys):
    table = gpu_lloyd.Table({"K": ",", "assign x ours": ".1f"})
    table.add({"K": 1000, "other": 1})
    table.add({"K": 10, "assign x ours": 2.25})
    assert capsys.readouterr().out.splitlines() == [
        "           K  assign x ours",
        "       1,000              -",
        "          10            2.2",
    ]
    assert len(table.lines) == 2


# The loops, on the CPU


@pytest.fixture
def on_the_cpu(monkeypatch):
    """Blocks of the CPU in the place of the GPU's, and no time."""

    def timed(*steps):
        result = None
        for step in steps:
            result = step(result)
        return gpu_clock.Timed([1.0] * len(steps), 1.0, result)

    load = kernels.load
    monkeypatch.setattr(gpu_lloyd, "timed", timed)
    monkeypatch.setattr(kernels, "load", lambda rows, device, weights=None: load(rows, "cpu", weights))


@pytest.mark.usefixtures("on_the_cpu")
@pytest.mark.parametrize(("tol", "max_iter"), [(1e-4, 100), (0, 300), (0, 5)])
def test_the_fit_is_that_of_dkmeans(rows, tol, max_iter):
    found = gpu_lloyd.fit(rows, 30, max_iter, tol, 0)
    given = load_given_rows([rows], [len(rows)], rows.shape[1], rows.dtype, InProcess(1))
    centers = gpu_rows.seeds(rows, 30, 0)
    expected = lloyd(given, State(centers), max_iter=max_iter, tol=tol, on_iteration=lambda step: None)
    assert found["inertia"] == expected.inertia
    assert (found["iterations"], found["converged"]) == (len(expected.history), expected.converged)


@pytest.mark.usefixtures("on_the_cpu")
def test_iterations_are_those_of_dkmeans(rows, capsys):
    centers, table = gpu_rows.seeds(rows, 30, 0), gpu_lloyd.Table({"moved": ".2%"})
    begun = gpu_lloyd.iterate(kernels.load(rows, "gpu"), centers, 6, table)
    given = load_given_rows([rows], [len(rows)], rows.shape[1], rows.dtype, InProcess(1))
    states = []
    lloyd(given, State(centers), max_iter=6, tol=0, on_iteration=states.append)
    assert np.array_equal(begun, [state.previous for state in states])
    assert [line["moved"] * len(rows) for line in table.lines] == pytest.approx(
        [step.moved for step in states[-1].history]
    )


@pytest.mark.usefixtures("on_the_cpu")
def test_our_step_repeats_what_led_to_it():
    class Block:
        dtype, asked = np.dtype(np.uint8), []

        def lloyd(self, centers, previous=None):
            self.asked.append((centers[0, 0], None if previous is None else previous[0, 0]))
            return kernels.exact.ChunkStats(np.zeros((1, 1), np.int64), np.zeros(1, np.int64), 0, 0)

    begun = [np.full((1, 1), value, np.float32) for value in (1, 2, 3)]
    assert gpu_lloyd.our_step(Block(), begun) == {"ms": 2.0, "wall ms": 1.0}
    assert Block.asked == [(1, None), (2, 1), (3, 2)]
