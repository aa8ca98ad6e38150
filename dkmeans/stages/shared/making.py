"""From a dataset and a codebook to coded images: what compress and reconstruct have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from dkmeans.artefacts import files as folders
from dkmeans.artefacts.claims import Finished, claim
from dkmeans.artefacts.codebook import Codebook, open_codebook
from dkmeans.artefacts.coded import COMPARED, CodedImages, CodedManifest
from dkmeans.artefacts.dataset import Dataset, open_dataset
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
from dkmeans.stages.shared.files import output_keys, refuse_originals
from dkmeans.stages.shared.measured import totals_of
from dkmeans.stages.shared.remaking import Decoding
from dkmeans.stages.shared.writing import remake_images
from dkmeans.storage.store import Store, open_store

__all__ = ["ResultReport", "Work", "make_result"]


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
    """All that a stage needs to write the arrays of coded images."""

    dataset: Dataset
    codebook: Codebook
    claim: Claim[CodedManifest]
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
        Writes the arrays, and returns what the manifest tells of them: the decoder and the digest.
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
    with claim(store, CodedManifest, config, identity, [dataset.url, codebook.url]) as held:
        if isinstance(held, Finished):
            manifest = held.manifest
        else:
            with connect(executor, reporter, stage, lambda: dataset.manifest.n_pixels) as workers:
                work = Work(dataset, codebook, held, workers, reporter)
                manifest = _write(work, on, config, folder, identity, write)
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
    if there and not (config.overwrite or config.resume):
        raise UsageError(
            f"--images: {folder.url} already holds {min(there)}; expected a place without it. Choose another "
            "folder, or pass --overwrite."
        )
    return folder


def _write(
    work: Work,
    on: str,
    config: CompressConfig | ReconstructConfig,
    folder: Store | None,
    identity: str,
    write: Callable[[Work], dict[str, Any]],
) -> CodedManifest:
    dataset, held = work.dataset, work.claim
    if not held.has_group("images"):
        write_index(held, dataset.index)
    facts: dict[str, Any] = {
        "dataset": dataset.url,
        "codebook": work.codebook.url,
        "images": None if folder is None else folder.url,
        "space": dataset.space(on),
        "n_images": dataset.n_images,
        "n_codes": getattr(dataset.manifest, f"n_{on}"),
        "n_clusters": work.codebook.n_clusters,
        "centers_sha256": work.codebook.manifest.centers_sha256,
        "measures_columns": COMPARED,
        **write(work),
    }
    coded = CodedImages(held.store, held.described(**facts))
    with _claimed_files(folder, dataset, config, identity) as files:

        def remaking(start: int, stop: int) -> Decoding:
            return Decoding(coded.part(start, stop), dataset.part(start, stop), indexed=files is not None)

        done = remake_images(
            dataset.index, remaking, work.executor, work.reporter, files=files, effort=config.effort
        )
        table = done.table
        totals = totals_of(table, np.diff(dataset.index.offset))
        if files is not None and isinstance(files.held, Claim):
            n_pixels = dataset.manifest.n_pixels
            about = {"source": held.store.url, "n_images": dataset.n_images, "n_pixels": n_pixels}
            about |= {"channels": dataset.channels, "n_clusters": work.codebook.n_clusters}
            files.commit(done.records, **about, image_bytes=totals.image_bytes)
    held.write_array("images/measures", np.ascontiguousarray(table[:, : len(COMPARED)]))
    return held.commit(**facts, **vars(totals))


@contextmanager
def _claimed_files(
    folder: Store | None, dataset: Dataset, config: CompressConfig | ReconstructConfig, identity: str
) -> Iterator[Files | None]:
    """Claim the folder for images, where one was asked for."""
    if folder is None:
        yield None
        return
    with folders.claim_folder(folder, config, identity) as held:
        keys = {name: (key,) for name, key in output_keys(dataset.index.names).items()}
        wanted = Wanted(dict.fromkeys(keys, identity), "", keys)
        yield folders.begin_files(held, read_former(folder), wanted, "--images")
