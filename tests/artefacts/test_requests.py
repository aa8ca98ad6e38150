"""How many requests it takes to write by a claim, and to open what was written."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from artefacts.small import Small, config
from object_store.proxy import FaultyProxy

from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.manifests import attributes_of, read_manifest
from dkmeans.storage import arrays
from dkmeans.storage.access import storage_options
from dkmeans.storage.store import Store

ROWS = np.ones((4, 3), np.uint8)
LAYOUT = {"shape": (8, 3), "dtype": np.uint8, "chunks": (2, 3), "shards": (4, 3)}


class Requests(FaultyProxy):
    """A way to a server that counts."""

    def of(self, work):
        """How many requests of each method `work` takes, and what it gives."""
        counts = collections.Counter()
        self.plan(lambda method, *_: counts.update([method]))
        return work(), dict(counts)


@pytest.fixture
def requests(s3):
    with Requests(s3.endpoint) as proxy, storage_options({"endpoint": proxy.endpoint}):
        yield proxy


def test_a_write_by_a_claim_takes_two_requests_besides(s3_url, requests):
    store = Store(s3_url)
    with claim(store, Small, config(), "abc") as held:
        held.create_array("pixels", **LAYOUT)
        assert requests.of(held.check)[1] == {"GET": 2}
        array, opening = requests.of(lambda: arrays.open_array(store, "pixels"))
        assert opening == {"GET": 1}
        _, writing = requests.of(lambda: held.write_rows("pixels", 0, ROWS, array))
        assert writing == {"GET": 2, "PUT": 1}
        _, writing = requests.of(lambda: held.write_rows("pixels", 4, ROWS))
        assert writing == {"GET": 3, "PUT": 1}  # the metadata of the array too
        assert requests.of(lambda: held.create_array("more", **LAYOUT))[1] == {"GET": 2, "PUT": 1}
        assert arrays.read_part(array, 0, 8).tolist() == [[1] * 3] * 8


def test_to_open_takes_a_request_and_one_for_each_node(s3_url, requests):
    store = Store(s3_url)
    with claim(store, Small, config(), "abc") as held:
        for name in ("centers", "pixels", "rows"):
            held.write_array(name, np.arange(3) if name == "rows" else np.zeros((3, 2)))
        held.commit()
    manifest, reading = requests.of(lambda: read_manifest(store, Small))
    assert len(manifest.nodes) == 3
    assert reading == {"GET": 1 + 3}
    assert requests.of(lambda: attributes_of(store, "nothing/zarr.json")) == (None, {"GET": 1})
