"""One output of each stage, made once."""

from __future__ import annotations

import warnings

import pytest
from artefacts.made import make_each


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One output of each stage: URLs by name, see `artefacts.made`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "not converged")
        return make_each(tmp_path_factory.mktemp("made"))
