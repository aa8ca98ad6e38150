"""What Dask's /metrics shows of a job: the numbers of workers there, those of the driver on the scheduler."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path

import distributed
import pytest

from dkmeans import FitConfig, IngestConfig, fit, ingest, open_codebook
from dkmeans.compute.distributed import Distributed
from dkmeans.events.reporter import Reporter
from dkmeans.storage.access import storage_options, tallies_of_stages

try:
    import prometheus_client  # noqa: F401
except ModuleNotFoundError:  # where CI is set, this is a failure
    pytest.skip("prometheus_client is not installed", allow_module_level=True)

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def scraped(address):
    """The samples that a process of Dask serves, by name; each with its labels."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = defaultdict(list)
    for name, labels, value in SAMPLE.findall(text):
        found[name].append((dict(re.findall(r'(\w+)="(.*?)"', labels)), float(value)))
    return found


def of_stage(pages, name, stage):
    return sum(n for page in pages for labels, n in page[f"dkmeans_{name}"] if labels["stage"] == stage)


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """An ingest and a fit on two workers: their reports, and what scheduler and workers serve then."""
    place = tmp_path_factory.mktemp("run")
    before = tallies_of_stages()  # the scheduler is in this process, which has run other tests
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="2GiB", dashboard_address="127.0.0.1:0"
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
        storage_options({}),
    ):
        there, reporter = Distributed(client, device="cpu"), Reporter(level="warning")
        data = ingest(IngestConfig(source=str(photos), dataset=f"{place}/d", patch=3), there, reporter)
        config = FitConfig(dataset=f"{place}/d", codebook=f"{place}/c", on="patches", k=3, max_iter=300)
        learned = fit(config, there, reporter)
        scheduler = scraped(client.dashboard_link.removesuffix("/status"))
        ports = [(worker["host"], worker["services"]["dashboard"])
                 for worker in client.scheduler_info()["workers"].values()]  # fmt: skip
        workers = [scraped(f"http://{host}:{port}") for host, port in ports]
    return data, learned, open_codebook(f"{place}/c"), scheduler, workers, before


def test_the_scheduler_tells_the_iteration_and_the_inertia(run):
    _, learned, codebook, scheduler, _, _ = run
    assert of_stage([scheduler], "iteration", "fit") == learned.n_iter > 1
    assert of_stage([scheduler], "inertia", "fit") == codebook.manifest.inertia
    assert of_stage([scheduler], "center_shift", "fit") == codebook.history[-1, 1]
    assert of_stage([scheduler], "stage_running", "fit") == 0
    (labels, n) = next(
        each for each in scheduler["dkmeans_part_steps_done"] if each[0]["part"] == "iterations"
    )
    assert (labels["stage"], n) == ("fit", learned.n_iter)


def test_the_workers_tell_what_they_have_done(run):
    data, learned, codebook, scheduler, workers, before = run
    before = defaultdict(float, before.get("fit", {}))
    assert learned.converged
    last = 0 if codebook.history[-1, 1] == 0 else 1  # a step that moves nothing, for counts and inertia
    assert of_stage(workers, "rows_total", "fit") == learned.n_rows * (learned.n_iter + last)
    assert of_stage(workers, "images_read_total", "ingest") == data.n_images == 5
    assert of_stage(workers, "bytes_written_total", "ingest") > 0
    assert of_stage(workers, "bytes_read_total", "fit") > 0
    assert of_stage([scheduler, *workers], "retries_total", "fit") == before["retries"]
    assert of_stage([scheduler], "bytes_written_total", "fit") > before["bytes_written"]  # by the driver
    assert of_stage([scheduler], "rows_total", "fit") == before["rows"]


def test_without_it_nothing_is_served():
    code = "import sys; from dkmeans.compute.metrics import serve; print(serve(), *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    served, *modules = done.stdout.split()
    assert served == "False"
    assert "prometheus_client" not in modules


def test_the_dashboard_asks_for_metrics_that_there_are(run):
    *_, scheduler, workers, _ = run
    there = {*scheduler, *(name for page in workers for name in page)}
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    names = {name for expr in asked for name in re.findall(r"\b(?:dask|dkmeans)_\w+", expr)}
    assert len(names) >= 8
    assert names <= there
