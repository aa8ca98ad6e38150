"""What an artefact says of itself: digest, manifest, description, and why it cannot be read."""

from __future__ import annotations

import json
import re
import uuid

import numpy as np
import pytest
from places import broken_root, foreign_attributes, foreign_file, foreign_group, nothing

from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.manifests import describe, digest, read_manifest
from dkmeans.config.stages import FitConfig
from dkmeans.errors import InputError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

ROOT = "zarr.json"


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    """A place where nothing is yet."""
    return str(tmp_path / "book") if request.param == "local" else f"memory://{uuid.uuid4().hex}/book"


def config(**options):
    return FitConfig(**{"dataset": "data", "codebook": "book", "k": 3, **options})


def test_digest_depends_on_every_part_and_its_borders():
    digests = {digest(parts) for parts in (["ab"], ["a", "b"], ["b", "a"], ["a", "b", ""], [])}
    assert len(digests) == 5
    assert digest(["a", "é"]) == digest(["a", "é"])
    assert re.fullmatch("[0-9a-f]{64}", digest([]))


def test_describe(url):
    with claim(url, "codebook", config(), "abc") as held:
        arrays.create_array(Store(url), "a", shape=(8, 3), dtype=np.uint8, chunks=(2, 3), shards=(4, 3))
        arrays.create_array(Store(url), "images/b", shape=(5,), dtype=np.int64)
        held.commit_group("images")
        held.commit({"n_iter": 7})
    facts = describe(Store(url))
    assert facts["url"] == url
    assert facts["n_iter"] == 7
    assert facts["arrays"] == {
        "a": {"shape": [8, 3], "dtype": "uint8", "chunks": [2, 3], "shards": [4, 3]},
        "images/b": {"shape": [5], "dtype": "int64", "chunks": [5], "shards": None},
    }
    assert facts["stored_bytes"] == sum(found.size for found in Store(url).list())


def finish(url):
    with claim(url, "codebook", config(), "abc") as held:
        held.commit({"n_iter": 7})


def begin(url):
    """The run is lost after its first array."""
    with pytest.raises(RuntimeError, match="power cut"), claim(url, "codebook", config(), "abc"):  # noqa: PT012
        arrays.create_array(Store(url), "centers", shape=(2,), dtype=np.float32)
        raise RuntimeError("power cut")


def taken_over(url):
    """Two runs are lost, the second with --resume."""
    begin(url)
    with pytest.raises(RuntimeError), claim(url, "codebook", config(resume=True), "abc"):
        raise RuntimeError


def overwritten(url):
    """A complete artefact was there; the run with --overwrite is lost."""
    finish(url)
    with pytest.raises(RuntimeError), claim(url, "codebook", config(overwrite=True), "abc"):  # noqa: PT012
        arrays.create_array(Store(url), "centers", shape=(2,), dtype=np.float32)
        raise RuntimeError


def rewrite_root(url, **changes):
    finish(url)
    node = json.loads(Store(url).get(ROOT))
    node["attributes"]["dkmeans"].update(changes)
    Store(url).put(ROOT, json.dumps(node).encode())


@pytest.mark.parametrize(
    ("before", "kind", "message"),
    [
        (nothing, "dataset", r"nothing is there; expected a dataset of dkmeans\. Check the path\."),
        (nothing, None, r"nothing is there; expected a dataset, codebook, sweep, result or archive"),
        (foreign_file, "dataset", r"nothing is there; expected a dataset of dkmeans"),
        (
            begin,
            "codebook",
            r"is unfinished: the run that began it .* Run that command again with --resume\.",
        ),
        (taken_over, "codebook", r"is unfinished: "),
        (overwritten, "codebook", r"is unfinished: "),
        (finish, "dataset", r" is a codebook; expected a dataset of dkmeans\."),
        (foreign_group, "codebook", r" is a Zarr group that dkmeans did not write; expected a codebook of"),
        (foreign_group, None, r"did not write; expected a dataset, codebook, sweep, result or archive"),
        (foreign_attributes, "codebook", r" is a Zarr group that dkmeans did not write"),
        (broken_root, "codebook", r" is a Zarr group that dkmeans did not write"),
        (
            lambda url: rewrite_root(url, format_version=99, versions={"dkmeans": "7.1"}),
            "codebook",
            r"has format version 99; this dkmeans reads 2\. Make it anew with --overwrite, or use the "
            r"version of dkmeans that wrote it: 7\.1\.",
        ),
        (lambda url: rewrite_root(url, format_version=None), "codebook", r"has format version None"),
        (lambda url: rewrite_root(url, n_iter=99), "codebook", r"zarr\.json is damaged: .* another checksum"),
        (
            lambda url: rewrite_root(url, kind=None),
            "codebook",
            r"zarr\.json is damaged: it holds no manifest",
        ),
    ],
)
def test_what_cannot_be_read(url, before, kind, message):
    before(url)
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(Store(url), kind)
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith(url)
