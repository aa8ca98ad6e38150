"""Where machine code is kept: below Numba's own places, in a private folder, or nowhere, which is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import pytest

from dkmeans.kernels import jit


@pytest.fixture
def without_places(monkeypatch, tmp_path):
    """Numba finds no place for a cache, until it is given one."""
    njit = numba.njit

    def refusing(*functions, **options):
        if options.get("cache") and before == numba.config.CACHE_DIR:
            raise RuntimeError("cannot cache function '_nothing': no locator available for file")
        return njit(*functions, **options)

    before = numba.config.CACHE_DIR
    monkeypatch.setattr(numba, "njit", refusing)
    monkeypatch.setattr(numba.config, "CACHE_DIR", before)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    jit._cache_folder.cache_clear()
    yield tmp_path
    jit._cache_folder.cache_clear()


def test_a_private_folder_among_temporary_files(without_places):
    folder = without_places / f"dkmeans-numba-{os.geteuid()}"
    kept = jit._cache_folder()
    assert kept.parent == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    before = numba.config.CACHE_DIR
    assert jit.jit(lambda x: x + 1)(1) == 2
    assert before == numba.config.CACHE_DIR  # that of other code of the user
    assert list(kept.rglob("*.nbc"))


def others_can_write(folder):
    folder.mkdir()
    folder.chmod(0o777)


def a_link(folder):
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)


def a_file(folder):
    folder.write_text("")


@pytest.mark.parametrize("make", [others_can_write, a_link, a_file])
def test_code_that_others_may_have_written_is_not_loaded(without_places, make):
    make(without_places / f"dkmeans-numba-{os.geteuid()}")
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR"):
        assert jit._cache_folder() is None
    assert jit.jit(lambda x: x + 1)(1) == 2


def test_no_temporary_files(without_places, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(without_places / "none"))
    with pytest.warns(RuntimeWarning, match="each process compiles them"):
        assert jit._cache_folder() is None


UNPACK = """
import json
import numpy as np
from dkmeans.kernels import arrange
print(json.dumps(arrange.unpack(np.arange(16, dtype=np.uint8), np.array([3]), 1).tolist()))
"""


def run_a_copy(folder, *, shift):
    """Unpack row 3 of a tile by a copy of the package that looks for rows `shift` lanes further on."""
    vector = folder / "dkmeans/kernels/vector.py"
    shutil.copy(Path(jit.__file__).with_name("vector.py"), vector)
    told = "- lane) * np.uint64(n_features) + lane"
    assert told in vector.read_text()
    vector.write_text(vector.read_text().replace(told, f"{told} + np.uint64({shift})"))
    env = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", UNPACK], env=env, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_change_in_an_inlined_file_is_seen(tmp_path):
    """`unpack` lies in a file that stays, `row_offset`, which is inlined into it, in one that changes."""
    shutil.copytree(Path(jit.__file__).parents[1], tmp_path / "dkmeans")
    assert run_a_copy(tmp_path, shift=0) == [[3]]
    assert run_a_copy(tmp_path, shift=1) == [[4]]
    assert len(list((tmp_path / "cache").glob("dkmeans-*"))) == 2
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nb?")}
    assert run_a_copy(tmp_path, shift=0) == [[3]]
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nb?")}


COUNT = """
import json, sys
import numpy as np
from dkmeans.kernels import colors
found, counts = colors.count_colors(np.array([[3], [1], [3]], np.uint8))
hits = sum(colors._count.stats.cache_hits.values())
print(json.dumps([found.tolist(), counts.tolist(), hits, "numba.np.arrayobj" in sys.modules]))
"""


def test_machine_code_loads_without_what_only_compiling_needs(tmp_path):
    """In another process than the one that has compiled it."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    told = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", COUNT], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    assert told == [[[[1], [3]], [1, 2], 0, True], [[[1], [3]], [1, 2], 1, False]]


def added(x, y):
    return x + y


def test_each_signature_has_a_file_of_its_own_and_a_damaged_one_is_compiled_again(without_places):
    """Two processes that compile the same function at once never write to one file (numba#4807)."""
    first, second = jit.jit(added), jit.jit(added)
    assert (first(1, 2), second(1.5, 2.0)) == (3, 3.5)
    files = sorted(jit._cache_folder().rglob("*.nbc"))
    assert len(files) == len({path.read_bytes() for path in files}) == 2
    assert not list(jit._cache_folder().rglob("*.nbi"))
    kept = [path.read_bytes() for path in files]
    for damage in (b"", kept[0][:100], kept[0][:-1] + b"?", kept[1]):
        files[0].write_bytes(damage)
        again = jit.jit(added)
        assert (again(1, 2), again(1.5, 2.0)) == (3, 3.5)
        assert sum(again.stats.cache_hits.values()) == sum(again.stats.cache_misses.values()) == 1
    again = jit.jit(added)
    assert (again(1, 2), again(1.5, 2.0)) == (3, 3.5)
    assert sum(again.stats.cache_hits.values()) == 2
