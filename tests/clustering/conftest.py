"""Rows in six blobs."""

from __future__ import annotations

import numpy as np
import pytest
from clustering.fits import blobs


@pytest.fixture(scope="module")
def values():
    return blobs().astype(np.uint8)
