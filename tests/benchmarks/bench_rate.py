"""Bits per pixel and quality of quantize, beside palettes of other tools, and JPEG and WebP.

    python tests/benchmarks/bench_rate.py --data photos --json rate.json

Palettes of K colors without dithering, a PNG file for each image; codes of patches, one archive for all; JPEG
and WebP of several qualities, to see where they lie. The peers take the decoded image, pngquant a PNG file
of it in memory, and their seconds end with the bytes of a file. All run one after the other in this process
(pngquant in its own) on one thread; measuring is not counted.

At equal K no palette of a peer may be nearer to any image: k-means optimises just that. What is nearer is
named, and the script ends with 1. ``--refined`` also asks Pillow for iterations of its own k-means after its
median cut and maximum coverage; these are shown and named, but may be nearer: a local optimum can be.
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
from PIL import Image, features

from dkmeans.compute.in_process import InProcess
from dkmeans.config.stages import QuantizeConfig
from dkmeans.events.reporter import Reporter
from dkmeans.images.measures import compare
from dkmeans.images.sources import open_source
from dkmeans.stages.quantize import QuantizeReport, quantize

OURS = "dkmeans"
_PATCHES = "dkmeans, patches"
_COLORS = "2,4,8,16,32,64,128,256"
_CODEBOOKS = "2x2:64,2x2:256,2x2:1024,4x4:64,4x4:256,4x4:1024,4x4:4096,8x8:256,8x8:1024,8x8:4096"
_QUALITIES = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
_MOST_PIXELS = 1 << 28
_COLUMNS = {
    "method": "",
    "setting": "",
    "bits_per_pixel": ".3f",
    "psnr": ".2f",
    "ssim": ".4f",
    "seconds": ".3f",
}
_QUIET = Reporter(level="warning")

Coder = Callable[[Image.Image, int], bytes]


# Palettes of others: an image and K to a PNG file


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def _pillow(method: Image.Quantize, steps: int, image: Image.Image, k: int) -> bytes:
    return _png(image.quantize(k, method=method, kmeans=steps, dither=Image.Dither.NONE))


def _imagequant(image: Image.Image, k: int) -> bytes:
    import imagequant

    found = imagequant.quantize_pil_image(image, dithering_level=0.0, max_colors=k)
    opaque = Image.fromarray(np.asarray(found)).copy()  # without the alpha of its palette
    opaque.putpalette(found.getpalette())
    return _png(opaque)


def _pngquant(image: Image.Image, k: int) -> bytes:
    command = ["pngquant", "--nofs", "--speed", "1", str(k), "-"]
    return subprocess.run(command, input=_png(image), capture_output=True, check=True).stdout


def _has_imagequant() -> bool:
    return harness.version("imagequant") is not None


PALETTES: dict[str, tuple[Coder, Callable[[], bool]]] = {
    "Pillow, median cut": (partial(_pillow, Image.Quantize.MEDIANCUT, 0), lambda: True),
    "Pillow, max coverage": (partial(_pillow, Image.Quantize.MAXCOVERAGE, 0), lambda: True),
    "Pillow, fast octree": (partial(_pillow, Image.Quantize.FASTOCTREE, 0), lambda: True),
    "Pillow, libimagequant": (
        partial(_pillow, Image.Quantize.LIBIMAGEQUANT, 0),
        lambda: bool(features.check("libimagequant")),
    ),
    "imagequant": (_imagequant, _has_imagequant),
    "pngquant": (_pngquant, lambda: shutil.which("pngquant") is not None),
}
REFINED: dict[str, Coder] = {
    "Pillow, median cut, k-means": partial(_pillow, Image.Quantize.MEDIANCUT, 1),
    "Pillow, max coverage, k-means": partial(_pillow, Image.Quantize.MAXCOVERAGE, 1),
}


def _lossy(form: str, image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, format=form, quality=quality)
    return file.getvalue()


# Measuring


def measured(coder: Coder, setting: int, names: list[str], images: list[np.ndarray]) -> list[dict[str, Any]]:
    """One line for each image."""
    lines = []
    for name, pixels in zip(names, images, strict=True):
        image = Image.fromarray(pixels)
        began = time.perf_counter()
        data = coder(image, setting)
        seconds = time.perf_counter() - began
        with Image.open(io.BytesIO(data)) as file:
            measures = compare(pixels, np.asarray(file.convert("RGB")))
        bits = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
        lines.append({"image": name, "bits_per_pixel": bits, "seconds": seconds, **measures._asdict()})
    return lines


def ours(source: str, folder: Path, options: dict[str, Any]) -> QuantizeReport:
    """What quantize makes of the images, on one thread of this process."""
    config = QuantizeConfig(source=source, destination=str(folder), overwrite=True, **options)
    return quantize(config, InProcess(device="cpu"), _QUIET)


def our_lines(report: QuantizeReport) -> list[dict[str, Any]]:
    """One line for each image; of an archive bits and seconds are those of all images together."""
    return [
        {
            "image": image.name,
            "bits_per_pixel": image.bits_per_pixel or report.bits_per_pixel,
            "seconds": image.seconds or report.seconds / report.n_images,
            "mse": image.mse,
            "psnr": image.psnr,
            "ssim": image.ssim,
        }
        for image in report.images
    ]


def summary(method: str, setting: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The means over the images."""

    def mean(key: str) -> float | None:
        values = [line[key] for line in lines if line[key] is not None]
        return fmean(values) if values else None

    keys = ("bits_per_pixel", "psnr", "ssim", "seconds")
    return {"method": method, "setting": setting, **{key: mean(key) for key in keys}, "images": lines}


def rows(options: argparse.Namespace, source: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Every method with every setting."""
    found = open_source(source)
    names = [header.key for header in found.headers(max_pixels=_MOST_PIXELS)]
    images = [image.pixels for image in found.read("rgb", max_pixels=_MOST_PIXELS)]
    peers = {name: coder for name, (coder, is_there) in PALETTES.items() if is_there()}
    if options.refined:
        peers |= REFINED
    ours(source, folder / "warm", {"k": 2})
    for k in options.colors:
        seeded = {"k": k, "seed": options.seed}
        yield summary(OURS, f"K={k}", our_lines(ours(source, folder / "few", seeded)))
        for name, coder in peers.items():
            yield summary(name, f"K={k}", measured(coder, k, names, images))
    for patch, k in options.codebooks:
        seeded = {"to": "archive", "patch": patch, "k": k, "seed": options.seed}
        yield summary(_PATCHES, f"{patch}, K={k}", our_lines(ours(source, folder / "archive", seeded)))
    for form in ("JPEG", "WebP"):
        for quality in options.qualities:
            lines = measured(partial(_lossy, form), quality, names, images)
            yield summary(form, f"quality {quality}", lines)


def nearer(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where a palette of a peer is nearer to an image than ours of as many colors."""
    own = {line["setting"]: line["images"] for line in table if line["method"] == OURS}
    losses = []
    for line in table:
        if line["method"] not in (*PALETTES, *REFINED):
            continue
        for mine, theirs in zip(own[line["setting"]], line["images"], strict=True):
            if theirs["mse"] < mine["mse"]:
                decibel = float(10 * np.log10(mine["mse"] / theirs["mse"])) if theirs["mse"] else None
                losses.append(
                    {
                        "method": line["method"],
                        "setting": line["setting"],
                        "image": mine["image"],
                        "dB": decibel,
                    }
                )
    return losses


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _pairs(text: str) -> list[tuple[str, int]]:
    return [(pair.split(":")[0], int(pair.split(":")[1])) for pair in text.split(",") if pair]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure everything, print a table, and check the claim."""
    parser = harness.parser(__doc__, color="rgb", threads=1, rounds=1)
    parser.add_argument("--colors", type=_numbers, default=_COLORS, help="numbers of colors, such as 2,16")
    parser.add_argument(
        "--codebooks", type=_pairs, default=_CODEBOOKS, help="patches, such as 4x4:256,8x8:64"
    )
    parser.add_argument("--qualities", type=_numbers, default=list(_QUALITIES), help="of JPEG and WebP")
    parser.add_argument(
        "--refined", action="store_true", help="Pillow with iterations of its own k-means too"
    )
    options = parser.parse_args(argv)
    missing = [name for name, (_, is_there) in PALETTES.items() if not is_there()]
    facts = {**harness.facts(options), "missing": missing}
    print(harness.heading("Rate and distortion", facts))
    with tempfile.TemporaryDirectory() as name:
        source = options.data or write_photos(Path(name) / "photos")
        table = []
        for line in rows(options, source, Path(name)):
            print(harness.table([line], _COLUMNS).splitlines()[-1], flush=True)
            table.append(line)
    print(harness.table(table, _COLUMNS))
    losses = nearer(table)
    for loss in losses:
        print(f"nearer: {loss['method']} {loss['setting']} {loss['image']} by {loss['dB']:.5f} dB")
    holds = not [loss for loss in losses if loss["method"] in PALETTES]
    print(f"at least every palette peer at equal K on every image: {'yes' if holds else 'no'}")
    return harness.finish({"facts": facts, "table": table, "nearer": losses, "holds": holds}, options.json)


if __name__ == "__main__":
    raise SystemExit(0 if main()["holds"] else 1)
