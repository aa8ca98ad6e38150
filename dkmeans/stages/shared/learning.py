"""Centers learned from all images of a source, by the steps of fit.

Images that fit into the workers' memory are decoded once and held; of others each pass decodes them again.
"""

from __future__ import annotations

from functools import partial

from dkmeans.clustering.loop import LloydResult, State
from dkmeans.clustering.seeding import find_distinct_rows, seed_centers
from dkmeans.compute.executor import Executor
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import DistinctRowsError
from dkmeans.events.reporter import Reporter
from dkmeans.features.space import FeatureSpace
from dkmeans.images.collections import SourceCollection
from dkmeans.images.skipping import Skipping
from dkmeans.kernels import arithmetic
from dkmeans.stages.shared.fitting import iterate_rows
from dkmeans.stages.shared.rows import decode_rows

__all__ = ["learn_centers"]


def learn_centers(
    config: QuantizeConfig,
    images: SourceCollection,
    space: FeatureSpace,
    executor: Executor,
    skipping: Skipping,
    reporter: Reporter,
) -> tuple[SourceCollection, LloydResult]:
    """Learn centers for all images, by the steps of fit; of fewer distinct rows all are centers.

    Returns
    -------
    images : SourceCollection
        Without those that cannot be decoded.
    result : LloydResult
    """
    images = images.in_memory(executor, skipping, reporter)
    drawn = (config.n_clusters, config.seed)
    images, rows = decode_rows(images, space, *drawn, executor, skipping, reporter)
    with reporter.stage("seeds", 1, "set") as advance:
        try:
            say = partial(advance, 0)
            centers = seed_centers(rows, config.n_clusters, config.init, config.seed, say)
        except DistinctRowsError:
            distinct = find_distinct_rows(rows, config.n_clusters)
            centers = arithmetic(rows.dtype).snap(distinct, rows.dtype)
            reporter.say(f"the images have {len(centers)} different rows, fewer than asked for: all are kept")
        advance(1)
    return images, iterate_rows(config, rows, State(centers), space, reporter)
