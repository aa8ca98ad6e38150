"""The study of palettes: how many colors a photo needs.

All that it shows comes from the photos and from what quantize makes of them below one URL.
"""

from __future__ import annotations

from typing import Any

from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import LearningConfig, QuantizeConfig
from dkmeans.config.studies import PaletteConfig
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.sources import estimate_pixels, open_source
from dkmeans.report.study import StudyReport, write_study
from dkmeans.stages.quantize import QuantizeReport, quantize
from dkmeans.storage.store import open_store
from dkmeans.studies.embedded import write_photos
from dkmeans.studies.palette.facts import gather
from dkmeans.studies.palette.goals import GOALS, Goal, measured_facts, searched_facts
from dkmeans.studies.palette.page import draw

__all__ = ["palette"]


def palette(
    config: PaletteConfig,
    cluster: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> StudyReport:
    """Reduce photos to a few colors by exact k-means, and write a page about how many are enough.

    With a palette for each image, the fewest colors for 30, 35 and 40 dB and for an SSIM of 0.95 are searched
    for, image by image; with one for all, they are the smallest of the numbers in `config` that reach these.

    Parameters
    ----------
    config : PaletteConfig
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
        If images are missing or cannot be read, or one has fewer distinct colors than are asked for.
    UsageError
        If an output is there already, or more colors are asked for than a PNG holds.
    StorageError
        If storage refuses or fails.
    """
    out = open_store(config.out)
    source = config.source or out.url_of("images")
    if config.source is None:
        write_photos(source)
    with connect(cluster, reporter, "palette", lambda: estimate_pixels(open_source(source))) as workers:
        reports = {k: _reduce(config, source, k, workers, reporter) for k in config.n_clusters}
        if config.palette == "per-image":
            goals = searched_facts({goal: _search(config, source, goal, workers, reporter) for goal in GOALS})
        else:  # quantize searches for palettes per image alone
            goals = measured_facts(reports)
    folders = {k: out.url_of(_folder(k)) for k in reports}
    return write_study(out, draw(gather(config, source, reports, folders, goals)))


def _folder(n_clusters: int) -> str:
    return f"colors-{n_clusters}"


def _reduce(
    config: PaletteConfig, source: str, n_clusters: int, cluster: Executor, reporter: Reporter
) -> QuantizeReport:
    """Give every image the same number of colors."""
    reporter.say(f"{n_clusters} color{'s' if n_clusters > 1 else ''}")
    options = {"n_clusters": n_clusters, "palette": config.palette}
    return _quantize(config, source, _folder(n_clusters), options, cluster, reporter)


def _search(
    config: PaletteConfig, source: str, goal: Goal, cluster: Executor, reporter: Reporter
) -> QuantizeReport:
    """Give each image the fewest colors that reach a goal."""
    reporter.say(f"the fewest colors for {goal.words}")
    options = {"min_psnr": goal.min_psnr, "min_ssim": goal.min_ssim}
    return _quantize(config, source, goal.folder, options, cluster, reporter)


def _quantize(
    config: PaletteConfig,
    source: str,
    folder: str,
    options: dict[str, Any],
    cluster: Executor,
    reporter: Reporter,
) -> QuantizeReport:
    """Write PNG files, larger than those of the source or not: the page is about their colors."""
    learning: dict[str, Any] = {name: getattr(config, name) for name in LearningConfig.model_fields}
    where: dict[str, Any] = {"source": source, "destination": open_store(config.out).url_of(folder)}
    asked = QuantizeConfig(**where, **options, **learning, if_larger="keep")
    return quantize(asked, cluster, reporter)
