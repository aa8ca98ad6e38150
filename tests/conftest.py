"""Small real images, clusters to run on, and an S3 server."""

from __future__ import annotations

import importlib
import os
import re
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import distributed
import numpy as np
import pytest
from dask.base import get_scheduler
from emulation import host_cupy
from object_store.server import Server, object_store
from PIL import Image
from skimage import data

from dkmeans import kernels
from dkmeans.command.main import main
from dkmeans.compute.distributed import Distributed
from dkmeans.config.cluster import ClusterConfig
from dkmeans.kernels.warm import compile_kernels

SYNC = ClusterConfig(scheduler="sync")
# A process that crashes, of those that tests start, says where.
os.environ.setdefault("PYTHONFAULTHANDLER", "1")
# Reasons that also count where CI is set, as no package takes them away: rights of the machine, a GPU, and
# checks of scikit-learn's that are for other estimators.
EXCUSED = re.compile(
    r"no right to|mounting is not permitted|ip netns|ip -n|this machine has a GPU|dask-cuda12|"
    r"SCIPY_ARRAY_API|is older than 1\.21 and knows no components"
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before there are several processes, this one compiles."""
    if (session.config.getoption("numprocesses", None) or 0) > 1:
        compile_kernels()


@pytest.hookimpl(trylast=True)  # when it is known which tests run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with the most slow tests first, then those with the most: none is left for the end."""
    n_slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    n_tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (-n_slow[item.path], -n_tests[item.path]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI is set, a test that is skipped for want of a program has failed."""
    report = yield
    if os.environ.get("CI") and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if not EXCUSED.search(reason):
            report.outcome, report.longrepr = "failed", f"skipped, and CI is set: {reason}"
    return report


@pytest.fixture(autouse=True, scope="module")
def no_default_client() -> Iterator[None]:
    """A client that is still the default would compute what the tests of other files mean to compute here."""
    yield
    assert get_scheduler() is None, "a client is the default of Dask: Client(..., set_as_default=False)"


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five color images of four sizes, two of them in a nested folder."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep" / "er").mkdir(parents=True)
    astronaut, coffee, cat = data.astronaut(), data.coffee(), data.chelsea()
    for key, pixels in {
        "astronaut.png": astronaut[20:70, 200:248],
        "astronaut2.png": astronaut[70:120, 200:248],
        "cat.jpg": cat[100:141, 150:211],
        "deep/coffee.png": coffee[150:200, 200:255],
        "deep/er/cup.bmp": coffee[100:131, 300:337],
    }.items():
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / key)
    return folder


@pytest.fixture
def sync() -> ClusterConfig:
    """Run everything in this process."""
    return SYNC


@pytest.fixture(scope="session")
def workers() -> Iterator[Distributed]:
    """Two worker processes of one thread each."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="2GiB", dashboard_address="127.0.0.1:0"
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield Distributed(client, device="cpu")


@pytest.fixture(scope="session")
def threads() -> Iterator[Distributed]:
    """One worker of three threads, in this process."""
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=3, processes=False, dashboard_address="127.0.0.1:0"
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield Distributed(client, device="cpu")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real S3 server, started for the first test that asks for it."""
    with object_store(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_url(s3: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place on the S3 server. Processes that start during the test find it too."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def dkmeans(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command; its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return run


@pytest.fixture
def forget_cuda() -> Iterator[None]:
    """`dkmeans.kernels.cuda` is imported anew by the test, and forgotten after it."""

    def forget() -> None:
        for name in [name for name in sys.modules if name.startswith("dkmeans.kernels.cuda")]:
            del sys.modules[name]
        vars(kernels).pop("cuda", None)

    forget()
    yield
    forget()


@pytest.fixture(scope="session")
def built_kernels(pytestconfig: pytest.Config) -> Path:
    """Where the kernels lie that the C++ compiler has built, for all processes and for later runs."""
    if host_cupy.COMPILER is None:
        pytest.skip("no C++ compiler (c++) builds the kernels for the host")
    return Path(pytestconfig.cache.mkdir("kernels"))


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch, forget_cuda: None, built_kernels: Path) -> ModuleType:
    """In place of CuPy one of NumPy, whose kernels run on the host."""
    cupy, cupyx = host_cupy.modules(built_kernels)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupyx", cupyx)
    return cupy


@pytest.fixture(params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """A GPU, the emulated one or a real one; how often the test has used it, by what it did."""
    if request.param == "emulated":
        request.getfixturevalue("emulated")
    problem = kernels.gpu_problem()
    assert problem is None, problem
    cuda, used = importlib.import_module("dkmeans.kernels.cuda"), Counter[str]()

    def note(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def noted(*args: Any, **options: Any) -> Any:
            used[name] += 1
            return function(*args, **options)

        monkeypatch.setattr(owner, name, noted)

    for name in ("lloyd", "labels", "farthest", "adopt"):
        note(cuda.Block, name)
    note(cuda, "count_colors")
    return used
