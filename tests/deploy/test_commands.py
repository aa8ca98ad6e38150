"""Every command that deploy/ names, against the command lines that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from distributed.cli import dask_scheduler, dask_worker

from dkmeans.command.main import make_app

DEPLOY = Path(__file__).parents[2] / "deploy"
DASK = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}


def lists(tree):
    """Every list in a YAML tree that is a command."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    elif isinstance(tree, list) and tree and tree[0] in ("dkmeans", "dask"):
        yield [str(word) for word in tree]
    if isinstance(tree, list):
        for part in tree:
            yield from lists(part)


def lines(text):
    """Every line of a shell script or a page that is a command; arrays of a script are left out."""
    for line in text.replace("\\\n", " ").splitlines():
        if match := re.match(
            r"\s*(?:[A-Z_]+=\S+ )*(?:srun (?:--\S+ +)*)?((?:dkmeans|dask) (?!and |in )[a-z-]+ .*)", line
        ):
            words = shlex.split(re.split(r" \|\| | && | & ?$|;", match[1])[0], comments=True)
            yield [word for word in words if "[@]}" not in word]


def commands():
    for path in sorted(DEPLOY.rglob("*")):
        if path.suffix == ".yaml":
            found = lists(yaml.safe_load(path.read_text()))
        elif path.suffix in (".sh", ".sbatch"):
            found = lines(path.read_text())
        elif path.suffix == ".md":
            found = lines("\n".join(re.findall(r"```sh\n(.*?)```", path.read_text(), flags=re.S)))
        else:
            continue
        yield from ((path.name, words) for words in found)


COMMANDS = list(commands())


def parse(words):
    """Parse `words` as the program would; an error names the unknown option."""
    program, name, *arguments = [
        re.sub(r"\$(\w+|\([^()]*\)|\(\(.*?\)\)|\{\w+(:-\w+)?\})", "1", word) for word in words
    ]
    known = typer.main.get_command(make_app()).commands if program == "dkmeans" else DASK
    if (program, name) == ("dask", "cuda"):  # it needs CUDA's bindings, but no GPU
        cuda = pytest.importorskip(
            "dask_cuda.cli", reason="pip install 'dkmeans[dask-cuda12]'", exc_type=ImportError
        )
        (name, *arguments), known = arguments, cuda.cuda.commands
    assert name in known, f"{program} has no command {name}"
    context = known[name].make_context(name, list(arguments))
    # `dask worker` and `dask cuda worker` take an option that they do not know for a scheduler.
    assert not str(context.params.get("scheduler")).startswith("-"), context.params["scheduler"]
    return context


@pytest.mark.parametrize(("file", "words"), COMMANDS, ids=[f"{f}: {' '.join(w)}" for f, w in COMMANDS])
def test_a_command_is_one_that_exists(file, words):
    parse(words)


def test_commands_are_found_where_they_are():
    found = {(file, " ".join(words[:2])) for file, words in COMMANDS}
    jobs = {"README.md", "compose.yaml", "job.yaml", "job.sbatch"}
    assert {(file, "dkmeans run") for file in jobs} <= found
    clusters = {"compose.yaml", "job.yaml", "cluster.yaml", "job.sbatch"}
    assert {(file, f"dask {name}") for file in clusters for name in DASK} <= found
    assert {("README.md", "dask worker")} | {
        (f, "dask cuda") for f in ("README.md", "compose.gpu.yaml")
    } <= found


def test_a_gpu_job_demands_its_gpus():
    (words,) = [words for file, words in COMMANDS if file == "compose.gpu.yaml" and words[0] == "dkmeans"]
    assert parse(words).params["device"] == "gpu"


@pytest.mark.parametrize(
    "command",
    [
        "dkmeans run job.toml --resumee",
        "dkmeans runn job.toml",
        "dask worker --thls 1",
        "dkmeans run",
        "dask cuda worker --nworkers=2",
        "dask cuda worker tls://scheduler:8786 --nworkers 2",
        "dask cuda workers",
    ],
)
def test_a_planted_mistake_is_found(command):
    with pytest.raises((Exception, SystemExit)):
        parse(command.split())


def test_every_job_goes_on_where_it_was():
    for file, words in COMMANDS:
        if words[:2] == ["dkmeans", "run"]:
            assert "--resume" in words, file
