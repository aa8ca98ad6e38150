"""Every command of the README runs, in its order, on small photos."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import dkmeans
from dkmeans.command.main import main, make_app
from dkmeans.studies import embedded
from dkmeans.studies.palette import study

ROOT = Path(dkmeans.__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL)


def write_small_photos(folder):
    Path(folder).mkdir(parents=True)
    for name in ("astronaut", "coffee"):
        pixels = getattr(data, name)()[100:190, 150:260]
        Image.fromarray(np.ascontiguousarray(pixels)).save(Path(folder, f"{name}.png"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder like a clone of the project, and photos that do not take long."""
    (tmp_path / "jobs" / "studies").mkdir(parents=True)
    for name in ("demo.toml", "studies/palette.toml"):
        (tmp_path / "jobs" / name).write_text((ROOT / "jobs" / name).read_text())
    monkeypatch.chdir(tmp_path)

    for module in (embedded, study):
        monkeypatch.setattr(module, "write_photos", write_small_photos)
    return tmp_path


ALONE = ("export", "report", "info", "status", "verify")  # which take no cluster


def run(command, arguments):
    with pytest.raises(SystemExit) as caught:
        command(arguments)
    assert not caught.value.code, arguments


def test_every_command(here):
    ran = []
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "README.md", "exec"), {})
            ran.append("python")
            continue
        for line in block.strip().splitlines():
            program, *arguments = shlex.split(line)
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
            else:
                assert line == "source .venv/bin/activate"
            ran.append(f"{program} {' '.join(arguments[:1])}")
    wanted = ["ingest", "fit", "compress", "reconstruct", "report", "info", "status", "verify", "run"]
    assert {"python", "make demo", "make test", *(f"dkmeans {name}" for name in wanted)} <= set(ran)
    for name in ("report.html", "demo/report.html", "compressed/coffee.png", "reconstructed/astronaut.png"):
        assert (here / name).stat().st_size > 500


def test_files_that_the_readme_names_exist():
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / link).is_file(), link


def test_the_table_of_exit_codes():
    from dkmeans import errors

    codes = {cls.exit_code for name, cls in vars(errors).items() if name in errors.__all__}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)} == codes | {0}


def test_commands_that_the_readme_names_exist():
    named = set(re.findall(r"`dkmeans ([a-z]\w*)", README))
    assert {"quantize", "palette", "dictionary", "faces", "cut", "sweep", "decode"} <= named
    assert named <= {command.name for command in make_app().registered_commands}
