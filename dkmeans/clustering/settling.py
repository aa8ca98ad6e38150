"""Centers of pixels with alpha, settled: one is clear if pixels are, and those of opaque pixels are opaque.

A fit of premultiplied rows does not know of it; then each row takes the nearest center that it may take, as
`dkmeans.clustering.constrained.group_by_alpha` says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from dkmeans.clustering.constrained import group_by_alpha, sum_groups
from dkmeans.clustering.loop import LloydResult
from dkmeans.clustering.rows import Rows
from dkmeans.compute.tree import reduced
from dkmeans.errors import InputError
from dkmeans.features.space import FeatureSpace
from dkmeans.kernels import Block, exact

__all__ = ["settle"]

_Kinds = tuple[NDArray[np.int64], bool, bool]
"""Opaque rows of each center; whether rows are clear, and whether some are not."""


def settle(rows: Rows, result: LloydResult, features: FeatureSpace) -> LloydResult:
    """Make the center nearest to clear rows clear, and those that opaque rows take opaque.

    Distances are told in units of the stored values, as those without alpha are; `rows` count once each.

    Raises
    ------
    InputError
        If there is one center for clear and visible rows.
    """
    if features.has_alpha and features.patch is None:
        centers = _settled(rows, result.centers, features)
        add = delayed(_sums)
        tasks = [add(block, centers, features, rows.cluster.device) for block in rows.blocks]
        stats = reduced(rows.cluster, exact.merge, tasks)
        inertia = exact.inertia(stats, centers, features.row_dtype)
        result = replace(result, centers=centers, counts=stats.counts, inertia=inertia)
    if features.unit == 1:
        return result
    scale = features.unit**2
    steps = [
        replace(step, inertia=step.inertia / scale, center_shift=step.center_shift / scale)
        for step in result.history
    ]
    return replace(result, inertia=result.inertia / scale, history=steps)


def _settled(rows: Rows, centers: NDArray[np.float32], features: FeatureSpace) -> NDArray[np.float32]:
    find = delayed(_kinds)
    tasks = [find(block, centers, features.full) for block in rows.blocks]
    opaque, clear, visible = reduced(rows.cluster, _merge, tasks)
    settled, of_opaque = centers.copy(), opaque > 0
    if clear:
        if visible and len(centers) == 1:
            raise InputError(
                "found one center asked for, and clear and visible pixels; expected at least one for each. "
                "Use --k 2 or more."
            )
        row = features.to_rows(np.zeros((1, 1, features.channels), features.dtype))[0].astype(np.float64)
        nearest = int(((centers - row) ** 2).sum(axis=1).argmin())
        settled[nearest] = row
        of_opaque[nearest] = False
        if opaque.any() and not of_opaque.any():
            of_opaque[np.where(np.arange(len(centers)) == nearest, -1, centers[:, -1]).argmax()] = True
    settled[of_opaque, -1] = features.full
    return settled


def _kinds(block: Block, centers: NDArray[np.float32], full: int) -> _Kinds:
    alpha, labels = block.rows()[:, -1], block.labels(centers)
    opaque = np.bincount(labels[alpha == full], minlength=len(centers))
    return opaque, bool((alpha == 0).any()), bool((alpha > 0).any())


def _merge(parts: list[_Kinds]) -> _Kinds:
    opaque: NDArray[Any] = np.sum([part[0] for part in parts], axis=0)
    return opaque, any(part[1] for part in parts), any(part[2] for part in parts)


def _sums(
    block: Block, centers: NDArray[np.float32], features: FeatureSpace, device: str
) -> exact.ChunkStats:
    return sum_groups(group_by_alpha(block.rows(), None, centers, features, device), centers)
