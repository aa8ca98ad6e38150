"""All rates of this machine in one go: seconds, on the photos that scikit-image ships."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.compute.rates import Calibration, hardware, save_rates
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.events.words import number
from dkmeans.images.encode import encode_png
from dkmeans.plan.cost import Rates
from dkmeans.storage.urls import resolve_url
from dkmeans.studies.calibration import images, places, steps

__all__ = ["CalibrationReport", "calibrate", "measure"]

_PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
_FILES = {"jpeg": "rocket.jpg", "png": "coffee.png"}
_VERSIONED = ("dkmeans", "numpy", "numba", "zarr", "obstore", "imagecodecs")
_ROUND_SECONDS = {"threads": 0.0005, "local": 0.0025}
"""An iteration next to no rows: as measured by `make bench-scaling`, which takes minutes."""
_TINY = 24
_LOCAL = "a local folder"
_STACK_NS = 1.0
"""A pixel of a stack, which is copied, and unpacked where it is gzipped."""


@dataclass(frozen=True)
class CalibrationReport:
    """The report of calibrate: where the rates lie, and these."""

    path: str
    calibration: Calibration

    def summary(self) -> list[str]:
        """Lines for people."""
        rates = self.calibration.rates
        lines = [f"{self.path}: {self.calibration.told}"]
        for rate in rates.steps:
            point = f"d = {rate.n_features}, K = {rate.n_clusters}"
            lines.append(
                f"step, {point}: {number(rate.row_ns)} ns a row and thread, "
                f"{number(1e3 * rate.block_seconds)} ms a block, seeds {number(rate.seed_seconds)} s"
            )
        for name, mib in rates.decode_mib.items():
            mega = 1e3 / rates.decode_ns[name]
            lines.append(f"decode {name}: {number(mega)} megapixels a second and thread, {number(mib)} MiB")
        for text, ns in (
            ("count colors", rates.count_ns),
            ("encode PNG with a palette", rates.indexed_ns),
            ("encode PNG without", rates.full_ns),
        ):
            lines.append(f"{text}: {number(1e3 / ns)} megapixels a second and thread")
        for place in rates.stores:
            lines.append(
                f"{place.url}: writes {number(place.write_mib)} MiB a second, reads "
                f"{number(place.read_mib)}, "
                f"{number(1e3 * place.request_seconds)} ms a request"
            )
        starts = ", ".join(f"{name} {number(each)} s" for name, each in rates.start_seconds.items())
        return [*lines, f"start: {starts}"]


def calibrate(store: str | None = None, reporter: Reporter = SILENT) -> CalibrationReport:
    """Measure the rates of this machine and keep them for plans.

    Parameters
    ----------
    store : str or None
        URL of a place of storage to measure besides a temporary folder.
    reporter : Reporter

    Raises
    ------
    StorageError
        If the place cannot be written, or the rates cannot be kept.
    """
    found = measure(store, reporter)
    return CalibrationReport(str(save_rates(found)), found)


def measure(
    store: str | None = None,
    reporter: Reporter = SILENT,
    points: Sequence[tuple[int, int]] = steps.POINTS,
) -> Calibration:
    """Measure the rates of this machine; the Lloyd step at some `points`, (features, clusters)."""
    photos, files = _photos()
    urls = [] if store is None else [resolve_url(store)]
    with reporter.stage("calibrating", len(points) + len(urls) + 4, "rates") as advance:
        places_found = []
        with tempfile.TemporaryDirectory(prefix="dkmeans-calibrate-") as folder:
            for url in (folder, *urls):
                found = places.measure_store(url, photos[0].reshape(-1, 3))
                places_found.append(found if url in urls else replace(found, url=_LOCAL))
                advance(1)
            header = places.measure_headers(f"{folder}/headers", files["png"])
            starts = places.measure_starts(f"{folder}/starts", encode_png(photos[0][:_TINY, :_TINY]))
            advance(1)
        values: dict[str, Any] = images.measure_decoding(files)
        values["decode_ns"]["stack"], values["decode_mib"]["stack"] = _STACK_NS, 1e3 / _STACK_NS
        advance(1)
        values |= images.measure_pixels(photos[0]) | images.measure_patches(photos)
        advance(1)
        measured = []
        for point in points:
            measured.append(steps.measure_step(*point, photos))
            advance(1)
    rates = Rates(
        **values,
        steps=tuple(measured),
        stores=tuple(places_found),
        header_seconds=header,
        round_seconds=_ROUND_SECONDS,
        start_seconds=starts,
    )
    versions = {name: importlib.metadata.version(name) for name in _VERSIONED}
    return Calibration(rates, hardware(), versions, datetime.now(UTC).isoformat(timespec="seconds"))


def _photos() -> tuple[list[NDArray[np.uint8]], dict[str, bytes]]:
    """Photos as arrays, and as files of the formats that are measured."""
    from skimage import data

    folder = Path(data.__file__).parent
    files = {name: (folder / file).read_bytes() for name, file in _FILES.items()}
    return [np.asarray(getattr(data, name)()) for name in _PHOTOS], files
