"""What the GPU kernels need of CuPy, made of NumPy, with kernels that the C++ compiler builds for the host.

It shows that our kernels and what drives them are right, not that CuPy or a GPU is. What is asked of it waits
in the queue of a stream, see `machine`; an array's shape is known at once, its values later.
"""

import ctypes
import hashlib
import platform
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from emulation.machine import (
    GARBAGE,
    Device,
    Event,
    Memory,
    PinnedArray,
    PinnedPool,
    Stream,
    empty_pinned,
    machine,
)

HEADER = Path(__file__).with_name("emulator.h")
COMPILER = shutil.which("c++")
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\((.*?)\) \{', re.DOTALL)
PARAMETER = re.compile(r"\s*(?:const )?([\w ]+?)\s*(\*?)\s*(\w+)\s*")
TYPES = {
    "unsigned char": np.uint8,
    "unsigned short": np.uint16,
    "unsigned": np.uint32,
    "uint2": np.uint32,  # two of them
    "int": np.int32,
    "float": np.float32,
    "i64": np.int64,
    "u64": np.int64,  # two's complement
}


class DeviceArray(np.ndarray):
    """What stands for an array on the GPU. Views are made at once; all that reads or writes is done later."""

    def __array_finalize__(self, parent):
        self.memory = getattr(parent, "memory", None)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        function = getattr(ufunc, method)
        return deferred(function, *inputs, **options) if out is None else self.put(out[0], function, inputs)

    def put(self, target, function, inputs):
        """Do what `target += 1` and its like mean."""
        raws, place = [raw(value) for value in inputs], raw(target)
        machine.enqueue(lambda: np.copyto(place, function(*raws), casting="same_kind"))
        return target

    def __array_function__(self, function, types, args, options):
        raise TypeError(f"numpy.{function.__name__} of an array on the GPU")

    def __getitem__(self, key):
        if isinstance(key, DeviceArray):
            return deferred(lambda values, chosen: values[chosen], self, key)
        parts = key if isinstance(key, tuple) else (key,)
        return super().__getitem__(parts if ... in parts else (*parts, ...))  # of an element too an array

    def __setitem__(self, key, value):
        assert not (isinstance(value, np.ndarray) and type(value) is not DeviceArray), "values of the host"
        place, where, given = raw(self), raw(key), raw(value)
        machine.enqueue(lambda: place.__setitem__(where, given))

    def astype(self, dtype):
        return deferred(lambda values: values.astype(dtype), self)

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)

    def copy(self):
        return deferred(lambda values: values.copy(), self)

    def sum(self, **options):
        return deferred(lambda values: values.sum(**options), self)

    def max(self, **options):
        return deferred(lambda values: values.max(**options), self)

    def argmin(self, **options):
        return deferred(lambda values: values.argmin(**options), self)

    def get(self, out, blocking=True):
        """Copy to the host, whose `out` is written when the stream comes there."""
        assert blocking or isinstance(out, PinnedArray), "a copy that nobody waits for needs pinned memory"
        given, place = raw(self), out.view(np.ndarray)
        machine.enqueue(lambda: np.copyto(place, given))
        if blocking:
            machine.wait()

    def set(self, values):
        """Copy from the host, whose pinned memory is read when the stream comes there."""
        assert (values.dtype, values.shape) == (self.dtype, self.shape)
        place, given = raw(self), values.view(np.ndarray)
        if not isinstance(values, PinnedArray):
            given = given.copy()
        machine.enqueue(lambda: np.copyto(place, given))

    def __int__(self):
        return int(asnumpy(self))


def raw(value):
    """The array of NumPy's that has the values of an array on the GPU; anything else as it is."""
    if type(value) is not DeviceArray:
        return value
    offset = value.ctypes.data - value.memory.buffer.ctypes.data - value.memory.start
    assert 0 <= offset <= value.memory.n_bytes, "an array that NumPy has made elsewhere"
    return value.memory.array(value.shape, value.dtype, offset, value.strides)


def empty(shape, dtype=float):
    memory = Memory(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    array = memory.array(shape, dtype).view(DeviceArray)
    array.memory = memory
    return array


def like(values):
    """An array for such values, in their order of memory."""
    if values.flags.f_contiguous and not values.flags.c_contiguous:
        return empty(values.T.shape, values.dtype).T
    return empty(values.shape, values.dtype)


def deferred(function, *args, **options):
    """Have `function` give its result later; of zeros it tells the shape and the type at once."""
    zeros = [np.zeros_like(raw(a)) if type(a) is DeviceArray else a for a in args]
    with np.errstate(all="ignore"):
        out = like(np.asarray(function(*zeros, **options)))
    raws, place = [raw(a) for a in args], raw(out)
    machine.enqueue(lambda: np.copyto(place, function(*raws, **options)))
    return out


def on_device(function):
    return partial(deferred, function)


def at_once(function):
    """For results whose shape depends on the values: CuPy waits for them too."""

    def run(*args, **options):
        machine.wait()
        return asarray(function(*[raw(a) for a in args], **options))

    return run


def filled(shape, value, dtype):
    array = empty(shape, dtype)
    array[...] = value
    return array


def asarray(values, dtype=None):
    if type(values) is DeviceArray and dtype in (None, values.dtype):
        return values
    values = np.asanyarray(values, dtype)
    array = like(values)
    array.set(values)
    return array


def ascontiguousarray(values):
    return values if values.flags.c_contiguous else deferred(np.ascontiguousarray, values)


def asnumpy(values):
    machine.wait()
    return np.array(raw(values))


def check_guards(memory):
    for guard in memory:
        assert (guard == GARBAGE).all(), "a kernel wrote beyond an array"


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
            used = [(raw(arg), arg.memory.guards()) for arg in args if type(arg) is DeviceArray]
            assert all(arg.memory.device == machine.device() for arg in args if type(arg) is DeviceArray)
            machine.enqueue(partial(self.run, name, function, converted, used))

        return launch

    def run(self, name, function, converted, used):
        function(*converted)
        line = self.library.where_misaligned()
        assert not line, f"{name}: misaligned: {self.lines[line - 1].strip()}"
        self.atomics[name] += self.library.count_atomics()
        for _, memory in used:
            check_guards(memory)

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


def modules(folder, seed=0):
    """Stand-ins for ``cupy`` and ``cupyx``, with `cupy.devices` GPUs of `cupy.memory` bytes.

    `seed` chooses the order in which streams that do not wait for each other come to their turns.
    """
    machine.restart(seed)
    cupy, cupyx = ModuleType("cupy"), ModuleType("cupyx")
    cupy.ndarray = DeviceArray  # which dask.array looks for, where it is loaded after cupy
    for name in ("cumsum", "partition", "where", "zeros_like", "maximum", "rint"):
        setattr(cupy, name, on_device(getattr(np, name)))
    cupy.concatenate = lambda arrays, axis=0: deferred(lambda *each: np.concatenate(each, axis), *arrays)
    cupy.flatnonzero = at_once(np.flatnonzero)
    cupy.arange = lambda n, dtype: asarray(np.arange(n, dtype=dtype))
    cupy.empty, cupy.asarray, cupy.full = empty, asarray, filled
    cupy.ascontiguousarray, cupy.asnumpy = ascontiguousarray, asnumpy
    cupy.zeros = lambda shape, dtype: filled(shape, 0, dtype)
    cupy.devices, cupy.memory, cupy.machine, pinned = 1, 1 << 40, machine, PinnedPool()
    cupy.RawModule = type("RawModule", (RawModule,), {"folder": folder, "atomics": Counter()})
    runtime = SimpleNamespace(
        getDeviceCount=lambda: cupy.devices, memGetInfo=lambda: (cupy.memory, cupy.memory)
    )
    cupy.cuda = SimpleNamespace(
        runtime=runtime, Device=Device, Event=Event, Stream=Stream, get_current_stream=machine.current
    )
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 0)
    cupy.get_default_pinned_memory_pool = lambda: pinned
    cupyx.empty_pinned = partial(empty_pinned, pinned)
    return cupy, cupyx
