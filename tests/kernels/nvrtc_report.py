"""Compiles the CUDA kernels for real GPUs; prints what the assembler tells of each kernel, as JSON.

A program of its own, run by `test_nvrtc.py`: CuPy lies where only this looks. NVRTC needs no GPU.
"""

import json
import re

import cupy
import numpy as np

from dkmeans import kernels
from dkmeans.kernels.cuda.colors import color_defines
from dkmeans.kernels.cuda.compiled import defines, source

ARCHITECTURES = (80, 90)
WIDTHS = {np.uint8: (1, 3, 4, 25, 64, 192, 784), np.uint16: (3, 25, 192)}
NUMBERS = {
    "stack": r"(\d+) bytes stack frame",
    "spilled": r"(\d+) bytes spill stores",
    "registers": r"Used (\d+) registers",
    "shared": r"(\d+) bytes smem",
}


def compiled(name: str, told: dict[str, str], arch: int) -> dict:
    """The log of the compiler, the start of the binary, and the numbers of each kernel."""
    nvrtc = cupy.cuda.nvrtc
    defined = [f"-D{key}={value}" for key, value in told.items()]
    program = nvrtc.createProgram(source(name), name, [], [])
    options = ["--std=c++17", "-ftz=true", f"-arch=sm_{arch}", "--ptxas-options=-v", *defined]
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
    """Compile for every kind of rows and architecture."""
    kinds = {
        f"lloyd.cu {np.dtype(dtype)} {n_features}": defines(np.dtype(dtype), n_features)
        for dtype, widths in WIDTHS.items()
        for n_features in widths
    }
    labels = ("uint8", "uint16", "int32")
    kinds |= {f"colors.cu {label} {n}": color_defines(n, label) for label in labels for n in (1, 3)}
    report = {
        f"{kind} sm_{arch}": compiled(kind.split()[0], told, arch)
        for kind, told in kinds.items()
        for arch in ARCHITECTURES
    }
    print(json.dumps({"problem": kernels.gpu_problem(), "compiled": report}))


if __name__ == "__main__":
    main()
