"""A folder as users have them: many small files of many kinds, some damaged; quantized, changed, and updated.

Two runs of the command, and what each says: how long it took, how many images it made, kept and skipped.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = {
    "rgb.png": ("RGB", "PNG", {}),
    "rgba.png": ("RGBA", "PNG", {}),
    "gray.png": ("L", "PNG", {}),
    "la.png": ("LA", "PNG", {}),
    "palette.png": ("P", "PNG", {}),
    "bits.png": ("1", "PNG", {}),
    "deep.png": ("I;16", "PNG", {}),
    "photo.jpg": ("RGB", "JPEG", {"quality": 85}),
    "gray.jpeg": ("L", "JPEG", {"quality": 85}),
    "cmyk.jpe": ("CMYK", "JPEG", {"quality": 85}),
    "progressive.jfif": ("RGB", "JPEG", {"quality": 85, "progressive": True}),
    "rgb.tif": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "fax.tiff": ("1", "TIFF", {"compression": "group4"}),
    "lossy.webp": ("RGB", "WEBP", {"quality": 80}),
    "lossless.webp": ("RGBA", "WEBP", {"lossless": True}),
    "frame.gif": ("P", "GIF", {}),
    "still.avif": ("RGB", "AVIF", {"quality": 70, "speed": 10}),
    "rgb.bmp": ("RGB", "BMP", {}),
    "rgb.ppm": ("RGB", "PPM", {}),
    "gray.pgm": ("L", "PPM", {}),
}
"""Modes, formats and options by the end of a name."""


def picture(rng: np.random.Generator, side: int, mode: str) -> Image.Image:
    """Soft shapes with a little noise, so that files are as large as those of photos of this size."""
    y, x = np.mgrid[:side, :side] / side
    waves = rng.random((4, 3)) * 6
    channels = [np.sin(a * x + b * y + c) for a, b, c in waves]
    values = np.dstack(channels) * 100 + 127 + rng.normal(0, 3, (side, side, 4))
    pixels = np.clip(values, 0, 255).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(pixels).convert("RGB" if mode in ("CMYK", "P") else "RGBA").convert(mode)


def file_of(rng: np.random.Generator, kind: str) -> bytes:
    mode, form, options = KINDS[kind]
    file = io.BytesIO()
    picture(rng, int(rng.integers(16, 97)), mode).save(file, form, **options)
    return file.getvalue()


def make(folder: Path, n_files: int, n_odd: int, rng: np.random.Generator) -> list[Path]:
    kinds, made = list(KINDS), []
    for number in range(n_files):
        kind = kinds[number % len(kinds)]
        path = folder / f"{number % 50:02d}" / f"{number:05d} {kind}"
        path.parent.mkdir(exist_ok=True)
        data = file_of(rng, kind)
        if number >= n_files - n_odd:
            cut = (data[: len(data) // 2], b"", b"no image at all", data[:5])
            data = cut[number % len(cut)]
        path.write_bytes(data)
        made.append(path)
    return made


def run(source: Path, out: Path, *more: str) -> None:
    began = time.perf_counter()
    command = [sys.executable, "-m", "dkmeans", "quantize", str(source), str(out), "--json", "--quiet"]
    found = subprocess.run([*command, "--max-skipped", "all", *more], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if found.returncode:
        sys.exit(f"exit status {found.returncode}: {' '.join(command)}\n{found.stderr}")
    report = json.loads(found.stdout)
    shown = ("n_images", "n_kept", "n_copied", "n_skipped", "n_gone", "source_bytes", "stored_bytes")
    print(f"{seconds:7.1f} s  " + ", ".join(f"{name} {report[name]}" for name in shown))
    print("  " + "\n  ".join(line[:110] for line in found.stderr.splitlines()[:5]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--odd", type=int, default=200, help="damaged ones among them")
    parser.add_argument("--changed", type=int, default=500, help="between the two runs")
    parser.add_argument("--scheduler", default="local", help="as of the command")
    options = parser.parse_args(arguments)
    cluster = ("--scheduler", options.scheduler)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        source, out = Path(place, "source"), Path(place, "out")
        source.mkdir()
        made = make(source, options.files, options.odd, rng)
        run(source, out, *cluster)
        usable = options.files - options.odd
        for place_of in rng.choice(usable, min(options.changed, usable), replace=False).tolist():
            path = made[place_of]
            path.write_bytes(file_of(rng, path.name.split(" ")[1]))
            os.utime(path, (2_000_000_000, 2_000_000_000))
        run(source, out, "--update", *cluster)


if __name__ == "__main__":
    main()
