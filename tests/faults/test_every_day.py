"""A bucket that grows, a job file that is run each day, a fault in each: outputs are those of calm days."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path

import pytest
from faults.conftest import run
from faults.place import cluster_of, dkmeans, first_of, stored
from faults.test_killed import finish

import dkmeans as package
from dkmeans.artefacts.codebook import open_codebook
from dkmeans.storage.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
JOB = Path(package.__file__).parents[1] / "jobs" / "daily.toml"
KEYS = ["astronaut.png", "astronaut2.png", "cat.jpg", "deep/coffee.png", "deep/er/cup.bmp"]


class Days:
    """The bucket, and the job file as a user would change it."""

    def __init__(self, photos, root, folder):
        self.photos, self.root, self.file = photos, root, folder / "daily.toml"
        self.names = {"palette": "palette-1.zarr", "codes": "codes-1.zarr"}
        self.write()

    def write(self, **fit):
        text = JOB.read_text(encoding="utf-8")
        for old, new in {
            '"../demo/photos"': f'"{self.root}/photos"',
            '"../daily/': f'"{self.root}/',
            "palette-1.zarr": self.names["palette"],
            "codes-1.zarr": self.names["codes"],
            "[ingest]": "[ingest]\nshard_mib = 0.006",
            "k = 64": "k = 6\nmax_iter = 9",
        }.items():
            text = text.replace(old, new)
        for name, value in fit.items():
            text = text.replace("once = true", f'once = true\n{name} = "{value}"')
        self.file.write_text(text)

    def arrive(self, day):
        key = KEYS[day - 1]
        Store(f"{self.root}/photos").put(f"2026-11-0{day}/{key}", (self.photos / key).read_bytes())

    def command(self, *scheduler):
        return ["run", str(self.file), "--resume", *scheduler]

    def check(self):
        """Each output is that of a calm run over all images that are there."""
        fresh = f"{self.root}/fresh-{len(Store(f'{self.root}/photos').list())}"
        source, dataset = f"{self.root}/photos", f"{self.root}/photos.zarr"
        palette = f"{self.root}/{self.names['palette']}"
        run(["ingest", source, f"{fresh}/photos.zarr", "--shard-mib", "0.006"])
        run(["compress", dataset, palette, f"{fresh}/codes"])
        run(["quantize", source, f"{fresh}/few-colors", "--palette", palette])
        assert stored(f"{fresh}/photos.zarr") == stored(dataset)
        assert stored(f"{fresh}/codes") == stored(f"{self.root}/{self.names['codes']}")
        files = [read_images(f"{place}/few-colors") for place in (fresh, self.root)]
        assert files[0] == files[1]
        assert len(files[0]) == len(Store(source).list())


def read_images(url):
    return {key: data for key, data in stored(url).items() if not key.startswith(".dkmeans/")}


def test_five_days(photos, outputs, proxy, tmp_path):
    days = Days(photos, f"{outputs.root}/days", tmp_path)

    # The driver dies, twice, in the middle of its work.
    days.arrive(1)
    for number in (20, 30):
        process = dkmeans(*days.command("--scheduler", "sync"))
        proxy.plan(first_of("PUT", number, process.kill))
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
    proxy.plan(lambda *_: None)
    run(days.command())
    days.check()
    centers = open_codebook(f"{days.root}/palette-1.zarr").manifest.centers_sha256

    # A worker dies.
    days.arrive(2)
    with cluster_of(tmp_path, "one", "two") as hosts:
        proxy.plan(first_of("PUT", 12, lambda: hosts.kill("one")))
        finish(dkmeans(*days.command("--scheduler", hosts.file)))
        assert hosts.processes["one"].poll() == -signal.SIGKILL
    proxy.plan(lambda *_: None)
    days.check()

    # The store fails again and again.
    days.arrive(3)
    faults = itertools.cycle(("503", "reset", "lost", "cut", "503 after"))
    proxy.plan(lambda method, path, number: next(faults) if number % 7 == 6 else None)
    run(days.command())
    proxy.plan(lambda *_: None)
    days.check()

    # The scheduler dies, and the day is done by the next run.
    days.arrive(4)
    with cluster_of(tmp_path, "one") as hosts:
        proxy.plan(first_of("PUT", 12, lambda: hosts.kill("scheduler")))
        assert "--resume" in finish(dkmeans(*days.command("--scheduler", hosts.file)), code=5)
    proxy.plan(lambda *_: None)
    run(days.command())
    days.check()
    assert open_codebook(f"{days.root}/palette-1.zarr").manifest.centers_sha256 == centers

    # A new codebook from the old one, and the driver dies while it is learned, and while it is used.
    days.arrive(5)
    days.names = {"palette": "palette-2.zarr", "codes": "codes-2.zarr"}
    days.write(**{"from": f"{days.root}/palette-1.zarr"})
    for path in ("palette-2.zarr/checkpoint", "codes-2.zarr/codes"):
        process = dkmeans(*days.command("--scheduler", "sync"))

        def plan(method, at, _, path=path, process=process):
            if method == "PUT" and path in at:
                process.kill()

        proxy.plan(plan)
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, path
    proxy.plan(lambda *_: None)
    run(days.command())
    days.check()
    manifest = open_codebook(f"{days.root}/palette-2.zarr").manifest
    assert manifest.started_from == centers != manifest.centers_sha256

    # Once more on the same day: nothing is written.
    written = []
    proxy.plan(lambda method, path, _: written.append(path) if method in ("PUT", "DELETE") else None)
    run(days.command())
    assert written == []
