"""What an artefact says of itself: digest, manifest, and why it cannot be read."""

from __future__ import annotations

import json
import re
import uuid

import numpy as np
import pytest
from artefacts.small import Small, config
from places import broken_root, foreign_attributes, foreign_file, foreign_group, nothing
from pydantic import ValidationError

from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.manifests import FORMAT_VERSION, digest, read_manifest, read_root, sealed, validated
from dkmeans.errors import InputError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

ROOT = "zarr.json"


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    """A place where nothing is yet."""
    return str(tmp_path / "book") if request.param == "local" else f"memory://{uuid.uuid4().hex}/book"


def test_digest_depends_on_every_part_and_its_borders():
    digests = {digest(parts) for parts in (["ab"], ["a", "b"], ["b", "a"], ["a", "b", ""], [])}
    assert len(digests) == 5
    assert digest(["a", "é"]) == digest(["a", "é"])
    assert re.fullmatch("[0-9a-f]{64}", digest([]))


def finish(url):
    with claim(Store(url), Small, config(), "abc") as held:
        held.commit(n_iter=7)


def begin(url):
    """The run is lost after its first array."""
    with pytest.raises(RuntimeError, match="power cut"), claim(Store(url), Small, config(), "abc"):  # noqa: PT012
        arrays.create_array(Store(url), "centers", shape=(2,), dtype=np.float32)
        raise RuntimeError("power cut")


def taken_over(url):
    """Two runs are lost, the second with --resume."""
    begin(url)
    with pytest.raises(RuntimeError), claim(Store(url), Small, config(resume=True), "abc"):
        raise RuntimeError


def overwritten(url):
    """A complete artefact was there; the run with --overwrite is lost."""
    finish(url)
    with pytest.raises(RuntimeError), claim(Store(url), Small, config(overwrite=True), "abc"):  # noqa: PT012
        arrays.create_array(Store(url), "centers", shape=(2,), dtype=np.float32)
        raise RuntimeError


def rewrite_root(url, *, again=False, without=(), **changes):
    """Change the manifest; `again`: with the checksum that it has then."""
    finish(url)
    node = json.loads(Store(url).get(ROOT))
    manifest = {**node["attributes"]["dkmeans"], **changes}
    manifest = {name: value for name, value in manifest.items() if name not in without}
    if again:
        del manifest["crc32c"]
        manifest = sealed(manifest)
    node["attributes"]["dkmeans"] = manifest
    Store(url).put(ROOT, json.dumps(node).encode())


@pytest.mark.parametrize(
    ("before", "kind", "message"),
    [
        (nothing, "dataset", r"nothing is there; expected a dataset of dkmeans\. Check the path\."),
        (
            nothing,
            None,
            r"nothing is there; expected a dataset, codebook, sweep, folder of images or coded",
        ),
        (foreign_file, "dataset", r"nothing is there; expected a dataset of dkmeans"),
        (
            begin,
            "small",
            r"is unfinished: the run that began it .* Run that command again with --resume\.",
        ),
        (taken_over, "small", r"is unfinished: "),
        (overwritten, "small", r"is unfinished: "),
        (finish, "dataset", r" is a small; expected a dataset of dkmeans\."),
        (foreign_group, "small", r" is a Zarr group that dkmeans did not write; expected a small of"),
        (
            foreign_group,
            None,
            r"did not write; expected a dataset, codebook, sweep, folder of images or coded",
        ),
        (foreign_attributes, "small", r" is a Zarr group that dkmeans did not write"),
        (broken_root, "small", r" is a Zarr group that dkmeans did not write"),
        (
            lambda url: rewrite_root(url, format_version=99, versions={"dkmeans": "7.1"}),
            "small",
            r"has format version 99; this dkmeans reads 2 and 3\. Make it again with --overwrite, or use the "
            r"version of dkmeans that wrote it: 7\.1\.",
        ),
        (lambda url: rewrite_root(url, format_version=None), "small", r"has format version None"),
        (lambda url: rewrite_root(url, n_iter=99), "small", r"zarr\.json is damaged: .* another checksum"),
        (
            lambda url: rewrite_root(url, kind=None),
            "small",
            r"zarr\.json is damaged: it holds no manifest",
        ),
    ],
)
def test_what_cannot_be_read(url, before, kind, message):
    before(url)
    with pytest.raises(InputError, match=message) as caught:
        read_root(Store(url), kind)
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith(url)


# Typed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": ["config"]}, r"\(config: Field required\)"),
        ({"without": ["nodes"]}, r"\(nodes: Field required\)"),
        ({"n_itre": 3}, r"\(n_itre: Extra inputs are not permitted\)"),
        ({"n_iter": "many"}, r"\(n_iter: Input should be a valid integer"),
        ({"n_iter": 1.5}, r"\(n_iter: Input should be a valid integer"),
        ({"inertia": [1]}, r"\(inertia: Input should be a valid number"),
        ({"config": 1}, r"\(config: Input should be a valid dictionary"),
        ({"versions": {"numpy": 2}}, r"\(versions\.numpy: Input should be a valid string"),
    ],
)
def test_a_field_that_does_not_fit_is_named(url, changes, message):
    """Though the manifest has the right checksum: another program wrote it, or another dkmeans."""
    rewrite_root(url, again=True, **changes)
    with pytest.raises(InputError, match=message) as caught:
        validated(Store(url), read_root(Store(url)), Small)
    assert str(caught.value).startswith(f"{url}: zarr.json is damaged: its manifest is no small's (")


def test_a_manifest_that_is_as_it_should_be(url):
    rewrite_root(url, again=True, n_iter=9)
    manifest = read_manifest(Store(url), Small)
    assert (manifest.kind, manifest.format_version, manifest.n_iter) == ("small", FORMAT_VERSION, 9)
    assert manifest.inertia is None
    with pytest.raises(ValidationError, match="frozen"):
        manifest.n_iter = 3


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_the_metadata_of_arrays_are_checked(url, damage):
    with claim(Store(url), Small, config(), "abc") as held:
        held.write_array("centers", np.zeros((2, 1), np.float32))
        held.commit()
    key = "centers/zarr.json"
    read_manifest(Store(url), Small)
    if damage == "gone":
        Store(url).delete([key])
    else:
        Store(url).put(key, Store(url).get(key) + b" ")
    why = {"gone": "it is gone", "changed": "it has another checksum than the manifest tells"}[damage]
    with pytest.raises(InputError, match=rf"centers/zarr\.json is damaged: {why}"):
        read_manifest(Store(url), Small)
