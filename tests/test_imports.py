"""The house: imports point one way, libraries stay in their rooms, `import dkmeans` is cheap."""

from __future__ import annotations

import ast
import graphlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import dkmeans
from dkmeans import errors

ROOT = Path(dkmeans.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# From the top down; a module imports from its own layer or from below. A package stands for its modules.
LAYERS = [
    ["command"],
    ["studies"],
    ["stages", "report"],
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
    "tifffile": ["images"],
    "matplotlib": ["report"],
    "jinja2": ["report"],
    "rich": ["events"],
    "pydantic": ["config", "command", "artefacts"],
    "typer": ["command"],
    "dask_ml": ["clustering.seeding"],
    "kneed": ["clustering.elbow"],
    "distributed": ["compute"],
    "numba": ["kernels"],
    "llvmlite": ["kernels"],
}
PURE = ["kernels", "features", "plan"]  # no dask, no storage


def name_of(path: Path) -> str:
    parts = path.with_suffix("").relative_to(ROOT.parent).parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts[1:] if parts[0] == "dkmeans" else parts)


def imports_of(path: Path) -> set[str]:
    """Everything that a module imports, at any depth, but not for type checking alone."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo.extend(node.orelse)
            continue
        todo.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            assert node.module
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            (name,) = node.args
            found.add(name.value if isinstance(name, ast.Constant) else f"? {name_of(path)}")
    return found


BY_STRING = {"", "command.registry"}
"""Who alone imports modules whose names are not written there: the public names, and the rows of stages."""


def test_imports_by_string_can_be_seen():
    unseen = {
        name.removeprefix("? ") for path in MODULES for name in imports_of(path) if name.startswith("? ")
    }
    assert unseen <= BY_STRING


def test_nothing_else_lies_flat():
    assert {path.stem for path in ROOT.glob("*.py")} == {"__init__", "__main__", "errors", "plan"}
    assert len(LAYERS) <= 10


def inner(imports: set[str]) -> set[str]:
    """The modules of dkmeans among `imports`, named as `name_of` does."""
    known = {name_of(path) for path in MODULES}
    return {name.removeprefix("dkmeans.") for name in imports} & known


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    name = name_of(path)
    if name in ("", "__main__"):
        return  # the public names, which load when they are used, and the command
    own = HEIGHT[name.split(".")[0]]
    for other in inner(imports_of(path)):
        if other:
            assert HEIGHT[other.split(".")[0]] <= own, f"{name} imports {other}, which lies above it"


def test_nothing_imports_in_a_circle():
    graph = {name_of(path): inner(imports_of(path)) - {name_of(path), ""} for path in MODULES}
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_stages_meet_in_storage_only():
    for path in sorted((ROOT / "stages").glob("*.py")):
        stages = {name for name in inner(imports_of(path)) if name.startswith("stages.")}
        assert {name for name in stages if name.split(".")[1] not in ("shared", "quantizing")} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_stay_in_their_rooms(path):
    name = name_of(path)
    used = {found.split(".")[0] for found in imports_of(path)}
    for library, rooms in ROOMS.items():
        if library in used:
            assert any(name == room or name.startswith(f"{room}.") for room in rooms), f"{name}: {library}"
    if name.split(".")[0] in PURE:
        assert used.isdisjoint({"dask", "distributed", "zarr", "obstore", "sklearn", "skimage"})


def in_a_new_process(code: str) -> set[str]:
    """The top-level modules loaded after `code`."""
    code += "\nimport sys, json\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
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


def test_one_process_loads_nothing_of_a_cluster(photos, tmp_path):
    """With --scheduler sync an image is quantized without distributed."""
    command = ["quantize", str(photos / "cat.jpg"), str(tmp_path / "out"), "--k", "2", "--scheduler", "sync"]
    command.append("--quiet")
    code = f"from dkmeans.command.main import main\ntry: main({command!r})\nexcept SystemExit: pass"
    assert in_a_new_process(code).isdisjoint({"distributed"})
    assert (tmp_path / "out" / "cat.png").is_file()


def test_kernels_need_no_dask_and_no_storage():
    loaded = in_a_new_process("import dkmeans.kernels.cpu, dkmeans.features.patches, dkmeans.plan")
    assert loaded.isdisjoint({"dask", "distributed", "zarr", "obstore", "pydantic"})


def test_public_names_exist():
    for name in dkmeans.__all__:
        assert getattr(dkmeans, name).__name__ == name
    assert dir(dkmeans) == sorted([*dkmeans.__all__, "__version__"])
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = dkmeans.fti


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
