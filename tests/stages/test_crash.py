"""A stage that dies at any one of its writes leaves nothing visible, and goes on to the same bytes."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import obstore
import pytest
import zarr

from dkmeans import (
    ClusterConfig,
    CompressConfig,
    FitConfig,
    IngestConfig,
    ReconstructConfig,
    compress,
    fit,
    ingest,
    open_codebook,
    reconstruct,
)
from dkmeans.artefacts import checkpoint
from dkmeans.artefacts.kinds import place_of, read_any
from dkmeans.compute.rounds import Here
from dkmeans.config.stages import DecodeConfig, QuantizeConfig
from dkmeans.errors import InputError, OutputTakenError
from dkmeans.events.reporter import Reporter
from dkmeans.stages import decode as decode_module
from dkmeans.stages import fit as fit_module
from dkmeans.stages import ingest as ingest_module
from dkmeans.stages.decode import decode
from dkmeans.stages.quantize import quantize
from dkmeans.stages.shared import archiving, making, recoloring
from dkmeans.storage.store import Store

ORDINARY = ("ingest", "fit", "files", "decode")
SIMILAR = ("compress", "reconstruct", "archive")  # write as ingest does
NAMES = [*ORDINARY, *(pytest.param(name, marks=pytest.mark.slow) for name in SIMILAR)]
EVERY = [pytest.param(name, 1, marks=pytest.mark.slow) for name in (*ORDINARY, *SIMILAR)]
pytestmark = pytest.mark.filterwarnings("ignore:.*not converged")


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
    """Two photos, a dataset of them in a few shards, and two palettes and two codebooks of patches."""
    folder = tmp_path_factory.mktemp("inputs")
    sync = ClusterConfig(scheduler="sync")
    (folder / "photos").mkdir()
    for name in ("astronaut.png", "cat.jpg"):
        (folder / "photos" / name).write_bytes((photos / name).read_bytes())
    names = ("photos", "dataset", "palette", "patches", "palette2", "patches2", "coded", "coded2")
    paths = {name: str(folder / name) for name in names}
    options = {"patch": 8, "stride": 4, "shard_mib": 0.006}
    ingest(IngestConfig(source=paths["photos"], dataset=paths["dataset"], **options), sync)
    for seed, number in enumerate(("", "2")):
        for on, name in (("pixels", "palette"), ("patches", "patches")):
            options = {"k": 4, "on": on, "seed": seed, "max_iter": 3}
            fit(FitConfig(dataset=paths["dataset"], codebook=paths[name + number], **options), sync)
        coded = {"destination": paths["coded" + number], "to": "archive", "seed": seed}
        quantize(QuantizeConfig(source=paths["photos"], k=4, max_iter=2, **coded), sync)
    return paths


def stages(paths):
    """Each stage as a function, and its config as a function of its output."""
    dataset = paths["dataset"]
    return {
        "ingest": (
            ingest,
            lambda url: IngestConfig(source=paths["photos"], dataset=url, patch=8, stride=4, shard_mib=0.006),
        ),
        "fit": (fit, lambda url: FitConfig(dataset=dataset, codebook=url, k=4, max_iter=3)),
        "compress": (
            compress,
            lambda url: CompressConfig(dataset=dataset, codebook=paths["palette"], result=url),
        ),
        "reconstruct": (
            reconstruct,
            lambda url: ReconstructConfig(dataset=dataset, codebook=paths["patches"], result=url),
        ),
        "files": (
            quantize,
            lambda url: QuantizeConfig(source=paths["photos"], destination=url, k=4, max_iter=3),
        ),
        "archive": (
            quantize,
            lambda url: QuantizeConfig(
                source=paths["photos"], destination=url, to="archive", patch=8, k=4, max_iter=3
            ),
        ),
        "decode": (decode, lambda url: DecodeConfig(archive=paths["coded"], images=url)),
    }


def stored(url):
    """All objects but claims, manifest, records, and the history of a fit: these hold times."""
    skip = ("claim/", "history/", "zarr.json", ".dkmeans/")
    return {
        found.key: Store(url).get(found.key) for found in Store(url).list() if not found.key.startswith(skip)
    }


@pytest.mark.parametrize(("name", "step"), [*((name, 5) for name in ORDINARY), *EVERY])
def test_a_crash_at_every_write(name, step, inputs, tmp_path, sync, power):
    stage, config = stages(inputs)[name]
    power.restore()
    stage(config(str(tmp_path / "whole")), sync)
    n_writes, whole = power.writes, stored(str(tmp_path / "whole"))
    assert n_writes > 5
    for fails_at in range(1, n_writes + 1, step):
        url = str(tmp_path / f"crash{fails_at}")
        power.restore(fails_at)
        with pytest.raises(PowerCut):
            stage(config(url), sync)
        power.restore()
        with pytest.raises(InputError, match=r"unfinished|nothing is there"):
            read_any(place_of(Store(url)))
        with pytest.raises(FileNotFoundError):
            zarr.open_group(url, mode="r")
        stage(config(url).model_copy(update={"resume": True}), sync)
        assert stored(url) == whole
        old, new = (read_any(place_of(Store(place))) for place in (str(tmp_path / "whole"), url))
        own = {"config", "nodes", "run", "records"}  # which tell of the URL, or of times
        assert old.model_dump(exclude=own) == new.model_dump(exclude=own)


# Checkpoints


@pytest.fixture
def steps(monkeypatch):
    """A list that grows with each pass over the rows."""
    passes = []
    call = Here.call
    monkeypatch.setattr(Here, "call", lambda *given, **options: passes.append(1) or call(*given, **options))
    return passes


def test_a_fit_that_died_repeats_no_iteration_that_a_checkpoint_holds(inputs, tmp_path, sync, power, steps):
    stage, config = stages(inputs)["fit"]
    power.restore()
    whole = stage(config(str(tmp_path / "whole")), sync)
    n_writes, n_passes = power.writes, len(steps)
    history = open_codebook(str(tmp_path / "whole")).history
    assert (whole.n_iter, n_passes) == (3, 4)  # one more for the labels of the last centers
    kept = set()
    for fails_at in range(1, n_writes + 1):
        url = str(tmp_path / f"crash{fails_at}")
        power.restore(fails_at)
        with pytest.raises(PowerCut):
            stage(config(url), sync)
        power.restore()
        found = checkpoint.load(Store(url))
        before = found[0].history if found else ()
        kept.add(len(before) if found else None)
        steps.clear()
        again = stage(config(url).model_copy(update={"resume": True}), sync)
        assert len(steps) == n_passes - len(before)
        assert (again.centers_sha256, again.inertia, again.n_iter, again.converged) == (
            whole.centers_sha256,
            whole.inertia,
            whole.n_iter,
            whole.converged,
        )
        resumed = open_codebook(url).history
        np.testing.assert_array_equal(resumed[:, :3], history[:, :3])
        assert resumed[: len(before), 3].tolist() == [step.seconds for step in before]
        assert not Store(url).exists("checkpoint.npz")
    assert kept == {None, 0, 1, 2, 3}


def test_a_fit_that_died_between_its_commit_and_its_checkpoint_is_cleaned_by_resume(
    inputs, tmp_path, sync, monkeypatch, steps
):
    stage, config = stages(inputs)["fit"]
    url = str(tmp_path / "book")

    def delete(*_):
        raise PowerCut("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(obstore, "delete", delete)
        with pytest.raises(PowerCut):
            stage(config(url), sync)
    manifest = read_any(Store(url))
    assert Store(url).exists("checkpoint.npz")
    steps.clear()
    report = stage(config(url).model_copy(update={"resume": True}), sync)
    assert not Store(url).exists("checkpoint.npz")
    assert read_any(Store(url)) == manifest
    assert report.centers_sha256 == manifest.centers_sha256
    assert steps == []


# Two runs at a time


def of_another_config(name, paths, config):
    """A config that another run has for the same output; its arrays have the same shapes, or nearly so."""
    other = {
        "ingest": {"blank_threshold": 0.5},
        "fit": {"seed": 1},
        "compress": {"codebook": paths["palette2"]},
        "reconstruct": {"codebook": paths["patches2"]},
        "files": {"dither": "floyd-steinberg"},
        "archive": {"seed": 1},
        "decode": {"archive": paths["coded2"]},
    }
    return config.model_copy(update={"overwrite": True, **other[name]})


class Meanwhile(Reporter):
    """Does something at one of the moments between and in the parts of a stage."""

    def __init__(self, monkeypatch, at, act):
        super().__init__(level="warning")
        self.count, self.at, self.act = 0, at, act
        for module in (making, fit_module, ingest_module, archiving, recoloring, decode_module):
            monkeypatch.setattr(module, "connect", self.connecting(module.connect))

    def moment(self):
        self.count += 1
        if self.count == self.at:
            self.act()

    def connecting(self, connect):
        @contextmanager
        def connected(cluster, reporter, stage, *pixels):
            with connect(cluster, reporter, stage, *pixels) as workers:
                if reporter is self:
                    self.moment()
                yield workers

        return connected

    @contextmanager
    def stage(self, name, total, unit="tasks"):
        with super().stage(name, total, unit) as advance:
            self.moment()
            yield advance
        self.moment()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_is_overwritten_meanwhile_stops_and_changes_nothing(
    name, inputs, tmp_path, sync, monkeypatch
):
    """The newer run has another config and is over before the older one goes on."""
    stage, config = stages(inputs)[name]
    alone = Meanwhile(monkeypatch, None, None)
    stage(config(str(tmp_path / "alone")), sync, alone)
    assert alone.count > 2
    newer = of_another_config(name, inputs, config(str(tmp_path / "newer")))
    stage(newer, sync)
    whole = stored(str(tmp_path / "newer"))
    assert whole != stored(str(tmp_path / "alone"))
    changed = {}
    for at in range(1, alone.count + 1):
        url = str(tmp_path / f"at{at}")
        output = {key: url for key, value in newer if value == str(tmp_path / "newer")}
        with monkeypatch.context() as patched:
            reporter = Meanwhile(patched, at, lambda o=output: stage(newer.model_copy(update=o), sync))
            try:
                stage(config(url), sync, reporter)
                changed[at] = "went on"
            except OutputTakenError:
                pass
            except Exception as error:
                changed[at] = repr(error)
        differs = [key for key, data in stored(url).items() if data != whole.get(key)]
        if differs or stored(url).keys() != whole.keys():
            changed[at, "objects"] = differs
    assert changed == {}
