"""Seeds: distinct rows, from the seed alone, no worse than scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.rows import load_stored_rows
from dkmeans.clustering.seeding import draw_positions, seed_centers
from dkmeans.compute.in_process import InProcess
from dkmeans.errors import DistinctRowsError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

INITS = ["k-means||", "k-means||-cached", "k-means++", "random"]


def rows_of(url, values, chunk=100, shard=200):
    width = values.shape[1]
    array = arrays.create_array(
        Store(str(url)),
        "rows",
        shape=values.shape,
        dtype=values.dtype,
        chunks=(chunk, width),
        shards=(shard, width),
    )
    array[:] = values
    return load_stored_rows(Store(str(url)), "rows", InProcess(), 1)


def seeds(rows, n_clusters, init, seed=0):
    return seed_centers(rows, n_clusters, init, seed)


@pytest.fixture(params=[3, 5])
def values(request):
    """Colors, which have starts of their own in the place of k-means||, and longer rows."""
    return np.random.default_rng(1).integers(0, 256, (1500, request.param)).astype(np.uint8)


@pytest.mark.parametrize("init", INITS)
def test_the_seed_decides(tmp_path, values, init):
    rows = rows_of(tmp_path / "a", values)
    again = rows_of(tmp_path / "b", values, 30, 90)
    first = seeds(rows, 20, init, 3)
    np.testing.assert_array_equal(first, seeds(again, 20, init, 3))
    assert (first != seeds(rows, 20, init, 4)).any()
    assert first.shape == (20, values.shape[1])
    assert first.dtype == np.float32
    assert len(np.unique(first, axis=0)) == 20


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_any_order_of_the_rows(tmp_path, values, init, dtype):
    """All of them are the sample."""
    values = values.astype(dtype)
    rows = rows_of(tmp_path / "a", values)
    other = rows_of(tmp_path / "b", np.random.default_rng(9).permutation(values))
    np.testing.assert_array_equal(seeds(rows, 20, init), seeds(other, 20, init))


@pytest.mark.parametrize("init", INITS[:3])
def test_what_is_being_done_is_told(tmp_path, values, init):
    told = []
    seed_centers(rows_of(tmp_path / "a", values), 20, init, 0, told.append)
    drawing, weighing = "drawing, round 1 of ", "weighing "
    parts = {"k-means++": []}.get(init, [drawing, weighing, "moving"])
    parts = ["choosing, 20 of 20", *parts]
    if init == "k-means||" and values.shape[1] == 3:
        parts = ["choosing the best of several starts"]
    for part in ["reading the sample", *parts]:
        assert any(note.startswith(part) for note in told)


def test_colors_start_lower_than_by_rounds(tmp_path):
    """The inertia of a fit is not above that of the seeds that longer rows take, in the mean of some sets."""
    ours, theirs = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        middles = rng.integers(0, 256, (60, 3))
        found = np.clip(middles[rng.integers(60, size=6000)] + rng.normal(0, 9, (6000, 3)), 0, 255)
        rows = rows_of(tmp_path / str(seed), found.astype(np.uint8), 1000, 2000)
        for init, taken in (("k-means||", ours), ("k-means||-cached", theirs)):
            taken.append(lloyd(rows, State(seed_centers(rows, 16, init, seed)), max_iter=50, tol=0).inertia)
    assert np.mean(ours) <= np.mean(theirs)


def test_more_colors_than_an_indexed_image_has_are_drawn_in_rounds(tmp_path):
    told = []
    found = np.random.default_rng(1).integers(0, 256, (3000, 3)).astype(np.uint8)
    seed_centers(rows_of(tmp_path / "a", found), 257, "k-means||", 0, told.append)
    assert told[1].startswith("drawing, round 1")


@pytest.mark.parametrize("init", INITS)
def test_a_bounded_sample_is_the_same_for_any_blocks(tmp_path, init):
    values = np.random.default_rng(6).integers(0, 256, (30_000, 3)).astype(np.uint8)
    rows = rows_of(tmp_path / "a", values, 5000, 10_000)
    again = rows_of(tmp_path / "b", values, 3000, 9000)
    assert len(draw_positions(len(values), 8, 0)) < len(values)
    np.testing.assert_array_equal(seeds(rows, 8, init), seeds(again, 8, init))


def test_a_sample_holds_each_row_once(tmp_path):
    """50 rows a cluster, at least 20,000; all where there are not so many."""
    np.testing.assert_array_equal(draw_positions(20_000, 400, 0), np.arange(20_000))
    for n_clusters, size in [(2, 20_000), (400, 20_000), (500, 25_000)]:
        sample = draw_positions(30_000, n_clusters, 0)
        assert len(sample) == size
        assert (np.diff(sample) > 0).all()
        assert 0 <= sample[0] <= sample[-1] < 30_000
    assert (draw_positions(30_000, 2, 0) != draw_positions(30_000, 2, 1)).any()


@pytest.mark.parametrize("init", INITS)
def test_as_many_clusters_as_distinct_rows(tmp_path, init):
    distinct = np.random.default_rng(2).permutation(256)[:40].astype(np.uint8)[:, None]
    rows = rows_of(tmp_path / "a", np.repeat(distinct, 30, axis=0))
    assert sorted(seeds(rows, 40, init)[:, 0]) == sorted(distinct[:, 0])


@pytest.mark.parametrize("init", INITS)
def test_more_clusters_than_distinct_rows(tmp_path, init):
    rows = rows_of(tmp_path / "a", np.repeat(np.arange(5, dtype=np.uint8)[:, None], 100, axis=0))
    with pytest.raises(DistinctRowsError, match=r"5 distinct rows.*6 clusters.*--k 5 or less"):
        seeds(rows, 6, init)


def test_distinct_rows_that_the_sample_missed_are_found(tmp_path):
    values = np.zeros((300_000, 1), np.uint8)
    rare = np.setdiff1d(np.arange(len(values)), draw_positions(len(values), 4, 0))[[0, 5, -1]]
    values[rare, 0] = 7, 8, 9
    found = seeds(rows_of(tmp_path / "a", values, 50_000, 100_000), 4, "k-means||")
    assert sorted(found[:, 0]) == [0, 7, 8, 9]


def test_heavy_rows_draw_centers(tmp_path):
    """The weights of all rows reach the reduction: without them a far lone row takes a center each."""
    rng = np.random.default_rng(0)
    crowd = np.repeat(rng.integers(0, 20, (300, 1)), 10, axis=0)
    values = np.concatenate([crowd, rng.integers(200, 256, (3, 1))]).astype(np.uint8)
    centers = seeds(rows_of(tmp_path / "a", rng.permutation(values)), 4, "k-means||")
    assert (centers < 100).sum() == 3


@pytest.mark.parametrize("init", INITS[:3])
def test_final_inertia_is_that_of_scikit_learns_seeds(tmp_path, init):
    """Of clusters that overlap: of others one miss weighs so much that it takes many seeds to compare."""
    rng = np.random.default_rng(4)
    middles = rng.integers(0, 256, (40, 8))
    values = np.clip(middles[rng.integers(40, size=4000)] + rng.normal(0, 50, (4000, 8)), 0, 255)
    values = values.astype(np.uint8)
    rows = rows_of(tmp_path / "a", values, 500, 1000)
    ours = []
    for seed in range(3):
        centers = seed_centers(rows, 40, init, seed)
        ours.append(lloyd(rows, State(centers), max_iter=20, tol=0).inertia)
    theirs = [KMeans(40, n_init=1, max_iter=20, tol=0, random_state=s).fit(values / 1.0) for s in range(3)]
    assert np.mean(ours) <= 1.02 * np.mean([model.inertia_ for model in theirs])
