"""Bytes of PNG files of few colors beside those of pngquant: palettes by the k-means of quantize, undithered.

    python tests/benchmarks/bench_png.py --data photos --colors 16,64,256 --efforts 0,4,6

pngquant runs at its default speed, with its dithering, which costs bytes, and without. Sums over all images;
`x pngquant` is their ratio to pngquant without dithering, and `psnr` the mean over the images. `ms` is the
user time of one image: of ours only the encoder, from codes and palette to the file; of pngquant all of it.
"""

from __future__ import annotations

import io
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import harness
import numpy as np
from bench_pixels import write_photos
from PIL import Image
from skimage.metrics import mean_squared_error

from dkmeans.clustering.palette import learn_palette
from dkmeans.config.stages import LearningConfig
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import FeatureSpace
from dkmeans.images.decode import SkippedImage
from dkmeans.images.encode import encode_indexed_png, encode_png
from dkmeans.images.measures import psnr
from dkmeans.images.sources import open_source

_PNGQUANT = {"pngquant": ["--nofs"], "pngquant, dithered": []}
_COLUMNS = {"method": "", "k": "d", "bytes": ",d", "x pngquant": ".4f", "psnr": ".2f", "ms": ".1f"}
_MOST_PIXELS = 1 << 28


def images_of(folder: str) -> list[np.ndarray]:
    """All images of a folder as RGB of 8 bits."""
    found = list(open_source(folder).read("rgb", max_pixels=_MOST_PIXELS))
    for image in found:
        if isinstance(image, SkippedImage):
            raise SystemExit(f"{image.key}: {image.reason}")
    return [image.pixels for image in found]


def reduced(image: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and palette as quantize finds them."""
    pixels = image.reshape(-1, 3)
    histogram = Histogram.of(pixels)
    learned = learn_palette(histogram, k, seed=seed, **LearningConfig().pace)
    codes = histogram.look_up(pixels, learned.labels.astype(np.uint8)).reshape(image.shape[:2])
    return codes, FeatureSpace(image.dtype, 3).to_pixels(learned.centers)


def user_seconds(who: int) -> float:
    """Processor time of this process, or of its children: not what others on the machine take."""
    return resource.getrusage(who).ru_utime


def pngquant_files(images: list[np.ndarray], k: int, options: list[str]) -> Iterator[bytes]:
    """Yield what pngquant makes of each image."""
    for image in images:
        command = ["pngquant", *options, str(k), "-"]
        given = encode_png(image, effort=0)
        yield subprocess.run(command, input=given, capture_output=True, check=True).stdout


def our_files(coded: list[tuple[np.ndarray, np.ndarray]], effort: int) -> Iterator[bytes]:
    """Yield the file of each image."""
    for codes, palette in coded:
        yield encode_indexed_png(codes, palette, effort=effort)


def line(k: int, method: str, images: list[np.ndarray], files: Iterator[bytes], who: int) -> dict[str, Any]:
    """A line of the table; `who` spends the time."""
    began = user_seconds(who)
    made = list(files)
    seconds = user_seconds(who) - began
    values = []
    for image, data in zip(images, made, strict=True):
        with Image.open(io.BytesIO(data)) as file:
            error = float(mean_squared_error(image, np.asarray(file.convert("RGB"))))
        values.append(psnr(error, 255))
    lossy = [value for value in values if value is not None]
    return {
        "k": k,
        "method": method,
        "bytes": sum(map(len, made)),
        "psnr": fmean(lossy) if lossy else None,
        "ms": 1000 * seconds / len(images),
    }


def main(argv: list[str] | None = None) -> dict:
    """Measure all methods at each number of colors and print a table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--colors", default="16,64,256", help="numbers of colors")
    parser.add_argument(
        "--efforts", default="0,1,2,3,4,5,6", help="7 to 9 need pip install 'dkmeans[oxipng]'"
    )
    options = parser.parse_args(argv)
    there = shutil.which("pngquant") is not None
    facts = {**harness.facts(options), "missing": []}
    print(harness.heading("PNG files of few colors", facts))
    if not there:
        print("no pngquant on PATH: install it to compare with it (its site: pngquant.org)")
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        images = images_of(options.data or write_photos(Path(folder, "photos")))
    for k in map(int, options.colors.split(",")):
        group = []
        for name, flags in _PNGQUANT.items() if there else ():
            files = pngquant_files(images, k, flags)
            group.append(line(k, name, images, files, resource.RUSAGE_CHILDREN))
        coded = [reduced(image, k, options.seed) for image in images]
        for effort in map(int, options.efforts.split(",")):
            files = our_files(coded, effort)
            group.append(line(k, f"dkmeans, effort {effort}", images, files, resource.RUSAGE_SELF))
        if there:
            harness.compare(group, "bytes", "x pngquant")
        lines += group
    print(harness.table(lines, _COLUMNS))
    return harness.finish({"facts": facts, "table": lines}, options.json)


if __name__ == "__main__":
    main()
