"""How far a run is, told from what lies at its output."""

from __future__ import annotations

import socket
from datetime import datetime

import numpy as np
import pytest

from dkmeans import ClusterConfig, FitConfig, IngestConfig, fit, ingest
from dkmeans.artefacts import checkpoint
from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.codebook import CodebookManifest
from dkmeans.artefacts.manifests import CHECKPOINT
from dkmeans.artefacts.status import status
from dkmeans.errors import InputError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:not converged")


class Stop(Exception):
    """The run is lost."""


def dying(function, after):
    """`function`, and the end of the run instead of its call number `after` + 1."""
    calls = []

    def call(*given):
        if len(calls) == after:
            raise Stop
        calls.append(1)
        return function(*given)

    return call


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "stack.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8))
    return str(path)


@pytest.fixture(scope="module")
def dataset(source, tmp_path_factory):
    url = str(tmp_path_factory.mktemp("datasets") / "d")
    ingest(IngestConfig(source=source, dataset=url), ClusterConfig(scheduler="sync"))
    return url


def begin_fit(dataset, url, sync, monkeypatch, *, n_saved, **options):
    """A fit that is lost when it has saved so many checkpoints."""
    config = FitConfig(**{"dataset": dataset, "codebook": url, "k": 5, "max_iter": 6, "tol": 0, **options})
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", dying(checkpoint.save, n_saved))
        with pytest.raises(Stop):
            fit(config, sync)


def stored_bytes(url):
    return sum(found.size for found in Store(url).list())


def own(told):
    """Host and time of the run, checked and taken out."""
    assert told.pop("host") == socket.gethostname()
    assert datetime.fromisoformat(told.pop("began")).tzinfo is not None
    return told


def test_of_nothing_there_is_no_status(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(
            InputError, match=r"no run of dkmeans has begun anything there\. Check the path\."
        ):
            status(str(place))
    Store(str(tmp_path / "mine")).put("notes.txt", b"mine")
    Store(str(tmp_path / "mine")).put("zarr.json", b'{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(InputError, match="no run of dkmeans"):
        status(str(tmp_path / "mine"))


def test_an_unfinished_ingest(source, tmp_path, sync, monkeypatch):
    url = str(tmp_path / "d")
    config = IngestConfig(source=source, dataset=url, patch=3, shard_mib=0.0005)
    with monkeypatch.context() as patched:
        patched.setattr(arrays, "write_rows", dying(arrays.write_rows, 2))
        with pytest.raises(Stop):
            ingest(config, sync)
    shards = len(range(0, 4 * 12 * 12, arrays.row_layout(arrays.open_array(Store(url), "pixels")).shard_rows))
    assert shards > 2
    assert own(status(url)) == {
        "url": url,
        "state": "unfinished",
        "kind": "dataset",
        "runs": 1,
        "shards": {"pixels": {"finished": 2, "total": shards}},
        "stored_bytes": stored_bytes(url),
    }
    ingest(config.model_copy(update={"resume": True}), sync)
    told = own(status(url))
    assert (told["state"], told["kind"], told["runs"]) == ("complete", "dataset", 2)
    assert list(told["shards"]) == ["pixels", "patches"]
    assert told["shards"]["pixels"] == {"finished": shards, "total": shards}
    assert told["shards"]["patches"]["finished"] == told["shards"]["patches"]["total"] > 1
    assert told["stored_bytes"] == stored_bytes(url)


def test_a_fit_without_a_checkpoint(dataset, tmp_path, sync, monkeypatch):
    url = str(tmp_path / "c")
    with claim(
        Store(url), CodebookManifest, FitConfig(dataset=dataset, codebook=url, k=5, max_iter=6), "abc"
    ):
        assert own(status(url)) == {
            "url": url,
            "state": "unfinished",
            "kind": "codebook",
            "runs": 1,
            "shards": {},
            "stored_bytes": stored_bytes(url),
            "fit": {"iteration": None, "max_iter": 6},
        }


def test_a_fit_that_has_its_seeds(dataset, tmp_path, sync, monkeypatch):
    url = str(tmp_path / "c")
    begin_fit(dataset, url, sync, monkeypatch, n_saved=1)
    assert status(url)["fit"] == {"iteration": 0, "max_iter": 6, "converged": False, "seconds": 0}


def test_a_fit_under_way_and_complete(dataset, tmp_path, sync, monkeypatch):
    url = str(tmp_path / "c")
    begin_fit(dataset, url, sync, monkeypatch, n_saved=3, init="random")  # which takes more iterations
    history = checkpoint.load(Store(url))[0].history
    assert len(history) == 2
    told = own(status(url))
    assert told.pop("fit") == {
        "iteration": 2,
        "max_iter": 6,
        "converged": False,
        "inertia": history[1].inertia,
        "center_shift": history[1].center_shift,
        "moved": history[1].moved,
        "seconds": history[0].seconds + history[1].seconds,
    }
    assert (told["state"], told["kind"], told["runs"]) == ("unfinished", "codebook", 1)
    begin_fit(dataset, url, sync, monkeypatch, n_saved=1, resume=True, init="random")
    told = own(status(url))
    assert (told["runs"], told["fit"]["iteration"]) == (2, 3)
    options = {"k": 5, "init": "random", "max_iter": 6, "tol": 0, "resume": True}
    fit(FitConfig(dataset=dataset, codebook=url, **options), sync)
    assert own(status(url)) == {
        "url": url,
        "state": "complete",
        "kind": "codebook",
        "runs": 3,
        "shards": {},
        "stored_bytes": stored_bytes(url),
    }


@pytest.mark.parametrize("data", [b"", b"not a zip"])
def test_a_damaged_checkpoint_is_told(dataset, tmp_path, sync, monkeypatch, data):
    url = str(tmp_path / "c")
    begin_fit(dataset, url, sync, monkeypatch, n_saved=2)
    Store(url).put(CHECKPOINT, data)
    (told,) = status(url)["fit"].values()
    assert told.startswith(f"{url}: the checkpoint is damaged: ")
