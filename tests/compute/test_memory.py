"""The memory that this process may take."""

from __future__ import annotations

import pytest
from distributed.system import MEMORY_LIMIT

from dkmeans.compute.memory import memory_limit

MACHINE = memory_limit()


def test_it_is_what_dask_takes():
    assert memory_limit() == MEMORY_LIMIT


@pytest.mark.parametrize("name", ["memory/memory.limit_in_bytes", "memory.max", "memory.high"])
@pytest.mark.parametrize(
    ("text", "limit"),
    [("1000\n", 1000), ("max\n", None), ("0\n", None), ("-1\n", None), (f"{1 << 62}\n", None), ("", None)],
)
def test_a_control_group_may_allow_less(tmp_path, name, text, limit):
    unlimited = memory_limit(tmp_path)
    assert unlimited >= MACHINE
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert memory_limit(tmp_path) == (unlimited if limit is None else limit)
