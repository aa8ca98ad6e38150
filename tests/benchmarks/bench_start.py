"""Whole commands as users run them, from Enter to the prompt: one photo, a folder, and a large photo.

    python tests/benchmarks/bench_start.py --data photos --k 64 --rounds 5

Each run is a fresh process; the machine code of the kernels is there from a run before. All commands take
turns, and the medians are told: seconds of the clock, seconds of the processor (user and system, of all
processes of the command), and the peak of the memory of its first process. pngquant, if it is on PATH, runs
without dithering on as many processes as there are cores. `--beside FOLDER` measures another checkout of
dkmeans too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import harness

ROOT = Path(__file__).parents[2]
_LARGE = (6000, 4000)
_COLUMNS = {"work": "", "command": "", "seconds": ".2f", "cpu": ".2f", "peak MiB": ".0f", "runs": "d"}


def measured(command: list[str], checkout: Path = ROOT) -> dict[str, float]:
    """Run a command with the dkmeans of a checkout, and wait for it: what it took."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    began = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # Python looks into the current folder first.
    process = subprocess.Popen(command, env=environment, cwd=checkout, **quiet)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak MiB": used.ru_maxrss / 1024}


def child(photo: str | None, folder: str, place: str) -> dict:
    """Make what is measured, in a process of its own: commands would remember the memory of this one."""
    from bench_pixels import write_photos
    from PIL import Image

    data = Path(write_photos(Path(folder))) if photo is None else Path(photo)
    with Image.open(min(data.glob("*.png"))) as image:
        image.convert("RGB").resize(_LARGE, Image.Resampling.BICUBIC).save(place, quality=92)
    return {"data": str(data.resolve())}


Run = Callable[[Path], dict[str, float]]
"""Runs a command that writes to a path that is not there."""


def quantizing(source: Path, k: int, checkout: Path) -> Run:
    """`dkmeans quantize` of a file or a folder."""

    def run(out: Path) -> dict[str, float]:
        command = [
            sys.executable,
            "-m",
            "dkmeans",
            "quantize",
            str(source),
            str(out),
            "--k",
            str(k),
            "--quiet",
        ]
        return measured(command, checkout)

    return run


def by_pngquant(files: list[Path], k: int) -> Run:
    """`pngquant --nofs` of PNG files, on as many processes as there are cores."""
    cores = len(os.sched_getaffinity(0))
    each = -(-len(files) // cores)

    def run(out: Path) -> dict[str, float]:
        out.mkdir()
        copies = [shutil.copy(file, out) for file in files]
        options = f"--nofs --force --ext -few.png {k}"
        script = f"printf '%s\\0' \"$@\" | xargs -0 -P {cores} -n {each} pngquant {options} --"
        return measured(["sh", "-c", script, "sh", *copies])

    return run


def runs(folder: Path, k: int, large: Path, checkouts: dict[str, Path]) -> Iterator[tuple[str, str, Run]]:
    """Every kind of work with every command that does it."""
    files = sorted(folder.glob("*.png"))
    if not files:
        raise SystemExit(f"{folder}: no PNG file; expected a folder of photos")
    works = {"one photo": files[:1], f"{len(files)} photos": files, "24 megapixels": [large]}
    for work, found in works.items():
        for name, checkout in checkouts.items():
            yield work, name, quantizing(found[0] if len(found) == 1 else folder, k, checkout)
        if shutil.which("pngquant") and found[0].suffix == ".png":
            yield work, "pngquant --nofs", by_pngquant(found, k)


def main(argv: list[str] | None = None) -> dict:
    """Measure all commands in turn and print a table."""
    parser = harness.parser(__doc__, k=64, rounds=5)
    parser.add_argument("--large", help="a large photo; made of the first one if not given")
    parser.add_argument("--beside", help="another checkout of dkmeans")
    options = parser.parse_args(argv)
    facts = {**harness.facts(options), "missing": []}
    print(harness.heading("Commands from Enter to the prompt", facts))
    if shutil.which("pngquant") is None:
        print("no pngquant on PATH: install it to compare with it (its site: pngquant.org)")
    checkouts = {"dkmeans": ROOT} | ({"dkmeans beside": Path(options.beside)} if options.beside else {})
    with tempfile.TemporaryDirectory(prefix="bench-start-") as scratch:
        large = Path(scratch, "large.jpg")
        made = harness.in_child(
            __file__, 1, photo=options.data, folder=str(Path(scratch, "photos")), place=str(large)
        )
        if "failed" in made:
            raise SystemExit(f"no photos could be made: {made['failed']}")
        every = list(runs(Path(made["data"]), options.k, Path(options.large or large).resolve(), checkouts))
        found: list[list[dict]] = [[] for _ in every]
        for number in range(options.rounds + 1):
            for (_, _, run), taken in zip(every, found, strict=True):
                out = Path(scratch, "out")
                one = run(out)
                taken += [one] if number else []  # the first run may compile
                shutil.rmtree(out)
    lines = [
        {"work": work, "command": name, "runs": len(taken)}
        | {column: harness.median(taken, column) for column in taken[0]}
        for (work, name, _), taken in zip(every, found, strict=True)
    ]
    print(harness.table(lines, _COLUMNS))
    return harness.finish({"facts": facts, "table": lines}, options.json)


if __name__ == "__main__":
    harness.run(main, child)
