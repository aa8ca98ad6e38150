"""How far palettes are from what one sees: rgb, linear light and OKLab beside pngquant and libimagequant.

    python tests/benchmarks/bench_perceptual.py --data FOLDER

No dithering. Mean CIEDE2000 (Sharma et al., 2005; sRGB under D65), PSNR and SSIM of each image and number of
colors, and for each space in how many of the images it is below (CIEDE2000) or above (PSNR, SSIM) each of the
others. pngquant runs at its default speed; libimagequant is left out where its Python package is not
installed. With --alpha the images are icons and shadows that are drawn, and the mean squared error is that of
premultiplied values.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

sys.path.insert(0, str(Path(__file__).parent))

from drawn import draw_all

from dkmeans.clustering.palette import learn_palette
from dkmeans.config.stages import LearningConfig
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import hide
from dkmeans.images.measures import compare, mean_ciede2000

Quantizer = Callable[[np.ndarray, int], np.ndarray]
SPACES = ("rgb", "linear", "oklab")
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def ours(space: str) -> Quantizer:
    """Palettes of this space, as quantize makes them by default."""

    def quantized(image: np.ndarray, k: int) -> np.ndarray:
        pixels = hide(image).reshape(-1, image.shape[2])
        histogram = Histogram.of(pixels)
        found = learn_palette(histogram, k, seed=0, **LearningConfig().pace, space=space)
        return found.palette[histogram.look_up(pixels, found.labels)].reshape(image.shape)

    return quantized


def pngquant(image: np.ndarray, k: int) -> np.ndarray:
    """The image by pngquant without dithering."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    command = ["pngquant", str(k), "--nofs", "-"]
    done = subprocess.run(command, input=file.getvalue(), capture_output=True, check=True)
    mode = "RGBA" if image.shape[2] == 4 else "RGB"
    return np.asarray(Image.open(io.BytesIO(done.stdout)).convert(mode))


def libimagequant(image: np.ndarray, k: int) -> np.ndarray:
    """The image by libimagequant without dithering."""
    import imagequant

    mode = "RGBA" if image.shape[2] == 4 else "RGB"
    source = Image.fromarray(image).convert("RGBA")
    found = imagequant.quantize_pil_image(source, dithering_level=0.0, max_colors=k)
    return np.asarray(found.convert(mode))


def quantizers() -> dict[str, Quantizer]:
    """Ours, and those of the others that are there."""
    found: dict[str, Quantizer] = {space: ours(space) for space in SPACES}
    if shutil.which("pngquant"):
        found["pngquant"] = pngquant
    try:
        import imagequant  # noqa: F401
    except ModuleNotFoundError:
        return found
    return {**found, "libimagequant": libimagequant}


def photos(folder: str | None) -> dict[str, np.ndarray]:
    """The photos of a folder, or some of scikit-image's."""
    if folder is None:
        return {name: getattr(data, name)() for name in PHOTOS}
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in (".png", ".jpg"))
    return {path.name: np.asarray(Image.open(path).convert("RGB")) for path in paths}


def measure(images: dict[str, np.ndarray], counts: list[int]) -> list[dict]:
    """One row for each image, number of colors and quantizer."""
    rows = []
    for name, image in images.items():
        for k in counts:
            for by, quantizer in quantizers().items():
                began = time.perf_counter()
                made = quantizer(image, k)
                seconds = time.perf_counter() - began
                found = compare(image, made)
                row = {"image": name, "k": k, "by": by, "ciede2000": mean_ciede2000(image, made)}
                rows.append(row | found._asdict() | {"seconds": seconds})
    return rows


def summarize(rows: list[dict], counts: list[int]) -> None:
    """Print the means, and in how many images each of ours is better than the others."""
    names = list(dict.fromkeys(row["by"] for row in rows))
    spaces, others = [by for by in names if by in SPACES], [by for by in names if by not in SPACES]
    better = {"mse": min, "ciede2000": min, "psnr": max, "ssim": max}
    for k in counts:
        of = {by: [row for row in rows if row["by"] == by and row["k"] == k] for by in names}
        for by in names:
            means = {name: np.mean([row[name] or 0 for row in of[by]]) for name in (*better, "seconds")}
            text = "  ".join(f"{name} {value:8.4f}" for name, value in means.items())
            print(f"k {k:4}  {by:14} {text}")
        for space in spaces:
            for name, best in better.items():
                values = {by: np.array([row[name] or np.inf for row in of[by]]) for by in (space, *others)}
                wins = {}
                for by in others:
                    ahead = values[space] < values[by] if best is min else values[space] > values[by]
                    wins[by] = int(ahead.sum())
                print(f"k {k:4}  {space:8} {name:10} better than", wins, f"of {len(of[space])}")


def main(argv: list[str] | None = None) -> list[dict]:
    """Measure and print; write the rows where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of photos; not given, some of scikit-image's")
    parser.add_argument("--alpha", action="store_true", help="drawn icons and shadows in place of photos")
    parser.add_argument("--k", default="16,64,256")
    parser.add_argument("--most", type=int, default=1000, help="images")
    parser.add_argument("--json", help="file for one row an image")
    options = parser.parse_args(argv)
    counts = [int(k) for k in options.k.split(",")]
    images = draw_all() if options.alpha else photos(options.data)
    rows = measure(dict(list(images.items())[: options.most]), counts)
    summarize(rows, counts)
    if options.json:
        Path(options.json).write_text(json.dumps(rows))
    return rows


if __name__ == "__main__":
    main()
