"""A dataset to a codebook: exact, the same bits everywhere, and refusing what it cannot do."""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from dkmeans import ClusterConfig, FitConfig, fit, ingest, open_codebook, open_dataset
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.rows import load_stored_rows
from dkmeans.clustering.seeding import seed_centers
from dkmeans.config.stages import IngestConfig
from dkmeans.errors import (
    DeviceError,
    DistinctRowsError,
    InputError,
    MismatchError,
    OutputExistsError,
    UsageError,
)
from dkmeans.kernels import exact, reference
from dkmeans.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:not converged")


def run(dataset, codebook, cluster, **options):
    return fit(FitConfig(dataset=str(dataset), codebook=str(codebook), **options), cluster)


@pytest.mark.parametrize("on", ["pixels", "patches"])
def test_the_codebook_holds_what_the_report_says(dataset, tmp_path, sync, on):
    report = run(dataset, tmp_path / "c", sync, on=on, n_clusters=7, max_iter=5)
    codebook = open_codebook(str(tmp_path / "c"))
    rows = open_dataset(dataset).pixels if on == "pixels" else open_dataset(dataset).patches
    stats, _ = reference.lloyd_chunk(rows[:], codebook.centers)
    np.testing.assert_array_equal(codebook.counts, stats.counts)
    assert report.inertia == exact.inertia(stats, codebook.centers, np.dtype(np.uint8))
    assert report.centers_sha256 == hashlib.sha256(codebook.centers.astype("<f4").tobytes()).hexdigest()
    assert codebook.history.shape == (report.n_iter, 4)
    assert codebook.manifest.input_digest == open_dataset(dataset).manifest.digest
    assert (report.n_rows, report.n_features) == rows.shape


@pytest.mark.parametrize("on", ["pixels", "patches"])
def test_inertia_is_that_of_scikit_learn(dataset, tmp_path, sync, on, monkeypatch):
    """From the same first centers, after the same number of iterations."""
    rows = getattr(open_dataset(dataset), on)[:].astype(float)
    rng = np.random.default_rng(0)
    # Off the integers: scikit-learn shifts the data by its mean, and breaks ties by rounding errors.
    first = exact.snap(rng.permutation(rows)[:12] + rng.uniform(-0.5, 0.5, rows.shape[1]), np.dtype(np.uint8))
    monkeypatch.setattr("dkmeans.stages.fit.seed_centers", lambda *_: first)
    report = run(dataset, tmp_path / "c", sync, on=on, n_clusters=len(first), max_iter=6, tol=0, relaxation=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = KMeans(len(first), init=first.astype(float), n_init=1, max_iter=6, tol=0).fit(rows)
    assert report.n_iter == theirs.n_iter_
    assert report.inertia == pytest.approx(theirs.inertia_, rel=1e-6)


INITS = ["k-means||", "k-means||-cached", "k-means++", "random"]


@pytest.mark.parametrize("init", INITS)
def test_the_same_bits_on_any_cluster_and_any_shards(photos, tmp_path, sync, workers, threads, init):
    hashes = set()
    for name, shard_mib, cluster in [
        ("a", 64, sync),
        ("b", 0.01, sync),
        ("c", 0.01, workers),
        ("d", 0.003, threads),
    ]:
        config = IngestConfig(source=str(photos), dataset=str(tmp_path / name), shard_mib=shard_mib)
        ingest(config, sync)
        report = run(tmp_path / name, tmp_path / f"{name}.cb", cluster, n_clusters=9, seed=5, init=init)
        hashes.add((report.centers_sha256, report.inertia, report.n_iter))
    assert len(hashes) == 1


@pytest.mark.parametrize("color", ["gray", "rgb"])
@pytest.mark.parametrize("init", INITS)
def test_counted_colors_give_the_bits_of_the_pixels(photos, tmp_path, sync, workers, color, init):
    """Fit counts colors; the loop over the pixels one by one goes the same way."""
    config = IngestConfig(source=str(photos), dataset=str(tmp_path / "d"), color=color, shard_mib=0.01)
    ingest(config, sync)
    counted = run(tmp_path / "d", tmp_path / "a", sync, n_clusters=9, init=init)
    pixels = load_stored_rows(Store(str(tmp_path / "d")), "pixels", workers, 9)
    first = State(seed_centers(pixels, 9, init, 0))
    plain = lloyd(pixels, first, **FitConfig(dataset="", codebook="", n_clusters=9).pace)
    codebook = open_codebook(str(tmp_path / "a"))
    np.testing.assert_array_equal(codebook.centers, plain.centers)
    np.testing.assert_array_equal(codebook.counts, plain.counts)
    assert (counted.inertia, counted.converged) == (plain.inertia, plain.converged)
    steps = [[step.inertia, step.center_shift, step.moved] for step in plain.history]
    np.testing.assert_array_equal(codebook.history[:, :3], steps)  # all but the seconds


def test_streaming_gives_the_same_bits(dataset, tmp_path, workers, sync, monkeypatch):
    resident = run(dataset, tmp_path / "a", sync, n_clusters=5, on="patches")
    monkeypatch.setattr(type(workers), "memory_bytes", lambda _: 1)
    streamed = run(dataset, tmp_path / "b", workers, n_clusters=5, on="patches")
    assert resident.centers_sha256 == streamed.centers_sha256


def test_the_seed_and_nothing_else(dataset, tmp_path, sync):
    first, same, other = (
        run(dataset, tmp_path / name, sync, n_clusters=8, seed=seed, max_iter=3).centers_sha256
        for name, seed in [("a", 1), ("b", 1), ("c", 2)]
    )
    assert first == same != other


def test_more_clusters_than_rows_or_distinct_rows(tmp_path, sync):
    np.save(tmp_path / "stack.npy", np.repeat(np.arange(4, dtype=np.uint8), 9).reshape(1, 6, 6))
    ingest(IngestConfig(source=str(tmp_path / "stack.npy"), dataset=str(tmp_path / "d"), color="gray"), sync)
    with pytest.raises(DistinctRowsError, match=r"found 36 pixels.*fewer than the 37 clusters") as caught:
        run(tmp_path / "d", tmp_path / "c", sync, n_clusters=37)
    assert caught.value.exit_code == 3
    with pytest.raises(DistinctRowsError, match="4 distinct rows, fewer than the 5"):
        run(tmp_path / "d", tmp_path / "c", sync, n_clusters=5)
    assert not (tmp_path / "c" / "claim").exists()  # nothing was written, so the claim was given back
    report = run(tmp_path / "d", tmp_path / "c", sync, n_clusters=4)
    assert report.inertia == 0
    assert open_codebook(str(tmp_path / "c")).counts.tolist() == [9, 9, 9, 9]


def test_one_cluster_is_the_mean(dataset, tmp_path, sync):
    run(dataset, tmp_path / "c", sync, n_clusters=1)
    mean = open_dataset(dataset).pixels[:].mean(axis=0)
    np.testing.assert_allclose(open_codebook(str(tmp_path / "c")).centers[0], mean, atol=2**-15)


def test_refusals(dataset, photos, tmp_path, sync):
    with pytest.raises(InputError, match="nothing is there; expected a dataset"):
        run(tmp_path / "none", tmp_path / "c", sync, n_clusters=2)
    ingest(IngestConfig(source=str(photos), dataset=str(tmp_path / "d")), sync)
    with pytest.raises(InputError, match=r"holds no patches.*Ingest with --patch"):
        run(tmp_path / "d", tmp_path / "c", sync, n_clusters=2, on="patches")
    with pytest.raises(UsageError, match="n_clusters: found 0"):
        FitConfig(dataset="d", codebook="c", n_clusters=0)
    with pytest.raises(UsageError, match="overlap"):
        run(dataset, dataset, sync, n_clusters=2, overwrite=True)
    assert open_dataset(dataset).n_images == 5  # --overwrite has not touched the input
    run(dataset, tmp_path / "c", sync, n_clusters=2)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run(dataset, tmp_path / "c", sync, n_clusters=2)
    with pytest.raises(UsageError, match="n_clusters = 2, found 3"):
        run(dataset, tmp_path / "c", sync, n_clusters=3, resume=True)
    with pytest.raises(InputError, match="is a codebook; expected a dataset"):
        run(tmp_path / "c", tmp_path / "e", sync, n_clusters=2)


def test_a_gpu_that_is_not_there_is_an_error(dataset, tmp_path):
    from dkmeans.kernels import gpu_problem

    if gpu_problem() is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match=r"--device gpu.*--device auto or cpu") as caught:
        run(dataset, tmp_path / "c", ClusterConfig(scheduler="sync", device="gpu"), n_clusters=2)
    assert caught.value.exit_code == 5
    assert not (tmp_path / "c" / "claim").exists()


# From another codebook


def test_a_fit_goes_on_from_another_codebook(dataset, tmp_path, sync):
    """Two steps and then the rest are the plain fit; the first centers are taken as they are."""
    plain = {"n_clusters": 9, "relaxation": 1, "tol": 0, "min_gain": 0}
    whole = run(dataset, tmp_path / "whole", sync, **plain, max_iter=8)
    assert whole.n_iter == 8
    run(dataset, tmp_path / "yesterday", sync, **plain, max_iter=2)
    today = run(dataset, tmp_path / "today", sync, **plain, max_iter=6, start=str(tmp_path / "yesterday"))
    yesterday = open_codebook(str(tmp_path / "yesterday")).manifest
    assert (today.centers_sha256, today.inertia) == (whole.centers_sha256, whole.inertia)
    assert open_codebook(str(tmp_path / "today")).manifest.started_from == yesterday.centers_sha256
    assert open_codebook(str(tmp_path / "whole")).manifest.started_from is None


def test_a_codebook_that_does_not_fit_is_no_start(dataset, tmp_path, sync):
    run(dataset, tmp_path / "nine", sync, n_clusters=9, max_iter=2)
    start = {"start": str(tmp_path / "nine")}
    with pytest.raises(MismatchError, match="has 9 centers, --k is 8"):
        run(dataset, tmp_path / "a", sync, n_clusters=8, **start)
    with pytest.raises(MismatchError, match="was fit on"):
        run(dataset, tmp_path / "a", sync, n_clusters=9, on="patches", **start)
    with pytest.raises(UsageError, match="--init: found random beside --from"):
        run(dataset, tmp_path / "a", sync, n_clusters=9, init="random", **start)
    with pytest.raises(InputError, match="nothing is there"):
        run(dataset, tmp_path / "a", sync, n_clusters=9, start=str(tmp_path / "none"))


def test_another_start_is_another_fit(dataset, tmp_path, sync):
    """Also where it lies at the same URL: what was finished from the other one is not taken for it."""
    start = str(tmp_path / "start")
    run(dataset, start, sync, n_clusters=5, max_iter=1)
    first = run(dataset, tmp_path / "c", sync, n_clusters=5, max_iter=1, start=start)
    again = run(dataset, tmp_path / "c", sync, n_clusters=5, max_iter=1, start=start, resume=True)
    assert again.centers_sha256 == first.centers_sha256
    run(dataset, start, sync, n_clusters=5, max_iter=1, seed=1, overwrite=True)
    with pytest.raises(UsageError, match="another"):
        run(dataset, tmp_path / "c", sync, n_clusters=5, max_iter=1, start=start, resume=True)


def test_once_keeps_a_complete_codebook(photos, tmp_path, sync):
    """Of a dataset that has changed since; one of other options, or unfinished, is not kept."""
    kept, folder = {"n_clusters": 4, "once": True}, tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes((photos / "astronaut.png").read_bytes())
    ingest(IngestConfig(source=str(folder), dataset=str(tmp_path / "d")), sync)
    first = run(tmp_path / "d", tmp_path / "c", sync, **kept)
    assert run(tmp_path / "d", tmp_path / "c", sync, **kept).centers_sha256 == first.centers_sha256
    (folder / "b.png").write_bytes((photos / "cat.jpg").read_bytes())
    ingest(IngestConfig(source=str(folder), dataset=str(tmp_path / "d"), update=True), sync)
    again = run(tmp_path / "d", tmp_path / "c", sync, **kept)
    assert (again.centers_sha256, again.n_rows) == (first.centers_sha256, first.n_rows)
    with pytest.raises(UsageError, match="n_clusters = 4, found 5"):
        run(tmp_path / "d", tmp_path / "c", sync, n_clusters=5, once=True)
    with pytest.raises(OutputExistsError):
        run(tmp_path / "d", tmp_path / "c", sync, n_clusters=4)
    Store(str(tmp_path / "c")).delete(["zarr.json"])  # as a run that died leaves it
    anew = run(tmp_path / "d", tmp_path / "c", sync, **kept)
    assert anew.n_rows > first.n_rows
    assert anew.centers_sha256 == run(tmp_path / "d", tmp_path / "n", sync, n_clusters=4).centers_sha256
