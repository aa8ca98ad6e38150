"""A dataset of the photos with patches, and codebooks fit on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dkmeans import ClusterConfig, FitConfig, IngestConfig, fit, ingest

SYNC = ClusterConfig(scheduler="sync")


@pytest.fixture(scope="session")
def dataset(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five RGB images with patches of 4x5, in several shards."""
    url = str(tmp_path_factory.mktemp("datasets") / "photos.zarr")
    ingest(IngestConfig(source=str(photos), dataset=url, patch="4x5", shard_mib=0.02), SYNC)
    return url


@pytest.fixture(scope="session")
def palette(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ten colors."""
    url = str(tmp_path_factory.mktemp("codebooks") / "palette.zarr")
    fit(FitConfig(dataset=dataset, codebook=url, n_clusters=10), SYNC)
    return url


@pytest.fixture(scope="session")
def patch_codebook(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Thirty patches."""
    url = str(tmp_path_factory.mktemp("codebooks") / "patches.zarr")
    config = FitConfig(dataset=dataset, codebook=url, n_clusters=30, on="patches", max_iter=8, tol=0)
    with pytest.warns(UserWarning, match="not converged after 8 iterations"):
        fit(config, SYNC)
    return url
