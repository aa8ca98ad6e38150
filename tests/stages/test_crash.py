"""A stage that dies at any one of its writes leaves nothing visible, and goes on to the same bytes."""

from __future__ import annotations

import obstore
import pytest
import zarr

from dkmeans import (
    ClusterConfig,
    CompressConfig,
    FitConfig,
    IngestConfig,
    ReconstructConfig,
    artefact,
    compress,
    fit,
    ingest,
    reconstruct,
    storage,
)
from dkmeans.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:not converged")


class PowerCut(Exception):
    """Not an error that any code expects."""


class Power:
    """Counts the writes to storage, and cuts the power at one of them and after it."""

    def __init__(self, monkeypatch):
        self.writes = 0
        self.fails_at = None
        put, put_async = obstore.put, obstore.put_async

        def counted(*arguments, **options):
            self.count()
            return put(*arguments, **options)

        async def counted_async(*arguments, **options):
            self.count()
            return await put_async(*arguments, **options)

        monkeypatch.setattr(obstore, "put", counted)
        monkeypatch.setattr(obstore, "put_async", counted_async)

    def count(self):
        self.writes += 1
        if self.fails_at is not None and self.writes >= self.fails_at:
            raise PowerCut("the power is gone")

    def restore(self, fails_at=None):
        self.writes, self.fails_at = 0, fails_at


@pytest.fixture
def power(monkeypatch):
    return Power(monkeypatch)


@pytest.fixture(scope="module")
def inputs(photos, tmp_path_factory):
    """Two photos, a dataset of them in a few shards, a palette and a patch codebook."""
    folder = tmp_path_factory.mktemp("inputs")
    sync = ClusterConfig(scheduler="sync")
    (folder / "photos").mkdir()
    for name in ("astronaut.png", "cat.jpg"):
        (folder / "photos" / name).write_bytes((photos / name).read_bytes())
    paths = {name: str(folder / name) for name in ("photos", "dataset", "palette", "patches")}
    options = {"patch": 8, "stride": 4, "shard_mib": 0.006}
    ingest(IngestConfig(source=paths["photos"], dataset=paths["dataset"], **options), sync)
    fit(FitConfig(dataset=paths["dataset"], codebook=paths["palette"], k=4), sync)
    fit(FitConfig(dataset=paths["dataset"], codebook=paths["patches"], k=4, on="patches"), sync)
    return paths


def stages(paths):
    """Each stage as a function, and its config as a function of its output."""
    dataset = paths["dataset"]
    return {
        "ingest": (
            ingest,
            lambda url: IngestConfig(source=paths["photos"], dataset=url, patch=8, stride=4, shard_mib=0.006),
        ),
        "fit": (fit, lambda url: FitConfig(dataset=dataset, codebook=url, k=4, max_iter=2)),
        "compress": (
            compress,
            lambda url: CompressConfig(dataset=dataset, codebook=paths["palette"], result=url),
        ),
        "reconstruct": (
            reconstruct,
            lambda url: ReconstructConfig(dataset=dataset, codebook=paths["patches"], result=url),
        ),
    }


def stored(url):
    """All objects but claim and manifest, and the history of a fit: these hold times."""
    skip = ("claim/", "history/c/", "zarr.json")
    return {
        found.key: storage.read_object(url, found.key)
        for found in storage.list_objects(url)
        if not found.key.startswith(skip)
    }


@pytest.mark.parametrize(
    "name", ["ingest", "fit", "compress", pytest.param("reconstruct", marks=pytest.mark.slow)]
)
def test_a_crash_at_every_write(name, inputs, tmp_path, sync, power):
    stage, config = stages(inputs)[name]
    power.restore()
    stage(config(str(tmp_path / "whole")), sync)
    n_writes, whole = power.writes, stored(str(tmp_path / "whole"))
    assert n_writes > 5
    for fails_at in range(1, n_writes + 1):
        url = str(tmp_path / f"crash{fails_at}")
        power.restore(fails_at)
        with pytest.raises(PowerCut):
            stage(config(url), sync)
        power.restore()
        with pytest.raises(InputError, match=r"unfinished|nothing is there"):
            artefact.read_manifest(url)
        with pytest.raises(FileNotFoundError):
            zarr.open_group(url, mode="r")
        stage(config(url).model_copy(update={"resume": True}), sync)
        assert stored(url) == whole
        old, new = (artefact.read_manifest(place) for place in (str(tmp_path / "whole"), url))
        own = {"config", "image_bytes"}
        assert {key: old[key] for key in old.keys() - own} == {key: new[key] for key in new.keys() - own}
