"""All that is to be learnt on a machine with a GPU, in one call and 25 minutes: is it right, and how fast.

    python tests/gpu_day.py --out gpu-day --data train-images-idx3-ubyte.gz

Makes a folder with a log of each step, the numbers and the page of the benchmark, what ncu saw, and
``summary.json``. The steps come in the order of what matters most if time runs out; each has seconds of its
own. A program that is not there, or fails, is said and stops no other step. Ends with 1 where dkmeans is
wrong or that could not be found out, and with 5 without a usable GPU.

compute-sanitizer and ncu come with CUDA's toolkit; the first is also on PyPI, as nvidia-cuda-sanitizer-api.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_MINUTES = 25
_NO_GPU = 5
_FOUND = 9  # what a sanitizer ends with if it has found something


@dataclass(frozen=True)
class Step:
    """A command and what its end means.

    Attributes
    ----------
    name : str
        Of the log, too.
    command : str
        Words of a command line, in which names in braces are filled in: see `fill`.
    seconds : int
        Most that it may take.
    needed : bool
        Whether all is wrong unless it ends with 0.
    wrong : int or None
        What another one ends with if dkmeans is wrong.
    modules : tuple of str
        That Python has to find for it.
    """

    name: str
    command: str
    seconds: int
    needed: bool = False
    wrong: int | None = None
    modules: tuple[str, ...] = ()


_BENCH = "{python} tests/benchmarks/bench_gpu.py"
_TESTS = "tests/kernels tests/estimators tests/stages tests/compute tests/command"
_OF_TESTS = ("pytest", "distributed", "dask_ml", "zarr", "obstore", "skimage", "PIL")
_SANITIZER = f"compute-sanitizer --error-exitcode {_FOUND} --tool"
STEPS = (
    Step("facts", "nvidia-smi -q", 30),
    Step("small", f"{_BENCH} --small", 150, needed=True),  # and CuPy keeps for the others what it compiles
    Step("bench", f"{_BENCH} --json {{out}}/gpu.json --page {{out}}/gpu.html {{data}}", 660, needed=True),
    Step("tests", f"{{python}} -m pytest -q -m gpu {_TESTS}", 300, needed=True, modules=_OF_TESTS),
    Step("memcheck", f"{_SANITIZER} memcheck {_BENCH} --small", 180, wrong=_FOUND),
    Step("racecheck", f"{_SANITIZER} racecheck {_BENCH} --small", 240, wrong=_FOUND),
    Step("synccheck", f"{_SANITIZER} synccheck {_BENCH} --small", 120, wrong=_FOUND),
    Step(
        "ncu",
        "ncu --set full --kernel-name regex:^({slowest})$ --launch-skip 4 --launch-count 12 "
        f"--export {{out}}/kernels --force-overwrite {_BENCH} --profile --n 4000000 --iterations 6",
        180,
    ),
    Step("ncu-text", "ncu --import {out}/kernels.ncu-rep --page details", 60),
)


@dataclass(frozen=True)
class Result:
    """How a step ended: passed, wrong, failed, stopped when its time was over, or why it is left out."""

    name: str
    ended: str
    status: int | None = None
    seconds: float = 0.0


def benchmark(out: Path) -> dict[str, Any]:
    """The numbers of the benchmark; none if it wrote none."""
    file = out / "gpu.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return found


def fill(step: Step, out: Path, data: str | None) -> list[str] | str:
    """The words of a command, or what they lack.

    ``{python}`` is this Python, ``{out}`` the folder, ``{data}`` the option for a file of images, and
    ``{slowest}`` the two kernels that took the most time in the benchmark.
    """
    slowest = "|".join(benchmark(out).get("slowest", []))
    if "{slowest}" in step.command and not slowest:
        return "left out: the benchmark names no kernels"
    command: list[str] = []
    for word in step.command.split():
        if word == "{data}":
            command += ["--data", data] if data else []
            continue
        for name, value in {"python": sys.executable, "out": str(out), "slowest": slowest}.items():
            word = word.replace(f"{{{name}}}", value)
        command.append(word)
    if shutil.which(command[0]) is None:
        return f"left out: {command[0]} is not there"
    if missing := [name for name in step.modules if importlib.util.find_spec(name) is None]:
        return f"left out: {', '.join(missing)} is not there"
    return command


def run(command: list[str], log: Path, seconds: float) -> int | None:
    """Run a command, its output into a log; its status, or None if it had to be stopped."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])  # this very checkout
    environment, status = {**os.environ, "PYTHONPATH": path}, None
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
        ) as process,
    ):
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if status is None:
                os.killpg(process.pid, signal.SIGKILL)  # with all that it has started
    return status


def take(step: Step, out: Path, data: str | None, left: float) -> Result:
    """Take a step, for which `left` seconds are left."""
    command = fill(step, out, data) if left > 0 else "left out: no time is left"
    if isinstance(command, str):
        return Result(step.name, command)
    began = time.monotonic()
    status = run(command, out / f"{step.name}.log", min(step.seconds, left))
    ended = {None: "stopped", 0: "passed"}.get(status, "failed")
    if ended == "failed" and (step.needed or status == step.wrong):
        ended = "wrong"
    return Result(step.name, ended, status, round(time.monotonic() - began, 1))


def take_all(
    steps: Sequence[Step], out: Path, data: str | None = None, minutes: float = _MINUTES
) -> list[Result]:
    """Take the steps in turn, and say how each ended; the summary grows with them."""
    deadline = time.monotonic() + 60 * minutes
    results: list[Result] = []
    for step in steps:
        result = take(step, out, data, deadline - time.monotonic())
        results.append(result)
        status = f" with {result.status}" if result.status else ""
        print(f"{result.name:<10} {result.seconds:6.0f} s  {result.ended}{status}", flush=True)
        summary = {"steps": [asdict(each) for each in results], "targets": benchmark(out).get("targets", [])}
        (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    return results


def is_right(steps: Sequence[Step], results: Sequence[Result]) -> bool:
    """Whether all that is needed has passed, and nothing else has found dkmeans wrong."""
    return all(
        result.ended == "passed" if step.needed else result.ended != "wrong"
        for step, result in zip(steps, results, strict=True)
    )


def main(argv: list[str] | None = None, steps: Sequence[Step] = STEPS) -> None:
    """Take all steps, and say what they found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="gpu-day", help="the folder; files of another day are replaced")
    parser.add_argument("--data", help="IDX file of images for the benchmark; default: drawn ones")
    options = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT))
    from dkmeans.kernels import gpu_problem

    if problem := gpu_problem():
        print(f"gpu_day: no usable GPU: {' '.join(problem.split())}", file=sys.stderr)
        raise SystemExit(_NO_GPU)
    out = Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in ("gpu.json", "gpu.html", "kernels.ncu-rep", *(f"{step.name}.log" for step in steps)):
        (out / name).unlink(missing_ok=True)
    results = take_all(steps, out, options.data and str(Path(options.data).resolve()))
    for line in benchmark(out).get("targets", []):
        print(f"{line['target']}: asked {line['asked']}, measured {line['measured']}: {line['reached']}")
    print(f"The logs lie in {out}; gpu.html there has the time of each kernel, with ncu and without.")
    raise SystemExit(0 if is_right(steps, results) else 1)


if __name__ == "__main__":
    main()
