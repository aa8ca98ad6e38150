"""Any file of any artefact may be damaged: reading it gives the right bytes, or an error that names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from faults.conftest import run
from PIL import Image

from dkmeans.artefacts.codebook import open_codebook
from dkmeans.artefacts.coded import open_coded
from dkmeans.artefacts.dataset import open_dataset
from dkmeans.artefacts.folder import HIDDEN, open_folder
from dkmeans.artefacts.index import read_skipped
from dkmeans.artefacts.kinds import KINDS
from dkmeans.artefacts.manifests import Manifest, array_names
from dkmeans.artefacts.sweep import open_sweep
from dkmeans.command.main import main
from dkmeans.errors import DkmeansError
from dkmeans.images.index import ImageIndex
from dkmeans.stages.verify import verify
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

# What lies on a disk


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory) -> Path:
    """One of each kind, and two of some that are as large: their files can be taken for each other's."""
    root = tmp_path_factory.mktemp("artefacts")
    rng = np.random.default_rng(3)
    for folder in ("photos", "photos2"):
        (root / folder).mkdir()
        for number in range(3):
            noise = rng.integers(
                90, 255, (12, 14, 3), dtype=np.uint8
            )  # zstd makes it no smaller: equal files
            Image.fromarray(noise).save(root / folder / f"{number}.png")
    (root / "photos" / "broken.png").write_bytes(b"no image")

    def make(*words: str) -> None:
        run([str(root / word[1:]) if word.startswith("@") else word for word in words])

    small = ["--patch", "4", "--stride", "2", "--shard-mib", "0.0006"]
    make("ingest", "@photos", "@dataset", *small, "--max-skipped", "1")
    make("ingest", "@photos2", "@dataset2", *small)
    for data, number in (("@dataset", ""), ("@dataset2", "2")):
        make("fit", data, f"@palette{number}", "--k", "3", "--max-iter", "2")
        make("fit", data, f"@patches{number}", "--on", "patches", "--k", "5", "--max-iter", "2")
        make("compress", data, f"@palette{number}", f"@compressed{number}", "--images", f"@images{number}")
    make("sweep", "@dataset", "@sweep", "--k", "2,3,4", "--max-iter", "2")
    make("reconstruct", "@dataset", "@patches", "@reconstructed")
    make("quantize", "@photos2", "@archive", "--k", "3", "--to", "archive")
    make("quantize", "@photos2", "@tiles", "--k", "3", "--to", "archive", "--patch", "4")
    for number in ("", "2"):
        source = ["@photos2"] if number else ["@photos", "--max-skipped", "1"]
        make("quantize", source[0], f"@quantized{number}", "--k", "3", *source[1:])
    make("quantize", "@photos2", "@shared", "--k", "3", "--palette", "shared")
    make("decode", "@reconstructed", "@decoded")
    return root


def whole(url: str, manifest: Manifest) -> dict[str, bytes]:
    """All arrays of an artefact as dkmeans reads them; text as JSON."""
    store = Store(url)
    names = [name for name in array_names(manifest.nodes) if arrays.array_at(store, name) is not None]
    found = {name: arrays.read_rows(store, name) for name in names}
    return {
        name: json.dumps(rows.tolist()).encode() if rows.dtype.kind == "T" else rows.tobytes()
        for name, rows in found.items()
    }


def index_of(index: ImageIndex) -> list[object]:
    return [index.names, index.height.tolist(), index.width.tolist(), index.offset.tolist()]


def read_dataset(url: str) -> list[object]:
    found = open_dataset(url)
    images = [found.image(position).tobytes() for position in range(found.n_images)]
    return [found.manifest, index_of(found.index), found.skipped(), images, whole(url, found.manifest)]


def read_codebook(url: str) -> list[object]:
    found = open_codebook(url)
    return [found.manifest, found.centers.tobytes(), found.counts.tobytes(), found.history.tobytes()]


def read_sweep(url: str) -> list[object]:
    found = open_sweep(url)
    curves = {name: values.tobytes() for name, values in found.curves.items()}
    return [found.manifest, curves, [read_codebook(f"{url}/codebooks/{k}") for k in found.n_clusters]]


def read_coded(url: str) -> list[object]:
    found = open_coded(url)
    images = [found.image(position).tobytes() for position in range(len(found.index))]
    measures = {name: values.tobytes() for name, values in found.measures.items()}
    return [found.manifest, index_of(found.index), images, measures, whole(url, found.manifest)]


def read_folder(url: str) -> list[object]:
    found = open_folder(url)
    images = [found.image(position).tobytes() for position in range(len(found.index))]
    hidden = f"{url}/{HIDDEN}"
    skipped = read_skipped(Store(hidden)) if "skipped/zarr.json" in found.manifest.nodes else None
    return [
        found.manifest,
        index_of(found.index),
        found.records,
        skipped,
        images,
        whole(hidden, found.manifest),
    ]


READ: dict[str, Callable[[str], list[object]]] = {
    "dataset": read_dataset,
    "palette": read_codebook,
    "patches": read_codebook,
    "sweep": read_sweep,
    "compressed": read_coded,
    "reconstructed": read_coded,
    "archive": read_coded,
    "tiles": read_coded,
    "quantized": read_folder,
    "shared": read_folder,
    "decoded": read_folder,
    "images": read_folder,
}


def test_every_kind_is_damaged(artefacts):
    assert {verify(str(artefacts / name)).kind for name in READ} == set(KINDS)


# What can happen to a file


@dataclass(frozen=True)
class Damage:
    """One file with other bytes, or with none; `more` are files that change at the same time."""

    what: str
    data: bytes | None
    more: tuple[tuple[Path, bytes], ...] = ()


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def damages(path: Path, others: list[Path], rng: np.random.Generator, n_flips: int) -> Iterator[Damage]:
    """What may happen to a file; each of `others` may change places with it."""
    data = path.read_bytes()
    yield Damage("deleted", None)
    yield Damage("emptied", b"")
    if data:
        yield Damage("cut in half", data[: len(data) // 2])
        yield Damage("cut by a byte", data[:-1])
        yield Damage("longer by a byte", data + b"\0")
        yield Damage("zeros", bytes(len(data)))
        for bit in rng.integers(8 * len(data), size=n_flips).tolist():
            yield Damage(f"bit {bit} flipped", flipped(data, bit))
    for other in others:
        yield Damage(f"swapped with {other}", other.read_bytes(), ((other, data),))


def alike(root: Path, name: str, path: Path, rng: np.random.Generator) -> list[Path]:
    """Files that may change places with one: its neighbors, its twin of another artefact, some other."""
    own = [each for each in sorted((root / name).rglob("*")) if each.is_file() and each != path]
    beside = [each for each in own if each.parent.parent == path.parent.parent][:2]
    twin = root / f"{name}2" / path.relative_to(root / name)
    any_other = own[int(rng.integers(len(own)))]
    return list(dict.fromkeys([*beside, *([twin] if twin.is_file() else []), any_other]))


def put(path: Path, data: bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)


class Damaged:
    """Meanwhile a file is damaged."""

    def __init__(self, path: Path, damage: Damage) -> None:
        self.files = {path: damage.data, **dict(damage.more)}
        self.before = {each: each.read_bytes() for each in self.files}

    def __enter__(self) -> None:
        for path, data in self.files.items():
            put(path, data)

    def __exit__(self, *_: object) -> None:
        for path, data in self.before.items():
            put(path, data)


def names_the_file(message: str, url: Path, path: Path) -> bool:
    """Whether a message says which file it is: the artefact, and the key in it, however it is put."""
    key = path.relative_to(url)
    chunk = str(key).partition("/c/")[2]
    if key.name == "zarr.json":  # the manifest of an artefact, this one or one in it, is what makes it one
        key = key.parent
    return str(url) in message and all(part in message for part in key.parts) and f"/{chunk}" in message


def check(
    url: Path, path: Path, damage: Damage, read: Callable[[str], object], expected: object
) -> str | None:
    """What is wrong with what becomes of a damaged file; None if nothing."""
    told = f"{path.relative_to(url.parent)}: {damage.what}: "
    with Damaged(path, damage):
        try:
            right = read(str(url)) == expected
        except DkmeansError as error:
            if error.exit_code not in (3, 4):
                return told + f"exit code {error.exit_code}: {error}"
            touched = [path, *(other for other, _ in damage.more if other.is_relative_to(url))]
            if not any(names_the_file(str(error), url, each) for each in touched):
                return told + f"not named: {error}"
        except Exception as error:
            return told + f"a traceback: {error!r}"
        else:
            return None if right else told + "other bytes"
        try:
            verify(str(url))
        except DkmeansError:
            return None
    return told + "verify finds nothing"


@pytest.mark.parametrize(
    ("n_flips", "share"),
    [pytest.param(1, 8, id="some"), pytest.param(12, 1, id="all", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", READ)
def test_a_damaged_file_is_told_or_harmless(name, n_flips, share, artefacts):
    url, read = artefacts / name, READ[name]
    rng = np.random.default_rng([7, n_flips])
    expected = read(str(url))
    wrong, n_tried, n_files = [], 0, 0
    for path in sorted(each for each in url.rglob("*") if each.is_file()):
        n_files += 1
        for number, damage in enumerate(damages(path, alike(artefacts, name, path, rng), rng, n_flips)):
            if (number + n_files) % share:
                continue
            n_tried += 1
            wrong.append(check(url, path, damage, read, expected))
    print(f"{name}: {n_tried} damages of {n_files} files")
    assert read(str(url)) == expected
    assert n_tried > n_files if share == 1 else n_tried > 3
    assert [each for each in wrong if each] == []


# Whole commands over a damaged input

COMMANDS = {
    "dataset": ["fit @dataset @out --k 3 --max-iter 2", "compress @dataset @palette @out"],
    "palette": ["compress @dataset @palette @out"],
    "patches": ["reconstruct @dataset @patches @out", "cut @patches @out --k 2"],
    "compressed": ["decode @compressed @out", "report @out/page.html @compressed"],
    "reconstructed": ["decode @reconstructed @out"],
    "sweep": ["compress @dataset @sweep/codebooks/3 @out", "info @sweep"],
    "archive": ["decode @archive @out", "info @archive", "report @out/page.html @archive"],
    "tiles": ["decode @tiles @out"],
    "quantized": [
        "decode @quantized @out",
        "info @quantized",
        "quantize @photos @quantized --k 3 --max-skipped 1 --resume",
    ],
    "decoded": ["decode @reconstructed @decoded --resume"],
    "shared": ["report @out/page.html @shared"],
}


def output(root: Path) -> dict[str, bytes]:
    """What a command has written, but for what holds times and names of runs."""
    skip = ("claim/", "history/", "zarr.json", "page.html", f"{HIDDEN}/")
    found = Store(str(root / "out")).list()
    return {
        each.key: (root / "out" / each.key).read_bytes() for each in found if not each.key.startswith(skip)
    }


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), [(name, words) for name in COMMANDS for words in COMMANDS[name]])
def test_a_command_on_a_damaged_input_ends_in_order(name, words, artefacts, capsys):
    rng = np.random.default_rng(11)
    arguments = [str(artefacts / word[1:]) if word.startswith("@") else word for word in words.split()]
    where = [] if words.split()[0] in ("report", "info", "status") else ["--scheduler", "sync"]

    def ended() -> tuple[int, dict[str, bytes], str]:
        shutil.rmtree(artefacts / "out", ignore_errors=True)
        (artefacts / "out").mkdir(exist_ok=True) if "page.html" in words else None
        with pytest.raises(SystemExit) as caught:
            main([*arguments, *where, "--quiet"])
        return int(caught.value.code or 0), output(artefacts), capsys.readouterr().err

    code, expected, told = ended()
    assert code == 0, told
    files = {each: each.read_bytes() for each in (artefacts / name).rglob("*") if each.is_file()}
    wrong = []
    for path in sorted(files):
        choices = list(damages(path, alike(artefacts, name, path, rng), rng, 4))
        damage = choices[int(rng.integers(len(choices)))]
        with Damaged(path, damage):
            code, found, told = ended()
        for each, data in files.items():  # what the command may have mended
            put(each, data)
        one_of = code in (3, 4) and told.count("\n") <= 3 and "Traceback" not in told
        if not (one_of or (code == 0 and found == expected)):
            wrong.append((str(path.relative_to(artefacts)), damage.what, code, told))
    shutil.rmtree(artefacts / "out", ignore_errors=True)
    assert wrong == []
