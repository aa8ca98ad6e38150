"""Whatever a user's surroundings are: the right result, or an exit code and words that say what to change."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COMMAND = Path(sys.executable).with_name("dkmeans")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    """One kind of surroundings, and how a command ends in them.

    Attributes
    ----------
    command : str
        What is run, with ``{images}`` and ``{out}``.
    env : dict of str to str or None
        Variables that are set, or taken away.
    within : str
        What a shell does before the command, with ``{here}`` for an empty folder; the command is ``"$@"``.
    arguments : str
        Of the command, besides those that all have.
    limit : callable or None
        Called in the new process, before the command.
    mounts : bool
        Whether the shell has mounts of its own, which takes the rights of root.
    code : int
        Of the exit.
    told : str
        A part of what stderr holds.
    """

    command: str = "quantize {images} {out} --k 4"
    env: dict[str, str | None] = field(default_factory=dict)
    within: str = '"$@"'
    arguments: str = "--scheduler sync"
    limit: Callable[[], None] | None = None
    mounts: bool = False
    code: int = 0
    told: str = ""


def at_most(what: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (value, value))


LOCAL = "--workers 1"
NOWHERE: dict[str, str | None] = {
    "HOME": "/proc/none",
    "XDG_CACHE_HOME": "/proc/none/c",
    "NUMBA_CACHE_DIR": None,
}
BROKEN = 'echo "distributed: [unclosed" > {here}/x.yaml; "$@"'
INSTALLED = 'mount --bind {root} {root} && mount -o remount,ro,bind {root} && cd / && "$@"'
# What is needed is seen at its place again, wherever that is.
WITHOUT_TMP = (
    "mount --bind {place} /mnt && mount --bind {root} /media && mount -t tmpfs none /tmp && "
    "mkdir -p {place} {root} && mount --bind /mnt {place} && mount --bind /media {root} && "
    "mount -o remount,ro /tmp && mount -t tmpfs -o ro none /var/tmp"
)
ROWS = {
    "plain": Row(),
    "no HOME": Row(env={"HOME": None, "XDG_CACHE_HOME": None}),
    "no place for machine code but that of temporary files": Row(env=NOWHERE, within=INSTALLED, mounts=True),
    "no place for temporary files": Row(
        command="ingest {images} {out}/dataset",  # which compiles nothing
        env={**NOWHERE, "TMPDIR": "/proc/none"},
        within=f"{WITHOUT_TMP}; {INSTALLED}",
        mounts=True,
    ),
    "kernels may not be compiled": Row(env={"NUMBA_DISABLE_JIT": "1"}, code=2, told="NUMBA_DISABLE_JIT"),
    "locale C": Row(env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "locale C, Latin-1 on the streams": Row(env={"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"}),
    "encryption is required of clusters": Row(
        env={"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}, arguments=LOCAL
    ),
    "Dask's configuration is broken": Row(
        env={"DASK_CONFIG": "{here}"},
        within=BROKEN,
        arguments=LOCAL,
        code=2,
        told="Dask's configuration cannot be read",
    ),
    "Dask's configuration is broken, and nothing needs Dask": Row(
        env={"DASK_CONFIG": "{here}"}, within=BROKEN
    ),
    "Dask's folder for temporary files is none": Row(
        env={"DASK_TEMPORARY_DIRECTORY": "/proc/none"},
        arguments=LOCAL,
        code=5,
        told="/proc/none",
    ),
    "a setting of Dask's that is no number": Row(
        env={"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "soon"},
        arguments=LOCAL,
        code=5,
        told="Dask's settings",
    ),
    "settings of Dask's that we do not rely on": Row(
        env={
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "false",
            "DASK_DISTRIBUTED__WORKER__DAEMON": "false",
            "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "false",
            "DASK_DISTRIBUTED__COMM__COMPRESSION": "zlib",
        },
        arguments=LOCAL,
    ),
    "no network": Row(within='unshare -n "$@"', mounts=True),
    "the current folder is gone": Row(
        within='mkdir {here}/gone && cd {here}/gone && rmdir {here}/gone && "$@"',
        code=2,
        told="cd to a folder",
    ),
    "modules named as Python's in the current folder": Row(
        within='for name in random types queue; do echo 1/0 > {here}/$name.py; done; cd {here} && "$@"',
        arguments=LOCAL,
    ),
    "few open files": Row(limit=at_most(resource.RLIMIT_NOFILE, 64)),
    "few open files for a cluster": Row(
        limit=at_most(resource.RLIMIT_NOFILE, 79), arguments=LOCAL, code=5, told="ulimit -n 80"
    ),
    "just enough open files for a cluster": Row(limit=at_most(resource.RLIMIT_NOFILE, 80), arguments=LOCAL),
    "no large files": Row(limit=at_most(resource.RLIMIT_FSIZE, 100), code=4, told="--resume"),
    "no core of its own is left": Row(env={"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}),
    "stdin is closed": Row(within='"$@" <&-', arguments=LOCAL),
    "stdout is closed": Row(within='"$@" >&-'),
    "stderr is closed": Row(within='"$@" 2>&-'),
    "all streams are closed": Row(within='"$@" <&- >&- 2>&-'),
    "stdout is full": Row(within='"$@" > /dev/full', code=4, told="stdout: no space left"),
    "stderr is full": Row(within='"$@" 2> /dev/full'),
    "events to a disk that is full": Row(
        arguments="--scheduler sync --events /dev/full", code=4, told="no space"
    ),
    "nobody reads stdout": Row(within='"$@" | true; exit ${PIPESTATUS[0]}', code=141),
    "umask 077": Row(within='umask 077; "$@"'),
    "warnings are errors": Row(env={"PYTHONWARNINGS": "error"}),
    "no docstrings, no assertions": Row(env={"PYTHONOPTIMIZE": "2"}),
    "an odd time zone": Row(env={"TZ": "Nowhere/Never"}),
    "another user": Row(
        within='chmod 777 {out} && setpriv --reuid=65534 --regid=65534 --clear-groups "$@"', mounts=True
    ),
}
# These find no machine code, and compile it anew.
COMPILING = {
    "no place for machine code but that of temporary files",
    "no docstrings, no assertions",
    "another user",
}
SLOW = COMPILING | {name for name, row in ROWS.items() if row.arguments == LOCAL}


@pytest.fixture(scope="module")
def images() -> Iterator[Path]:
    """Two images in a folder with letters of three scripts, in a place that everyone may read."""
    place = Path(tempfile.mkdtemp(prefix="dkmeans-"))
    place.chmod(0o755)
    made = place / "Fotos für 日本"
    made.mkdir()
    rng = np.random.default_rng(1)
    for name in ("ä.png", "b.png"):
        Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8)).save(made / name)
    yield made
    shutil.rmtree(place)


def ended(row: Row, images: Path, here: Path) -> subprocess.CompletedProcess[str]:
    out = here / "out"
    for each in (here, out):
        each.mkdir()
    script, env = row.within, dict(os.environ)
    for name, value in {"here": here, "out": out, "place": here.parent, "root": ROOT}.items():
        script = script.replace(f"{{{name}}}", str(value))
    for name, text in row.env.items():
        env.pop(name, None)
        if text is not None:
            env[name] = text.replace("{here}", str(here))
    words = [word.format(images=images, out=out) for word in row.command.split()]
    command = [str(COMMAND), *words, "--json", "--quiet", *row.arguments.split()]
    shell = ["bash", "-c", script, "bash", *command]
    return subprocess.run(
        ["unshare", "--mount", *shell] if row.mounts else shell,
        env=env,
        preexec_fn=row.limit,
        capture_output=True,
        text=True,
        timeout=120,
        errors="replace",
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in ROWS]
)
def test_surroundings(name, images):
    row = ROWS[name]
    if row.mounts and os.geteuid():
        pytest.skip("takes the rights of root")
    here = images.parent / str(list(ROWS).index(name))
    found = ended(row, images, here)
    told = found.stderr
    assert "Traceback" not in told
    assert "this is a bug" not in told
    assert found.returncode == row.code, told
    assert row.told in told
    assert told.count("\n") <= (1 if row.code else 0), told
    if row.code in (0, 141) or "stdout" in row.told:  # then the work is done
        files = sorted(path.name for path in (here / "out").iterdir() if path.name != ".dkmeans")
        assert files == (["b.png", "ä.png"] if "quantize" in row.command else ["dataset"])
    if row.code == 0 and found.stdout:
        assert json.loads(found.stdout)["n_images"] == 2
