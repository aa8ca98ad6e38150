"""A stage that dies at any one of its writes leaves nothing visible, and goes on to the same bytes."""

from __future__ import annotations

import obstore
import pytest
import zarr

from dkmeans import (
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


def stages(photos, dataset, palette, patch_codebook):
    """Each stage as a function of its output."""
    return {
        "ingest": (ingest, lambda url: IngestConfig(source=str(photos), dataset=url, patch=9, stride=5)),
        "fit": (fit, lambda url: FitConfig(dataset=dataset, codebook=url, k=4, max_iter=2)),
        "compress": (compress, lambda url: CompressConfig(dataset=dataset, codebook=palette, result=url)),
        "reconstruct": (
            reconstruct,
            lambda url: ReconstructConfig(dataset=dataset, codebook=patch_codebook, result=url),
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


@pytest.mark.parametrize("name", ["ingest", "fit", "compress", "reconstruct"])
def test_a_crash_at_every_write(name, photos, dataset, palette, patch_codebook, tmp_path, sync, power):
    stage, config = stages(photos, dataset, palette, patch_codebook)[name]
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
