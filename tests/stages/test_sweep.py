"""A codebook for each of several numbers of clusters, and the curve of them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dkmeans import IngestConfig, SweepConfig, ingest, open_codebook, open_dataset, open_sweep
from dkmeans import sweep as run_sweep
from dkmeans.clustering import seeding
from dkmeans.errors import DistinctRowsError, InputError, OutputExistsError, OutputUnfinishedError, UsageError
from dkmeans.events import words
from dkmeans.kernels import exact, reference
from dkmeans.stages import sweep as stage
from dkmeans.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:not converged")
INITS = ["k-means||", "k-means||-cached", "k-means++", "random"]


def sweep(dataset, out, cluster, k="2:8:2", **options):
    return run_sweep(SweepConfig(dataset=str(dataset), sweep=str(out), k=k, **options), cluster)


@pytest.mark.parametrize("on", ["pixels", "patches"])
def test_the_curves_are_those_of_the_codebooks(dataset, tmp_path, sync, on):
    report = sweep(dataset, tmp_path / "s", sync, on=on, max_iter=4)
    found = open_sweep(str(tmp_path / "s"))
    assert report.n_clusters == found.n_clusters == [2, 4, 6, 8]
    rows = getattr(open_dataset(dataset), on)[:]
    for place, k in enumerate(found.n_clusters):
        book = found.codebook(k)
        assert len(book.centers) == k
        stats, labels = reference.lloyd_chunk(rows, book.centers)
        np.testing.assert_array_equal(book.counts, stats.counts)
        assert report.inertia[place] == exact.inertia(stats, book.centers, np.dtype(np.uint8))
        error = np.mean((rows.astype(float) - book.centers[labels]) ** 2)
        assert report.mse[place] == found.curves["mse"][place] == pytest.approx(error, rel=1e-9)
        assert report.n_iter[place] == book.manifest.n_iter <= 4
        assert report.converged[place] == book.manifest.converged
    assert (report.n_rows, report.n_features) == rows.shape
    assert sorted(report.inertia, reverse=True) == report.inertia


@pytest.mark.parametrize(
    "init", [pytest.param(init, marks=[pytest.mark.slow] * (init != "k-means||-cached")) for init in INITS]
)
def test_the_same_bits_on_any_cluster(dataset, tmp_path, sync, workers, threads, init):
    hashes = set()
    for name, cluster in (("a", sync), ("b", workers), ("c", threads)):
        sweep(dataset, tmp_path / name, cluster, k="3,9", on="patches", init=init, seed=5)
        books = [open_sweep(str(tmp_path / name)).codebook(k) for k in (3, 9)]
        hashes.add(tuple(book.manifest.centers_sha256 for book in books))
    assert len(hashes) == 1


@pytest.mark.parametrize("init", INITS)
def test_the_largest_is_that_of_fit(dataset, tmp_path, sync, init):
    """The seeds are drawn for it."""
    from dkmeans import FitConfig, fit

    sweep(dataset, tmp_path / "s", sync, on="patches", init=init)
    config = FitConfig(dataset=str(dataset), codebook=str(tmp_path / "c"), k=8, on="patches", init=init)
    expected = fit(config, sync).centers_sha256
    assert open_sweep(str(tmp_path / "s")).codebook(8).manifest.centers_sha256 == expected


def test_rows_are_read_once_and_seeds_drawn_once(dataset, tmp_path, sync, monkeypatch):
    calls = []
    for name in ("open_rows", "draw_seeds"):
        original = getattr(stage, name)
        monkeypatch.setattr(
            stage, name, lambda *given, name=name, call=original: calls.append(name) or call(*given)
        )
    sweep(dataset, tmp_path / "s", sync)
    assert calls == ["open_rows", "draw_seeds"]
    sweep(dataset, tmp_path / "s", sync, resume=True)  # all is there
    assert calls == ["open_rows", "draw_seeds"]


def test_fewer_seeds_are_the_first_of_more(dataset, sync, workers):
    from dkmeans.clustering.rows import load_stored_rows

    rows = load_stored_rows(Store(str(dataset)), "patches", workers, 9)
    drawn = seeding.draw_seeds(rows, 9, "k-means++", 3)
    np.testing.assert_array_equal(drawn.centers(4), drawn.centers(9)[:4])


class Died(Exception):
    pass


@pytest.mark.parametrize("k", [4, *(pytest.param(k, marks=pytest.mark.slow) for k in (2, 8))])
def test_a_sweep_that_died_goes_on_to_the_same_bits(dataset, tmp_path, sync, monkeypatch, k):
    whole = sweep(dataset, tmp_path / "whole", sync, on="patches")
    fit_rows = stage.fit_rows

    def die(config, *rest):
        if config.n_clusters == k:
            raise Died
        fit_rows(config, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(stage, "fit_rows", die)
        with pytest.raises(Died):
            sweep(dataset, tmp_path / "s", sync, on="patches")
    with pytest.raises(InputError):
        open_sweep(str(tmp_path / "s"))
    done = [other for other in (2, 4, 6) if other < k]
    for other in done:  # a codebook that is there is whole
        open_codebook(str(tmp_path / "s" / "codebooks" / str(other)))
    if done:
        with pytest.raises(OutputUnfinishedError, match="--resume"):
            sweep(dataset, tmp_path / "s", sync, on="patches")
    calls: list[object] = []
    draw = stage.draw_seeds
    monkeypatch.setattr(stage, "draw_seeds", lambda *given: calls.append("seeds") or draw(*given))
    monkeypatch.setattr(
        stage, "fit_rows", lambda *given: calls.append(given[0].n_clusters) or fit_rows(*given)
    )
    again = sweep(dataset, tmp_path / "s", sync, on="patches", resume=True)
    # Those that were drawn are kept; the first fit died before it asked for any.
    drawn = ["seeds"] if k == 2 else []
    assert [call for call in calls if call == "seeds"] == drawn
    assert [call for call in calls if call != "seeds"] == [other for other in (2, 4, 6, 8) if other >= k]
    assert not (tmp_path / "s" / "seeds").exists()
    assert (again.inertia, again.n_iter) == (whole.inertia, whole.n_iter)


def test_another_list_of_numbers_is_another_sweep(dataset, tmp_path, sync):
    sweep(dataset, tmp_path / "s", sync, k="2,3")
    with pytest.raises(OutputExistsError):
        sweep(dataset, tmp_path / "s", sync, k="2,3")
    with pytest.raises(UsageError, match="n_clusters"):
        sweep(dataset, tmp_path / "s", sync, k="2,4", resume=True)
    sweep(dataset, tmp_path / "s", sync, k="4", overwrite=True)
    assert open_sweep(str(tmp_path / "s")).n_clusters == [4]
    assert not (tmp_path / "s" / "codebooks" / "2").exists()


def test_more_clusters_than_rows(photos, tmp_path, sync):
    ingest(IngestConfig(source=str(photos / "cat.jpg"), dataset=str(tmp_path / "d")), sync)
    with pytest.raises(DistinctRowsError, match="fewer than the 9999 clusters"):
        sweep(tmp_path / "d", tmp_path / "s", sync, k="2,9999")
    assert not (tmp_path / "s").exists()


def test_a_codebook_is_no_sweep(dataset, tmp_path, sync):
    sweep(dataset, tmp_path / "s", sync, k="2")
    with pytest.raises(InputError, match="is a codebook; expected a sweep"):
        open_sweep(str(tmp_path / "s" / "codebooks" / "2"))


def test_the_command(dataset, tmp_path, dkmeans):
    code, out, _ = dkmeans("sweep", dataset, tmp_path / "s", "--k", "1:6", "--scheduler", "sync")
    assert code == 0
    found = open_sweep(str(tmp_path / "s"))
    assert f"elbow at {found.elbow} clusters" in out
    for k, mse in zip(found.n_clusters, found.curves["mse"], strict=True):
        assert re.search(
            rf"^ +{k} +{re.escape(words.number(mse))} +\d+(, not converged)?$", out, re.MULTILINE
        )
    assert not re.search(r"\d\.\d{4}|None", out)


def test_groups_are_found_where_there_are_some(tmp_path, sync):
    """Pixels of five colors, each a little blurred, and pixels of all colors."""
    rng = np.random.default_rng(0)
    colors = np.array([[20, 30, 40], [230, 20, 20], [30, 220, 60], [60, 40, 230], [220, 220, 210]])
    grouped = colors[rng.integers(0, 5, (1, 40, 50))] + rng.normal(0, 6, (1, 40, 50, 3))
    for name, images in (("grouped", grouped), ("even", rng.uniform(0, 255, (1, 40, 50, 3)))):
        np.save(tmp_path / f"{name}.npy", np.clip(np.rint(images), 0, 255).astype(np.uint8))
        source, dataset = str(tmp_path / f"{name}.npy"), str(tmp_path / name)
        ingest(IngestConfig(source=source, dataset=dataset), sync)
    assert sweep(tmp_path / "grouped", tmp_path / "a", sync, k="2:9").n_groups == 5
    assert sweep(tmp_path / "even", tmp_path / "b", sync, k="2:9").n_groups is None
    assert open_sweep(str(tmp_path / "a")).n_groups == 5
    assert "Sweep(a: 8 codebooks, 2 to 9 colors, 2,000 rows, " in repr(open_sweep(str(tmp_path / "a")))
