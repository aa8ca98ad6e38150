"""Rates of what is done to images: decode, cut, count, look up, compare, encode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.clustering.palette import learn_palette
from dkmeans.features import patches
from dkmeans.features.histogram import Histogram, pack_colors
from dkmeans.images.decode import decode
from dkmeans.images.encode import encode_indexed_png, encode_png
from dkmeans.images.measures import mse
from dkmeans.kernels.colors import find_labels, label_table, note_labels
from dkmeans.kernels.exact import grid_integers
from dkmeans.studies.calibration.timing import seconds_each

__all__ = ["measure_decoding", "measure_patches", "measure_pixels"]

_MIB = 1 << 20
_FEW = 1 << 20
"""Pixels that are counted in a table, as more are."""
_TINY = 28
"""Side of an image that takes as long as any file does; of so few pixels more ways to write it are tried."""
_PATCH, _STRIDE = (5, 5), (1, 1)


def measure_decoding(files: Mapping[str, bytes]) -> dict[str, dict[str, float]]:
    """Nanoseconds a pixel, and MiB of files a second and thread, of the formats of some files."""
    pixel_ns, mib = {}, {}
    for name, data in files.items():

        def work(data: bytes = data, name: str = name) -> NDArray[Any]:
            return decode(data, name, "rgb", max_pixels=1 << 30)

        seconds = seconds_each(work)
        pixel_ns[name] = 1e9 * seconds / (work().size / 3)
        mib[name] = len(data) / _MIB / seconds
    return {"decode_ns": pixel_ns, "decode_mib": mib}


def measure_pixels(photo: NDArray[np.uint8]) -> dict[str, Any]:
    """Rates of a photo of shape (height, width, 3) whose colors are counted, replaced and written."""
    pixels = photo.reshape(-1, 3)
    histogram = Histogram.of(pixels)
    pace: dict[str, Any] = {"seed": 0, "max_iter": 100, "tol": 1e-5, "min_gain": 2e-5, "relaxation": 1.9}
    learned = learn_palette(histogram, 64, **pace)
    codes = histogram.look_up(pixels, learned.labels.astype(np.uint8)).reshape(photo.shape[:2])
    table = label_table(3)
    note_labels(pack_colors(histogram.colors), learned.labels, table)
    many = np.concatenate([pixels] * 16)
    empty = seconds_each(lambda: Histogram.of(many[:_FEW]))
    full = seconds_each(lambda: Histogram.of(many))
    count = max(full - empty, 0.1 * full) / (len(many) - _FEW)

    def ns(seconds: float) -> float:
        return 1e9 * seconds / len(pixels)

    return {
        "count_ns": 1e9 * count,
        "table_seconds": max(0.0, empty - count * _FEW),
        "lookup_ns": ns(seconds_each(lambda: find_labels(pixels, table))),
        "compare_ns": ns(seconds_each(lambda: mse(photo, np.take(learned.palette, codes, axis=0)))),
        "indexed_ns": ns(seconds_each(lambda: encode_indexed_png(codes, learned.palette))),
        "file_seconds": seconds_each(lambda: encode_png(photo[:_TINY, :_TINY])),
        "full_ns": ns(seconds_each(lambda: encode_png(photo))),
    }


def measure_patches(photos: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Nanoseconds a value of patches that are cut from an image, and that one is put together from."""
    stack = np.ascontiguousarray(photos[0])[np.newaxis]

    def cut() -> NDArray[Any]:
        patches.find_kept(stack, _PATCH, _STRIDE, 0.0)  # ingest counts them first
        return patches.extract(stack, patches.find_kept(stack, _PATCH, _STRIDE, 0.0), _PATCH, _STRIDE)

    rows = cut()
    mask = patches.find_kept(stack, _PATCH, _STRIDE, 0.0)
    centers = rows[:: len(rows) // 256][:256].astype(np.float32)
    integers = grid_integers(centers, rows.dtype).reshape(-1, *_PATCH, 3)
    codes = np.arange(len(rows)) % len(integers)

    def join() -> NDArray[Any]:
        return patches.overlap_add(codes, mask, integers, stack.shape[1:], _STRIDE, rows.dtype)

    return {
        "cut_ns": 1e9 * seconds_each(cut) / rows.size,
        "join_ns": 1e9 * seconds_each(join) / rows.size,
    }
