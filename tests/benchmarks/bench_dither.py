"""Dithered palettes beside other tools: milliseconds an image, and how near the image is from a distance.

    python tests/benchmarks/bench_dither.py --data photos --json dither.json

From a distance the eye sees means of neighbors. So both images are blurred by a Gaussian with a sigma of 1.5
pixels before they are compared: in linear light, as the eye does, for the mean CIEDE2000 of all pixels; as
stored, which is what all of these tools work in, for the PSNR. Grain is what dithering costs: the PSNR
without the blur.

All methods that take a palette take ours, which k-means learns; their milliseconds are those of the codes
alone, the best of several rounds, of processor time. pngquant learns a palette of its own, at its slowest and
best speed and with full dithering; its milliseconds are not comparable and are not shown.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import harness
import numpy as np
from bench_pixels import write_photos
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000, rgb2lab

from dkmeans.clustering.palette import learn_palette
from dkmeans.config.stages import LearningConfig
from dkmeans.features.histogram import Histogram
from dkmeans.images.sources import open_source
from dkmeans.kernels.dither import diffuse, ordered

_SIGMA = 1.5
_MOST_PIXELS = 1 << 28
_COLUMNS = {
    "method": "",
    "colors": "d",
    "milliseconds": ".1f",
    "delta_e": ".3f",
    "psnr_blurred": ".2f",
    "psnr": ".2f",
}


def _pillow(image: np.ndarray, palette: np.ndarray) -> np.ndarray:
    holder = Image.new("P", (1, 1))
    # Colors behind a shorter palette would be taken, too.
    filled = np.concatenate([palette, np.repeat(palette[-1:], 256 - len(palette), axis=0)])
    holder.putpalette(filled.tobytes())
    return np.asarray(
        Image.fromarray(image).quantize(palette=holder, dither=Image.Dither.FLOYDSTEINBERG), np.uint8
    )


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "dkmeans, none": partial(diffuse, strength=0),
    "dkmeans, floyd-steinberg": diffuse,
    "dkmeans, floyd-steinberg 0.8": partial(diffuse, strength=0.8),
    "dkmeans, ordered": ordered,
    "Pillow": _pillow,
}


def _pngquant(image: np.ndarray, k: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    command = ["pngquant", "--floyd=1", "--speed", "1", str(k), "-"]
    done = subprocess.run(command, input=file.getvalue(), capture_output=True, check=True)
    with Image.open(io.BytesIO(done.stdout)) as found:
        return np.asarray(found.convert("RGB"))


def _linear(image: np.ndarray) -> np.ndarray:
    values = image / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _blurred(values: np.ndarray) -> np.ndarray:
    return gaussian_filter(values, (_SIGMA, _SIGMA, 0))


def _from_afar(image: np.ndarray) -> np.ndarray:
    """What the eye sees, in CIELAB."""
    light = _blurred(_linear(image))
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return rgb2lab(values)


def _psnr(one: np.ndarray, other: np.ndarray) -> float | None:
    mse = float(((one - other) ** 2).mean())
    return -10 * float(np.log10(mse)) if mse else None


def measured(image: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """How far an image is from the original, from a distance and from near."""
    return {
        "delta_e": float(deltaE_ciede2000(_from_afar(image), _from_afar(found)).mean()),
        "psnr_blurred": _psnr(_blurred(found / 255), _blurred(image / 255)),
        "psnr": _psnr(found / 255, image / 255),
    }


def timed(method: Callable[..., np.ndarray], rounds: int, *given: np.ndarray) -> tuple[float, np.ndarray]:
    """The least milliseconds of processor time of several rounds, and what came out."""
    best = np.inf
    for _ in range(rounds):
        began = time.process_time()
        found = method(*given)
        best = min(best, time.process_time() - began)
    return 1000 * best, found


def lines(images: list[np.ndarray], k: int, seed: int, rounds: int) -> Iterator[dict[str, Any]]:
    """One line for each method: the means over the images."""
    histograms = [Histogram.of(image.reshape(-1, 3)) for image in images]
    learned = [learn_palette(histogram, k, seed=seed, **LearningConfig().pace) for histogram in histograms]
    palettes = [np.rint(one.centers).astype(np.uint8) for one in learned]
    for name, method in METHODS.items():
        table = []
        for image, palette in zip(images, palettes, strict=True):
            milliseconds, codes = timed(method, rounds, image, palette)
            table.append({"milliseconds": milliseconds, **measured(image, palette[codes])})
        yield _summary(name, k, table)
    if shutil.which("pngquant"):
        yield _summary("pngquant", k, [measured(image, _pngquant(image, k)) for image in images])


def _summary(method: str, k: int, table: list[dict[str, Any]]) -> dict[str, Any]:
    means: dict[str, float | None] = {}
    for key in ("milliseconds", "delta_e", "psnr_blurred", "psnr"):
        values = [line[key] for line in table if line.get(key) is not None]
        means[key] = fmean(values) if values else None
    return {"method": method, "colors": k, **means, "images": table}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure everything and print a table."""
    parser = harness.parser(__doc__, color="rgb", threads=1, rounds=5)
    parser.add_argument(
        "--colors", type=lambda text: [int(part) for part in text.split(",")], default=[16, 64, 256]
    )
    options: argparse.Namespace = parser.parse_args(argv)
    missing = [] if shutil.which("pngquant") else ["pngquant"]
    facts = {**harness.facts(options), "missing": missing}
    print(harness.heading("Dithering", facts))
    with tempfile.TemporaryDirectory() as name:
        source = options.data or write_photos(Path(name) / "photos")
        found = open_source(source).read("rgb", max_pixels=_MOST_PIXELS)
        images = [image.pixels for image in found]
    diffuse(images[0][:1, :1], images[0][0, :1])  # compiled
    ordered(images[0][:1, :1], images[0][0, :1])
    table = []
    for k in options.colors:
        for line in lines(images, k, options.seed, options.rounds):
            print(harness.table([line], _COLUMNS).splitlines()[-1], flush=True)
            table.append(line)
    print(harness.table(table, _COLUMNS))
    return harness.finish({"facts": facts, "table": table}, options.json)


if __name__ == "__main__":
    main()
