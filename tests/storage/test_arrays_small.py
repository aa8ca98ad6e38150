"""The codec of archives."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from dkmeans.errors import StorageError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store


def test_small_is_smaller_and_any_reader_opens_it(tmp_path):
    url = str(tmp_path)
    steps = np.random.default_rng(0).choice([0, 0, 0, 1, 3], 200_000).cumsum() % 200
    codes = steps.astype(np.uint8)
    sizes = []
    for name, small in (("fast", False), ("small", True)):
        layout = {"shape": codes.shape, "dtype": codes.dtype, "chunks": codes.shape}
        arrays.create_array(Store(url), name, **layout, small=small)
        arrays.write_rows(Store(url), name, 0, codes)
        np.testing.assert_array_equal(zarr.open_array(str(tmp_path / name), mode="r")[:], codes)
        sizes.append(sum(found.size for found in Store(url).list(f"{name}/c")))
    assert sizes[1] < 0.95 * sizes[0]
    with pytest.raises(StorageError, match="already there"):
        arrays.create_array(Store(url), "small", **layout)
