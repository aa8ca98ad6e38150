"""The day on a GPU with programs that are none, and without a GPU."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import bench_gpu
import gpu_day
import pytest
from gpu_day import Result, Step

BENCHMARK = """
import json, sys
out = sys.argv[1]
json.dump({"slowest": ["search", "pack"], "targets": [
    {"target": "ms", "asked": "≤ 2", "measured": "1.5", "reached": "yes"}]}, open(out + "/gpu.json", "w"))
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs, the only one on the path beside those of the system."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def add(name, text):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    return add


@pytest.fixture
def out(tmp_path):
    """A folder whose name has a space."""
    folder = tmp_path / "gpu day"
    folder.mkdir()
    return folder


def test_steps_run_in_turn_whatever_becomes_of_them(programs, out, capsys):
    programs("first", 'echo "one of $1"; date +%s%N')
    programs("second", "date +%s%N; exit 3")
    programs("checker", "exit 9")
    steps = [
        Step("facts", "first {out}", 9),
        Step("other", "second", 9),
        Step("needed", "second", 9, needed=True),
        Step("missing", "compute-sanitizer --tool memcheck", 9, wrong=9),
        Step("module", "{python} -m json", 9, needed=True, modules=("json", "no_such_module", "nor_this")),
        Step("check", "checker", 9, wrong=9),
        Step("last", "first last", 9),
    ]
    results = gpu_day.take_all(steps, out)
    assert [(result.ended, result.status) for result in results] == [
        ("passed", 0),
        ("failed", 3),
        ("wrong", 3),
        ("left out: compute-sanitizer is not there", None),
        ("left out: no_such_module, nor_this is not there", None),
        ("wrong", 9),
        ("passed", 0),
    ]
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == [step.name for step in steps]
    assert said[3] == "missing         0 s  left out: compute-sanitizer is not there"
    assert said[5].endswith(" s  wrong with 9")
    summary = json.loads((out / "summary.json").read_text())["steps"]
    assert [step["ended"] for step in summary] == [result.ended for result in results]
    logs = [(out / f"{name}.log").read_text().splitlines() for name in ("facts", "other", "last")]
    assert logs[0][0] == f"one of {out}"
    assert logs[0][-1] < logs[1][0] < logs[2][-1]


def test_a_step_has_its_time_and_all_have_theirs(programs, out):
    """What a step has started ends with it."""
    programs("slow", "sleep 60 & echo $!; wait")
    steps = [Step("slow", "slow", 1, needed=True), Step("too-slow", "slow", 60), Step("late", "slow", 60)]
    began = time.monotonic()
    results = gpu_day.take_all(steps, out, minutes=2 / 60)
    assert 1.9 < time.monotonic() - began < 30
    assert [result.ended for result in results] == ["stopped", "stopped", "left out: no time is left"]
    assert 0.9 < results[0].seconds < 20
    for name in ("slow", "too-slow"):
        child = int((out / f"{name}.log").read_text())
        for _ in range(100):
            if (
                not Path(f"/proc/{child}").exists()
                or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]
            ):
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"{child} still runs")


def test_ncu_looks_at_the_slowest_kernels(programs, out):
    programs("ncu", 'echo "$@"')
    ncu = next(step for step in gpu_day.STEPS if step.name == "ncu")
    (left_out,) = gpu_day.take_all([ncu], out)
    assert left_out.ended == "left out: the benchmark names no kernels"
    write = out / "write.py"
    write.write_text(BENCHMARK, "utf-8")
    gpu_day.take_all([Step("bench", "{python} {out}/write.py {out}", 60), ncu], out)
    told = (out / "ncu.log").read_text()
    assert "--kernel-name regex:^(search|pack)$ " in told
    assert f"--export {out}/kernels " in told
    assert json.loads((out / "summary.json").read_text())["targets"][0]["reached"] == "yes"


def test_what_is_right():
    steps = [Step("a", "a", 1, needed=True), Step("b", "b", 1, wrong=9)]

    def right(*ended):
        return gpu_day.is_right(steps, [Result("", each) for each in ended])

    assert right("passed", "passed")
    assert right("passed", "failed")
    assert right("passed", "left out: no time is left")
    assert not right("passed", "wrong")
    assert not right("stopped", "passed")
    assert not right("left out: pytest is not there", "passed")


def test_the_day_ends_with_what_it_found(programs, out, monkeypatch, capsys):
    programs("good", "exit 0")
    programs("bad", "exit 9")
    monkeypatch.setattr("dkmeans.kernels.gpu_problem", lambda: None)
    (out / "gpu.json").write_text("of another day")
    (out / "write.py").write_text(BENCHMARK, "utf-8")
    bench = Step("bench", "{python} {out}/write.py {out} {data}", 60, needed=True)
    for command, status in (("good", 0), ("bad", 1)):
        with pytest.raises(SystemExit) as caught:
            gpu_day.main(["--out", str(out), "--data", "images"], [Step("check", command, 9, wrong=9), bench])
        assert caught.value.code == status
        assert "ms: asked ≤ 2, measured 1.5: yes" in capsys.readouterr().out


def test_without_a_gpu_it_says_so_and_ends_with_5(tmp_path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, gpu_day.__file__, "--out", str(tmp_path / "day")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 5
    (said,) = done.stderr.splitlines()
    assert said.startswith("gpu_day: no usable GPU: ")
    assert not (tmp_path / "day").exists()


def test_the_steps_are_commands_that_there_are():
    """The benchmark takes their options; the tests that they name are of a GPU."""
    assert sum(step.seconds for step in gpu_day.STEPS[:4]) < 60 * 25  # what matters most finds time
    for step in gpu_day.STEPS:
        _, benchmark, options = step.command.partition("bench_gpu.py")
        if benchmark:
            bench_gpu.parser().parse_args(shlex.split(options.replace("{data}", "--data images")))
    tests = next(step for step in gpu_day.STEPS if step.name == "tests").command.split()
    folders = [gpu_day.ROOT / word for word in tests if word.startswith("tests/")]
    marked = {
        path for path in (gpu_day.ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text("utf-8")
    }
    inside = {path for folder in folders for path in folder.rglob("test_*.py")}
    assert marked - {Path(__file__).resolve()} <= inside


def test_make_has_the_day():
    makefile = (gpu_day.ROOT / "Makefile").read_text("utf-8")
    rule = re.search(r"^gpu-day: .*\n\t(.*)", makefile, re.MULTILINE)
    assert "tests/gpu_day.py" in rule[1]
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "gpu-day", "DATA=images", "OUT=day"],
        cwd=gpu_day.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1].endswith("tests/gpu_day.py --out day --data images")
