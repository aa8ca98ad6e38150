"""dkmeans verify: all that is damaged is named, and digests are computed anew."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dkmeans.artefacts import manifests
from dkmeans.artefacts.kinds import read_any
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import CompressConfig, FitConfig, IngestConfig, QuantizeConfig
from dkmeans.errors import InputError
from dkmeans.events.reporter import Reporter
from dkmeans.stages.compress import compress
from dkmeans.stages.fit import fit
from dkmeans.stages.ingest import ingest
from dkmeans.stages.quantize import quantize
from dkmeans.stages.verify import verify
from dkmeans.storage.store import Store

SYNC = ClusterConfig(scheduler="sync")


@pytest.fixture(scope="module")
def made(photos, tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    data, book = str(root / "data"), str(root / "book")
    ingest(
        IngestConfig(source=str(photos), dataset=data, patch=8, stride=4, shard_mib=0.006),
        SYNC,
        Reporter(level="warning"),
    )
    fit(FitConfig(dataset=data, codebook=book, k=4, max_iter=2), SYNC, Reporter(level="warning"))
    compress(
        CompressConfig(dataset=data, codebook=book, result=str(root / "codes")),
        SYNC,
        Reporter(level="warning"),
    )
    quantize(
        QuantizeConfig(source=str(photos), destination=str(root / "files"), k=4),
        SYNC,
        Reporter(level="warning"),
    )
    return root


@pytest.mark.parametrize(
    ("name", "kind"), [("data", "dataset"), ("book", "codebook"), ("codes", "coded"), ("files", "folder")]
)
def test_what_is_whole(made, name, kind):
    report = verify(str(made / name))
    assert (report.url, report.kind) == (str(made / name), kind)
    assert report.n_parts >= 3
    if kind == "dataset":
        manifest = read_any(Store(report.url))
        rows = manifest.n_pixels * 3 + manifest.n_patches * 192
        assert report.bytes_read > rows


def test_all_that_is_damaged_is_named(made, dkmeans):
    shards = [made / "data" / "pixels" / "c" / str(number) / "0" for number in (1, 3)]
    before = [shard.read_bytes() for shard in shards]
    for shard, data in zip(shards, reversed(before), strict=True):
        shard.write_bytes(data)
    try:
        code, out, err = dkmeans("verify", made / "data", "--quiet")
    finally:
        for shard, data in zip(shards, before, strict=True):
            shard.write_bytes(data)
    assert (code, out) == (3, "")
    assert "found 2 damaged parts, expected none" in err
    assert "c/1/0 of the array pixels" in err
    assert "c/3/0 of the array pixels" in err
    assert dkmeans("verify", made / "data", "--quiet")[0] == 0


@pytest.mark.parametrize(
    ("name", "key"), [("data", "digest"), ("book", "centers_sha256"), ("codes", "digest")]
)
def test_a_digest_that_belongs_to_other_rows(made, name, key):
    """Somebody has changed the manifest, its checksum too."""
    url = str(made / name)
    root = Store(url).get(manifests.ROOT)
    manifest = json.loads(root)["attributes"]["dkmeans"]
    del manifest["crc32c"]
    forged = manifests.sealed({**manifest, key: "0" * 64})
    try:
        Store(url).put(manifests.ROOT, manifests.group_metadata({"dkmeans": forged}))
        with pytest.raises(InputError, match="the digest of what lies there is not that of the manifest"):
            verify(url)
    finally:
        Store(url).put(manifests.ROOT, root)


def test_an_array_without_checksums_is_told(made):
    """As a program other than dkmeans leaves it, with the manifest made to fit."""
    url, key = str(made / "book"), "counts/zarr.json"
    root, node = Store(url).get(manifests.ROOT), Store(url).get(key)
    try:
        Store(url).put(key, json.dumps({**json.loads(node), "attributes": {}}).encode())
        manifest = json.loads(root)["attributes"]["dkmeans"]
        del manifest["crc32c"]
        forged = manifests.sealed({**manifest, "nodes": manifests.node_checksums(Store(url))})
        Store(url).put(manifests.ROOT, manifests.group_metadata({"dkmeans": forged}))
        with pytest.raises(InputError, match="the array counts has no checksums"):
            verify(url)
    finally:
        Store(url).put(manifests.ROOT, root)
        Store(url).put(key, node)


def test_nothing_is_there(tmp_path):
    with pytest.raises(InputError, match="nothing is there"):
        verify(str(tmp_path / "none"))


def test_a_resumed_run_knows_the_same_checksums(photos, tmp_path, sync, monkeypatch):
    """The shards of patches that are there are read again for theirs."""
    from dkmeans.storage import arrays

    config = IngestConfig(
        source=str(photos), dataset=str(tmp_path / "data"), patch=8, stride=4, shard_mib=0.006
    )
    write, seen = arrays.write_rows, []

    def dying(url, name, *rest):
        seen.append(name)
        if seen.count("patches") == 3:
            raise RuntimeError("power cut")
        write(url, name, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(arrays, "write_rows", dying)
        with pytest.raises(RuntimeError, match="power cut"):
            ingest(config, sync, Reporter(level="warning"))
    ingest(config.model_copy(update={"resume": True}), sync, Reporter(level="warning"))
    verify(config.dataset)
    table = arrays.table_of(arrays.open_array(Store(config.dataset), "patches"))
    assert table is not None
    assert len(np.unique(table)) > 3
