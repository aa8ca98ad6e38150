"""What the tasks of quantize do with each image: codes and a palette, a file, and how near it is.

A batch of images that is done leaves a record beside them, below ``.dkmeans`` in the folder: what was
measured. A run that resumes takes it from there.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering import palette as palettes
from dkmeans.config.stages import QuantizeConfig
from dkmeans.images.encode import compact, dithered, encode_indexed_png
from dkmeans.images.measures import compare
from dkmeans.images.sources import SkippedImage, Source
from dkmeans.kernels import exact
from dkmeans.stages.quantizing.records import damaged_files, read_record, write_record
from dkmeans.storage import checksums, objects

__all__ = ["Batch", "QuantizedImage", "Written", "image_memory", "write_images"]


@dataclass(frozen=True, slots=True)
class QuantizedImage:
    """One image before and after.

    Attributes
    ----------
    name, key : str
        Its key in the source, and that of its file in the destination; both in an archive.
    height, width : int
        In pixels.
    source_bytes : int
        As stored; of an image in a stack its share.
    stored_bytes : int or None
        Of its file; None in an archive, which has one array for all images.
    bits_per_pixel : float or None
        8 x stored_bytes / pixels.
    psnr : float or None
        In dB; None where nothing is lost.
    ssim : float or None
        None for images too small for a window of 3 x 3.
    mse : float
        Mean squared error over all values.
    n_source_colors, n_colors : int
        Distinct colors of the image before and after.
    inertia : float
        Sum of the squared distances of its pixels, or patches, to the centers before they are rounded to
        colors; in squared units of the stored values. Without the effect of dithering.
    n_iter : int
        Iterations to a palette of its own; 0 without one.
    converged : bool
        Whether these ended before ``max_iter``.
    seconds : float or None
        From the bytes of the image to those of its file, both ways to storage included; measuring is not.
        None in an archive.
    """

    name: str
    key: str
    height: int
    width: int
    source_bytes: int
    stored_bytes: int | None
    bits_per_pixel: float | None
    psnr: float | None
    ssim: float | None
    mse: float
    n_source_colors: int
    n_colors: int
    inertia: float
    n_iter: int
    converged: bool
    seconds: float | None


@dataclass(frozen=True)
class Written:
    """What a stage has written to `url`; the totals of `dkmeans.stages.quantize.QuantizeReport`."""

    url: str
    images: tuple[QuantizedImage, ...]
    n_skipped: int
    stored_bytes: int
    inertia: float
    n_iter: int
    converged: bool
    centers_sha256: str | None


def image_memory(n_pixels: int, channels: int) -> int:
    """Bytes that the work on one image takes: pixels, colors, sorted, codes, and the SSIM of a tile."""
    return n_pixels * (4 * channels + 32) + (160 << 20)


@dataclass(frozen=True)
class Batch:
    """What one task writes.

    Attributes
    ----------
    folder : str
        URL of the files.
    names, keys : tuple of str
        Of the images in the source, and of their files.
    record : str
        Key of the record.
    there : dict of str to int, or None
        Sizes of the files that an earlier run has left; None if it has left none.
    """

    folder: str
    names: tuple[str, ...]
    keys: tuple[str, ...]
    record: str
    there: dict[str, int] | None

    def finished(self) -> list[QuantizedImage]:
        """What an earlier run has measured, if it has written all files; else an empty list."""
        if self.there is None or not objects.exists(self.folder, self.record):
            return []
        try:
            record = read_record(self.folder, self.record)
            found = [QuantizedImage(**image) for image in record["images"]]
        except (ValueError, TypeError, KeyError):  # damaged: the batch is written again
            return []
        sizes = all(self.there.get(image.key) == image.stored_bytes for image in found)
        whole = sizes and tuple(image.key for image in found) == self.keys
        return found if whole and not damaged_files(self.folder, record) else []


def write_images(
    part: Source, batch: Batch, config: QuantizeConfig, centers: NDArray[np.float32] | None
) -> list[QuantizedImage | SkippedImage]:
    """Write the images of one batch as indexed PNG files, and the record of the batch if all can be decoded.

    Parameters
    ----------
    part : Source
        Its images.
    batch : Batch
    config : QuantizeConfig
    centers : ndarray of shape (n_clusters, channels), float32, or None
        Of the palette of all images; None for one of its own for each.
    """
    if finished := batch.finished():
        return [*finished]
    made: list[QuantizedImage | SkippedImage] = []
    files: list[int] = []
    images = part.read(config.color, max_pixels=config.max_image_pixels)
    for position, name in enumerate(batch.names):
        began = time.perf_counter()
        image = next(images)
        if isinstance(image, SkippedImage):
            made.append(image)
            continue
        learned, colors = _learn(image, config, centers)
        codes, palette = _codes(image, colors, learned, dither=config.dither)
        data = encode_indexed_png(codes, palette)
        objects.write_object(batch.folder, batch.keys[position], data)
        files.append(checksums.of_bytes(data))
        seconds = time.perf_counter() - began
        made.append(
            QuantizedImage(
                name=name,
                key=batch.keys[position],
                height=image.shape[0],
                width=image.shape[1],
                source_bytes=part.part(position, position + 1).encoded_bytes,
                stored_bytes=len(data),
                bits_per_pixel=8 * len(data) / codes.size,
                **compare(image, palette[codes])._asdict(),
                n_source_colors=len(colors.values),
                n_colors=len(palette),
                inertia=learned.inertia,
                n_iter=learned.n_iter,
                converged=learned.converged,
                seconds=seconds,
            )
        )
    whole = [image for image in made if isinstance(image, QuantizedImage)]
    if len(whole) == len(made):
        write_record(batch.folder, batch.record, [asdict(image) for image in whole], files)
    return made


def _learn(
    image: NDArray[np.uint8], config: QuantizeConfig, centers: NDArray[np.float32] | None
) -> tuple[palettes.Learned, palettes.Colors]:
    """The colors of an image, and the palette for them: its own, or that of `centers`."""
    colors = palettes.count(image.reshape(-1, image.shape[2]))
    if centers is None:
        options: dict[str, Any] = {"seed": config.seed, "max_iter": config.max_iter, "tol": config.tol}
        return palettes.learn_palette(colors, config.n_clusters, **options), colors
    block = kernels.load(colors.values, "cpu", colors.times)
    inertia = exact.inertia(block.lloyd(centers), centers, block.dtype)  # type: ignore[arg-type]
    return palettes.Learned(centers, block.labels(centers), inertia, 0, True), colors


def _codes(
    image: NDArray[np.uint8], colors: palettes.Colors, learned: palettes.Learned, *, dither: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Codes of the pixels, shape (height, width), and the colors that occur, from dark to light."""
    palette = np.rint(learned.centers).astype(np.uint8)
    if dither:
        return compact(dithered(image, palette), palette)
    codes = colors.spread(learned.labels.astype(np.uint8), image.reshape(-1, image.shape[2]))
    return compact(codes.reshape(image.shape[:2]), palette)
