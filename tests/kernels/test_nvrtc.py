"""The CUDA kernels are compiled for real GPUs; NVRTC needs none."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "dkmeans/kernels/cuda"
CUDA = Path(sys.prefix) / "cuda"  # CuPy and NVRTC: not among the packages, so that nothing else finds them
ROWS = ["uint8 1", "uint8 3", "uint8 4", "uint8 25", "uint8 192", "uint16 3", "uint16 25", "uint16 192"]
FILES = [f"scores.cu {rows}" for rows in ROWS]
FILES += [f"scores_tensor.cu uint8 {n_features}" for n_features in (25, 48, 64, 75, 192, 784)]
FILES += [f"colors.cu {label} {channels}" for label in ("uint8", "uint16", "int32") for channels in (1, 3)]
KINDS = [f"{kind} sm_{arch}" for kind in FILES for arch in (80, 90)]
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(')
MOST_REGISTERS = {"search": 168, "measure": 64}
MOST_SHARED = {"count_colors": 32 << 10, "search": 18 << 10}  # of a block of threads


@pytest.fixture(scope="module")
def report():
    """What `nvrtc_report.py` prints."""
    if not (CUDA / "cupy").is_dir() and importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy compiles the kernels: make test installs it where there are wheels of it")
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(CUDA)]),
        "LD_LIBRARY_PATH": str(CUDA / "nvidia/cuda_nvrtc/lib"),
    }
    done = subprocess.run([sys.executable, HERE / "nvrtc_report.py"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_compiles_into_registers(report, kind):
    """No arrays in slow local memory, no registers spilled, room for several blocks on a multiprocessor."""
    found = report["compiled"][kind]
    files = ["colors.cu"] if kind.startswith("colors.cu") else ["lloyd.cu", "lists.cu", "rows.cu"]
    names = KERNEL.findall("".join((SOURCES / file).read_text() for file in files))
    assert found["binary"] == b"\x7fELF".hex(), found["log"]
    assert "warning" not in found["log"]
    assert sorted(found["kernels"]) == sorted(names)
    for name, kernel in found["kernels"].items():
        assert (kernel["stack"], kernel["spilled"]) == (0, 0), name
        assert 0 < kernel["registers"] <= MOST_REGISTERS.get(name, 48), name
        assert kernel["shared"] <= MOST_SHARED.get(name, 8192), name


def test_every_kind_is_checked(report):
    assert sorted(report["compiled"]) == sorted(KINDS)


def test_cupy_without_a_driver_says_so(report):
    if report["problem"] is None:
        pytest.skip("this machine has a GPU")
    assert "CUDA" in report["problem"]
    assert "not installed" not in report["problem"]
