"""Small real images, and clusters to run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import distributed
import numpy as np
import pytest
from PIL import Image
from skimage import data

from dkmeans.cluster import Cluster
from dkmeans.config import ClusterConfig

SYNC = ClusterConfig(scheduler="sync")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five color images of four sizes, two of them in a nested folder."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep" / "er").mkdir(parents=True)
    astronaut, coffee, cat = data.astronaut(), data.coffee(), data.chelsea()
    for key, pixels in {
        "astronaut.png": astronaut[20:70, 200:248],
        "astronaut2.png": astronaut[70:120, 200:248],
        "cat.jpg": cat[100:141, 150:211],
        "deep/coffee.png": coffee[150:200, 200:255],
        "deep/er/cup.bmp": coffee[100:131, 300:337],
    }.items():
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / key)
    return folder


@pytest.fixture
def sync() -> ClusterConfig:
    """Run everything in this process."""
    return SYNC


@pytest.fixture(scope="session")
def workers() -> Iterator[Cluster]:
    """Two worker processes of one thread each."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="2GiB", dashboard_address="127.0.0.1:0"
        ) as local,
        distributed.Client(local) as client,
    ):
        yield Cluster("cpu", client)
