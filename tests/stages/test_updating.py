"""Coded images that are updated are those that a fresh run makes, and cost what is new."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image
from stages.outputs import PowerCut, read_arrays, read_files

from dkmeans import (
    CompressConfig,
    FitConfig,
    IngestConfig,
    QuantizeConfig,
    ReconstructConfig,
    compress,
    fit,
    ingest,
    open_coded,
    quantize,
    reconstruct,
)
from dkmeans.errors import InputError, OutputExistsError, UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.stages.verify import verify
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

TINY = {"shard_mib": 0.006, "patch": 4, "stride": 3}
MAKERS = {"pixels": (CompressConfig, compress), "patches": (ReconstructConfig, reconstruct)}


class Said(Reporter):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__(level="error")
        self.lines = []

    def say(self, text):
        self.lines.append(text)


class Scene:
    """A folder of images that grows, its dataset, a codebook that stays, and coded images."""

    def __init__(self, folder, cluster, on="pixels"):
        self.folder, self.cluster, self.on = folder, cluster, on
        self.images, self.dataset, self.result = folder / "images", folder / "d", folder / "r"
        self.book, self.png = folder / "book", folder / "png"
        self.images.mkdir()
        self.rng = np.random.default_rng(0)

    def add(self, *names, size=(37, 41, 3)):
        for name in names:
            pixels = self.rng.integers(0, 256, size, dtype=np.uint8)
            pixels[: size[0] // 3] = 0
            Image.fromarray(pixels).save(self.images / name)

    def ingest(self, **options):
        config = {"source": str(self.images), "dataset": str(self.dataset), "update": True, **TINY, **options}
        ingest(IngestConfig(**config), self.cluster)

    def fit(self, seed=0, k=5):
        shutil.rmtree(self.book, ignore_errors=True)
        config = {"dataset": str(self.dataset), "codebook": str(self.book), "on": self.on, "seed": seed}
        fit(FitConfig(**config, k=k, tol=0.01), self.cluster)

    def code(self, result=None, images=None, reporter=None, **options):
        config, make = MAKERS[self.on]
        given = {"dataset": str(self.dataset), "codebook": str(self.book), **options}
        given |= {"images": str(images)} if images else {}
        return make(config(result=str(result or self.result), **given), self.cluster, reporter or Said())

    def fresh(self, images=None):
        """What a fresh run makes: its arrays, manifest and files, and its report."""
        fresh, png = self.folder / "fresh", self.folder / "fresh-png"
        for place in (fresh, png):
            shutil.rmtree(place, ignore_errors=True)
        report = self.code(fresh, png if images else None)
        return (*_facts(fresh), read_files(png) if images else None), report

    def check(self, images=None, fresh=None):
        """See that the result, and its files, are what a fresh run makes, if that is not known already."""
        expected, report = fresh or self.fresh(images)
        assert (*_facts(self.result), read_files(images) if images else None) == expected
        verify(str(self.result))
        if images:
            verify(str(images))
        return report


def _facts(result):
    """Arrays of coded images, and their manifest but for what tells of the run."""
    manifest = open_coded(str(result)).manifest.model_dump()
    del manifest["config"], manifest["run"], manifest["images"]
    return read_arrays(result), manifest


@pytest.fixture(params=MAKERS)
def scene(tmp_path, sync, request):
    made = Scene(tmp_path, sync, request.param)
    made.add("1.png", "2.png", "3.png")
    made.ingest()
    made.fit()
    return made


@pytest.mark.parametrize("files", [False, True], ids=["codes", "and files"])
def test_it_is_what_a_fresh_run_makes(scene, files):
    png = scene.png if files else None
    scene.code(images=png)
    for day in range(4, 7):
        scene.add(f"{day}.png", size=(31 + day, 40, 3))
        scene.add(f"{day}b.png", size=(5, 7, 3))
        scene.ingest()
        report = scene.code(images=png, update=True)
        assert report.n_images == 2 * day - 3
        fresh = scene.check(png)
        assert (report.digest, report.mse, report.mean_psnr) == (fresh.digest, fresh.mse, fresh.mean_psnr)
        assert report.image_bytes == fresh.image_bytes


def test_what_is_there_is_neither_written_nor_read(scene, monkeypatch):
    scene.code(images=scene.png)
    shards = {path: path.stat().st_mtime_ns for path in (scene.result / "codes" / "c").iterdir()}
    files = {path: path.stat().st_mtime_ns for path in scene.png.glob("*.png")}
    assert len(shards) >= 3
    scene.add("4.png")
    scene.ingest()
    first, read, real = [], arrays.read_part, []

    def noted(array, start, stop):
        if "pixels" in str(array.store_path) or "patches" in str(array.store_path):
            first.append(start)
        if str(array.store_path).endswith("codes"):
            real.append(start)
        return read(array, start, stop)

    monkeypatch.setattr(arrays, "read_part", noted)
    scene.code(images=scene.png, update=True)
    monkeypatch.undo()
    changed = [path for path, at in shards.items() if path.stat().st_mtime_ns != at]
    # Patches of an image are new where a part of it is; it ends in a chunk that was not full.
    assert {path.name for path in changed} <= {
        str(len(shards) - n) for n in (1, 2)[: 1 + (scene.on == "patches")]
    }
    redone = {path.name for path, at in files.items() if path.stat().st_mtime_ns != at}
    assert redone <= {"3.png"}
    layout = arrays.row_layout(open_coded(str(scene.result)).codes)
    assert min(real) >= (len(shards) - 2) * layout.shard_rows  # the codes of the last images alone
    assert min(first) > 0
    scene.check(scene.png)


def test_nothing_new_writes_nothing(scene):
    first = scene.code(images=scene.png)
    before = read_arrays(scene.result), {p: p.stat().st_mtime_ns for p in scene.folder.rglob("*.png")}
    again = scene.code(images=scene.png, update=True)
    assert (
        read_arrays(scene.result),
        {p: p.stat().st_mtime_ns for p in scene.folder.rglob("*.png")},
    ) == before
    assert again.digest == first.digest


def test_where_nothing_is_there_it_is_made(scene):
    scene.code(images=scene.png, update=True)
    scene.check(scene.png)


@pytest.mark.parametrize("k", [5, 7, 300])
def test_other_centers_make_all_codes_anew(scene, k):
    scene.code()
    scene.fit(seed=3, k=k)
    said = Said()
    scene.code(update=True, reporter=said)
    assert said.lines[1:] == ["0 of 3 images are coded already, by the same centers"]
    scene.check()


def test_it_says_how_many_are_there(scene):
    scene.code()
    scene.add("4.png")
    scene.ingest()
    said = Said()
    scene.code(update=True, reporter=said)
    assert said.lines[1:] == ["2 of 4 images are coded already, by the same centers"]


def test_a_dataset_that_lost_an_image_in_between(scene):
    scene.code(images=scene.png)
    (scene.images / "2.png").unlink()
    scene.ingest(update=False, overwrite=True)
    scene.code(images=scene.png, update=True)
    (scene.png / "2.png").unlink()  # a file whose image is gone stays until it is deleted
    scene.check(scene.png)


def test_other_options_of_files(scene):
    scene.code(images=scene.png, effort=0)
    scene.code(images=scene.png, effort=6, update=True)
    fresh = scene.folder / "six"
    scene.code(scene.folder / "r6", fresh, effort=6)
    assert read_files(scene.png) == read_files(fresh)
    other = scene.folder / "elsewhere"
    scene.code(images=other, effort=6, update=True)
    assert read_files(other) == read_files(fresh)


def test_what_it_did_not_make_is_refused(scene):
    scene.code()
    other = {"pixels": "patches", "patches": "pixels"}[scene.on]
    scene.on = other
    scene.fit()
    before = read_arrays(scene.result)
    with pytest.raises(UsageError, match="holds coded images of another command"):
        scene.code(update=True)
    with pytest.raises(UsageError, match="holds a codebook"):
        scene.code(_copied(scene.book, scene.folder / "b2"), update=True)
    quantize(
        QuantizeConfig(source=str(scene.images), destination=str(scene.folder / "a"), to="archive", k=4),
        scene.cluster,
    )
    with pytest.raises(UsageError, match="holds coded images of another command"):
        scene.code(scene.folder / "a", update=True)
    assert read_arrays(scene.result) == before


def _copied(source, target):
    shutil.copytree(source, target)
    return target


def test_other_ways_stay(scene):
    scene.code()
    with pytest.raises(OutputExistsError, match="--update to add what is new"):
        scene.code()
    scene.add("4.png")
    scene.ingest()
    with pytest.raises(UsageError, match="the input has changed since"):
        scene.code(resume=True)
    with pytest.raises(UsageError, match="both --overwrite and --update"):
        scene.code(update=True, overwrite=True)


@pytest.mark.parametrize(
    "part", ["sources", "code_digests", "images/measures", "codes/c/0", "mask", "images/name"]
)
def test_a_part_that_is_gone_or_damaged_is_made_again(scene, part):
    scene.code()
    path = scene.result / part
    if path.is_dir():
        for chunk in (path / "c").rglob("*"):
            if chunk.is_file():
                chunk.write_bytes(b"dust")
    elif path.exists():
        path.unlink()
    scene.add("4.png")
    scene.ingest()
    scene.code(update=True)
    scene.check()


@pytest.mark.parametrize("way", ["update", "resume"])
@pytest.mark.parametrize("gone", ["png/2.png", "png", "r/codes/c/0"])
def test_what_somebody_has_deleted_is_made_again(scene, gone, way):
    scene.code(images=scene.png)
    place = scene.folder / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    scene.code(images=scene.png, **{way: True})
    scene.check(scene.png)


WAYS = ("update", "resume", "grown", "centers")


@pytest.mark.parametrize(
    ("after", "step"), [("update", 7), *(pytest.param(way, 1, marks=pytest.mark.slow) for way in WAYS)]
)
def test_it_dies_anywhere(scene, power, after, step):
    """And goes on: by --update or --resume, after the dataset has grown once more, or by other centers."""
    scene.code(images=scene.png)
    scene.add("4.png")
    scene.ingest()
    kept = {place: scene.folder / f"kept-{place.name}" for place in (scene.result, scene.png)}
    for place, copy in kept.items():
        shutil.copytree(place, copy)
    places = (scene.dataset, scene.book)
    now = [_copied(place, scene.folder / f"now-{place.name}") for place in places]
    if after == "grown":
        scene.add("5.png")
        scene.ingest()
    if after == "centers":
        scene.fit(seed=7, k=6)
    later = [_copied(place, scene.folder / f"later-{place.name}") for place in places]
    fresh = scene.fresh(scene.png)

    def turn(copies):
        for place, copy in zip(places, copies, strict=True):
            shutil.rmtree(place)
            shutil.copytree(copy, place)

    n_cut = 0
    while True:
        turn(now)
        for place, copy in kept.items():
            shutil.rmtree(place)
            shutil.copytree(copy, place)
        power["left"] = n_cut
        try:
            scene.code(images=scene.png, update=True)
        except PowerCut:
            pass
        else:
            break
        finally:
            power["left"] = None
        visible = Store(str(scene.result)).exists("zarr.json")
        if visible:
            assert open_coded(str(scene.result)).manifest.n_images in (3, 4)
        else:
            with pytest.raises(InputError, match="--resume"):
                open_coded(str(scene.result))
        turn(later)
        if after == "resume" and visible and open_coded(str(scene.result)).manifest.n_images == 3:
            with pytest.raises(UsageError, match="the input has changed since"):
                scene.code(images=scene.png, resume=True)
        else:
            scene.code(images=scene.png, **{"resume" if after == "resume" else "update": True})
            scene.check(scene.png, fresh)
        n_cut += step
    assert n_cut > 40
    scene.check(scene.png)
