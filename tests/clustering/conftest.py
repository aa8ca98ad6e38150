"""Rows in six blobs, and Dask's own threads."""

from __future__ import annotations

import dask
import numpy as np
import pytest
from clustering.fits import blobs


@pytest.fixture(scope="module")
def values():
    return blobs().astype(np.uint8)


@pytest.fixture
def threads():
    """Dask's own threads, whatever clients other tests have left open."""
    with dask.config.set(scheduler="threads"):
        yield
