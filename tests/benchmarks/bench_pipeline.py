"""Seconds and memory of ingest, fit and reconstruct on a source of images, and PSNR beside scikit-learn's.

    python tests/benchmarks/bench_pipeline.py SOURCE --color gray --patch 5 --k 100 --max-iter 10

Each stage runs as the command that a user types; its memory is the largest sum of the resident sizes of the
process and all its children, sampled every 50 ms. Whole commands are timed: start, imports, local cluster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from skimage.metrics import peak_signal_noise_ratio
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d
from sklearn.metrics import pairwise_distances_argmin

from dkmeans import open_codebook, open_coded, open_dataset


def resident(process: psutil.Process) -> int:
    """Bytes that a process and its children hold."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def run(*arguments: str) -> dict:
    """One dkmeans command: its JSON report, wall seconds and peak memory in MiB."""
    command = [sys.executable, "-m", "dkmeans", *arguments, "--json", "--quiet"]
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        process = psutil.Process(job.pid)
        while job.poll() is None:
            try:
                peak = max(peak, resident(process))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
        out, _ = job.communicate()
    if job.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {job.returncode}")
    return {**json.loads(out), "wall_seconds": time.perf_counter() - began, "peak_mib": peak / 2**20}


def scikit_learns_image(image: np.ndarray, centers: np.ndarray, patch: tuple[int, int]) -> np.ndarray:
    """The image from the same centers by scikit-learn's functions, blank patches left out as dkmeans does."""
    patches = extract_patches_2d(image.astype(float), patch).reshape(-1, centers.shape[1])
    kept = patches.any(axis=1)
    nearest = np.zeros_like(patches)
    nearest[kept] = centers[pairwise_distances_argmin(patches[kept], centers)]
    shape = (-1, *patch, *image.shape[2:])
    mean = reconstruct_from_patches_2d(nearest.reshape(shape), image.shape)
    share = reconstruct_from_patches_2d((kept[:, None] * np.ones_like(patches)).reshape(shape), image.shape)
    return np.divide(mean, share, out=np.zeros_like(mean), where=share > 0)


def compare(folder: Path, n_images: int) -> dict:
    """Mean PSNR over the first images, ours and scikit-learn's, and the largest difference of a value."""
    dataset, result = open_dataset(str(folder / "dataset")), open_coded(str(folder / "result"))
    centers = open_codebook(str(folder / "codebook")).centers.astype(float)
    ours, theirs, largest = [], [], 0.0
    for position in range(min(n_images, dataset.n_images)):
        original, image = dataset.image(position), result.image(position)
        other = scikit_learns_image(original, centers, dataset.patch).reshape(image.shape)
        limit = int(np.iinfo(image.dtype).max)
        ours.append(peak_signal_noise_ratio(original, image, data_range=limit))
        theirs.append(peak_signal_noise_ratio(original.astype(float), other, data_range=limit))
        largest = max(largest, float(np.abs(other - image).max()))
    return {"psnr": np.mean(ours), "scikit_learn_psnr": np.mean(theirs), "largest_difference": largest}


def main(argv: list[str] | None = None) -> dict:
    """Run the pipeline in a folder of its own and print one line per stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--color", default="rgb")
    parser.add_argument("--patch", default="5")
    parser.add_argument("--k", default="100")
    parser.add_argument("--max-iter", default="10")
    parser.add_argument("--compare", type=int, default=300, help="images also rebuilt by scikit-learn")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset, codebook, result = (str(folder / part) for part in ("dataset", "codebook", "result"))
        ingest = ("ingest", options.source, dataset, "--color", options.color, "--patch", options.patch)
        fit = ("fit", dataset, codebook, "--on", "patches", "--k", options.k, "--max-iter", options.max_iter)
        stages = (ingest, fit, ("reconstruct", dataset, codebook, result))
        reports = {stage[0]: run(*stage) for stage in stages}
        reports["compare"] = compare(folder, options.compare)
    for stage in ("ingest", "fit", "reconstruct"):
        found = reports[stage]
        print(f"{stage:12} {found['wall_seconds']:7.1f} s  {found['peak_mib']:6.0f} MiB")
    print(f"images {reports['ingest']['n_images']}, patches {reports['ingest']['n_patches']}")
    print("mean PSNR {psnr:.4f} dB, scikit-learn's {scikit_learn_psnr:.4f} dB".format(**reports["compare"]))
    print("largest difference of a value {largest_difference:.6f}".format(**reports["compare"]))
    return reports


if __name__ == "__main__":
    main()
