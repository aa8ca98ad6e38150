"""A bucket of a billion pixels, from the images to a palette and back: seconds, bytes a second, and memory.

    python tests/benchmarks/bench_billion.py --photos 100 --megapixels 10
    python tests/benchmarks/bench_billion.py --small 100000 --side 100
    python tests/benchmarks/bench_billion.py --day

An S3 server of its own is started (Ceph's where it is installed) on the same machine, whose cores and disk it
takes a part of. JPEG files of photos of `--megapixels`, or small PNG files, are made there; then whole
commands run as processes, one after the other: `ingest`, `fit --on pixels`, `compress` and `quantize`. Beside
them a bare loop of as many threads gets and decodes each image and does nothing else.

With `--day` it is the job of every day instead (jobs/daily.toml, without its quantize): all images, then
once more with nothing new, which is what starting costs, then with one new image in a hundred.

`MiB` is the most that the largest process of a command held at a time, the server's not among them.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
import numpy as np
import psutil
from bench_storage import bare_loop, put_images, server
from PIL import Image, ImageFilter
from skimage import data

from dkmeans.storage.store import Store

_COLUMNS = {
    "work": "",
    "seconds": ".1f",
    "Mpixel/s": ".1f",
    "MiB read": ".0f",
    "MiB": ".0f",
    "beyond the loop": ".1f",
}
_DAYS = {"work": "", "seconds": ".1f", "MiB": ".0f", "beyond the start": ".1f", "share": ".3f"}
"""The share is that of what all images take beyond the start."""
_LOOK_SECONDS = 0.1


def put_photos(url: str, numbers: range, megapixels: float) -> None:
    """Put JPEG files of photos there, each of other parts of some, enlarged and with some grain."""
    sources = [
        Image.fromarray(photo) for photo in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())
    ]
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = height * 3 // 2

    def put(number: int) -> None:
        rng = np.random.default_rng(number)
        source = sources[number % len(sources)]
        left, top = rng.uniform(0, 0.4, 2) * source.size
        box = (left, top, left + 0.6 * source.size[0], top + 0.6 * source.size[1])
        large = source.resize((width, height), Image.Resampling.BICUBIC, box).filter(ImageFilter.SHARPEN)
        grain = rng.integers(-6, 7, (height, width, 1), dtype=np.int16)
        pixels = np.clip(np.asarray(large, np.int16) + grain, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        Store(url).put(f"{number // 10:03d}/{number:05d}.jpg", file.getvalue())

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(put, numbers))


@contextmanager
def watched() -> Iterator[list[float]]:
    """The most MiB that a process below this one holds meanwhile, but for those that are there before."""
    here = psutil.Process()
    before = {process.pid for process in here.children(recursive=True)}
    most, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            for process in here.children(recursive=True):
                if process.pid not in before:
                    try:
                        most[0] = max(most[0], process.memory_info().rss / 2**20)
                    except psutil.Error:
                        continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def run(*words: str, options: argparse.Namespace) -> dict[str, float]:
    """Run a command; its seconds and memory."""
    workers = ["--scheduler", "local", "--workers", str(options.threads), "--memory-limit", "2GiB"]
    command = [sys.executable, "-m", "dkmeans", *words, *workers]
    with watched() as most:
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    for line in done.stderr.splitlines():
        if " in " in line:  # of the stages, what each took
            print(f"{words[0]}: {line}", file=sys.stderr, flush=True)
    print(f"{words[0]}: {seconds:.1f} s, {most[0]:.0f} MiB", file=sys.stderr, flush=True)
    return {"seconds": seconds, "MiB": most[0]}


def size_of(url: str) -> int:
    """Bytes of all objects below a URL."""
    return sum(found.size for found in Store(url).list())


def measure(url: str, n_pixels: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run all commands, a row for each."""
    images, dataset, palette = f"{url}/images", f"{url}/dataset.zarr", f"{url}/palette.zarr"
    stored = size_of(images)
    loop = bare_loop(images, options.threads)
    print(f"bare loop: {loop:.1f} s", file=sys.stderr, flush=True)
    lines: list[dict[str, Any]] = [{"work": "bare read and decode", "seconds": loop, "read": stored}]
    k = str(options.k)
    for work, words in {
        "ingest": ["ingest", images, dataset],
        "fit": ["fit", dataset, palette, "--on", "pixels", "--k", k],
        "compress": ["compress", dataset, palette, f"{url}/codes.zarr"],
        "quantize": ["quantize", images, f"{url}/small", "--k", k, "--palette", "shared"],
    }.items():
        read = size_of(dataset) if work in ("fit", "compress") else stored
        lines.append({"work": work, "read": read, **run(*words, options=options)})
    for line in lines:
        line["Mpixel/s"] = n_pixels / line["seconds"] / 1e6
        line["MiB read"] = line.pop("read") / 2**20
        line["beyond the loop"] = line["seconds"] - loop
    return lines


JOB = """
[ingest]
source = "{url}/images"
dataset = "{url}/dataset.zarr"
update = true
[fit]
dataset = "{url}/dataset.zarr"
codebook = "{url}/palette.zarr"
k = {k}
once = true
[compress]
dataset = "{url}/dataset.zarr"
codebook = "{url}/palette.zarr"
result = "{url}/codes.zarr"
update = true
"""


def days(url: str, n_pixels: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the job of every day three times, a row for each."""
    n_new = max(1, options.photos // 100)
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder, "daily.toml")
        job.write_text(JOB.format(url=url, k=options.k))
        for work in ("all images", "nothing new", f"{n_new} new of {options.photos}"):
            if work.endswith(f"of {options.photos}"):
                put_photos(f"{url}/images", range(options.photos, options.photos + n_new), options.megapixels)
            lines.append({"work": work, **run("run", str(job), "--resume", options=options)})
    whole, start = lines[0]["seconds"], lines[1]["seconds"]
    for line in lines:
        line["beyond the start"] = line["seconds"] - start
        line["share"] = line["beyond the start"] / (whole - start)
    return lines


def main(argv: list[str] | None = None) -> dict:
    """Make the images, run the commands and print a table."""
    parser = harness.parser(__doc__, k=256)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--megapixels", type=float, default=10)
    parser.add_argument("--small", type=int, default=0, help="so many small images in place of photos")
    parser.add_argument("--side", type=int, default=100, help="of a small image in pixels")
    parser.add_argument("--day", action="store_true", help="the job of every day instead, with 1 %% more")
    options = parser.parse_args(argv)
    if options.day and options.small:
        parser.error("--day: it is of photos; leave out --small")
    facts = {**harness.facts(options), "missing": []}
    with server() as found:
        facts["server"] = found.kind
        url = f"s3://{found.bucket}/{'days' if options.day else 'billion'}"
        print(harness.heading("A billion pixels", facts))
        if options.small:
            put_images(f"{url}/images", options.small, options.side)
            n_pixels = options.small * options.side**2
        else:
            put_photos(f"{url}/images", range(options.photos), options.megapixels)
            n_pixels = options.photos * options.megapixels * 1e6
        lines = (days if options.day else measure)(url, n_pixels, options)
    print(harness.table(lines, _DAYS if options.day else _COLUMNS))
    return harness.finish({"facts": facts, "table": lines}, options.json)


if __name__ == "__main__":
    main()
