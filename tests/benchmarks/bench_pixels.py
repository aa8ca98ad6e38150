"""One palette for all pixels of a folder: seconds from the dataset on disk to the codebook, and memory.

    python tests/benchmarks/bench_pixels.py --data kodak --k 256 --double

dkmeans fits until it converges, on a local cluster of one worker that is there already; what starting it
costs is told. The others read the same pixels, begin with the same seeds (given to them, while the time of
dkmeans includes making them) and do the same number of iterations, or fewer of the same kind, of which the
rest is reckoned. All in turn, each in a process of its own that is warm.

Columns: `whole s` from the dataset to the centers, `read s` of it for reading and converting; `iterations`
that were run, whose `inertia` it is; `peak MiB` the most that the process ever held, with its worker;
`x dkmeans` how many times as long as dkmeans it all takes.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import harness
import numpy as np
from peers import OURS, PEERS, PHOTOS, exact_inertia

from dkmeans import ClusterConfig, FitConfig, IngestConfig, fit, ingest, open_codebook, open_dataset
from dkmeans.artefacts.codebook import HISTORY
from dkmeans.clustering.counted import count_stored_rows
from dkmeans.clustering.seeding import draw_positions, seed_centers
from dkmeans.compute.connecting import connect
from dkmeans.compute.in_process import InProcess
from dkmeans.events.reporter import Reporter
from dkmeans.images.encode import encode_png
from dkmeans.storage.store import Store

_TWICE = f"{OURS}, twice the pixels"
_COLUMNS = {
    "library": "",
    "pixels": ",d",
    "whole s": ".3f",
    "read s": ".3f",
    "iterations": "d",
    "s/iteration": ".4f",
    "peak MiB": ".0f",
    "inertia": ".8g",
    f"x {OURS}": ".2f",
}
_WARM_PIXELS = 20_000
_QUIET = Reporter(level="warning")


def our_fit(dataset: str, codebook: str, options: dict) -> dict:
    """A fit of dkmeans, after one of a single iteration."""
    workers = ClusterConfig(workers=1, threads_per_worker=options["threads"], device="cpu")
    wanted = FitConfig(
        dataset=dataset,
        codebook=codebook,
        k=options["k"],
        tol=options["tol"],
        max_iter=options["max_iter"],
        seed=options["seed"],
        relaxation=1,  # the steps of scikit-learn
        min_gain=0,
        overwrite=True,
    )
    began = time.perf_counter()
    with connect(workers, _QUIET) as cluster:
        start = time.perf_counter() - began
        fit(wanted.model_copy(update={"max_iter": 1}), cluster, _QUIET)
        with harness.timed() as whole:
            report = fit(wanted, cluster, _QUIET)
        peak = harness.peak_mib() + sum(cluster.client.run(harness.peak_mib).values())
    seconds = float(open_codebook(codebook).history[:, HISTORY.index("seconds")].mean())
    return {
        "whole": whole.seconds,
        "start": start,
        "n_iter": report.n_iter,
        "seconds": seconds,
        "peak": peak,
        "converged": report.converged,
    }


def peer_fit(name: str, dataset: str, folder: str, n_iter: int, steps: int, threads: int) -> dict:
    """A fit of another library from the same seeds: the time of `n_iter`, reckoned from `steps`."""
    peer, seeds = PEERS[name], np.load(Path(folder, "seeds.npy"))
    pixels = open_dataset(dataset).pixels
    peer.fit(peer.prepare(pixels[:_WARM_PIXELS], threads), seeds, 2, threads)
    with harness.timed() as reading:
        data = peer.prepare(pixels[:], threads)
    with harness.timed() as fitting:
        found = peer.fit(data, seeds, steps, threads)
    np.save(Path(folder, f"{name}.npy"), found.centers)
    return {
        "whole": reading.seconds + fitting.seconds * n_iter / steps,
        "read": reading.seconds,
        "n_iter": found.n_iter,
        "seconds": fitting.seconds / found.n_iter,
        "peak": harness.peak_mib(),
    }


def child(name: str, dataset: str, folder: str, options: dict) -> dict:
    """One measurement in this process."""
    codebook = str(Path(folder, OURS))
    if name == OURS:
        return our_fit(dataset, codebook, options)
    if name == _TWICE:
        return our_fit(dataset, str(Path(folder, "twice")), options)
    n_iter = open_codebook(codebook).manifest.n_iter
    steps = min(n_iter, options["peer_iterations"] or n_iter)
    return peer_fit(name, dataset, folder, n_iter, steps, options["threads"])


def measure(folder: Path, options: argparse.Namespace, name: str, number: int) -> dict:
    """One measurement of one library, by a child."""
    threads = 1 if name in PEERS and PEERS[name].own_threads else options.threads
    given = {"dataset": str(dataset_of(folder, name)), "folder": str(folder), "options": vars(options)}
    return harness.in_child(__file__, threads, name=name, **given)


def dataset_of(folder: Path, name: str) -> Path:
    """The dataset that a line of the table is about."""
    return folder / ("two-dataset" if name == _TWICE else "one-dataset")


def write_photos(folder: Path) -> str:
    """A folder of scikit-image's photos."""
    from skimage import data

    folder.mkdir()
    for name in PHOTOS:
        Path(folder, f"{name}.png").write_bytes(encode_png(getattr(data, name)()))
    return str(folder)


def make_datasets(folder: Path, options: argparse.Namespace) -> None:
    """The pixels as a dataset, also twice if asked for, and the seeds of the fit."""
    cluster = InProcess(options.threads, device="cpu")
    source = options.data or write_photos(folder / "photos")
    ingest(IngestConfig(source=source, dataset=str(folder / "one-dataset"), color=options.color), cluster)
    if options.double:
        for copy in ("a", "b"):
            shutil.copytree(source, folder / "two" / copy)
        two = IngestConfig(
            source=str(folder / "two"), dataset=str(folder / "two-dataset"), color=options.color
        )
        ingest(two, cluster)
    dataset = open_dataset(str(folder / "one-dataset"))
    positions = draw_positions(dataset.manifest.n_pixels, options.k, options.seed)
    rows = count_stored_rows(Store(dataset.url), "pixels", cluster, positions)
    np.save(folder / "seeds.npy", seed_centers(rows, options.k, "k-means||", options.seed))


def line(name: str, rounds: list[dict], folder: Path) -> dict:
    """What the table says of one library, but how it compares."""
    if not rounds:
        return {"library": name}
    pixels = open_dataset(str(dataset_of(folder, name))).pixels[:]
    ours = {OURS: OURS, _TWICE: "twice"}.get(name)
    centers = open_codebook(str(folder / ours)).centers if ours else np.load(folder / f"{name}.npy")
    return {
        "library": name,
        "pixels": len(pixels),
        "whole s": harness.median(rounds, "whole"),
        "read s": None if ours else harness.median(rounds, "read"),
        "iterations": rounds[0]["n_iter"],
        "s/iteration": harness.median(rounds, "seconds"),
        "peak MiB": max(one["peak"] for one in rounds),
        "inertia": exact_inertia(pixels, centers),
    }


def main(argv: list[str] | None = None) -> dict:
    """Ingest the pixels, measure all libraries in turn and print a table."""
    parser = harness.parser(__doc__, k=256, color="rgb", rounds=1)
    harness.add_peer_option(parser, PEERS, chosen=["scikit-learn"])
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--max-iter", type=int, default=300)
    parser.add_argument("--peer-iterations", type=int, default=0, help="0: as many as dkmeans")
    parser.add_argument("--double", action="store_true", help="also fit with every image twice")
    options = parser.parse_args(argv)
    names, missing = harness.who_comes([name for name in options.peers if PEERS[name].exact], PEERS)
    facts = {**harness.facts(options), "missing": missing}
    print(harness.heading("One palette", facts))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_datasets(folder, options)
        names += [_TWICE] if options.double else []
        measured = harness.interleaved(names, options.rounds, partial(measure, folder, options))
        lines = [line(name, rounds, folder) for name, rounds in measured.items()]
    harness.compare(lines, "whole s", f"x {OURS}")
    print(harness.table(lines, _COLUMNS))
    start, converged = harness.median(measured[OURS], "start"), measured[OURS][0]["converged"]
    print(f"converged: {converged}; a local cluster starts in {start:.1f} s, not counted above")
    return harness.finish({"facts": facts, "table": lines, "rounds": measured}, options.json)


if __name__ == "__main__":
    harness.run(main, child)
