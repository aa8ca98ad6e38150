"""A dataset of the photos with patches, and codebooks fit on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore
import pytest
from stages.outputs import PowerCut

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


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    """Cut the power at the write with this number, and after it."""
    state: dict[str, int | None] = {"left": None}
    put, delete = obstore.put, obstore.delete

    def cut() -> None:
        if state["left"] is not None:
            state["left"] -= 1
            if state["left"] < 0:
                raise PowerCut

    def cut_put(*arguments: Any, **options: Any) -> Any:
        cut()
        return put(*arguments, **options)

    def cut_delete(*arguments: Any, **options: Any) -> Any:
        cut()
        return delete(*arguments, **options)

    async def cut_async(*arguments: Any, **options: Any) -> Any:
        cut()
        return await put_async(*arguments, **options)

    put_async = obstore.put_async
    monkeypatch.setattr(obstore, "put", cut_put)
    monkeypatch.setattr(obstore, "put_async", cut_async)
    monkeypatch.setattr(obstore, "delete", cut_delete)
    return state
