"""Whatever lies at a URL, the commands that take any kind can tell what it is: info, status, verify."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from artefacts.made import KIND_OF

import dkmeans
from dkmeans.artefacts.claims import claim
from dkmeans.artefacts.kinds import KINDS, describe, open_images, place_of, read_any
from dkmeans.artefacts.manifests import ROOT, sealed
from dkmeans.artefacts.status import status
from dkmeans.config.stages import FitConfig
from dkmeans.errors import InputError
from dkmeans.stages.verify import verify
from dkmeans.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:not converged")


@pytest.mark.parametrize(("name", "kind"), KIND_OF.items())
def test_info_status_and_verify(made, name, kind):
    url = made[name]
    facts = describe(url)
    assert (facts["url"], facts["kind"], facts["format_version"]) == (url, kind, 3)
    assert facts["stored_bytes"] == sum(found.size for found in Store(url).list())
    assert "nodes" not in facts
    assert json.loads(json.dumps(facts)) == facts
    told = status(url)
    assert (told["url"], told["kind"], told["state"], told["runs"]) == (url, kind, "complete", 1)
    assert all(shards["finished"] == shards["total"] > 0 for shards in told["shards"].values())
    found = verify(url)
    assert (found.url, found.kind) == (url, kind)
    assert found.n_parts > 0
    assert type(read_any(place_of(Store(url)))) is KINDS[kind]


def test_the_arrays_are_told(made):
    facts = describe(made["dataset"])["arrays"]
    assert facts["pixels"]["shape"] == [297, 3]
    assert (facts["pixels"]["dtype"], facts["pixels"]["shards"] is not None) == ("uint8", True)
    assert facts["images/height"] == {"shape": [3], "dtype": "int32", "chunks": [3], "shards": None}
    assert set(describe(made["compressed"])["arrays"]) >= {"codes", "palette", "images/measures"}
    assert set(describe(made["reconstructed"])["arrays"]) >= {"codes", "centers", "mask", "code_offset"}


@pytest.mark.parametrize("name", ["folder", "decoded", "beside"])
def test_of_a_folder_the_files_are_told(made, name):
    assert status(made[name])["files"] == 3
    assert describe(made[name])["n_images"] == 3
    assert place_of(Store(made[name])).url == f"{made[name]}/.dkmeans"


@pytest.mark.parametrize(
    ("name", "kind"), [item for item in KIND_OF.items() if item[1] in ("coded", "folder")]
)
def test_images_are_opened_whatever_wrote_them(made, name, kind):
    found = open_images(made[name])
    assert type(found) is {"coded": dkmeans.CodedImages, "folder": dkmeans.ImageFolder}[kind]
    assert [found.image(position).shape for position in range(3)] == [(9, 11, 3)] * 3


def test_the_same_images_are_coded_and_in_files(made):
    for coded, files in (("compressed", "beside"), ("tiles", "decoded")):
        one, other = open_images(made[coded]), open_images(made[files])
        for position in range(3):
            np.testing.assert_array_equal(one.image(position), other.image(position))


@pytest.mark.parametrize("name", ["dataset", "palette", "sweep"])
def test_what_holds_no_images_of_a_stage_is_said(made, name):
    with pytest.raises(InputError, match=rf"is a {KIND_OF[name]}; expected coded images"):
        open_images(made[name])


@pytest.mark.parametrize("look", [describe, verify, open_images])
def test_nothing_and_unfinished(tmp_path, look):
    with pytest.raises(InputError, match="nothing is there"):
        look(str(tmp_path / "none"))
    url = str(tmp_path / "begun")
    with claim(Store(url), KINDS["codebook"], FitConfig(dataset="d", codebook="c", k=2), "abc"):
        with pytest.raises(InputError, match="is unfinished"):
            look(url)
        assert (status(url)["kind"], status(url)["state"]) == ("codebook", "unfinished")


@pytest.mark.parametrize("look", [describe, verify, open_images])
def test_a_kind_that_is_not_known_is_said(tmp_path, look):
    """As a later dkmeans may write it."""
    url = str(tmp_path / "later")
    manifest = sealed({"kind": "film", "format_version": 3, "nodes": {}})
    node = {"zarr_format": 3, "node_type": "group", "attributes": {"dkmeans": manifest}}
    Store(url).put(ROOT, json.dumps(node).encode())
    with pytest.raises(InputError, match="is a film; expected a dataset, codebook, sweep"):
        look(url)


def test_a_damaged_file_of_a_folder_is_found(made, tmp_path, sync):
    url = str(tmp_path / "again")
    dkmeans.decode(dkmeans.DecodeConfig(archive=made["archive"], images=url), sync)
    store = Store(url)
    data = bytearray(store.get("00001.png"))
    data[-1] ^= 1
    store.put("00001.png", bytes(data))
    with pytest.raises(InputError, match=r"00001\.png is gone or damaged"):
        verify(url)


@pytest.mark.parametrize("name", KIND_OF)
def test_all_axes_have_names_that_stand_for_one_size_in_a_group(made, name):
    """What xarray asks of a group that it opens."""
    root = Path(made[name])
    nodes = {path.parent: json.loads(path.read_text()) for path in root.rglob("zarr.json")}
    arrays = {place: node for place, node in nodes.items() if node["node_type"] == "array"}
    assert arrays or KIND_OF[name] == "folder"
    sizes = {}
    for place, node in arrays.items():
        dimensions = node["dimension_names"]
        assert dimensions, place
        assert len(dimensions) == len(node["shape"]), place
        for dimension, size in zip(dimensions, node["shape"], strict=True):
            assert sizes.setdefault((place.parent, dimension), size) == size, (place, dimension)
