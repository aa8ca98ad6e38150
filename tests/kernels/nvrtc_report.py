"""Compiles the CUDA kernels for real GPUs; prints what the assembler tells of each kernel, as JSON.

Each argument is a kind: ``scores.cu uint8 25 sm_90`` is the Lloyd step on rows of 25 bytes for that
architecture, ``scores_tensor.cu`` the one on tensor cores, ``colors.cu int32 3 sm_90`` pixels and labels.

A program of its own, run by `test_nvrtc.py`: CuPy lies where only this looks. NVRTC needs no GPU.
"""

import json
import re
import sys

import cupy
import numpy as np

from dkmeans import kernels
from dkmeans.kernels.cuda.colors import color_defines
from dkmeans.kernels.cuda.compiled import lloyd_defines, lloyd_source, source

NUMBERS = {
    "stack": r"(\d+) bytes stack frame",
    "spilled": r"(\d+) bytes spill stores",
    "registers": r"Used (\d+) registers",
    "shared": r"(\d+) bytes smem",
}


def program_of(kind: str) -> tuple[str, dict[str, str], str]:
    """Text, definitions and architecture of a kind."""
    file, name, number, arch = kind.split()
    if file == "colors.cu":
        return source(file), color_defines(int(number), name), arch
    tensor = file == "scores_tensor.cu"
    return lloyd_source(tensor), lloyd_defines(np.dtype(name), int(number), tensor), arch


def compiled(kind: str) -> dict:
    """The log of the compiler, the start of the binary, and the numbers of each kernel."""
    nvrtc = cupy.cuda.nvrtc
    text, told, arch = program_of(kind)
    defined = [f"-D{key}={value}" for key, value in told.items()]
    program = nvrtc.createProgram(text, "kernels.cu", [], [])
    options = ["--std=c++17", "-ftz=true", f"-arch={arch}", "--ptxas-options=-v", *defined]
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError:
        return {"log": nvrtc.getProgramLog(program), "binary": "", "kernels": {}}
    log = nvrtc.getProgramLog(program)
    told = {}
    for part in log.split("Compiling entry function '")[1:]:
        found = {name: re.search(pattern, part) for name, pattern in NUMBERS.items()}
        told[part.split("'")[0]] = {name: int(match[1]) if match else 0 for name, match in found.items()}
    return {"log": log, "binary": nvrtc.getCUBIN(program)[:4].hex(), "kernels": told}


def main() -> None:
    """Compile the kinds that are named."""
    report = {kind: compiled(kind) for kind in sys.argv[1:]}
    print(json.dumps({"problem": kernels.gpu_problem(), "compiled": report}))


if __name__ == "__main__":
    main()
