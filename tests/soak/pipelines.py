"""Random pipelines: small images and the commands that work on them, all from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = ["Pipeline", "Step", "pictures", "pipeline"]


@dataclass(frozen=True)
class Step:
    """One command and what it writes.

    Attributes
    ----------
    arguments : tuple of str
        Of the command; ``{photos}`` and ``{root}`` stand for the places of a run.
    artefacts : tuple of str
        Outputs with a manifest, below the root.
    folders : tuple of str
        Folders of image files.
    """

    arguments: tuple[str, ...]
    artefacts: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return (*self.artefacts, *self.folders)[0]

    def command(self, photos: str, root: str) -> list[str]:
        return [argument.format(photos=photos, root=root) for argument in self.arguments]


@dataclass(frozen=True)
class Pipeline:
    """What is in the images, and the steps, each of which needs only those before it."""

    seed: int
    n_images: int
    n_channels: int
    bits: int
    jpeg: bool
    steps: tuple[Step, ...]


def pipeline(seed: int) -> Pipeline:
    """The pipeline of this seed."""
    random = np.random.default_rng([seed, 0])
    bits = int(random.choice([8, 8, 8, 16]))
    n_channels = int(random.choice([1, 3, 3]))
    color = "gray" if n_channels == 1 else "rgb"
    begin = _quantize if random.random() < 0.3 else _stages
    steps = tuple(begin(random, color, bits))
    return Pipeline(
        seed, int(random.integers(3, 9)), n_channels, bits, bits == 8 and random.random() < 0.4, steps
    )


def _stages(random: Generator, color: str, bits: int) -> Iterator[Step]:
    """A dataset, codebooks of pixels or of patches, what is cut from them, and what is made by them."""
    patch = int(random.integers(3, 7))
    shard = round(float(random.uniform(0.004, 0.02)), 4)
    stride = int(random.integers(1, patch + 1))
    tiles = ("--patch", str(patch), "--stride", str(stride), "--blank-threshold", "-1")
    cut = ("--color", color, *tiles, "--shard-mib", str(shard))
    yield Step(("ingest", "{photos}", "{root}/dataset", *cut), ("dataset",))
    on = str(random.choice(["pixels", "patches"]))
    learning = ("--on", on, *_learning(random))
    k = int(random.integers(4, 13))
    if random.random() < 0.3:
        ks = f"{k // 2},{k}"
        places = ("sweep", f"sweep/codebooks/{k // 2}", f"sweep/codebooks/{k}")
        yield Step(("sweep", "{root}/dataset", "{root}/sweep", "--k", ks, *learning), places)
        codebook = f"{{root}}/sweep/codebooks/{k}"
    else:
        yield Step(("fit", "{root}/dataset", "{root}/fit", "--k", str(k), *learning), ("fit",))
        codebook = "{root}/fit"
    if random.random() < 0.3:
        yield Step(("cut", codebook, "{root}/cut", "--k", str(k - 2)), ("cut",))
        codebook = "{root}/cut"
    make = "compress" if on == "pixels" else "reconstruct"
    files = random.random() < 0.5 and (make == "reconstruct" or bits == 8)  # palettes of files have 8 bits
    images = ("--images", "{root}/images") if files else ()
    folders = ("images",) if images else ()
    yield Step((make, "{root}/dataset", codebook, "{root}/result", *images), ("result",), folders)
    if random.random() < 0.3:
        yield Step(("decode", "{root}/result", "{root}/decoded"), (), ("decoded",))


def _quantize(random: Generator, color: str, bits: int) -> Iterator[Step]:
    """Files of few colors, or an archive and its images."""
    k = str(random.integers(4, 13))
    start = ("quantize", "{photos}", "{root}/quantized", "--k", k, "--color", color)
    if bits == 8 and random.random() < 0.3:
        few = ("--max-iter", str(random.integers(3, 12)))
        yield Step((*start, *few), (), ("quantized",))
    elif bits == 8 and random.random() < 0.4:
        yield Step((*start, "--palette", "shared", *_learning(random)), (), ("quantized",))
    else:
        patch = ("--patch", str(random.integers(2, 5))) if random.random() < 0.5 else ()
        yield Step((*start, "--to", "archive", *patch, *_learning(random)), ("quantized",))
        yield Step(("decode", "{root}/quantized", "{root}/decoded"), (), ("decoded",))


def _learning(random: Generator) -> tuple[str, ...]:
    """Options of a fit. A checkpoint follows each iteration, as --checkpoint-seconds is 0 unless given."""
    init = str(random.choice(["k-means||", "k-means||-cached", "k-means++", "random"]))
    few = ("--max-iter", str(random.integers(3, 15)), "--tol", "0")
    return ("--init", init, *few, "--seed", str(random.integers(1000)))


def pictures(made: Pipeline) -> dict[str, bytes]:
    """Image files by key, some of them in a folder: waves of color with noise, so that no two rows repeat."""
    random = np.random.default_rng([made.seed, 1])
    files = {}
    for number in range(made.n_images):
        pixels = _waves(random, made.n_channels, made.bits)
        folder = "deep/" if number % 3 == 2 else ""
        as_jpeg = made.jpeg and number % 2 == 0
        data = imagecodecs.jpeg8_encode(pixels) if as_jpeg else imagecodecs.png_encode(pixels)
        files[f"{folder}{number}.{'jpg' if as_jpeg else 'png'}"] = bytes(data)
    return files


def _waves(random: Generator, n_channels: int, bits: int) -> NDArray[np.uint8 | np.uint16]:
    height, width = random.integers(20, 61, 2)
    y, x = np.mgrid[:height, :width]
    phases = random.uniform(0, 6, (n_channels, 2))
    waves = [np.sin(x / 7 + first) + np.cos(y / 9 + second) for first, second in phases]
    values = np.stack(waves, axis=-1) / 5 + 0.5 + random.normal(0, 0.03, (height, width, n_channels))
    pixels = np.rint(values.clip(0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    return pixels if n_channels > 1 else pixels[..., 0]
