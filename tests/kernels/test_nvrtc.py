"""The CUDA kernels are compiled for real GPUs; NVRTC needs none."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "dkmeans/kernels/cuda"
CUDA = Path(sys.prefix) / "cuda"  # CuPy and NVRTC: not among the packages, so that nothing else finds them
ROWS = ["scores.cu uint8 3", "scores.cu uint8 25", "scores.cu uint16 25", "scores_tensor.cu uint8 192"]
QUICK = [f"{rows} sm_90" for rows in ROWS] + ["colors.cu int32 3 sm_90"]
OTHERS = [f"scores.cu uint8 {n_features}" for n_features in (1, 4, 192)]
OTHERS += [f"scores.cu uint16 {n_features}" for n_features in (3, 192)]
OTHERS += [f"scores_tensor.cu uint8 {n_features}" for n_features in (33, 48, 64, 75, 512, 784, 1 << 15)]
OTHERS += [f"colors.cu {label} {channels}" for label in ("uint8", "uint16", "int32") for channels in (1, 3)]
SLOW = [f"{rows} sm_{arch}" for rows in OTHERS for arch in (80, 90, 100)]
SLOW += [f"{rows} sm_{arch}" for rows in ROWS for arch in (80, 100)]
SLOW = [kind for kind in SLOW if kind not in QUICK]
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(')
MOST_REGISTERS = {"search": 168, "pivot_distances": 64}
MOST_SHARED = {"count_colors": 32 << 10, "search": 48 << 10}  # of a block of threads
MOST_REGISTERS_OF_A_TEAM = 128  # four blocks of 128 threads on a multiprocessor


@lru_cache
def report(*kinds):
    """What `nvrtc_report.py` prints."""
    if not (CUDA / "cupy").is_dir() and importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy compiles the kernels: make test installs it where there are wheels of it")
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(CUDA)]),
        "LD_LIBRARY_PATH": str(CUDA / "nvidia/cuda_nvrtc/lib"),
    }
    command = [sys.executable, HERE / "nvrtc_report.py", *kinds]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", [*QUICK, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)])
def test_every_kernel_compiles_into_registers(kind):
    """No arrays in slow local memory, no registers spilled, room for several blocks on a multiprocessor."""
    found = report(*(QUICK if kind in QUICK else SLOW))["compiled"][kind]
    files = ["colors.cu"] if kind.startswith("colors.cu") else ["lloyd.cu", "candidates.cu", "rows.cu"]
    names = KERNEL.findall("".join((SOURCES / file).read_text() for file in files))
    assert found["binary"] == b"\x7fELF".hex(), found["log"]
    assert "warning" not in found["log"]
    assert sorted(found["kernels"]) == sorted(names)
    for name, kernel in found["kernels"].items():
        assert (kernel["stack"], kernel["spilled"]) == (0, 0), name
        most = MOST_REGISTERS.get(name, 48)
        if name == "search" and kind.startswith("scores_tensor.cu"):
            most = MOST_REGISTERS_OF_A_TEAM
        assert 0 < kernel["registers"] <= most, name
        assert kernel["shared"] <= MOST_SHARED.get(name, 8192), name


def test_cupy_without_a_driver_says_so():
    problem = report(*QUICK)["problem"]
    if problem is None:
        pytest.skip("this machine has a GPU")
    assert "CUDA" in problem
    assert "not installed" not in problem
