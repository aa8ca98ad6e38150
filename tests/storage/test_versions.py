"""The version of an object: another one when it was written anew, though it is as large as before."""

from __future__ import annotations

import os
import uuid

import pytest

from dkmeans.storage.store import Store


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    """An empty store."""
    return Store(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def test_an_object_that_is_written_anew_has_another_version(store):
    store.put("a", b"123")
    store.put("b/c", b"123")
    before = {found.key: found.version for found in store.list()}
    assert all(before.values())
    assert {key: store.look(key).version for key in before} == before
    assert store.look("a").size == 3
    store.put("a", b"456")
    if store.is_local:  # two writes may fall into one tick of its clock
        os.utime(f"{store.url}/a", ns=(0, 10**18 + 1))
    after = {found.key: found.version for found in store.list()}
    assert after["a"] == store.look("a").version != before["a"]
    assert after["b/c"] == before["b/c"]
