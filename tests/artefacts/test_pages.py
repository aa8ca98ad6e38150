"""The tables of docs/schemas.md: every array that is written, with its type and the names of its axes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from artefacts.made import KIND_OF
from PIL import Image, ImageCms
from schemas import FOLDER

import dkmeans
from dkmeans.artefacts.dimensions import dimensions_of
from dkmeans.artefacts.kinds import KINDS, place_of
from dkmeans.storage.store import Store

PAGE = (FOLDER.parent / "schemas.md").read_text(encoding="utf-8")
TITLES = {
    "dataset": "Dataset", "codebook": "Codebook", "sweep": "Sweep",
    "coded": "Coded images", "folder": "Folder of image files",
}  # fmt: skip
Table = dict[str, tuple[list[str], list[str]]]


def table_of(kind: str) -> Table:
    """Types, and names of axes, of each array in the section of a kind."""
    section = PAGE.partition(f"\n## {TITLES[kind]}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w/]+)` \| ([\w, ]+) \| ([\w, ]+) \|", section, re.MULTILINE)
    return {name: (types.split(", "), axes.split(", ")) for name, types, axes in rows}


def arrays_of(url: str) -> dict[str, dict]:
    """The metadata of each array of an artefact, without those of claims and of codebooks in it."""
    root = Path(place_of(Store(url)).url)
    nodes = {str(path.parent.relative_to(root)): path for path in root.rglob("zarr.json")}
    found = {name: json.loads(path.read_text()) for name, path in nodes.items()}
    return {
        name: node
        for name, node in found.items()
        if node["node_type"] == "array" and not name.startswith("codebooks/")
    }


def check(kind: str, url: str) -> set[str]:
    table, found = table_of(kind), arrays_of(url)
    for name, node in found.items():
        types, axes = table[name]
        assert node["data_type"] in types, name
        assert node["dimension_names"] == axes, name
    return set(found)


def test_every_kind_has_a_section():
    assert set(TITLES) == set(KINDS)
    assert all(table_of(kind) for kind in KINDS)
    for kind, model in KINDS.items():
        told = {name.partition("/")[0] for name in table_of(kind)}
        assert told <= set(model.names)


@pytest.mark.parametrize(("name", "kind"), KIND_OF.items())
def test_every_array_is_in_the_table_of_its_kind(made, name, kind):
    check(kind, made[name])


def test_the_codebooks_of_a_sweep_are_too(made):
    assert check("codebook", f"{made['sweep']}/codebooks/2") == set(table_of("codebook"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A dataset, coded images and a folder of files, of an image with a profile and one that is none."""
    place, sync = tmp_path_factory.mktemp("odd"), dkmeans.ClusterConfig(scheduler="sync")
    (place / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(place / "images" / "a.png", icc_profile=profile)
    (place / "images" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    source, url = str(place / "images"), {name: str(place / name) for name in KINDS}
    config = dkmeans.IngestConfig(source=source, dataset=url["dataset"], max_skipped=1)
    with pytest.warns(UserWarning, match=r"skipped b\.png"):
        dkmeans.ingest(config, sync)
    for name, to in (("coded", "archive"), ("folder", "png")):
        options = {"k": 4, "to": to, "max_skipped": 1}
        config = dkmeans.QuantizeConfig(source=source, destination=url[name], **options)
        with pytest.warns(UserWarning, match=r"skipped b\.png"):
            dkmeans.quantize(config, sync)
    return url


def test_no_row_tells_of_an_array_that_is_never_written(made, odd):
    for kind in KINDS:
        urls = [made[name] for name, own in KIND_OF.items() if own == kind]
        urls += [odd[kind]] if kind in ("dataset", "coded", "folder") else []
        assert set().union(*(check(kind, url) for url in urls)) == set(table_of(kind))


def test_axes_are_those_that_the_code_names():
    for kind in KINDS:
        for name, (_, axes) in table_of(kind).items():
            assert dimensions_of(name) == tuple(axes)


def test_links_lead_somewhere():
    for page in FOLDER.parent.glob("*.md"):
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
            file, _, anchor = link.partition("#")
            target = page.parent / file if file else page
            assert target.is_file(), link
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert not anchor or anchor in [title.lower().replace(" ", "-") for title in titles], link
