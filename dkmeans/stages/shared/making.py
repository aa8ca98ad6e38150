"""From a dataset and a codebook to coded images: what compress and reconstruct have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts import files as folders
from dkmeans.artefacts.claims import Finished, claim
from dkmeans.artefacts.codebook import Codebook, open_codebook
from dkmeans.artefacts.coded import COMPARED, CodedImages, CodedManifest
from dkmeans.artefacts.dataset import Dataset, open_dataset
from dkmeans.artefacts.digests import write_digests
from dkmeans.artefacts.files import Files, Wanted
from dkmeans.artefacts.former import read_former, refuse_files
from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.index import write_index
from dkmeans.artefacts.manifests import digest
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import CompressConfig, ReconstructConfig
from dkmeans.errors import UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.images.effort import check_effort
from dkmeans.stages.shared import reusing
from dkmeans.stages.shared.coding import StoredArray, write_codes
from dkmeans.stages.shared.files import output_keys, refuse_originals
from dkmeans.stages.shared.measured import compared_row, totals_of
from dkmeans.stages.shared.remaking import Decoding
from dkmeans.stages.shared.reusing import Reused
from dkmeans.stages.shared.writing import remake_images
from dkmeans.storage.store import Store, open_store

__all__ = ["ResultReport", "Work", "make_result"]

_DECODERS = {"pixels": "palette", "patches": "overlap"}
"""What makes images of the codes of rows of each kind; see `CodedManifest`."""


@dataclass(frozen=True)
class ResultReport:
    """The report of compress or reconstruct; see `dkmeans.stages.shared.writing.Totals` for the measures."""

    result: str
    on: str
    n_images: int
    n_codes: int
    n_clusters: int
    mean_psnr: float | None
    mse: float
    n_exact: int
    image_bytes: int
    digest: str
    seconds: float


@dataclass(frozen=True)
class Work:
    """All that a stage needs to write the arrays of coded images.

    Attributes
    ----------
    dataset : Dataset
    codebook : Codebook
    claim : Claim
    reused : Reused
        What of the result is there already.
    executor : Executor
    reporter : Reporter
    """

    dataset: Dataset
    codebook: Codebook
    claim: Claim[CodedManifest]
    reused: Reused
    executor: Executor
    reporter: Reporter


def make_result(
    config: CompressConfig | ReconstructConfig,
    stage: str,
    on: str,
    check: Callable[[Dataset, Codebook], None],
    write: Callable[[Work], dict[str, Any]],
    executor: ClusterConfig | Executor,
    reporter: Reporter,
) -> ResultReport:
    """Claim a result, write its arrays, compare its images with the originals, and commit it.

    Parameters
    ----------
    config : CompressConfig or ReconstructConfig
    stage : str
        Its name.
    on : {"pixels", "patches"}
        The rows that get codes.
    check : callable
        Refuses, before anything is claimed, what the stage cannot do.
    write : callable
        Writes what decodes the codes, and returns what the manifest tells of it.
    executor : ClusterConfig or Executor
    reporter : Reporter
    """
    began = time.perf_counter()
    check_effort(config.effort)
    dataset, codebook = open_dataset(config.dataset), open_codebook(config.codebook)
    codebook.check_fits(dataset, on)
    check(dataset, codebook)
    folder = None if config.images is None else _checked_folder(config, dataset)
    store = open_store(config.result)
    identity = digest([*dataset.told, codebook.manifest.centers_sha256])
    terms = reusing.terms_of(config, store, folder, _DECODERS[on])
    with claim(store, CodedManifest, config, identity, [dataset.url, codebook.url], terms) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, stage, lambda: dataset.manifest.n_pixels) as workers:
                made = _Making(config, on, dataset, codebook, held, workers, reporter)
                manifest = made.run(folder, identity, write)
    names = ("n_images", "n_codes", "n_clusters", "mean_psnr", "mse", "n_exact", "image_bytes", "digest")
    facts = {name: getattr(manifest, name) for name in names}
    return ResultReport(result=store.url, on=on, seconds=time.perf_counter() - began, **facts)


def _checked_folder(config: CompressConfig | ReconstructConfig, dataset: Dataset) -> Store:
    """The folder for images, unless it holds the originals, or files in the way.

    Raises
    ------
    UsageError
        Naming the folder or the first such file.
    """
    folder = open_store(str(config.images))
    refuse_originals(folder, dataset.manifest.source, "--images")
    former, planned = read_former(folder), set(output_keys(dataset.index.names).values())
    refuse_files(folder, former.strangers(planned), "--images")
    there = planned & former.there.keys()
    if there and not (config.overwrite or config.resume or config.update):
        raise UsageError(
            f"--images: {folder.url} already holds {min(there)}; expected a place without it. Choose another "
            "folder, or pass --overwrite, or --update to do what is new."
        )
    return folder


class _Making:
    """One run of a stage; `run` reads from top to bottom."""

    def __init__(
        self,
        config: CompressConfig | ReconstructConfig,
        on: str,
        dataset: Dataset,
        codebook: Codebook,
        held: Claim[CodedManifest],
        executor: Executor,
        reporter: Reporter,
    ) -> None:
        self.config, self.on = config, on
        self.dataset, self.codebook, self.held = dataset, codebook, held
        self.executor, self.reporter = executor, reporter
        self.rows = StoredArray(dataset.store, on, dataset.space(on))
        self.sources = reusing.find_sources(dataset, codebook)

    def run(
        self, folder: Store | None, identity: str, write: Callable[[Work], dict[str, Any]]
    ) -> CodedManifest:
        dataset, held = self.dataset, self.held
        reused = self.begin()
        if not held.has_group("images"):
            held.discard("images")
            write_index(held, dataset.index)
        if self.sources is not None:  # before the first code that is of these
            write_digests(held, "sources", self.sources)
        centers = self.codebook.centers
        shards = write_codes(held, self.rows, centers, self.executor, self.reporter, reused)
        write_digests(held, "code_digests", shards)
        facts: dict[str, Any] = {
            "decoder": _DECODERS[self.on],
            "dataset": dataset.url,
            "codebook": self.codebook.url,
            "images": None if folder is None else folder.url,
            "space": dataset.space(self.on),
            "n_images": dataset.n_images,
            "n_codes": self.rows.n_rows,
            "n_clusters": self.codebook.n_clusters,
            "centers_sha256": self.codebook.manifest.centers_sha256,
            "measures_columns": COMPARED,
            "digest": digest(shards),
            **write(Work(dataset, self.codebook, held, reused, self.executor, self.reporter)),
        }
        coded = CodedImages(held.store, held.described(**facts))
        table = self.remake(coded, folder, identity, reused)
        held.write_array("images/measures", np.ascontiguousarray(table[:, : len(COMPARED)]))
        return held.commit(**facts, **vars(totals_of(table, np.diff(dataset.index.offset))))

    def begin(self) -> Reused:
        """Find what stays of an earlier result, and take back the rest."""
        if self.held.before not in ("complete", "changed"):
            return reusing.NOTHING
        reused = reusing.find_reused(self.held.store, self.dataset, self.sources, self.rows.layout, self.on)
        if self.held.before == "complete":
            n_done, n_all = len(reused.measures), self.dataset.n_images
            self.reporter.say(f"{n_done} of {n_all} images are coded already, by the same centers")
        reusing.begin_again(self.held, reused)
        return reused

    def remake(
        self, coded: CodedImages, folder: Store | None, identity: str, reused: Reused
    ) -> NDArray[np.float64]:
        """Compare the images with their originals, and write the files; the table of measures."""
        dataset, held, index = self.dataset, self.held, self.dataset.index
        with self.claimed_files(folder, identity) as files:

            def remaking(start: int, stop: int) -> Decoding:
                return Decoding(coded.part(start, stop), dataset.part(start, stop), indexed=files is not None)

            done = remake_images(
                index,
                remaking,
                self.executor,
                self.reporter,
                files=files,
                known={
                    name: compared_row(row) for name, row in zip(index.names, reused.measures, strict=False)
                },
                effort=self.config.effort,
            )
            if files is not None and isinstance(files.held, Claim):
                totals = totals_of(done.table, np.diff(index.offset))
                n_pixels = dataset.manifest.n_pixels
                about = {"source": held.store.url, "n_images": dataset.n_images, "n_pixels": n_pixels}
                about |= {"channels": dataset.channels, "n_clusters": self.codebook.n_clusters}
                files.commit(done.records, **about, image_bytes=totals.image_bytes)
        return done.table

    @contextmanager
    def claimed_files(self, folder: Store | None, identity: str) -> Iterator[Files | None]:
        """Claim the folder for images, where one was asked for."""
        if folder is None:
            yield None
            return
        index, config = self.dataset.index, self.config
        versions = dict.fromkeys(index.names, identity)
        if self.sources is not None:
            versions = reusing.image_versions(self.dataset, self.sources)
        updates = config.update or self.held.base is not None  # which --resume goes on with
        with folders.claim_folder(folder, config, identity, updates=updates) as held:
            keys = {name: (key,) for name, key in output_keys(index.names).items()}
            wanted = Wanted(versions, f"effort {config.effort}", keys)
            yield folders.begin_files(held, read_former(folder), wanted, "--images")
