"""Checksums: known values, and one for each chunk of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dkmeans.storage import checksums


def test_the_check_value_of_crc32c():
    """The one that RFC 3720 and every catalogue of CRCs tell for these nine bytes."""
    assert checksums.of_bytes(b"123456789") == 0xE3069283


def test_json_counts_by_its_values_not_by_its_layout():
    assert checksums.of_json({"a": 1, "b": [0.1, None]}) == checksums.of_json({"b": [0.1, None], "a": 1})
    assert checksums.of_json({"a": 1}) != checksums.of_json({"a": 2})


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "f4", "i8", "?"])
def test_each_chunk_has_its_own(dtype):
    rows = np.arange(21).reshape(7, 3).astype(dtype)
    little = rows.astype(rows.dtype.newbyteorder("<"))
    expected = [checksums.of_bytes(little[start : start + 3].tobytes()) for start in (0, 3, 6)]
    assert checksums.of_chunks(rows, 3).tolist() == expected
    assert checksums.of_chunks(np.asfortranarray(rows), 3).tolist() == expected
    assert checksums.of_chunks(rows[:0], 3).tolist() == []


def test_text():
    names = np.array(["a", "b\nc", "ü"], dtype=np.dtypes.StringDType())
    other = np.array(["a\nb", "c", "ü"], dtype=np.dtypes.StringDType())
    assert checksums.of_chunks(names, 2).tolist() != checksums.of_chunks(other, 2).tolist()
    assert checksums.of_chunks(names, 2)[1] == checksums.of_chunks(other, 2)[1] == checksums.of_json(["ü"])


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_a_table_comes_back(values):
    table = np.array(values, np.uint32)
    text = checksums.packed(table)
    assert text.isascii()
    assert checksums.unpacked(text).tolist() == values
