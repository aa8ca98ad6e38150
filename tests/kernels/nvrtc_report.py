"""Compiles the CUDA kernels for real GPUs; prints what the assembler tells of each kernel, as JSON.

A program of its own, run by `test_nvrtc.py`: CuPy lies where only this looks. NVRTC needs no GPU.
"""

import json
import re

import cupy
import numpy as np

from dkmeans import kernels
from dkmeans.kernels.cuda.colors import color_defines
from dkmeans.kernels.cuda.compiled import lloyd_defines, lloyd_source, source

ARCHITECTURES = (80, 90)
WIDTHS = {np.uint8: (1, 3, 4, 25, 192), np.uint16: (3, 25, 192)}
TENSOR_WIDTHS = (25, 48, 64, 75, 192, 784)
NUMBERS = {
    "stack": r"(\d+) bytes stack frame",
    "spilled": r"(\d+) bytes spill stores",
    "registers": r"Used (\d+) registers",
    "shared": r"(\d+) bytes smem",
}


def compiled(text: str, told: dict[str, str], arch: int) -> dict:
    """The log of the compiler, the start of the binary, and the numbers of each kernel."""
    nvrtc = cupy.cuda.nvrtc
    defined = [f"-D{key}={value}" for key, value in told.items()]
    program = nvrtc.createProgram(text, "kernels.cu", [], [])
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
    rows = [(np.dtype(dtype), n) for dtype, widths in WIDTHS.items() for n in widths]
    kinds = {
        f"scores.cu {dtype} {n}": (lloyd_source(False), lloyd_defines(dtype, n, False)) for dtype, n in rows
    }
    kinds |= {
        f"scores_tensor.cu uint8 {n}": (lloyd_source(True), lloyd_defines(np.dtype(np.uint8), n, True))
        for n in TENSOR_WIDTHS
    }
    kinds |= {
        f"colors.cu {label} {n}": (source("colors.cu"), color_defines(n, label))
        for label in ("uint8", "uint16", "int32")
        for n in (1, 3)
    }
    report = {
        f"{kind} sm_{arch}": compiled(*given, arch) for kind, given in kinds.items() for arch in ARCHITECTURES
    }
    print(json.dumps({"problem": kernels.gpu_problem(), "compiled": report}))


if __name__ == "__main__":
    main()
