"""Every command of the README and of docs/ runs, in its order, on small photos."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from skimage import data

import dkmeans
from dkmeans.command.main import main, make_app
from dkmeans.studies import embedded
from dkmeans.studies.palette import study

ROOT = Path(dkmeans.__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
TEXTS = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "explained").glob("*.md")])
PAGES = [
    page
    for page in TEXTS
    if BLOCK.search(page.read_text("utf-8")) and page.name != "planning.md"  # test_planning_page.py runs it
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def write_small_photos(folder):
    Path(folder).mkdir(parents=True)
    for name in ("astronaut", "coffee"):
        pixels = getattr(data, name)()[100:190, 150:260]
        Image.fromarray(np.ascontiguousarray(pixels)).save(Path(folder, f"{name}.png"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder like a clone of the project, and photos that do not take long."""
    (tmp_path / "jobs" / "studies").mkdir(parents=True)
    for job in (ROOT / "jobs").rglob("*.toml"):
        (tmp_path / job.relative_to(ROOT)).write_text(job.read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DKMEANS_RATES", str(tmp_path / "rates.json"))

    for module in (embedded, study):
        monkeypatch.setattr(module, "write_photos", write_small_photos)
    return tmp_path


OTHER_TOOLS = (
    "daily.md",
    "watching.md",
    "planning.md",
    "why_not.md",
    "performance.md",
)  # whose options they name, too
ALONE = ("calibrate", "export", "report", "info", "status", "verify")  # which take no cluster


def run(command, arguments):
    with pytest.raises(SystemExit) as caught:
        command(arguments)
    assert not caught.value.code, arguments


def check_install(program, arguments):
    """What is not run here names what there is: the project and its extras, the targets of the image."""
    if program == "docker":
        file, target = (arguments[arguments.index(option) + 1] for option in ("-f", "--target"))
        assert arguments[0] == "build"
        assert re.search(rf"^FROM .* AS {target}$", (ROOT / file).read_text("utf-8"), re.MULTILINE)
        return
    name, _, extras = arguments[1].partition("[")
    assert (arguments[0], name) == ("install", PROJECT["name"])
    assert set(filter(None, extras.rstrip("]").split(","))) <= set(PROJECT["optional-dependencies"])


def run_blocks(text):
    """Run the blocks of a page: what was run, and the names that each block of Python has left."""
    ran, left = [], []
    for language, block in BLOCK.findall(text):
        if language == "python":
            left.append({})
            exec(compile(block, "a block of the page", "exec"), left[-1])
            ran.append("python")
            continue
        for line in block.strip().splitlines():
            program, *arguments = shlex.split(line)
            assert program in ("make", "dkmeans", "pip", "pipx", "docker", "source"), line
            if program == "make":
                (target,) = arguments
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
                if target == "demo":  # tests/jobs runs its script
                    write_small_photos("demo/photos")
                    run(main, ["run", "jobs/demo.toml", "--scheduler", "sync"])
            elif program == "dkmeans":
                # In this process; a local cluster for each of them would only take time.
                sync = ["--scheduler", "sync"] if arguments[0] not in ALONE else []
                run(main, arguments + sync)
            elif program == "source":
                assert line == "source .venv/bin/activate"
            else:
                check_install(program, arguments)
            ran.append(f"{program} {' '.join(arguments[:1])}")
    return ran, left


def test_every_command(here):
    write_small_photos("photos")
    shutil.copy("photos/coffee.png", "photo.png")
    ran, left = run_blocks(README)
    wanted = ["quantize", "ingest", "fit", "compress"]
    assert {"python", "make demo", "make test", *(f"dkmeans {name}" for name in wanted)} <= set(ran)
    for name in ("few-colors.html", "demo/report.html", "compressed/coffee.png", "few-colors/astronaut.png"):
        assert (here / name).stat().st_size > 500
    with Image.open("small.png") as image:
        assert len(image.convert("RGB").getcolors()) <= 16
    (names,) = left
    assert names["few_colors"].shape == names["pixels"].shape


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_docs(here, page):
    for name in ("xarray", "skops", "faiss"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install 'dkmeans[dev]'")
    write_small_photos("photos")
    ran, left = run_blocks(page.read_text(encoding="utf-8"))
    assert len(ran) >= 1
    if page.name == "reading.md":
        check_reading(left)
    if page.name == "recipes.md":
        check_recipes(here, ran)


def check_recipes(here, ran):
    """The whole tour and the pipeline have been run, and have written what they say."""
    wanted = ["ingest", "fit", "compress", "reconstruct", "report", "info", "status", "verify", "run"]
    wanted += ["sweep", "cut", "quantize"]
    assert {"python", *(f"dkmeans {name}" for name in wanted)} <= set(ran)
    for name in ("report.html", "tour.html", "compressed/coffee.png", "reconstructed/astronaut.png"):
        assert (here / name).stat().st_size > 500


def check_reading(left):
    """Other libraries have read what dkmeans reads."""
    expected = dkmeans.open_coded("compressed.zarr").image(0)
    images = [names["image"] for names in left if "image" in names]
    assert len(images) == 2
    for image in images:
        np.testing.assert_array_equal(image, expected)
        assert image.dtype == expected.dtype
    for names in left:
        if "centers" in names:
            np.testing.assert_array_equal(names["centers"], dkmeans.open_codebook("palette.zarr").centers)


def test_the_codes_are_an_image_in_five_lines():
    """Lines of code of the first block of Python in docs/reading.md, as it says."""
    blocks = BLOCK.findall((ROOT / "docs" / "reading.md").read_text(encoding="utf-8"))
    first = next(block for language, block in blocks if language == "python")
    assert len([line for line in first.splitlines() if line]) == 5
    assert "dkmeans" not in first


@pytest.mark.parametrize("page", [ROOT / "README.md", *TEXTS], ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_the_table_of_exit_codes():
    from dkmeans import errors

    page = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    codes = {cls.exit_code for name, cls in vars(errors).items() if name in errors.__all__}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", page, re.MULTILINE)} == codes | {0}


def named_commands(page):
    return re.findall(r"`dkmeans ([a-z]\w*)([^`]*)`", page.read_text(encoding="utf-8"))


def test_the_recipes_name_the_commands():
    named = {name for name, _ in named_commands(ROOT / "docs" / "recipes.md")}
    assert {"quantize", "palette", "dictionary", "faces", "cut", "compress", "decode"} <= named


@pytest.mark.parametrize("page", [ROOT / "README.md", *TEXTS], ids=lambda page: page.name)
def test_commands_and_options_that_a_page_names_exist(page):
    app = make_app()
    known = typer.main.get_command(app).commands
    text = page.read_text(encoding="utf-8")
    assert {name for name, _ in named_commands(page)} <= set(known)
    options = {option for command in known.values() for p in command.params for option in p.opts}
    foreign = {"--install-completion", "--target", "--user", "--help", "--version"}
    if page.name in OTHER_TOOLS:
        return
    named = {
        option
        for code in re.findall(r"`([^`\n]+)`", text)
        for option in re.findall(r"(?<![\w-])--[a-z-]+", code)
    }
    assert named <= options | foreign, named - options - foreign
