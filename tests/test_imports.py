"""The house: imports point one way, libraries stay in their rooms, `import dkmeans` is cheap."""

from __future__ import annotations

import ast
import graphlib
import inspect
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dkmeans
from dkmeans import errors
from dkmeans.command.registry import COMMANDS, public_places
from dkmeans.command.stubs import make_stub

ROOT = Path(dkmeans.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# From the top down; a module imports from its own layer or from below. A package stands for its modules.
LAYERS = [
    ["command"],
    ["studies"],
    ["stages", "report", "estimators"],
    ["artefacts"],
    ["clustering", "images"],
    ["features", "compute"],  # compute asks the kernels whether a worker has a GPU
    ["kernels", "storage"],
    ["config", "events", "plan"],
    ["errors"],
]
HEIGHT = {name: -height for height, layer in enumerate(LAYERS) for name in layer}

# Who alone may import a library.
ROOMS = {
    "cupy": ["kernels.cuda"],
    "cupyx": ["kernels.cuda"],
    # Beside storage for the types of what is opened, and for arrays of users.
    "zarr": ["storage", "artefacts", "clustering.stored"],
    "google_crc32c": ["storage.checksums"],
    "obstore": ["storage"],
    "PIL": ["images", "report"],
    "imagecodecs": ["images"],
    "oxipng": ["images.effort"],
    "tifffile": ["images"],
    "matplotlib": ["report"],
    "jinja2": ["report"],
    "rich": ["events"],
    "pydantic": ["config", "command", "artefacts"],
    "typer": ["command"],
    "dask_ml": ["clustering.candidates"],
    "kneed": ["clustering.elbow"],
    "faiss": ["stages.export"],
    "skops": ["stages.export"],
    "distributed": ["compute"],
    "prometheus_client": ["compute.metrics"],
    "numba": ["kernels"],
    "llvmlite": ["kernels"],
}
PURE = ["kernels", "features", "plan"]  # no dask, no storage


def name_of(path: Path) -> str:
    parts = path.with_suffix("").relative_to(ROOT.parent).parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts[1:] if parts[0] == "dkmeans" else parts)


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a module, at any depth, but not what is for type checking alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from statements(node)


def imports_of(path: Path) -> set[str]:
    """Everything that a module imports by a statement, in its functions too."""
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def imports_by_string(path: Path) -> list[str | None]:
    """What a module imports by `importlib` or `__import__`: None for a name that its text does not tell.

    Of ``f"dkmeans.kernels.{name}"`` it tells the package.
    """
    found: list[str | None] = []
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__"):
                name = node.args[0] if node.args else None
                if isinstance(name, ast.JoinedStr):
                    name = name.values[0]
                    assert isinstance(name, ast.Constant), f"{path}: {ast.unparse(node)}"
                    found.append(str(name.value).rpartition(".")[0])
                else:
                    found.append(name.value if isinstance(name, ast.Constant) else None)
    return found


def inner(imports: set[str]) -> set[str]:
    """The modules of dkmeans among `imports`, named as `name_of` does."""
    known = {name_of(path) for path in MODULES}
    return {name.removeprefix("dkmeans.") for name in imports} & known


def told_imports(path: Path) -> set[str]:
    """Everything that a module tells that it imports: by a statement, by a string, by its rows."""
    rows = public_places().values() if name_of(path) == "command.registry" else ()
    return imports_of(path) | {name for name in imports_by_string(path) if name} | set(rows)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    name = name_of(path)
    if not name:
        return  # dkmeans/__init__.py names everything, lazily
    if name == "__main__":
        assert inner(told_imports(path)) == {"command.start"}
        return
    own = HEIGHT[name.split(".")[0]]
    for other in inner(told_imports(path)):
        if other:
            assert HEIGHT[other.split(".")[0]] <= own, f"{name} imports {other}, which lies above it"


# The registry has a module and a name in each row, so that `--help` and `import dkmeans` load no stage; both
# look these up. `public_places`, which they are looked up in, is compared with the modules below.
BY_REGISTRY = {"command.registry", ""}


def test_what_is_imported_by_a_name_that_no_text_tells():
    assert {name_of(path) for path in MODULES if None in imports_by_string(path)} == BY_REGISTRY
    known = {f"dkmeans.{name_of(path)}" for path in MODULES}
    assert set(public_places().values()) <= known
    assert {stage.place.partition(":")[0] for stage in COMMANDS} <= known


@pytest.mark.parametrize(
    ("text", "statements", "strings"),
    [
        ("import a.b as c", {"a.b"}, []),
        ("def f():\n    from a import b, c", {"a", "a.b", "a.c"}, []),
        ("class C:\n    def f(self):\n        if x:\n            import a", {"a"}, []),
        ("if TYPE_CHECKING:\n    import a\nimport b", {"b"}, []),
        ("try:\n    import a\nexcept ImportError:\n    import b", {"a", "b"}, []),
        ("def f(): return importlib.import_module('a.b').c", set(), ["a.b"]),
        ("x = [import_module(f'a.b.{n}') for n in y]", set(), ["a.b"]),
        ("x = __import__('a')", set(), ["a"]),
        ("x = importlib.import_module(name)", set(), [None]),
    ],
)
def test_imports_are_seen_wherever_they_stand(tmp_path, text, statements, strings):
    path = tmp_path / "module.py"
    path.write_text(text)
    assert imports_of(path) == statements
    assert imports_by_string(path) == strings


def test_nothing_imports_in_a_circle():
    graph = {name_of(path): inner(imports_of(path)) - {name_of(path), ""} for path in MODULES}
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_the_house_has_rooms_and_few_floors():
    flat = {path.stem for path in ROOT.glob("*.py")}
    assert flat == {"__init__", "__main__", "errors"}
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    drawn = [name for layer in LAYERS for name in layer]
    assert sorted(drawn) == sorted(rooms | {"errors"})
    assert all((ROOT / room / "__init__.py").is_file() for room in rooms)
    assert len(LAYERS) <= 10


def test_no_floor_could_be_taken_away():
    """Each room stands on one of the floor below it, else it would lie lower than drawn."""
    below: dict[str, set[str]] = {name: set() for layer in LAYERS for name in layer}
    for path in MODULES:
        if (name := name_of(path)) and name != "__main__":
            room = name.split(".")[0]
            below[room] |= {other.split(".")[0] for other in inner(told_imports(path)) if other} - {room}
    for upper, lower in itertools.pairwise(LAYERS):
        assert any(below[name] & set(lower) for name in upper), f"{upper} could lie beside {lower}"


def test_stages_meet_in_storage_only():
    """They share `stages.shared`; `stages.preview` plans them by their configs alone."""
    for path in sorted((ROOT / "stages").rglob("*.py")):
        stages = {name for name in inner(told_imports(path)) if name.startswith("stages.")}
        assert {name for name in stages if name.split(".")[1] != "shared"} == set(), name_of(path)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_stay_in_their_rooms(path):
    name = name_of(path)
    used = {found.split(".")[0] for found in told_imports(path)}
    for library, rooms in ROOMS.items():
        if library in used:
            assert any(name == room or name.startswith(f"{room}.") for room in rooms), f"{name}: {library}"
    if name.split(".")[0] in PURE:
        assert used.isdisjoint({"dask", "distributed", "zarr", "obstore", "sklearn", "skimage"})


def in_a_new_process(code: str) -> set[str]:
    """The modules loaded after `code`."""
    code += "\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = {
    "numpy",
    "dask",
    "distributed",
    "zarr",
    "obstore",
    "numba",
    "skimage",
    "sklearn",
    "matplotlib",
    "cupy",
}


def test_import_dkmeans_is_cheap():
    assert in_a_new_process("import dkmeans").isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["run", "--help"]])
def test_help_loads_no_library(arguments):
    code = f"from dkmeans.command.main import main\ntry: main({arguments!r})\nexcept SystemExit: pass"
    assert in_a_new_process(code).isdisjoint(HEAVY)


UNUSED = {
    *("dask", "distributed", "dask_ml"),
    *("prometheus_client", "sklearn", "skimage", "scipy.linalg", "pandas", "zarr", "matplotlib"),
}
"""What takes long to load, and an image that gets a palette of its own has no use for."""


@pytest.mark.parametrize("destination", ["out", "cat.png"])
def test_an_image_is_quantized_without_what_it_does_not_need(photos, tmp_path, destination):
    def quantize(place):
        command = ["quantize", str(photos / "cat.jpg"), str(tmp_path / place), "--k", "2", "--quiet"]
        return f"from dkmeans.command.main import main\ntry: main({command!r})\nexcept SystemExit: pass"

    in_a_new_process(quantize(f"before-{destination}"))  # compiles, which loads more
    assert in_a_new_process(quantize(destination)) & UNUSED == set()
    made = tmp_path / destination
    assert (made / "cat.png" if destination == "out" else made).is_file()


def test_kernels_need_no_dask_and_no_storage():
    loaded = in_a_new_process("import dkmeans.kernels.cpu, dkmeans.features.patches, dkmeans.plan")
    assert loaded.isdisjoint({"dask", "distributed", "zarr", "obstore", "pydantic"})


def test_public_names_exist():
    for name in dkmeans.__all__:
        assert getattr(dkmeans, name).__name__ == name
    assert dir(dkmeans) == sorted([*dkmeans.__all__, "__version__"])
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = dkmeans.fti


def test_the_stub_is_the_one_made():
    """Which is written as ruff formats it, so that make stubs leaves nothing to do."""
    stub = ROOT / "__init__.pyi"
    assert stub.read_text(encoding="utf-8") == make_stub(), "make stubs writes it anew"
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(stub), "-"]
    done = subprocess.run(ruff, input=make_stub(), capture_output=True, text=True, check=True)
    assert done.stdout == make_stub()


def test_the_tree_of_errors_is_the_one_drawn():
    classes = {
        name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and issubclass(cls, Exception)
    }
    assert sorted(classes) == sorted(errors.__all__)
    for name, cls in classes.items():
        (line,) = [line for line in errors.__doc__.splitlines() if f" {name} " in f" {line.strip('│├└─ ')} "]
        assert f" {cls.exit_code} " in line
        depth = (len(line) - len(line.lstrip(" │├└─"))) // 4
        assert depth == len(cls.__mro__) - len(errors.DkmeansError.__mro__) + 1
