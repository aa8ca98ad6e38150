"""The study of patches: how a dictionary of them changes with its size.

All that it shows comes from a dataset and a sweep below one URL, which it makes first.
"""

from __future__ import annotations

from typing import Any

from dkmeans.artefacts.dataset import open_dataset
from dkmeans.artefacts.sweep import open_sweep
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import IngestConfig, LearningConfig, SweepConfig
from dkmeans.config.studies import DictionaryConfig
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.sources import estimate_pixels, open_source
from dkmeans.report.study import StudyReport, write_study
from dkmeans.stages.ingest import ingest
from dkmeans.stages.sweep import sweep
from dkmeans.storage.store import open_store
from dkmeans.studies.dictionary.facts import gather
from dkmeans.studies.dictionary.page import draw
from dkmeans.studies.embedded import write_digits

__all__ = ["dictionary"]


def dictionary(
    config: DictionaryConfig,
    cluster: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> StudyReport:
    """Learn dictionaries of patches of several sizes, and write a page about what changes with the size.

    Parameters
    ----------
    config : DictionaryConfig
        URLs of the images and of the folder to write, and the options.
    cluster : ClusterConfig or Executor
        Where the tasks run: a cluster to start or to connect to, `InProcess` or `Distributed`.
    reporter : Reporter
        Told of progress; by default nobody is.

    Returns
    -------
    StudyReport
        Where the page lies, how many pictures it has, and its bytes.

    Raises
    ------
    InputError
        If images are missing or cannot be read, or hold fewer distinct patches than clusters are asked for.
    UsageError
        If an output is there already.
    StorageError
        If storage refuses or fails.
    """
    out = open_store(config.out).url
    source, test = config.source, config.test
    if source is None:
        source, test = write_digits(f"{out}/digits")
    with connect(cluster, reporter, "dictionary", lambda: estimate_pixels(open_source(source))) as workers:
        _make(config, out, source, test, workers, reporter)
    dataset, tried = (
        open_dataset(f"{out}/{name}.zarr") for name in ("dataset", "test" if test else "dataset")
    )
    noun = "digits" if config.source is None else "images"
    return write_study(out, draw(gather(config, dataset, tried, open_sweep(f"{out}/sweep"), noun)))


def _make(
    config: DictionaryConfig, out: str, source: str, test: str | None, cluster: Executor, reporter: Reporter
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
