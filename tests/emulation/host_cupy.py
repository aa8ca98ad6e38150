"""What the GPU kernels need of CuPy, made of NumPy, with kernels that the C++ compiler builds for the host.

It shows that our kernels and what drives them are right, not that CuPy or a GPU is.
"""

import ctypes
import hashlib
import platform
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

HEADER = Path(__file__).with_name("emulator.h")
COMPILER = shutil.which("c++")
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\((.*?)\) \{', re.DOTALL)
PARAMETER = re.compile(r"\s*(?:const )?([\w ]+?)\s*(\*?)\s*(\w+)\s*")
TYPES = {
    "unsigned char": np.uint8,
    "unsigned short": np.uint16,
    "unsigned": np.uint32,
    "uint4": np.uint32,  # four of them
    "int": np.int32,
    "float": np.float32,
    "i64": np.int64,
    "u64": np.int64,  # two's complement
}
GUARD = 64
"""Bytes around each array that nobody may write to."""


class DeviceArray(np.ndarray):
    """What stands for an array on the GPU."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)

    def copy(self, order="C"):
        return filled(self.shape, self, self.dtype)

    def get(self, out, blocking=True):
        out[...] = self

    def set(self, values):
        self[...] = values


def empty(shape, dtype=float):
    """Memory full of garbage, with guards around it, and where CUDA would put it: at a multiple of 256."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = np.full(size + 256 + 2 * GUARD, 0xA5, np.uint8)
    start = GUARD + -(buffer.ctypes.data + GUARD) % 256
    array = buffer[start : start + size].view(dtype).reshape(shape).view(DeviceArray)
    array.guards = buffer[:start], buffer[start + size :]
    return array


def filled(shape, value, dtype):
    array = empty(shape, dtype)
    array[...] = value
    return array


def asarray(values, dtype=None):
    if type(values) is DeviceArray and dtype in (None, values.dtype):
        return values
    values = np.asarray(values, dtype)
    if values.flags.f_contiguous and not values.flags.c_contiguous:  # as CuPy, which keeps the order
        return filled(values.T.shape, values.T, values.dtype).T
    return filled(values.shape, values, values.dtype)


def check_guards(array):
    while isinstance(array, np.ndarray):
        for guard in getattr(array, "guards", ()):
            assert (guard == 0xA5).all(), "a kernel wrote beyond an array"
        array = array.base


def parameters(text, defined):
    """The types and names of the parameters of a kernel: (pointer?, dtype, declaration, name)."""
    found = []
    for declaration in text.split(","):
        kind, pointer, name = PARAMETER.fullmatch(declaration).groups()
        found.append((bool(pointer), TYPES[defined.get(kind, kind)], f"{kind} {pointer}{name}", name))
    return found


class RawModule:
    """Builds a module with the C++ compiler instead of NVRTC; `folder` keeps what was built.

    `atomics` counts the atomic operations that each kernel has done.
    """

    folder: Path
    atomics: Counter
    flags = (
        "-O2",
        "-march=native",
        "-U_FORTIFY_SOURCE",
        "-Wall",
        "-Werror",
        "-Wno-unknown-pragmas",
        "-DEMULATED",
        "-fsanitize=alignment",  # which calls emulator.h: the library of the sanitizer is not linked
        "-fno-sanitize-recover=alignment",
    )

    def __init__(self, code, options):
        defines = [option for option in options if option.startswith("-D")]
        defined = dict(option.removeprefix("-D").split("=") for option in defines)
        self.kernels = {name: parameters(text, defined) for name, text in KERNEL.findall(code)}
        launchers = "".join(self.launcher(name) for name in self.kernels)
        text = f'#include "{HEADER}"\n{code}\n{launchers}'
        self.lines = text.splitlines()
        whole = text, HEADER.read_text(), defines, self.flags, platform.node()
        library = self.folder / f"{hashlib.sha256(repr(whole).encode()).hexdigest()[:16]}.so"
        if not library.exists():
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                source, compiled, built = (Path(folder, f"kernels.{ending}") for ending in ("cpp", "o", "so"))
                source.write_text(text)
                options = ["-std=c++20", *self.flags, *defines, "-fPIC", "-c"]
                subprocess.run([COMPILER, *options, "-o", compiled, source], check=True)
                subprocess.run([COMPILER, "-shared", "-o", built, compiled], check=True)
                built.replace(library)  # at once, as several processes may build the same
        self.library = ctypes.CDLL(str(library))

    def launcher(self, name):
        declared = ", ".join(declaration for _, _, declaration, _ in self.kernels[name])
        passed = ", ".join(parameter for *_, parameter in self.kernels[name])
        return (
            f'extern "C" void launch_{name}(int x, int y, int threads, {declared}) '
            f"{{ emulator::run(x, y, threads, [=] {{ {name}({passed}); }}); }}\n"
        )

    def get_function(self, name):
        function = getattr(self.library, f"launch_{name}")

        def launch(grid, block, args):
            converted = [grid[0], grid[1] if len(grid) > 1 else 1, *block]
            for arg, (pointer, dtype, declaration, _) in zip(args, self.kernels[name], strict=True):
                converted.append(self.convert(arg, pointer, dtype, f"{name}: {declaration}"))
            function(*converted)
            line = self.library.where_misaligned()
            assert not line, f"{name}: misaligned: {self.lines[line - 1].strip()}"
            self.atomics[name] += self.library.count_atomics()
            for arg in args:
                check_guards(arg)

        return launch

    def convert(self, arg, pointer, dtype, what):
        if not pointer:
            assert type(arg) is dtype, f"{what}: got {type(arg)}"
            return ctypes.c_int(arg) if dtype is np.int32 else ctypes.c_longlong(arg)
        if isinstance(arg, np.uintp):
            assert arg == 0, what
            return ctypes.c_void_p(None)
        assert type(arg) is DeviceArray, f"{what}: got {type(arg)}"
        assert arg.dtype == dtype, f"{what}: got {arg.dtype}"
        assert arg.flags.c_contiguous, what
        return ctypes.c_void_p(arg.ctypes.data)


class Stream:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def synchronize(self):
        pass


def modules(folder):
    """Stand-ins for ``cupy`` and ``cupyx``, with `cupy.devices` GPUs of `cupy.memory` bytes."""
    cupy, cupyx = ModuleType("cupy"), ModuleType("cupyx")
    cupy.ndarray = DeviceArray  # which dask.array looks for, where it is loaded after cupy
    for name in (
        "arange",
        "cumsum",
        "flatnonzero",
        "partition",
        "where",
        "zeros_like",
        "concatenate",
        "maximum",
        "rint",
        "sqrt",
    ):
        setattr(cupy, name, on_device(getattr(np, name)))
    cupy.empty, cupy.asarray, cupy.full = empty, asarray, filled
    cupy.ascontiguousarray = lambda values: values if values.flags.c_contiguous else asarray(values)
    cupy.zeros = lambda shape, dtype: filled(shape, 0, dtype)
    cupy.asnumpy = lambda values: np.array(values)
    cupy.devices, cupy.memory = 1, 1 << 40
    cupy.RawModule = type("RawModule", (RawModule,), {"folder": folder, "atomics": Counter()})
    runtime = SimpleNamespace(
        getDeviceCount=lambda: cupy.devices, memGetInfo=lambda: (cupy.memory, cupy.memory)
    )
    device = SimpleNamespace(compute_capability="90")
    cupy.cuda = SimpleNamespace(
        runtime=runtime, Device=lambda: device, Stream=Stream, get_current_stream=Stream
    )
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 0)
    cupyx.empty_pinned = np.empty
    return cupy, cupyx


def on_device(function):
    return lambda *args, **options: asarray(function(*args, **options))
