"""A codebook in a file of another library: read by that library, it says what dkmeans says."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import zipfile

import numpy as np
import pytest

import dkmeans
from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.codebook import CodebookManifest
from dkmeans.config.stages import ExportConfig, FitConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.kernels.reference import lloyd_chunk
from dkmeans.stages.export import export
from dkmeans.stages.shared.targets import open_target, put_target
from dkmeans.storage.store import Store

ALL = ("npz", "sklearn", "faiss")
WHY = "pip install 'dkmeans[export]'"


def run(codebook, out, to="npz", **options):
    return export(ExportConfig(codebook=str(codebook), out=str(out), to=to, **options))


@pytest.fixture(params=["palette", "patch_codebook"])
def codebook(request):
    """One of pixels and one of patches."""
    return dkmeans.open_codebook(request.getfixturevalue(request.param))


@pytest.fixture
def rows(codebook, dataset):
    """The rows that it was fit on."""
    return getattr(dkmeans.open_dataset(dataset), codebook.on)[:]


def test_npz_has_all_of_it_without_a_pickle(codebook, tmp_path):
    report = run(codebook.url, tmp_path / "codebook.npz")
    with np.load(tmp_path / "codebook.npz", allow_pickle=False) as file:
        found = dict(file)
    columns = {f"history_{name}" for name in codebook.manifest.history_columns}
    assert set(found) == {"centers", "counts", "manifest"} | columns
    np.testing.assert_array_equal(found["centers"], codebook.centers)
    np.testing.assert_array_equal(found["counts"], codebook.counts)
    assert (found["centers"].dtype, found["counts"].dtype) == (np.float32, np.int64)
    for column, values in zip(codebook.manifest.history_columns, codebook.history.T, strict=True):
        np.testing.assert_array_equal(found[f"history_{column}"], values)
    stored = json.loads(Store(codebook.url).get("zarr.json"))["attributes"]["dkmeans"]
    assert json.loads(str(found["manifest"])) == stored
    assert report.file_bytes == (tmp_path / "codebook.npz").stat().st_size
    assert (report.out, report.codebook) == (str(tmp_path / "codebook.npz"), codebook.url)
    assert (report.n_clusters, report.n_features) == codebook.centers.shape


def test_sklearn_predicts_what_dkmeans_says(codebook, rows, tmp_path):
    skops = pytest.importorskip("skops.io", reason=WHY)
    run(codebook.url, tmp_path / "codebook.skops", "sklearn")
    model = skops.load(tmp_path / "codebook.skops", trusted=[])  # nothing but scikit-learn and numpy in it
    assert type(model).__module__.startswith("sklearn.cluster")
    np.testing.assert_array_equal(model.cluster_centers_, codebook.centers)
    assert (model.n_clusters, model.n_features_in_) == codebook.centers.shape
    assert (model.inertia_, model.n_iter_) == (codebook.manifest.inertia, codebook.manifest.n_iter)
    assert not hasattr(model, "labels_")  # which are not those of the centers
    labels = model.predict(rows)
    exact = ((rows[:, None].astype(np.float64) - codebook.centers.astype(np.float64)) ** 2).sum(axis=2)
    found = exact[np.arange(len(rows)), labels]
    np.testing.assert_allclose(found, exact.min(axis=1), rtol=1e-9, atol=1e-6)  # float ties
    stats, _ = lloyd_chunk(rows, codebook.centers)
    np.testing.assert_array_equal(stats.counts, codebook.counts)
    assert (labels == exact.argmin(axis=1)).mean() > 0.999
    assert -model.score(rows) == pytest.approx(model.inertia_)


def test_faiss_has_the_centers_bit_for_bit(codebook, rows, tmp_path):
    faiss = pytest.importorskip("faiss", reason=WHY)
    run(codebook.url, tmp_path / "codebook.faiss", "faiss")
    index = faiss.read_index(str(tmp_path / "codebook.faiss"))
    assert (type(index), index.metric_type) == (faiss.IndexFlatL2, faiss.METRIC_L2)
    np.testing.assert_array_equal(index.reconstruct_n(0, index.ntotal), codebook.centers)
    _, nearest = index.search(codebook.centers, 1)
    np.testing.assert_array_equal(codebook.centers[nearest[:, 0]], codebook.centers)
    np.testing.assert_array_equal(codebook.centers, dkmeans.open_codebook(codebook.url).centers)


def needed(to):
    if to != "npz":
        pytest.importorskip({"sklearn": "skops", "faiss": "faiss"}[to], reason=WHY)


@pytest.mark.parametrize("to", ALL)
def test_any_storage(palette, tmp_path, s3_url, to):
    needed(to)
    run(palette, tmp_path / "here", to)
    for url in (f"{s3_url}/deep/there", f"memory://exported/{to}"):
        assert run(palette, url, to).out == url
        folder, _, name = url.rpartition("/")
        data = Store(folder).get(name)
        if to == "sklearn":  # in which skops writes the time
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                assert "schema.json" in file.namelist()
        else:
            assert data == (tmp_path / "here").read_bytes()
        with pytest.raises(UsageError, match=r"out: .* is there already"):
            run(palette, url, to)


@pytest.mark.parametrize("to", ALL)
def test_a_file_in_the_way_stays_unless_it_may_be_overwritten(palette, tmp_path, to):
    needed(to)
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match=r"out: .*out is there already.*pass --overwrite"):
        run(palette, tmp_path / "out", to)
    assert (tmp_path / "out").read_text() == "mine"
    report = run(palette, tmp_path / "out", to, overwrite=True)
    assert (tmp_path / "out").stat().st_size == report.file_bytes > 100
    assert os.listdir(tmp_path) == ["out"]  # and nothing half-written


def test_of_two_writers_at_once_one_wins(tmp_path):
    """The other has come after the look at what is there."""
    (tmp_path / "out").write_text("theirs")
    with pytest.raises(UsageError, match="is there already"):
        put_target(*open_target(str(tmp_path / "out"), "out"), b"ours", "out", overwrite=False)
    assert (tmp_path / "out").read_text() == "theirs"


def test_places_that_are_no_file(palette, tmp_path):
    Store("memory://full/folder").put("below", b"")
    for out in (tmp_path, f"{tmp_path}/new/", "memory://full/folder"):
        with pytest.raises(UsageError, match="is a folder; expected the URL of a file"):
            run(palette, out)
    with pytest.raises(UsageError, match="expected the URL of a file"):
        run(palette, "memory://name")
    before = [found.key for found in Store(palette).list()]
    for out in (f"{palette}/out.npz", f"{palette}/centers/out.npz"):
        with pytest.raises(UsageError, match="would damage it"):
            run(palette, out)
    assert [found.key for found in Store(palette).list()] == before


def test_what_is_no_codebook(dataset, palette, tmp_path):
    with pytest.raises(InputError, match="nothing is there"):
        run(tmp_path / "none", tmp_path / "out")
    with pytest.raises(InputError, match="is a dataset; expected a codebook"):
        run(dataset, tmp_path / "out")
    begun = Store(str(tmp_path / "begun"))
    config = FitConfig(dataset="d", codebook="c", k=2)
    with (
        claim(begun, CodebookManifest, config, "abc"),
        pytest.raises(InputError, match="is unfinished"),
    ):
        run(begun.url, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("to", "module", "package"), [("sklearn", "skops", "skops"), ("faiss", "faiss", "faiss-cpu")]
)
def test_a_library_that_is_missing_is_named(palette, tmp_path, monkeypatch, to, module, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else found(name))
    with pytest.raises(UsageError, match=rf"--to {to} needs {package}, .* pip install 'dkmeans\[export\]'"):
        run(palette, tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_the_command(palette, tmp_path, dkmeans):
    code, out, err = dkmeans("export", palette, tmp_path / "c.npz", "--to", "npz", "--json", "--quiet")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["out"], told["to"], told["n_clusters"]) == (str(tmp_path / "c.npz"), "npz", 10)
    code, _, err = dkmeans("export", palette, tmp_path / "c.npz", "--to", "npz")
    assert code == 2
    assert "is there already" in err
    code, _, err = dkmeans("export", tmp_path / "none", tmp_path / "d.npz", "--to", "npz")
    assert code == 3
    assert "nothing is there" in err
    assert dkmeans("export", palette, tmp_path / "d.npz", "--to", "pickle")[0] == 2
    assert dkmeans("export", palette, tmp_path / "d.npz")[0] == 2
    assert os.listdir(tmp_path) == ["c.npz"]
