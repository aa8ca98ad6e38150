"""How a benchmark runs: each measurement in a process of its own, one after the other; tables and JSON.

A process of its own has no library but the measured one's in memory, and no threads of another's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
from threadpoolctl import threadpool_info

MIB = 1 << 20
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_STATUS = Path("/proc/self/status")
_CPU = Path("/proc/cpuinfo")


def run(main: Callable[[], Any], child: Callable[..., dict]) -> None:
    """The body of a script: `main`, or, in a process that `in_child` started, `child`."""
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(**json.loads(sys.argv[2]))))
    else:
        main()


def in_child(script: str, inner_threads: int, **given: Any) -> dict:
    """What `child` of `script` returns in a process of its own, or ``{"failed": why}``.

    `inner_threads` is what OpenMP, BLAS and the like may use.
    """
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(inner_threads))}
    command = [sys.executable, script, "--child", json.dumps(given)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = done.stderr.strip().splitlines()
    return {"failed": said[-1] if said else f"ended with {done.returncode}"}


def interleaved(names: list[str], rounds: int, measure: Callable[[str, int], dict]) -> dict[str, list[dict]]:
    """The measurements of each name: every round takes all of them in turn.

    Whatever fails is told and left out; without the first one there is nothing to compare with.
    """
    found: dict[str, list[dict]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            one = measure(name, number)
            if "failed" not in one:
                found[name].append(one)
            elif name == names[0]:
                raise SystemExit(f"{name} failed: {one['failed']}")
            else:
                print(f"{name} failed: {one['failed']}")
    return found


@contextmanager
def timed() -> Iterator[SimpleNamespace]:
    """Seconds of what runs inside, and how many cores this process kept busy meanwhile."""
    found = SimpleNamespace()
    began, busy = time.perf_counter(), time.process_time()
    yield found
    found.seconds = time.perf_counter() - began
    found.cores = (time.process_time() - busy) / found.seconds


def resident_mib() -> float:
    """Memory that this process holds now."""
    return psutil.Process().memory_info().rss / MIB


def peak_mib() -> float:
    """The most memory that this process ever held."""
    # getrusage remembers the parent's memory from before exec on Linux; the status does not.
    found = re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text()) if _STATUS.exists() else None
    if found:
        return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)


def library_threads() -> dict[str, int]:
    """Threads that each OpenMP and BLAS library in this process may use."""
    return {Path(found["filepath"]).name: found["num_threads"] for found in threadpool_info()}


def version(package: str) -> str | None:
    """The installed version of a package; None if there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def median(measured: list[dict], key: str) -> float:
    """The median of a number over the rounds."""
    return statistics.median(one[key] for one in measured)


def compare(lines: list[dict], key: str, ratio: str) -> None:
    """Add to each line how many times as large `key` is as in the first line."""
    for line in lines:
        if line.get(key) and lines[0].get(key):
            line[ratio] = line[key] / lines[0][key]


def table(lines: list[dict], columns: dict[str, str]) -> str:
    """Lines as text; `columns` gives the heading of each column and the format of its values."""
    cells = [list(columns)]
    for line in lines:
        values = (line.get(name) for name in columns)
        cells.append([_cell(value, form) for value, form in zip(values, columns.values(), strict=True)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([name.ljust(widths[0]), *map(str.rjust, values, widths[1:])]) for name, *values in cells
    )


def _cell(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def parser(text: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Options that all benchmarks have, with the defaults of this one."""
    made = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    made.add_argument("--data", help="IDX file, .npy of images or of rows, or a folder; default: some photos")
    made.add_argument("--color", choices=("gray", "rgb"), help="channels of the images")
    made.add_argument("--k", type=int, help="clusters")
    made.add_argument("--rounds", type=int, help="times that each one is measured, in turn")
    made.add_argument("--threads", type=int)
    made.add_argument("--seed", type=int)
    made.add_argument("--json", metavar="FILE", help="also write all numbers to a file")
    made.set_defaults(**{"threads": 2, "seed": 0, "rounds": 3, **defaults})
    return made


def add_peer_option(
    made: argparse.ArgumentParser, peers: dict[str, Any], chosen: list[str] | None = None
) -> None:
    """Which libraries to measure beside the first of `peers`, which always is; by default those `chosen`."""

    def listed(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in peers]:
            raise argparse.ArgumentTypeError(f"no peer {', '.join(unknown)}; there are {', '.join(peers)}")
        return names

    made.add_argument(
        "--peers", type=listed, default=chosen or list(peers), help=f"some of {','.join(peers)}"
    )


def who_comes(chosen: list[str], peers: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The names to measure, the first of `peers` before all; the packages that are not installed."""
    wanted = [name for at, name in enumerate(peers) if at == 0 or name in chosen]
    missing = sorted({peers[name].package for name in wanted if version(peers[name].package) is None})
    return [name for name in wanted if peers[name].package not in missing], missing


def facts(options: argparse.Namespace) -> dict[str, Any]:
    """The machine and the options."""
    named = re.search(r"model name\s*:\s*(.+)", _CPU.read_text()) if _CPU.exists() else None
    cpu = named[1] if named else platform.processor() or platform.machine()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **vars(options),
    }


def heading(title: str, facts: dict[str, Any]) -> str:
    """What a table is about, in a few lines."""
    hidden = ("cpu", "cores", "load", "json", "missing", "peers")
    given = "  ".join(f"{name}={value}" for name, value in facts.items() if name not in hidden)
    lines = [f"{title} on {facts['cpu']}, {facts['cores']} cores, load {facts['load']} before", given]
    if facts["missing"]:
        lines.append(f"not installed: {', '.join(facts['missing'])} (pip install 'dkmeans[bench]')")
    return "\n".join(lines)


def finish(report: dict, path: str | None) -> dict:
    """Write the numbers where they were asked for."""
    if path:
        Path(path).write_text(json.dumps(report, indent=1) + "\n")
    return report
