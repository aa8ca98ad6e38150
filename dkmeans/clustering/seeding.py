"""The first centers of a fit, drawn from the seed, whatever the blocks and workers.

All comes from a bounded sample of the rows. k-means|| (B. Bahmani et al., Scalable k-means++, PVLDB 5(7),
2012) in four parts: dask-ml draws candidates, on a part of the sample; one pass of our own kernel weighs each
by the rows of the sample nearest to it; greedy k-means++ with these weights (`dkmeans.kernels.plusplus`)
chooses among them; a few steps of Lloyd on the sample move the chosen. dask-ml's own reduction ignores the
weights, and its factor is not multiplied by the number of clusters, so neither is used. "k-means||-cached"
replaces the first part: rounds in our own kernel, which keeps the distances.

Up to 256 colors, rows of at most 4 integers, are no work for rounds: in the place of "k-means||" they take
the best of several starts on a coarse grid of the sample, as the palette of one image does
(`dkmeans.clustering.starts`). Measured on 24 photos together and on 12 of them alone, K = 16, 64 and 256: the
inertia of the fit is 0.1 to 1.6 % lower in the mean, of few colors after half the iterations, and dask-ml is
not loaded, which takes longer than all the fit.

Distances of integer rows are exact in every part. Among float rows scikit-learn's k-means++ chooses, by their
differences to the mean, as the squared distances cancel. Rows that all fit into the sample give the same
seeds in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from dkmeans.clustering.candidates import centered, draw_by_dask_ml, draw_cached, fill_up
from dkmeans.clustering.rows import Rows
from dkmeans.clustering.sampling import Sample, count_distinct
from dkmeans.clustering.starts import find_starts
from dkmeans.compute.tree import reduced
from dkmeans.errors import DistinctRowsError
from dkmeans.kernels import Block, arithmetic, is_exact

__all__ = ["Seeds", "draw_positions", "draw_seeds", "find_distinct_rows", "is_palette", "seed_centers"]

_SAMPLE_PER_CLUSTER = 50
_DRAWN_PER_CLUSTER = 12
_LEAST = 20_000
_STEPS = 5
_PALETTE = 256
"""Colors up to which several starts are tried, the most that an indexed image has."""
_Say = Callable[[str], None]


def _silent(note: str) -> None:
    """Say nothing."""


def _streams(seed: int) -> list[np.random.SeedSequence]:
    """Make the streams for drawing the sample, drawing from it, filling up, and choosing."""
    return np.random.SeedSequence(seed).spawn(4)


def _draw(n_rows: int, size: int, sequence: np.random.SeedSequence) -> NDArray[np.int64]:
    """Draw the numbers of `size` rows, ascending; all where there are no more."""
    if size >= n_rows:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(sequence).choice(n_rows, size, replace=False, shuffle=False))


def draw_positions(n_rows: int, n_clusters: int, seed: int) -> NDArray[np.int64]:
    """Draw the rows that `seed_centers` chooses from, ascending; they depend on nothing else."""
    return _draw(n_rows, max(_SAMPLE_PER_CLUSTER * n_clusters, _LEAST), _streams(seed)[0])


@dataclass(frozen=True)
class Seeds:
    """First centers for any number of clusters up to the one that they were drawn for.

    The first choices of k-means++ are its choices for fewer clusters, so one choice serves them all.

    Attributes
    ----------
    rows : Rows
    chosen : ndarray of shape (n_chosen, n_features)
        Distinct rows in the order in which they were chosen.
    sample : Sample or None
        The rows on which they are moved; None where they stay as they are.
    """

    rows: Rows
    chosen: NDArray[Any]
    sample: Sample | None = None

    def centers(self, n_clusters: int, say: _Say = _silent) -> NDArray[Any]:
        """Give the first centers, shape (n_clusters, n_features): float32 on the grid, or float64.

        Raises
        ------
        DistinctRowsError
            If the data holds fewer distinct rows than `n_clusters`.
        """
        if n_clusters <= len(self.chosen):
            centers = self.chosen[:n_clusters]
            if self.sample is not None:
                say("moving")
                centers = self.sample.move(centers, _STEPS)
        else:  # The sample may have missed some: all rows decide.
            centers = find_distinct_rows(self.rows, n_clusters)
            if len(centers) < n_clusters:
                raise DistinctRowsError(
                    f"the data holds {len(centers)} distinct rows, fewer than the {n_clusters} clusters "
                    f"asked for. Use --k {len(centers)} or less."
                )
        snapped: NDArray[Any] = arithmetic(self.rows.dtype).snap(centers, self.rows.dtype)
        return snapped


def seed_centers(rows: Rows, n_clusters: int, init: str, seed: int, say: _Say = _silent) -> NDArray[Any]:
    """Draw `n_clusters` centers; see `draw_seeds` and `Seeds.centers`.

    "k-means||" of few colors is the best of several starts.
    """
    if init == "k-means||" and is_palette(rows.dtype, rows.n_features, n_clusters):
        say("reading the sample")
        colors, times = count_distinct(rows.take(draw_positions(rows.n_rows, n_clusters, seed)))
        if len(colors) >= n_clusters:
            say("choosing the best of several starts")
            own = int(_streams(seed)[3].generate_state(1)[0])
            return find_starts(colors, times, n_clusters, own, rows.n_rows)[0]
    return draw_seeds(rows, n_clusters, init, seed, say).centers(n_clusters, say)


def is_palette(dtype: np.dtype[Any], n_features: int, n_clusters: int) -> bool:
    """Tell whether seeds of "k-means||" are the best of several starts: for few colors."""
    return n_clusters <= _PALETTE and n_features <= 4 and is_exact(dtype)


def draw_seeds(rows: Rows, n_clusters: int, init: str, seed: int, say: _Say = _silent) -> Seeds:
    """Draw seeds for up to `n_clusters` clusters.

    Parameters
    ----------
    rows : Rows
    n_clusters : int
    init : {"k-means||", "k-means||-cached", "k-means++", "random"}
        All choose from a sample of 50 rows a cluster, at least 20,000; the first two draw their candidates
        from 12 of them a cluster (20,000 at least), and move the seeds on the sample.
    seed : int
    say : callable
        Is told what is being done.
    """
    _, drawing, filling, choosing = _streams(seed)
    say("reading the sample")
    drawn = rows.take(draw_positions(rows.n_rows, n_clusters, seed))
    sample = Sample(*count_distinct(drawn), rows.cluster.n_threads())
    if init == "random" or len(sample.rows) < n_clusters:  # of which the choice would be all
        return Seeds(rows, _first_distinct(sample, n_clusters, np.random.default_rng(drawing)))
    if init == "k-means++":
        return Seeds(rows, _choose(sample.rows, sample.times, n_clusters, drawing, say))
    draw = draw_by_dask_ml if init == "k-means||" else draw_cached
    every = np.repeat(np.arange(len(sample.rows)), sample.times)
    from_, rounds = drawing.spawn(2)
    part = every[_draw(len(every), max(_DRAWN_PER_CLUSTER * n_clusters, _LEAST), from_)]
    candidates = draw(sample.rows[part], n_clusters, rounds, say)
    candidates = fill_up(candidates, sample.rows, n_clusters, np.random.default_rng(filling))
    say(f"weighing {len(candidates):,} candidates")
    weights = sample.weigh(candidates)
    return Seeds(rows, _choose(candidates, weights, n_clusters, choosing, say), sample)


def _first_distinct(sample: Sample, n: int, rng: np.random.Generator) -> NDArray[Any]:
    """Take the first `n` distinct rows of a sample in random order."""
    shuffled = rng.permutation(np.repeat(np.arange(len(sample.rows)), sample.times))
    _, first = np.unique(shuffled, return_index=True)
    return np.take(sample.rows, shuffled[np.sort(first)[:n]], axis=0)


def _choose(
    rows: NDArray[Any], weights: NDArray[Any], n: int, sequence: np.random.SeedSequence, say: _Say
) -> NDArray[Any]:
    """Choose `n` of some distinct rows by greedy k-means++ with weights, in the order of the choices."""
    if not is_exact(rows.dtype):
        from sklearn.cluster import kmeans_plusplus

        state = int(sequence.generate_state(1)[0])
        say("choosing")
        _, chosen = kmeans_plusplus(centered(rows), n, sample_weight=weights, random_state=state)
        return np.take(rows, np.asarray(chosen, np.int64), axis=0)
    from dkmeans.kernels.plusplus import choose_greedily

    n_chosen = 0

    def tell(more: int) -> None:
        nonlocal n_chosen
        n_chosen += more
        say(f"choosing, {n_chosen:,} of {n:,}")

    rng = np.random.default_rng(sequence)
    return np.take(rows, choose_greedily(rows, weights, n, rng, on_choices=tell), axis=0)


def _distinct(block: Block, n: int) -> NDArray[Any]:
    return np.unique(block.rows(), axis=0)[:n]


def find_distinct_rows(rows: Rows, n: int) -> NDArray[Any]:
    """Find the lexicographically first `n` distinct rows of all rows; fewer where there are fewer."""
    find = delayed(_distinct)

    def merge(parts: list[NDArray[Any]]) -> NDArray[Any]:
        return np.unique(np.concatenate(parts), axis=0)[:n]

    found: NDArray[Any] = reduced(rows.cluster, merge, [find(block, n) for block in rows.blocks])
    return found
