"""Where machine code is kept: with Numba's own places, in a private folder, or nowhere, which is said."""

from __future__ import annotations

import os
import tempfile

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
    jit._has_cache.cache_clear()
    yield tmp_path
    jit._has_cache.cache_clear()


def test_a_private_folder_among_temporary_files(without_places):
    folder = without_places / f"dkmeans-numba-{os.geteuid()}"
    assert jit._has_cache()
    assert str(folder) == numba.config.CACHE_DIR
    assert folder.stat().st_mode & 0o777 == 0o700
    assert jit.jit(lambda x: x + 1)(1) == 2


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
        assert not jit._has_cache()
    assert jit.jit(lambda x: x + 1)(1) == 2


def test_no_temporary_files(without_places, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(without_places / "none"))
    with pytest.warns(RuntimeWarning, match="each process compiles them"):
        assert not jit._has_cache()
