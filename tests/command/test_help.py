"""Help in groups, completion as a shell asks for it, and the words for command lines that cannot be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import get_args

import pytest

from dkmeans.command import apps
from dkmeans.command.main import make_app
from dkmeans.config.base import StageConfig
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import CheckpointConfig, FitConfig, QuantizeConfig

COMMANDS = [info.name for info in make_app().registered_commands]
TITLES = ["Arguments", "Options", "Colors", "Files", "Reading", "Learning", "Cluster", "Everywhere"]
MAIN = "import sys; from dkmeans.command.main import main; main(sys.argv[1:])"


def groups(text):
    """The titles of a help, and the first words of the lines below each."""
    found, title = {}, None
    for line in text.splitlines():
        if re.fullmatch(r"[A-Z][\w ]+:", line):
            title = line[:-1]
            found[title] = []
        elif title and re.match(r"  \S", line):
            found[title].append(line.split()[0])
    return found


def flags(names):
    shown = {"n_clusters": "k", "start": "from"}
    return [f"--{shown.get(name, name).replace('_', '-')}" for name in names]


def test_commands_are_in_groups(dkmeans):
    code, out, err = dkmeans("--help")
    assert (code, err) == (0, "")
    found = groups(out)
    stages = ["ingest", "fit", "sweep", "compress", "reconstruct"]
    assert [name for name in found["Stages"] if name in stages] == stages
    assert {"run"} <= set(found["In one step"])
    assert found["Look"] == ["report", "info", "status", "verify", "calibrate"]
    assert "Commands" not in found  # none is left without a group
    assert sorted(COMMANDS) == sorted(
        name for title, names in found.items() if title != "Options" for name in names
    )
    assert found["Options"] == ["--version", "--install-completion", "--show-completion", "--help"]


def test_options_are_in_groups(dkmeans):
    code, out, _ = dkmeans("fit", "--help")
    assert code == 0
    found = groups(out)
    assert list(found) == [title for title in TITLES if title not in ("Colors", "Files", "Reading")]
    assert found["Arguments"] == ["DATASET", "CODEBOOK"]
    # What has to be given comes first.
    own = ["--k", "--on", "--from", "--once", "--overwrite", "--resume"]
    assert found["Options"] == [*own, "--dry-run", "--price-per-hour"]
    learning = [name for name in CheckpointConfig.model_fields if name not in StageConfig.model_fields]
    assert found["Learning"] == flags(learning)
    assert found["Cluster"] == flags(ClusterConfig.model_fields)
    assert found["Everywhere"] == [
        "--storage-option",
        "--events",
        "--json",
        "--quiet",
        "--debug",
        "--log-level",
        "--log-format",
        "--help",
    ]
    shown = found["Arguments"] + [name for title in found for name in found[title] if name.startswith("--")]
    assert len(shown) == len(set(shown)) >= len(FitConfig.model_fields)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(dkmeans, monkeypatch, name):
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        code, out, err = dkmeans(name, "--help")
        assert (code, err) == (0, "")
        assert "\x1b" not in out
        assert max(len(line) for line in out.splitlines()) <= width
        found = list(groups(out))
        assert found == [title for title in TITLES if title in found]
        assert out.startswith(f"Usage: dkmeans {name} ")


def test_help_shows_sizes_and_numbers_as_they_are_typed(dkmeans):
    assert "[1x1]" in dkmeans("ingest", "--help")[1]
    if "palette" in COMMANDS:
        assert "[2,4,8,16,32,64,128,256]" in dkmeans("palette", "--help")[1]


def test_no_arguments_show_the_help(dkmeans):
    code, out, err = dkmeans()
    assert (code, out) == (2, "")
    assert err == dkmeans("--help")[1]


def completed(*words):
    """What is offered for the last of some words, asked for as bash does."""
    given = {
        "_DKMEANS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("dkmeans", *words)),
        "COMP_CWORD": str(len(words)),
    }
    command = [sys.executable, "-c", MAIN]
    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["co"], ["compress"]),
        (["fit", "d", "c", "--max"], ["--max-iter"]),
        (["fit", "d", "c", "--on", "p"], ["pixels", "patches"]),
        (["fit", "d", ""], []),  # which leaves bash to complete file names
    ],
)
def test_completion(words, offered):
    assert completed(*words) == offered


def test_completion_offers_all_commands_and_options():
    assert sorted(completed("")) == sorted(COMMANDS)
    assert set(flags(FitConfig.model_fields)) - {"--dataset", "--codebook"} <= set(completed("fit", "--"))


def test_the_script_for_the_shell_asks_in_that_way(dkmeans, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # whatever runs the tests
    code, out, _ = dkmeans("--show-completion", "bash")
    assert code == 0
    for text in ("COMP_WORDS=", "COMP_CWORD=", "_DKMEANS_COMPLETE=complete_bash", "-o default"):
        assert text in out
    assert out.rstrip().endswith(" dkmeans")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["fti"], "no such command 'fti'. Did you mean 'fit'?"),
        (["fit"], "missing argument 'DATASET'."),
        (["fit", "d", "c"], "missing option '--k'."),
        (["fit", "d", "c", "e", "--k", "3"], "got unexpected extra argument(s) (e)."),
        (["fit", "d", "c", "--clusters", "3"], "no such option --clusters; did you mean --k?"),
        (["fit", "d", "c", "--K", "3"], "no such option --K; did you mean --k?"),
        (["fit", "d", "c", "-k", "3"], "no such option -k; did you mean --k?"),
        (["fit", "d", "c", "--maxiter", "3"], "no such option --maxiter; did you mean --max-iter?"),
        (["fit", "--help-me"], "no such option --help-me; did you mean --help?"),
        (["--vresion"], "no such option --vresion; did you mean --version?"),
        (["fit", "d", "c", "--qqqqqqq"], "no such option --qqqqqqq."),
        (["report", "page"], "missing argument 'RESULT...'."),
    ],
)
def test_command_lines_that_cannot_be_read(dkmeans, arguments, text):
    code, out, err = dkmeans(*arguments)
    assert (code, out) == (2, "")
    found, expected = err.splitlines()
    assert found == f"error: {text}"
    command = " ".join(["dkmeans", *(arguments[:1] if arguments[0] in COMMANDS else [])])
    assert expected.startswith(f"Expected: {command} ")
    assert expected.endswith(f"`{command} --help` tells more.")


def test_usage_names_what_is_needed(dkmeans):
    assert "Expected: dkmeans fit DATASET CODEBOOK --k <int> [OPTIONS];" in dkmeans("fit")[2]


def test_python_m_dkmeans():
    done = subprocess.run([sys.executable, "-m", "dkmeans", "fit"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("a b --dither", "a b --dither floyd-steinberg"),
        ("--dither a b --k 4", "--dither floyd-steinberg a b --k 4"),
        ("a --dither --k 4 b", "a --dither floyd-steinberg --k 4 b"),
        ("--dither ordered a b", "--dither ordered a b"),
        ("a b --dither none", "a b --dither none"),
        ("a b --k 4", "a b --k 4"),
        ("", ""),
    ],
)
def test_an_option_without_its_value(given, whole):
    assert apps._with_values(given.split()) == whole.split()


def test_options_without_a_value_take_those_of_the_model():
    (values,) = apps._ALONE.values()
    assert set(values) == set(get_args(QuantizeConfig.model_fields["dither"].annotation))
