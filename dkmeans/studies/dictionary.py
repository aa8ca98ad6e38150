"""The study of patches: how a dictionary of them changes with its size.

All that it shows comes from a dataset and a sweep below one URL, which it makes first.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import storage, stores
from dkmeans.cluster import Cluster
from dkmeans.config import ClusterConfig, DictionaryConfig, IngestConfig, SweepConfig
from dkmeans.config.stages import LearningConfig
from dkmeans.connecting import connect
from dkmeans.dataset import open_dataset
from dkmeans.events import SILENT, Reporter
from dkmeans.report.study import StudyReport, write_study
from dkmeans.stages.ingest import ingest
from dkmeans.stages.sweep import sweep
from dkmeans.studies.dictionary_facts import gather
from dkmeans.studies.dictionary_page import draw
from dkmeans.sweeps import open_sweep

__all__ = ["dictionary"]

_SIDE = 28
"""Pixels to which the 8 x 8 digits of scikit-learn are enlarged: those of MNIST."""
_TEST_SHARE = 10
"""One in so many of them is not learned from."""


def dictionary(
    config: DictionaryConfig,
    cluster: ClusterConfig | Cluster = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> StudyReport:
    """Learn dictionaries of patches of several sizes, and write a page about what changes with the size.

    Parameters
    ----------
    config : DictionaryConfig
    cluster : ClusterConfig or Cluster
    reporter : Reporter

    Raises
    ------
    InputError
        If images are missing or cannot be read, or hold fewer distinct patches than clusters are asked for.
    UsageError
        If an output is there already.
    StorageError
        If storage refuses or fails.
    """
    out = stores.resolve_url(config.out)
    source, test = config.source, config.test
    if source is None:
        source, test = _write_digits(out)
    with connect(cluster, reporter, "dictionary") as workers:
        _make(config, out, source, test, workers, reporter)
    dataset, tried = (
        open_dataset(f"{out}/{name}.zarr") for name in ("dataset", "test" if test else "dataset")
    )
    noun = "digits" if config.source is None else "images"
    return write_study(out, draw(gather(config, dataset, tried, open_sweep(f"{out}/sweep"), noun)))


def _make(
    config: DictionaryConfig, out: str, source: str, test: str | None, cluster: Cluster, reporter: Reporter
) -> None:
    """Run all stages; each keeps, or begins anew, what is there, as the study was told to."""
    again: dict[str, Any] = {"overwrite": config.overwrite, "resume": config.resume}
    cut: dict[str, Any] = {"color": config.color, "patch": config.patch, "stride": config.stride, **again}
    for place, name in ((source, "dataset"), (test, "test")):
        if place is not None:
            ingest(IngestConfig(source=place, dataset=f"{out}/{name}.zarr", **cut), cluster, reporter)
    learning: dict[str, Any] = {name: getattr(config, name) for name in LearningConfig.model_fields}
    where: dict[str, Any] = {"dataset": f"{out}/dataset.zarr", "sweep": f"{out}/sweep", "on": "patches"}
    sweep(SweepConfig(n_clusters=config.n_clusters, **where, **learning), cluster, reporter)


def _write_digits(out: str) -> tuple[str, str]:
    """Write scikit-learn's handwritten digits, enlarged, as two stacks: to learn from, and to try."""
    from skimage.transform import resize
    from sklearn.datasets import load_digits

    small = load_digits().images / 16  # (1797, 8, 8), values 0 to 16
    large = resize(small, (len(small), _SIDE, _SIDE), order=3, mode="constant", anti_aliasing=False)
    digits = np.rint(np.clip(large, 0, 1) * 255).astype(np.uint8)
    n_learned = len(digits) - len(digits) // _TEST_SHARE
    urls = (storage.join_url(out, "digits/learn.npy"), storage.join_url(out, "digits/test.npy"))
    for url, part in zip(urls, (digits[:n_learned], digits[n_learned:]), strict=True):
        folder, _, name = url.rpartition("/")
        storage.write_object(folder, name, _npy(part))
    return urls


def _npy(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
