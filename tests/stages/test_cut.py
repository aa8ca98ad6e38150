"""A codebook cut down to a smaller one: its rows counted anew, and a normal codebook to everyone else."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from dkmeans import FitConfig, IngestConfig, fit, ingest, open_codebook, open_coded, open_dataset
from dkmeans.clustering.hierarchy import group_centers, merge_groups
from dkmeans.config.stages import CompressConfig, CutConfig, ReconstructConfig, ReportConfig
from dkmeans.errors import InputError, MismatchError, OutputExistsError, UsageError
from dkmeans.kernels import exact, reference
from dkmeans.report.page import write_report
from dkmeans.stages.compress import compress
from dkmeans.stages.cut import cut
from dkmeans.stages.reconstruct import reconstruct

pytestmark = pytest.mark.filterwarnings("ignore:not converged")


def run(codebook, out, cluster, **options):
    return cut(CutConfig(codebook=str(codebook), cut=str(out), **options), cluster)


@pytest.fixture
def grays(tmp_path, sync):
    """Eight gray pixels of four values, and a codebook of just these."""
    pixels = np.array([[10, 20, 20, 20, 200, 200, 210, 210]], np.uint8)
    np.save(tmp_path / "grays.npy", pixels[np.newaxis])
    data, book = str(tmp_path / "grays.zarr"), str(tmp_path / "four.zarr")
    ingest(IngestConfig(source=str(tmp_path / "grays.npy"), dataset=data, color="gray"), sync)
    fit(FitConfig(dataset=data, codebook=book, n_clusters=4), sync)
    return data, book


def test_four_grays_to_two_by_hand(grays, tmp_path, sync):
    report = run(grays[1], tmp_path / "two", sync, n_clusters=2)
    codebook = open_codebook(str(tmp_path / "two"))
    order = np.argsort(codebook.centers[:, 0])
    assert codebook.centers[order, 0].tolist() == [17.5, 205]
    assert codebook.counts[order].tolist() == [4, 4]
    assert report.inertia == codebook.manifest.inertia == 7.5**2 + 3 * 2.5**2 + 4 * 5**2
    assert (report.n_rows, report.n_features, report.n_clusters, report.n_components) == (8, 1, 2, 1)


@pytest.mark.parametrize(("on", "n_neighbors"), [("pixels", None), ("patches", None), ("patches", 6)])
def test_counts_and_inertia_are_those_of_all_rows(
    dataset, palette, patch_codebook, tmp_path, sync, on, n_neighbors
):
    large = palette if on == "pixels" else patch_codebook
    report = run(large, tmp_path / "c", sync, n_clusters=5, n_neighbors=n_neighbors)
    codebook = open_codebook(str(tmp_path / "c"))
    rows = getattr(open_dataset(dataset), on)[:]
    old = open_codebook(large)
    labels = group_centers(old.centers, 5, n_neighbors).labels
    np.testing.assert_array_equal(codebook.centers, merge_groups(old.centers, old.counts, labels, rows.dtype))
    stats, _ = reference.lloyd_chunk(rows, codebook.centers)
    np.testing.assert_array_equal(codebook.counts, stats.counts)
    assert codebook.counts.sum() == len(rows) == report.n_rows
    assert report.inertia == exact.inertia(stats, codebook.centers, np.dtype(np.uint8))
    assert report.inertia > old.manifest.inertia
    assert (codebook.on, codebook.n_clusters) == (on, 5)
    assert (codebook.manifest.dataset, codebook.manifest.max_iter) == (dataset, 1)
    assert codebook.manifest.dataset_digest == open_dataset(dataset).manifest.digest
    assert codebook.manifest.cut_from == old.manifest.centers_sha256
    np.testing.assert_array_equal(codebook.history[:, :3], [[report.inertia, 0, len(rows)]])


def test_the_same_bits_on_workers_that_stream(patch_codebook, tmp_path, sync, workers, monkeypatch):
    here = run(patch_codebook, tmp_path / "a", sync, n_clusters=4, n_neighbors=8)
    monkeypatch.setattr(type(workers), "memory_bytes", lambda _: 1)
    there = run(patch_codebook, tmp_path / "b", workers, n_clusters=4, n_neighbors=8)
    assert (here.inertia, here.centers_sha256) == (there.inertia, there.centers_sha256)


def test_other_stages_take_a_cut_codebook(dataset, palette, patch_codebook, tmp_path, sync):
    run(palette, tmp_path / "colors", sync, n_clusters=3)
    run(patch_codebook, tmp_path / "patches", sync, n_clusters=6)
    out = [str(tmp_path / "compressed"), str(tmp_path / "reconstructed")]
    compress(CompressConfig(dataset=dataset, codebook=str(tmp_path / "colors"), result=out[0]), sync)
    reconstruct(ReconstructConfig(dataset=dataset, codebook=str(tmp_path / "patches"), result=out[1]), sync)
    counts = np.bincount(open_coded(out[0]).codes[:], minlength=3)
    np.testing.assert_array_equal(counts, open_codebook(str(tmp_path / "colors")).counts)
    assert write_report(ReportConfig(page=str(tmp_path / "page.html"), results=out)).n_results == 2


def test_a_cut_can_be_cut_again(palette, tmp_path, sync):
    run(palette, tmp_path / "six", sync, n_clusters=6)
    report = run(tmp_path / "six", tmp_path / "one", sync, n_clusters=1)
    assert report.inertia > open_codebook(str(tmp_path / "six")).manifest.inertia


def test_a_graph_in_parts_is_said(grays, tmp_path, sync):
    with pytest.warns(UserWarning, match=r"graph of 1 nearest neighbors is in 2 parts.*--n-neighbors"):
        report = run(grays[1], tmp_path / "one", sync, n_clusters=1, n_neighbors=1)
    assert report.n_components == open_codebook(str(tmp_path / "one")).manifest.n_components == 2


def test_finished_output(palette, tmp_path, sync, dataset):
    first = run(palette, tmp_path / "c", sync, n_clusters=4)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run(palette, tmp_path / "c", sync, n_clusters=4)
    again = run(palette, tmp_path / "c", sync, n_clusters=4, resume=True)
    assert (again.centers_sha256, again.inertia) == (first.centers_sha256, first.inertia)
    with pytest.raises(UsageError, match="n_clusters = 4, found 5"):
        run(palette, tmp_path / "c", sync, n_clusters=5, resume=True)
    assert run(palette, tmp_path / "c", sync, n_clusters=5, overwrite=True).n_clusters == 5
    with pytest.raises(UsageError, match="overlap"):
        run(palette, palette, sync, n_clusters=2, overwrite=True)
    with pytest.raises(UsageError, match="overlap"):
        run(palette, dataset, sync, n_clusters=2, overwrite=True)


def test_resume_sees_that_the_codebook_is_another(grays, tmp_path, sync):
    run(grays[1], tmp_path / "c", sync, n_clusters=2)
    fit(FitConfig(dataset=grays[0], codebook=grays[1], n_clusters=3, overwrite=True), sync)
    with pytest.raises(UsageError, match=r"begun from another input.*--overwrite"):
        run(grays[1], tmp_path / "c", sync, n_clusters=2, resume=True)


def test_refusals(grays, palette, tmp_path, sync):
    data, book = grays
    with pytest.raises(UsageError, match=r"k: found 4, .* has 4 clusters; .*--k 3 or less") as caught:
        run(book, tmp_path / "c", sync, n_clusters=4)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match=r"n_neighbors: found 4, .* has 3 neighbors. Use --n-neighbors 3"):
        run(book, tmp_path / "c", sync, n_clusters=2, n_neighbors=4)
    with pytest.raises(InputError, match="nothing is there; expected a codebook"):
        run(tmp_path / "none", tmp_path / "c", sync, n_clusters=2)
    fit(FitConfig(dataset=data, codebook=str(tmp_path / "one"), n_clusters=1), sync)
    with pytest.raises(UsageError, match=r"has 1 clusters; expected fewer. Fit with a larger --k"):
        run(tmp_path / "one", tmp_path / "c", sync, n_clusters=1)
    np.save(tmp_path / "other.npy", np.arange(8, dtype=np.uint8).reshape(1, 1, 8))
    other = IngestConfig(source=str(tmp_path / "other.npy"), dataset=data, color="gray", overwrite=True)
    ingest(other, sync)
    with pytest.raises(MismatchError, match=r"has changed since .* was fit on it"):
        run(book, tmp_path / "c", sync, n_clusters=2)
    shutil.rmtree(data)
    with pytest.raises(InputError, match=r"the rows that .*four.zarr was fit on.*nothing is there"):
        run(book, tmp_path / "c", sync, n_clusters=2)
    assert not (tmp_path / "c").exists()


def test_a_run_that_died_is_resumed(palette, tmp_path, sync, monkeypatch):
    whole = run(palette, tmp_path / "whole", sync, n_clusters=4)

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("dkmeans.artefacts.held.Claim.commit", die)
        with pytest.raises(KeyboardInterrupt):
            run(palette, tmp_path / "c", sync, n_clusters=4)
    with pytest.raises(UsageError, match="--resume"):
        run(palette, tmp_path / "c", sync, n_clusters=4)
    assert run(palette, tmp_path / "c", sync, n_clusters=4, resume=True).inertia == whole.inertia


def test_the_command(palette, tmp_path, dkmeans):
    options = ["--k", "3", "--n-neighbors", "5", "--scheduler", "sync", "--json"]
    code, out, _ = dkmeans("cut", palette, tmp_path / "c", *options)
    assert code == 0
    assert '"n_clusters": 3' in out
    assert open_codebook(str(tmp_path / "c")).n_clusters == 3
