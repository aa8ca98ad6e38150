"""Public docstrings say what goes in and what comes out."""

from __future__ import annotations

import pytest
from numpydoc.validate import validate
from pydantic import BaseModel

import dkmeans

# No docstring; parameters not documented, unknown, in another order, without type or description; no return.
WANTED = {"GL08", "PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03", "YD01", "SS03"}
ARTEFACTS = ("Codebook", "CodedImages", "Dataset", "ImageFolder", "Sweep")
"""Made by their `open_...`; their fields are documented as attributes."""
EXECUTORS = ("Distributed", "InProcess")
"""Their methods are for stages."""


def documented() -> list[str]:
    """Each public function and class that has parameters, and the methods of the classes."""
    found = []
    for name in dkmeans.__all__:
        public = getattr(dkmeans, name)
        if isinstance(public, type) and issubclass(public, BaseModel | BaseException):
            continue  # tests/config has the docstrings of options
        place = f"{public.__module__}.{public.__qualname__}"
        if name not in ARTEFACTS:
            found.append(place)
        if isinstance(public, type) and name not in EXECUTORS:
            own = [method for base in public.__mro__ if "dkmeans" in base.__module__ for method in vars(base)]
            found += [f"{place}.{method}" for method in dict.fromkeys(own) if not method.startswith("_")]
    return found


@pytest.mark.parametrize("place", documented())
def test_a_docstring_is_whole(place: str) -> None:
    errors = [f"{code}: {words}" for code, words in validate(place)["errors"] if code in WANTED]
    assert errors == []
