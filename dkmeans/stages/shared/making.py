"""From a dataset and a codebook to a result: what compress and reconstruct have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dkmeans.artefacts import claims, manifests
from dkmeans.artefacts.claims import Claim
from dkmeans.artefacts.codebook import Codebook, open_codebook
from dkmeans.artefacts.dataset import Dataset, open_dataset, write_index
from dkmeans.artefacts.result import Result
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config import ClusterConfig, CompressConfig, ReconstructConfig
from dkmeans.events.reporter import Reporter
from dkmeans.stages.shared import export
from dkmeans.storage.store import open_store

__all__ = ["ResultReport", "Work", "make_result"]


@dataclass(frozen=True)
class ResultReport:
    """What compress or reconstruct wrote; see `dkmeans.stages.shared.export.Exported` for the measures."""

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
    """All that a stage needs to write the arrays of a result."""

    dataset: Dataset
    codebook: Codebook
    claim: Claim
    cluster: Executor
    reporter: Reporter


def make_result(
    config: CompressConfig | ReconstructConfig,
    stage: str,
    on: str,
    check: Callable[[Dataset, Codebook], None],
    write: Callable[[Work], list[str]],
    cluster: ClusterConfig | Executor,
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
        Writes the arrays, and returns the digests of their shards.
    cluster : ClusterConfig or Executor
    reporter : Reporter
    """
    began = time.perf_counter()
    dataset, codebook = open_dataset(config.dataset), open_codebook(config.codebook)
    codebook.check_fits(dataset, on)
    check(dataset, codebook)
    export.check_image_folder(config, dataset)
    store = open_store(config.result)
    digest = manifests.digest([dataset.manifest["digest"], codebook.manifest["centers_sha256"]])
    with (
        claims.claim(store, "result", config, digest, [dataset.url, codebook.url]) as claim,
        connect(cluster, reporter, stage) as workers,
    ):
        if not claim.finished:
            if not claim.has_group("images"):
                write_index(claim, dataset.index)
            digests = write(Work(dataset, codebook, claim, workers, reporter))
            result = Result(store, {"on": on})
            exported = export.export_images(dataset, result, claim, config.images, workers, reporter)
            claim.commit(
                {
                    "on": on,
                    "n_images": dataset.n_images,
                    "n_codes": int(dataset.manifest[f"n_{on}"]),
                    "n_clusters": codebook.n_clusters,
                    **vars(exported),
                    "digest": manifests.digest(digests),
                }
            )
    manifest = manifests.read_manifest(store, "result")
    facts = {name: manifest[name] for name in ResultReport.__dataclass_fields__ if name in manifest}
    return ResultReport(result=store.url, seconds=time.perf_counter() - began, **facts)
